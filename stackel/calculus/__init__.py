"""Formulas, traced: expressions, their derivatives, and NumPy programs made of them."""

from stackel.calculus.calculus import Calculus, trace

__all__ = ["Calculus", "trace"]
