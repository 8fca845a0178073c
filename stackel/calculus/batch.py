"""Many games of one shape as one: a stack.

A stack is a game of the same class whose data has one batch axis in front, so that the formulas,
traced once, hold for all of its games: every array of the core then runs over the games along its
last batch axis. Bounds have that axis too. Numbers in which the games differ (``float`` fields)
become arrays as well; where a formula needs a plain number, the games are told apart by it instead.

What a stack computes is only trusted where each game's own formulas give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from stackel.errors import GameError
from stackel.game.game import Game
from stackel.game.grids import SparseOperator, middle
from stackel.types import Array

LARGEST = 100
"""Unknowns of a game's followers up to which it is stacked: above, one game fills arrays alone."""

EDGES = "_open_bounds"
"""Where a game keeps the bounds at which its formulas blow up."""


def kind_of(game: Game, *, apart: bool = False) -> Hashable | None:
    """What games of one stack have in common; None for a game that does not stack.

    Args:
        game: any game.
        apart: tell games apart by their numbers as well.
    """
    if math.prod(game.follower_shape) > LARGEST:
        return None
    parts: list[Any] = [type(game), game.n_followers, game.n_leaders]
    parts += [game.leader_shape, game.follower_shape]
    for f in fields(game):
        value = getattr(game, f.name)
        if isinstance(value, SparseOperator):
            return None
        if isinstance(value, np.ndarray):
            if value.ndim != 2 or value.dtype != float:
                return None
            parts.append(value.shape)
        elif _is_number(value) and not apart:
            parts.append(float)
        else:
            try:
                hash(value)
            except TypeError:
                return None
            parts.append((type(value), value))
    for bound in (*game.leader_bounds, *game.follower_bounds):
        parts.append(np.isfinite(bound).tobytes())
    return tuple(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def stack(games: Sequence[Game]) -> Game | None:
    """Games of one kind as one; None where their formulas do not run on data with a batch axis.

    Formulas may run and yet mix the games up, as a plain ``.sum()`` over data does:
    :func:`stackel.screening.agreeing` tells.
    """
    first = games[0]
    whole = object.__new__(type(first))
    for f in fields(first):
        values = [getattr(game, f.name) for game in games]
        value = values[0]
        if isinstance(value, np.ndarray):
            value = np.stack(values)
        elif _is_number(value) and any(v != value for v in values):
            value = np.array(values, dtype=float)[:, None, None]
        object.__setattr__(whole, f.name, value)
    for name in ("n_followers", "n_leaders", "leader_shape", "follower_shape"):
        whole.__dict__[name] = getattr(first, name)
    for name in ("leader_bounds", "follower_bounds"):
        sides = zip(*(getattr(game, name) for game in games), strict=True)
        whole.__dict__[name] = tuple(np.stack(side) for side in sides)
    try:
        whole.calculus  # noqa: B018 - traces the formulas
    except GameError:
        return None
    z = whole.calculus.m * first.n_followers + whole.calculus.k + math.prod(first.follower_shape)
    return whole if z <= LARGEST else None


def elements(game: Game, index: Any) -> Game:
    """Some of a stack's games (any indices, repeated or not); any other game itself."""
    if not game.calculus.stacked:
        return game
    part = object.__new__(type(game))
    calculus = game.calculus.at(index)
    low, high = game.leader_bounds
    part.__dict__.update(game.__dict__, calculus=calculus)
    part.__dict__["leader_bounds"] = low[index], high[index]
    part.__dict__["follower_bounds"] = calculus.follower_bounds
    edges = game.__dict__.get(EDGES)
    if edges is not None:
        part.__dict__[EDGES] = edges[0][index], edges[1][index]
    return part


AGREE = 1e-9
"""Relative difference between a stack's formulas and a game's own that counts as none."""


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
