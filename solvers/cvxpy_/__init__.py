"""``cvxpy``: followers' best replies as convex problems. CVXPY itself has the name without _."""

from stackel.solvers.cvxpy_.backend import CVXPY

__all__ = ["CVXPY"]
