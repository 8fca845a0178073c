"""Many markets of one shape as one: formulas traced once, over data with a batch axis in front.

Every array of the core then runs over the markets along its last batch axis. Bounds have that axis
too. Numbers in which the markets differ (``float`` fields) become arrays as well; where a formula
needs a plain number, the markets are told apart by it instead.

What is computed for a batch is only trusted where each market's own formulas give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.formulas import Formulas
from stackel.errors import GameError
from stackel.game.game import Game
from stackel.game.grids import SparseOperator, middle
from stackel.types import Array

LARGEST = 100
"""Unknowns of a market's followers up to which it joins a batch: above, one fills arrays alone."""

AGREE = 1e-9
"""Relative difference between a batch's formulas and a market's own that counts as none."""


def kind_of(game: Game, *, apart: bool = False) -> Hashable | None:
    """What markets of one batch have in common; None for one that joins none.

    Args:
        game: any market.
        apart: tell markets apart by their numbers as well.
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


def together(games: Sequence[Game]) -> Calculus | None:
    """Markets of one kind as one; None where formulas do not run on data with a batch axis.

    Formulas may run and yet mix the markets up, as a plain ``.sum()`` over data does:
    :func:`agreeing` tells.
    """
    first = games[0]
    data: dict[str, Any] = {}
    for f in fields(first):
        values = [getattr(game, f.name) for game in games]
        if isinstance(values[0], np.ndarray):
            data[f.name] = np.stack(values)
        elif _is_number(values[0]) and any(v != values[0] for v in values):
            data[f.name] = np.array(values, dtype=float)[:, None, None]
    try:
        formulas = Formulas(first.over(data), (first.leader_shape, first.follower_shape))
    except GameError:
        return None

    def bounds(name: str) -> tuple[Array, Array]:
        low, high = zip(*(getattr(game, name) for game in games), strict=True)
        return np.stack(low), np.stack(high)

    names = f"{len(games)} markets", first.leader_action.name, first.follower_action.name
    whole = Calculus(formulas, bounds("leader_bounds"), bounds("follower_bounds"), names)
    unknowns = whole.m * first.n_followers + whole.k + math.prod(first.follower_shape)
    return whole if unknowns <= LARGEST else None


def agreeing(whole: Calculus, games: Sequence[Game]) -> Array:
    """Which markets' own formulas give the numbers (B,) that their batch does, at one odd point.

    A formula may mix markets up where it uses data in other ways than along the last two axes.
    """
    boxes = (whole.leader_bounds, whole.follower_bounds, whole.follower_bounds)
    x, y, rivals = (_odd_point(box, seed) for seed, box in enumerate(boxes))
    _, own, shared = whole.system(y, rivals, x, *whole.zeros(x.shape[:1]))
    flat = [whole.follower_payoffs(y, rivals, x), own, *whole.leader_values(x, y), shared]
    joined = np.concatenate([a.reshape(len(x), -1) for a in flat], axis=1)
    alone = np.full_like(joined, np.nan)
    with np.errstate(all="ignore"):
        for k, game in enumerate(games):
            alone[k] = _own_values(game, y[k], rivals[k], x[k], alone.shape[1])
    return (np.abs(joined - alone) <= AGREE * np.abs(joined)).all(-1)


def _odd_point(bounds: tuple[Array, Array], seed: int) -> Array:
    """A point inside a box where no two entries are alike."""
    low, high = bounds
    part = np.random.default_rng(seed).uniform(0.5, 1.0, low.shape[1:])
    guess = middle(low, high)
    below = np.where(np.isfinite(low), guess - low, 1.0)
    return guess - 0.5 * part * below


def _own_values(game: Game, y: Array, rivals: Array, x: Array, size: int) -> Array | float:
    """Everything a market's formulas say of a point, in the order of :func:`agreeing`."""
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
