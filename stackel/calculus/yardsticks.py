"""What actions, payoffs, limits and first-order conditions are measured against: the sizes of their
own terms at a point (:mod:`stackel.calculus.sizes`), so that no unit enters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stackel.calculus.axes import wide
from stackel.calculus.calculus import Box, Calculus
from stackel.game.grids import origin
from stackel.types import Array

SAME = 1e-9
"""Differences up to this share of a side's largest action are rounding."""

System = tuple[Array, Array, Array]
"""Of the field (..., I, n), the own limits (..., I, m), the shared ones (..., k)."""


class Sizes(NamedTuple):
    """Of some players' payoffs (..., players) and, of leaders, their limits (..., m, J).

    Attributes:
        stake: the largest term that depends on what the player decides.
        terms: the largest of all: what rounding is relative to.
        limits, limit_terms: the same of limits, which move with anybody's actions.
    """

    stake: Array
    terms: Array
    limits: Array
    limit_terms: Array


def moved(value: Array, bounds: Box) -> Array:
    """How far actions are from their lower bound, from their upper one if they have only that, or
    from 0: what a shift of an action and of its bounds leaves as it is."""
    return np.abs(value - origin(*bounds))


def half_moves(action: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
    """Actions by half of their own size below and above; the same ones where bounds do not let them
    go so far: what a shorter move costs is no measure, next to a bound it is next to nothing.

    Args:
        action: (..., rows, columns).
        bounds: lowest and highest actions.
    """
    half = moved(action, bounds) / 2
    low, high = bounds
    moves = action - half, action + half
    below, above = (np.where((low <= m) & (m <= high), m, action) for m in moves)
    return below, above


def own_sizes(calculus: Calculus, x: Array, y: Array) -> Box:
    """How far actions are from where they are measured from, as :func:`moved` says.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (..., d, J) and follower actions (..., I, n).
    """
    first, second = calculus.origins
    return np.abs(x - first), np.abs(y - second)


def apart(first: Array, second: Array, bounds: Box, axis: int) -> Array:
    """How far two profiles of actions are apart, each player's as a share of its own size: of the
    width of its bounds, or of the larger of its actions. Symmetric; no unit enters.

    Args:
        first, second: actions (..., d, J) or (..., I, n).
        bounds: lowest and highest ones.
        axis: along which a player's own decisions run.

    Returns:
        the largest share, in the shape of the batch; what is rounding beside the side's largest
        action counts as none.
    """
    width = bounds[1] - bounds[0]
    size = np.maximum(moved(first, bounds), moved(second, bounds))
    own = np.broadcast_to(size.max(axis, keepdims=True), size.shape)
    own = np.where(np.isfinite(width) & (width > 0), np.minimum(width, own), own)
    far = np.abs(first - second)
    noise = SAME * size.max((-1, -2), keepdims=True)
    return np.where(far <= noise, 0.0, far / np.where(own > 0, own, 1.0)).max((-1, -2))


def follower_sizes(calculus: Calculus, y: Array, r: Array, x: Array) -> Sizes:
    """What is at stake for each follower by its own action.

    Args:
        calculus: the market, or a batch of B.
        y, r: own actions and everybody's (..., I, n).
        x: leader actions (..., d, J).
    """
    out = calculus.run("follower sizes", y, r, x, own_sizes(calculus, x, y)[1])
    batch = np.broadcast_shapes(y.shape[:-2], r.shape[:-2], x.shape[:-2])
    shape = (*batch, calculus.n_followers, 1)
    stake, terms = (wide(v, shape)[..., 0] for v in out)
    none = np.zeros((*batch, 0, calculus.n_followers))
    return Sizes(stake, terms, none, none)


def leader_sizes(calculus: Calculus, x: Array, y: Array) -> Sizes:
    """What is at stake for each leader, and what its limits are made of.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (..., d, J) and follower actions (..., I, n).
    """
    out = calculus.run("leader sizes", x, y, *own_sizes(calculus, x, y))
    batch, half = np.broadcast_shapes(y.shape[:-2], x.shape[:-2]), len(out) // 2
    stake, limits = calculus.by_leader(out[:half], batch)
    terms, limit_terms = calculus.by_leader(out[half:], batch)
    return Sizes(stake, terms, limits, limit_terms)


def system_sizes(
    calculus: Calculus, y: Array, x: Array, lam: Array, mu: Array
) -> tuple[System, System]:
    """Stakes of the followers' first-order conditions and limits in everybody's actions, and the
    sizes of all their terms.

    Args:
        calculus: the market, or a batch of B.
        y, x: follower actions (..., I, n) and leader actions (..., d, J).
        lam, mu: multipliers (..., I, m) and (..., k).
    """
    arguments = calculus.arguments(y, y, x, np.abs(lam), np.abs(mu))
    out = calculus.run("system sizes", *arguments, *own_sizes(calculus, x, y))
    batch, half = np.broadcast_shapes(y.shape[:-2], x.shape[:-2]), len(out) // 2
    return calculus.split(out[:half], batch), calculus.split(out[half:], batch)


def field_sizes(calculus: Calculus, y: Array, x: Array) -> Box:
    """Stakes of the followers' first-order conditions (..., I, n), limits apart, in everybody's
    actions, and the sizes of all their terms.

    Args:
        calculus: the market, or a batch of B.
        y, x: follower actions (..., I, n) and leader actions (..., d, J).
    """
    out = calculus.run("field sizes", y, y, x, *own_sizes(calculus, x, y))
    shape = (*np.broadcast_shapes(y.shape[:-2], x.shape[:-2]), *calculus.follower_shape)
    return wide(out[0], shape), wide(out[1], shape)
