"""Answers: equilibria and comparisons, kept and read back."""

from stackel.results.comparison import Comparison
from stackel.results.equilibrium import Equilibrium, NotConverged

__all__ = ["Comparison", "Equilibrium", "NotConverged"]
