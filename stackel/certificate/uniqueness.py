"""That a matrix in an interval matrix is never singular: bounds for the followers' equations.

Of the field's derivative J over all followers' actions, an H-matrix with positive diagonal or a
positive definite symmetric part make the followers' equilibrium the only one (Facchinei and Pang,
Finite-Dimensional Variational Inequalities and Complementarity Problems, 2003, sections 2.3 and
3.5), and say how far it can be from a point that nearly is one.
"""

from __future__ import annotations

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.intervals import TINY, UNIT, Interval
from stackel.types import Array


def comparison(J: Interval) -> Array:
    """Ostrowski's comparison matrix of every matrix in J (..., p, p), from below."""
    diagonal = np.eye(J.shape[-1], dtype=bool)
    return np.where(diagonal, np.maximum(J.lo, 0.0), -J.mag)


def dominance(J: Interval) -> tuple[Array, Array, Array]:
    """Vectors v, w > 0 (..., p) with <J> v >= w, and where there are any (...).

    Then J is an H-matrix with positive diagonal, and <J>^-1 b <= v max(b / w) for b >= 0.
    """
    M = comparison(J)
    p = M.shape[-1]
    known = np.isfinite(M).all((-1, -2))
    M = np.where(known[..., None, None], M, np.eye(p))
    size = np.maximum(np.diagonal(M, axis1=-2, axis2=-1), TINY)
    v = matrices.solve(M, size[..., None])[..., 0]
    good = known & np.isfinite(v).all(-1) & (v > 0).all(-1)
    v = np.where(good[..., None], v, 1.0)
    rounding = 4 * (p + 2) * UNIT * (np.abs(M) @ v[..., None])[..., 0]
    w = (M @ v[..., None])[..., 0] - rounding
    return v, w, good & (w > 0).all(-1)
