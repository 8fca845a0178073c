"""Where followers' problems are started."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import Calculus, trace
from stackel.calculus.yardsticks import system_sizes
from stackel.game.game import Game
from stackel.types import Array


def first_guess(game: Game | Calculus) -> Array:
    """A follower action to start from (..., I, n): the middle of the bounds, or a unit off one."""
    return trace(game).first_guess


def usual_size(calculus: Calculus) -> Array:
    """How large actions usually are (...): what has run far away from it has no size of its own."""
    if calculus.whole is not None:
        return usual_size(calculus.whole)[calculus.index]
    return calculus.once(_usual_size)


def _usual_size(calculus: Calculus) -> Array:
    """The size of the first guess, or of what the payoffs ask for there: the length on which their
    slopes change."""
    (x, guess), none = calculus.footing, calculus.zeros(calculus.first_guess.shape[:-2])
    (field, *_), _ = system_sizes(calculus, guess, x, *none)
    blocks = calculus.own_blocks(guess, guess, x, *none)[0]
    with np.errstate(all="ignore"):
        wanted = field / np.abs(np.diagonal(blocks, axis1=-2, axis2=-1))
    wanted = np.where(np.isfinite(wanted), wanted, 0.0)
    return np.maximum(np.abs(guess).max((-1, -2)), wanted.max((-1, -2)))


def inside(game: Game | Calculus, y: Array) -> Array:
    """Follower actions (..., I, n) moved off the bounds where the formulas blow up."""
    calculus = trace(game)
    low, high = calculus.follower_bounds
    open_low, open_high = calculus.open_bounds
    y = np.clip(y, low, high)
    guess = calculus.first_guess
    with np.errstate(invalid="ignore"):  # an infinite bound is never open
        y = np.where(open_low & (y <= low), low + 1e-3 * (guess - low), y)
        return np.where(open_high & (y >= high), high - 1e-3 * (high - guess), y)
