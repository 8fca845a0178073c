"""Linear algebra of enclosures: what is only nearly right in it is counted by who uses it."""

from __future__ import annotations

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.intervals import TINY, UNIT, Interval, point_matmul
from stackel.types import Array


def where_known(where: Array, values: Array, other: Array | float) -> Array:
    """Some elements of a batch as they are, the others replaced.

    Args:
        where: which (B,).
        values: (B, ...).
        other: what stands for the rest.
    """
    return np.where(where.reshape(-1, *(1,) * (values.ndim - 1)), values, other)


def inverse(matrix: Array) -> Array:
    """Nearly the inverse of every matrix; 0 where there is none."""
    out = matrices.inverses(matrix)
    return np.where(np.isfinite(out), out, 0.0)


def times(a: Interval, matrix: Array) -> Interval:
    """Intervals times a matrix of numbers."""
    return point_matmul(np.swapaxes(matrix, -1, -2), a.mT).mT


def fixed_point(E: Array, b: Array) -> tuple[Array, Array]:
    """t >= 0 (B, z, k) with E t + b <= t, and where there is one (B,): then |u| <= E |u| + b makes
    |u| <= t, since a u > 0 with E u < u shows that the spectral radius of E is below 1."""
    z = E.shape[-1]
    grow = 1 + 4 * (z + 4) * UNIT
    both = np.concatenate([b, np.ones((*E.shape[:-1], 1))], -1)
    solved = matrices.solve(np.eye(z) - E, both)
    t, u = solved[..., :-1], solved[..., -1:]
    good = (u > 0).all((-1, -2)) & ((E @ u) * grow < u).all((-1, -2))
    size = b.max(-2, keepdims=True) * 1e-12 + TINY
    t = np.maximum(t, 0.0) * (1 + 1e-10) + size * np.maximum(u, 0.0)
    good &= ((E @ t + b) * grow <= t).all((-1, -2)) & np.isfinite(t).all((-1, -2))
    return where_known(good, t, 0.0), good
