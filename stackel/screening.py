"""Checks of many stacked games before any solver starts: those beyond doubt go on together.

The same questions as :mod:`stackel.feasibility` asks of one game. A game that fails one here is
not refused: it is left to be looked at alone, which says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stackel import response
from stackel.calculus import matrices
from stackel.existence import contracting, opposing
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.response import Response
from stackel.types import Array

AGREE = 1e-9
"""Relative difference between a stack's formulas and a game's own that counts as none."""


def screen(whole: Game, games: Sequence[Game]) -> tuple[Array, Response]:
    """Which games of a stack are beyond doubt (B,), and their followers' answer in the middle of
    the leaders' bounds."""
    good = agreeing(whole, games) & _finite(whole) & _not_diverging(whole)
    settled = response.settle(whole, middle(*whole.leader_bounds))
    return good & settled.converged, settled


def _finite(whole: Game) -> Array:
    """Where payoffs and their derivatives are finite in the middle of the bounds (B,)."""
    calculus = whole.calculus
    x = middle(*whole.leader_bounds)
    y = response.inside(whole, response.first_guess(whole), x)
    field = calculus.system(y, y, x, *calculus.zeros(x.shape[:1]))[0]
    values = (calculus.follower_payoffs(y, y, x), calculus.leader_values(x, y)[0], field)
    return np.all([np.isfinite(v).reshape(len(x), -1).all(-1) for v in values], axis=0)


def _not_diverging(whole: Game) -> Array:
    """Where the followers' best replies surely do not reinforce each other without end (B,)."""
    structure = whole.calculus.structure
    bounded = np.isfinite(whole.follower_bounds[1]).any((-1, -2))
    if not structure.affine_field or whole.calculus.k:
        return np.ones(len(bounded), dtype=bool)
    x = middle(*whole.leader_bounds)
    _, replies = derivatives(whole, x, response.first_guess(whole))
    known = np.isfinite(replies).all((-1, -2))
    replies = np.where(known[:, None, None], replies, 0.0)
    return bounded | ~known | opposing(replies) | contracting(replies)


def agreeing(whole: Game, games: Sequence[Game]) -> Array:
    """Which games' own formulas give the numbers (B,) that their stack does, at one odd point.

    A formula may mix games up where it uses data in other ways than along the last two axes.
    """
    x, y, rivals = (_odd_point(b, k) for k, b in enumerate(_three_bounds(whole)))
    calculus = whole.calculus
    lam, mu = calculus.zeros(x.shape[:1])
    _, own, shared = calculus.system(y, rivals, x, lam, mu)
    payoff, limits = calculus.leader_values(x, y)
    flat = [calculus.follower_payoffs(y, rivals, x), own, payoff, limits]
    stacked = np.concatenate([a.reshape(len(x), -1) for a in (*flat, shared)], axis=1)
    alone = np.full_like(stacked, np.nan)
    with np.errstate(all="ignore"):
        for k, game in enumerate(games):
            alone[k] = _own_values(game, y[k], rivals[k], x[k], alone.shape[1])
    size = np.abs(stacked).max(-1, initial=0.0, keepdims=True)
    return (np.abs(stacked - alone) <= AGREE * size).all(-1)


def _three_bounds(whole: Game) -> tuple[tuple[Array, Array], ...]:
    return whole.leader_bounds, whole.follower_bounds, whole.follower_bounds


def _odd_point(bounds: tuple[Array, Array], seed: int) -> Array:
    """A point inside a box where no two entries are alike."""
    low, high = bounds
    part = np.random.default_rng(seed).uniform(0.5, 1.0, low.shape[1:])
    guess = middle(low, high)
    below = np.where(np.isfinite(low), guess - low, 1.0)
    return guess - 0.5 * part * below


def _own_values(game: Game, y: Array, rivals: Array, x: Array, size: int) -> Array | float:
    """Everything a game's formulas say of a point, in the order of :func:`agreeing`."""
    I, J = game.n_followers, game.n_leaders

    def flat(values: Any, rows: int | None, columns: int | None) -> list[Array]:
        arrays = [np.asarray(v, dtype=float) for v in values]
        arrays = [a.reshape((1,) * (2 - a.ndim) + a.shape) for a in arrays]
        shapes = [(rows or a.shape[0], columns or a.shape[1]) for a in arrays]
        return [np.broadcast_to(a, s) for a, s in zip(arrays, shapes, strict=True)]

    try:
        own = flat(game.follower_limits(y, rivals, x).values(), I, None)
        limits = flat(game.leader_limits(x, y).values(), None, J)
        parts = [
            *flat([game.follower_payoff(y, rivals, x)], I, 1),
            np.concatenate(own, axis=1) if own else np.zeros(0),
            *flat([game.leader_payoff(x, y)], 1, J),
            np.concatenate(limits, axis=0) if limits else np.zeros(0),
            *flat(game.shared_limits(y, x).values(), None, None),
        ]
    except Exception:  # whatever a market's code raises here, stackel.solve will report
        return math.nan
    out = np.concatenate([p.ravel() for p in parts])
    return out if out.size == size else math.nan


def derivatives(whole: Game, x: Array, y: Array) -> tuple[Array, Array]:
    """The derivative J of the followers' field and M of their best replies, each (B, p, p); see
    :mod:`stackel.existence`. M is NaN where a follower's own block cannot be inverted."""
    I, n = whole.follower_shape
    B, p = len(x), I * n
    lam, mu = whole.calculus.zeros((B,))
    own, _ = whole.calculus.own_blocks(y, y, x, lam, mu)
    units = np.eye(p).reshape(p, 1, I, n)
    J = np.moveaxis(whole.calculus.joint(y, x, lam, mu, units)[0].reshape(p, B, p), 0, -1)
    rest = J.reshape(B, I, n, I, n).copy()
    rest[:, np.arange(I), :, np.arange(I)] = 0.0
    return J, -(matrices.inverses(own) @ rest.reshape(B, I, n, p)).reshape(B, p, p)
