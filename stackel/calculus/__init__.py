"""Formulas, traced: expressions, their derivatives, and NumPy programs made of them."""

from stackel.calculus.calculus import Calculus

__all__ = ["Calculus"]
