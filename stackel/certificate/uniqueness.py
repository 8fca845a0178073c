"""That a matrix in an interval matrix is never singular: bounds for the followers' equations.

Of the field's derivative J over all followers' actions, an H-matrix with positive diagonal or a
positive definite symmetric part make the followers' equilibrium the only one (Facchinei and Pang,
Finite-Dimensional Variational Inequalities and Complementarity Problems, 2003, sections 2.3 and
3.5), and say how far it can be from a point that nearly is one.
"""

from __future__ import annotations

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.intervals import Interval
from stackel.types import Array

TINY = 1e-300
UNIT = 2.0**-53


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


def modulus(J: Interval) -> Array:
    """A lower bound (...) of the smallest eigenvalue of the symmetric part of every matrix in J,
    minus infinity where none is found.

    By a floating-point Cholesky factorisation that runs to its end, its rounding counted (Rump,
    BIT Numerical Mathematics 46, 2006), or by Gershgorin's discs, whichever is larger.
    """
    p = J.shape[-1]
    half = Interval(J.lo / 2, J.hi / 2)
    S = half + half.mT
    known = S.finite.all((-1, -2))
    C = np.where(known[..., None, None], S.mid, np.eye(p))
    C = (C + np.swapaxes(C, -1, -2)) / 2
    radius = np.where(known[..., None, None], S.rad, 0.0)
    radius = np.maximum(radius, np.swapaxes(radius, -1, -2))
    off = radius.sum(-1).max(-1) * (1 + 2 * p * UNIT) + 4 * UNIT * np.abs(C).max((-1, -2))
    slack = 2 * (p + 3) * p * UNIT * np.abs(C).sum(-1).max(-1)
    lowest = np.linalg.eigvalsh(C)[..., 0]
    lowest = lowest - 1e-9 * np.abs(lowest) - 4 * slack
    shifted = C - (lowest + slack)[..., None, None] * np.eye(p)
    proved = known & _factorises(shifted)
    by_factor = np.where(proved, lowest - off, -np.inf)
    beside = np.where(np.eye(p, dtype=bool), 0.0, S.mag).sum(-1) * (1 + 2 * p * UNIT)
    with np.errstate(invalid="ignore"):
        discs = (np.diagonal(S.lo, axis1=-2, axis2=-1) - beside).min(-1)
    return np.maximum(by_factor, np.where(np.isnan(discs), -np.inf, discs))


def _factorises(matrix: Array) -> Array:
    """Where Cholesky's factorisation runs to its end (...)."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        if matrix.ndim == 2:
            return np.array(False)
        return np.array([bool(_factorises(one)) for one in matrix])
    return np.ones(matrix.shape[:-2], dtype=bool)
