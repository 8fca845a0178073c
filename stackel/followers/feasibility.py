"""Where followers' limits can be met: followers first move to where they break none, whatever that
is worth to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import qmc

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import system_sizes
from stackel.followers.response import Response, settle
from stackel.game.grids import middle
from stackel.types import Array

MET = 1e-11
"""Share of its own size up to which a limit that is broken as little as possible is met."""

SPREAD = 16
"""Leader actions over their whole ranges at which an answer of the followers is looked for."""


def leader_actions(calculus: Calculus) -> Array:
    """Leader actions (N, d, J) over their whole ranges: the middle, the ends, and a spread."""
    low, high = calculus.leader_bounds
    centre = middle(low, high)
    left = np.where(np.isfinite(low), low, centre)
    right = np.where(np.isfinite(high), high, 2 * centre - left)
    parts = qmc.Sobol(centre.size, rng=0).random(SPREAD).reshape(SPREAD, *centre.shape)
    together = np.broadcast_to(np.linspace(0.0, 1.0, 9)[:, None, None], (9, *centre.shape))
    inner = left + (right - left) * np.concatenate([together, parts])
    return np.concatenate([centre[None], inner])


def somewhere(calculus: Calculus) -> tuple[Array, Response]:
    """Leader actions (d, J) at which the followers settle, and their answer; the middle of the
    bounds if they do there, or if they were found to nowhere. One market."""
    x = leader_actions(calculus)
    first = settle(calculus, x[:1])
    if first.converged[0]:
        return x[0], first[0]
    rest = settle(calculus, x[1:])
    if not rest.converged.any():
        return x[0], first[0]
    k = int(rest.converged.argmax())
    return x[1 + k], rest[k]


def least_violation(calculus: Calculus, x: Array, y: Array) -> tuple[Array, float]:
    """Follower actions (I, n) that break their limits least, by squares, each limit relative to
    its own size; and by how much the worst is broken then.

    Args:
        calculus: one market.
        x: leader actions (d, J).
        y: follower actions to start from (I, n).
    """
    none = calculus.zeros(())
    _, own_size, shared_size = system_sizes(calculus, y, x, *none)[0]
    size = np.concatenate([own_size.ravel(), shared_size.ravel()])
    size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    units = np.eye(y.size).reshape(-1, *y.shape)

    def shares(flat: Any) -> Array:
        _, own, shared = calculus.system(flat.reshape(y.shape), flat.reshape(y.shape), x, *none)
        return np.nan_to_num(np.concatenate([own.ravel(), shared.ravel()]) / size, nan=1e300)

    def slopes(flat: Any) -> Array:
        _, own, shared = calculus.joint(flat.reshape(y.shape), x, *none, units)
        matrix = np.concatenate([own.reshape(y.size, -1), shared], axis=1).T / size[:, None]
        return np.nan_to_num(matrix) * (shares(flat) > 0)[:, None]

    low, high = (b.ravel() for b in calculus.follower_bounds)
    fixed = high <= low
    bounds = np.where(fixed, low - 1e-12 - abs(low) * 1e-12, low), high
    start = np.clip(y.ravel(), *bounds)

    def broken(flat: Any) -> Array:
        return np.maximum(shares(flat), 0.0)

    found: Any = least_squares(broken, start, slopes, bounds, xtol=1e-15, gtol=1e-14)
    return found.x.reshape(y.shape), float(np.maximum(shares(found.x), 0.0).max(initial=0.0))


def feasible_replies(calculus: Calculus, x: Array, y: Array) -> Array:
    """Where followers can meet their limits (N,), as far as a search from y tells.

    Args:
        calculus: one market.
        x: leader actions (N, d, J).
        y: follower actions to start from (I, n).
    """
    if not (calculus.m or calculus.k):
        return np.ones(len(x), dtype=bool)
    return np.array([least_violation(calculus, one, y)[1] <= MET for one in x])
