"""Whether followers' limits can be met: followers first move to where they break none, whatever
that is worth to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares, linprog
from scipy.sparse import block_diag, csr_array, hstack

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import system_sizes
from stackel.types import Array

MET = 1e-11
"""Share of its own size up to which a limit that is broken as little as possible is met."""


SURELY = 1e-6
"""Share by which a limit is broken for sure, whatever a linear programme's accuracy."""


def least_violation(calculus: Calculus, x: Array, y: Array) -> tuple[Array, float]:
    """Follower actions (I, n) that break their limits least, by squares, each limit relative to
    its own size; and by how much the worst is broken then.

    Args:
        calculus: one market, or a batch of one.
        x: leader actions (d, J).
        y: follower actions to start from (I, n); where they are no numbers, from the first guess.
    """
    none, x, whole = calculus.zeros((1,)), x[None], (1, *y.shape)
    _, own_size, shared_size = system_sizes(calculus, y[None], x, *none)[0]
    size = np.concatenate([own_size.ravel(), shared_size.ravel()])
    size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    units = np.eye(y.size).reshape(-1, *whole)

    def shares(flat: Any) -> Array:
        _, own, shared = calculus.system(flat.reshape(whole), flat.reshape(whole), x, *none)
        return np.nan_to_num(np.concatenate([own.ravel(), shared.ravel()]) / size, nan=1e300)

    def slopes(flat: Any) -> Array:
        _, own, shared = calculus.joint(flat.reshape(whole), x, *none, units)
        matrix = (
            np.concatenate([v.reshape(len(units), -1) for v in (own, shared)], 1).T / size[:, None]
        )
        return np.nan_to_num(matrix) * (shares(flat) > 0)[:, None]

    low, high = (b.ravel() for b in calculus.follower_bounds)
    fixed = high <= low
    bounds = np.where(fixed, low - 1e-12 - abs(low) * 1e-12, low), high
    start = np.clip(np.where(np.isfinite(y), y, calculus.first_guess).ravel(), *bounds)

    def broken(flat: Any) -> Array:
        return np.maximum(shares(flat), 0.0)

    found: Any = least_squares(broken, start, slopes, bounds, xtol=1e-15, gtol=1e-14)
    return found.x.reshape(y.shape), float(np.maximum(shares(found.x), 0.0).max(initial=0.0))


def can_be_met(calculus: Calculus, x: Array, y: Array) -> Array:
    """Where followers can meet their limits (N,), as far as a search from y tells.

    Args:
        calculus: one market, or a batch of N.
        x: leader actions (N, d, J).
        y: follower actions to start from (N, I, n).
    """
    met = np.ones(len(x), dtype=bool)
    if not (calculus.m or calculus.k) or not len(x):
        return met
    rest = np.arange(len(x))
    if calculus.concavity.affine_together:
        met, known = _by_programme(calculus, x, y)
        rest = np.flatnonzero(~known)
    for k in rest:
        met[k] = least_violation(calculus.at([k]), x[k], y[k])[1] <= MET
    return met


def _by_programme(calculus: Calculus, x: Array, y: Array) -> tuple[Array, Array]:
    """The same of limits that are affine in everybody's actions, by one linear programme for all;
    and where that says for sure (N,)."""
    N, p = len(x), y[0].size
    low, high = (np.broadcast_to(b, y.shape).ravel() for b in calculus.follower_bounds)
    y = np.where(np.isfinite(y), y, calculus.first_guess)
    y = np.clip(y, *calculus.follower_bounds)
    none, units = calculus.zeros((N,)), np.eye(p).reshape(p, 1, *y.shape[1:])

    def flat(own: Array, shared: Array) -> Array:
        return np.concatenate([own.reshape(*own.shape[:-2], -1), shared], -1)

    def shares(at: Array) -> Array:
        return np.asarray(flat(*calculus.system(at, at, x, *none)[1:]) / size)

    with np.errstate(all="ignore"):
        size = flat(*system_sizes(calculus, y, x, *none)[0][1:])
        size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
        slopes = np.moveaxis(flat(*calculus.joint(y, x, *none, units)[1:]), 0, -1) / size[..., None]
        right = (slopes @ y.reshape(N, p, 1))[..., 0] - shares(y)
    if not (np.isfinite(slopes).all() and np.isfinite(right).all()):
        return np.ones(N, dtype=bool), np.zeros(N, dtype=bool)
    excess = np.repeat(np.eye(N), size.shape[1], axis=0)
    left = hstack([block_diag(slopes), -csr_array(excess)], format="csr")
    costs = np.concatenate([np.zeros(N * p), np.ones(N)])
    bounds = [*zip(low, high, strict=True), *[(0.0, None)] * N]
    found: Any = linprog(costs, A_ub=left, b_ub=right.ravel(), bounds=bounds, method="highs")
    if not found.success:
        return np.ones(N, dtype=bool), np.zeros(N, dtype=bool)
    there = np.clip(found.x[: N * p].reshape(y.shape), *calculus.follower_bounds)
    met = shares(there).max(-1) <= MET
    return met, met | (found.x[N * p :] > SURELY)
