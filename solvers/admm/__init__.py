"""``admm``: the vehicular-twin paper's Algorithm 1, corrected."""

from stackel.solvers.admm.backend import ADMM

__all__ = ["ADMM"]
