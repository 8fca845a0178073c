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
from stackel.game.grids import SparseOperator

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
