"""Derivatives of leaders' payoffs, the followers answering."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers.response import Response
from stackel.followers.sensitivity import sensitivity
from stackel.game.game import Game
from stackel.types import Array


def own_slopes(game: Game, x: Array, at: Response, leaders: Array | None = None) -> Array:
    """Total derivatives of each leader's payoff by its own decisions, followers re-settling.

    Args:
        game: the market.
        x: leader actions (d, J) or a batch (B, d, J).
        at: the settled response there.
        leaders: which leaders' (default all).

    Returns:
        (..., d, J)
    """
    leaders = np.arange(game.n_leaders) if leaders is None else leaders
    return slopes_and_limits(game, x, at, leaders)[0]


def slopes_and_limits(game: Game, x: Array, at: Response, leaders: Array) -> tuple[Array, Array]:
    """:func:`own_slopes` (..., d, J) and those of the leaders' limits (..., d, m, J)."""
    d, J = game.leader_shape
    directions = np.zeros((d * len(leaders), d, J))
    rows, columns = (g.ravel() for g in np.meshgrid(np.arange(d), leaders, indexing="ij"))
    directions[np.arange(len(rows)), rows, columns] = 1.0
    dy = np.moveaxis(sensitivity(game, x, at, directions), -3, 0)  # (r, ..., I, n)
    dx = directions.reshape(len(rows), *(1,) * (x.ndim - 2), d, J)
    slopes, limits = trace(game).leader_slopes(x, at.y, dx, dy)  # (r, ..., J), (r, ..., m, J)
    pick = columns.reshape(-1, *(1,) * (x.ndim - 1))
    own = np.moveaxis(np.take_along_axis(slopes, pick, -1)[..., 0], 0, -1)
    own = own.reshape(*own.shape[:-1], d, len(leaders))
    own_limits = np.moveaxis(np.take_along_axis(limits, pick[..., None], -1)[..., 0], 0, -1)
    split = own_limits.reshape(*own_limits.shape[:-1], d, len(leaders))  # (..., m, d, J)
    return own, np.swapaxes(split, -3, -2)
