"""Where followers' problems are started, and bounds that a start must stay off."""

from __future__ import annotations

import numpy as np

from stackel.calculus.batch import EDGES
from stackel.calculus.calculus import Calculus
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.types import Array


def first_guess(game: Game) -> Array:
    """A follower action to start from (I, n)."""
    return middle(*game.follower_bounds)


def edges(game: Game, x: Array) -> tuple[Array, Array]:
    """Bounds where the formulas blow up; the same at every leader action, so found once."""
    known = game.__dict__.get(EDGES)
    if known is None:
        profile = x if game.calculus.stacked else x.reshape(-1, *x.shape[-2:])[0]
        known = open_bounds(game.calculus, profile, first_guess(game))
        game.__dict__[EDGES] = known
    return known


def usual_size(game: Game) -> Array:
    return np.abs(first_guess(game)).max((-1, -2))


def inside(game: Game, y: Array, x: Array) -> Array:
    """A start moved off the bounds where the formulas blow up."""
    low, high = game.follower_bounds
    open_low, open_high = edges(game, x)
    y = np.clip(y, low, high)
    guess = first_guess(game)
    with np.errstate(invalid="ignore"):  # an infinite bound is never open
        y = np.where(open_low & (y <= low), low + 1e-3 * (guess - low), y)
        return np.where(open_high & (y >= high), high - 1e-3 * (high - guess), y)


def open_bounds(calculus: Calculus, x: Array, start: Array) -> tuple[Array, Array]:
    """Bounds at which a formula is not finite, as masks (..., I, n): actions must stay off them."""
    lam, mu = calculus.zeros(())
    masks = []
    for bound in calculus.follower_bounds:
        mask = np.zeros(bound.shape, dtype=bool)
        finite = np.isfinite(bound)
        for column in range(bound.shape[-1]):
            y = np.array(start)
            at_bound = finite[..., column]
            y[..., column] = np.where(at_bound, bound[..., column], y[..., column])
            field, own, _ = calculus.system(y, start, x, lam, mu)
            blown = ~np.isfinite(field).all(-1) | ~np.isfinite(own).all(-1)
            mask[..., column] = blown & at_bound
        masks.append(mask)
    return masks[0], masks[1]


def edges_at(edges: tuple[Array, Array], batch: Array) -> tuple[Array, Array]:
    """Masks of :func:`open_bounds` at some elements of a stack; any other game's as they are."""
    return edges if edges[0].ndim == 2 else (edges[0][batch], edges[1][batch])
