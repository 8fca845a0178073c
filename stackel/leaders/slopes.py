"""Derivatives of leaders' payoffs, the followers answering."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.followers.response import Response
from stackel.followers.sensitivity import sensitivity
from stackel.types import Array


class Slopes(NamedTuple):
    """What leaders' own decisions do, followers re-settling; L leaders.

    Attributes:
        moves: how followers move with each decision (B, d L, I, n).
        payoffs: derivatives of each leader's payoff by its own decisions (B, d, L).
        limits: the same of its limits (B, d, m, L).
    """

    moves: Array
    payoffs: Array
    limits: Array


def own_slopes(calculus: Calculus, x: Array, at: Response, leaders: Array | None = None) -> Slopes:
    """Total derivatives by leaders' own decisions.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (B, d, J).
        at: the settled response there.
        leaders: which leaders' (default all).
    """
    d, J = calculus.leader_shape
    leaders = np.arange(J) if leaders is None else leaders
    decision, leader = np.repeat(np.arange(d), len(leaders)), np.tile(leaders, d)
    r = np.arange(len(leader))
    units = np.zeros((len(r), d, J))
    units[r, decision, leader] = 1.0
    moves = sensitivity(calculus, x, at, units)
    payoffs, limits = calculus.leader_slopes(
        x, at.y, units[:, None], np.moveaxis(moves, 1, 0)
    )  # (d L, B, J), (d L, B, m, J)
    own = np.moveaxis(limits[r, :, :, leader], 0, 1).reshape(len(x), d, len(leaders), -1)
    return Slopes(
        moves,
        payoffs[r, :, leader].T.reshape(len(x), d, len(leaders)),
        np.swapaxes(own, -1, -2),
    )
