"""Where followers' problems are started."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import Calculus, trace
from stackel.game.game import Game
from stackel.types import Array


def first_guess(game: Game | Calculus) -> Array:
    """A follower action to start from (..., I, n): the middle of the bounds, or a unit off one."""
    return trace(game).first_guess


def inside(game: Game | Calculus, y: Array) -> Array:
    """Follower actions (..., I, n) moved off the bounds where the formulas blow up."""
    calculus = trace(game)
    low, high = calculus.follower_bounds
    open_low, open_high = calculus.open_bounds
    y = np.clip(y, low, high)
    if not (open_low.any() or open_high.any()):
        return y
    guess = calculus.first_guess
    with np.errstate(invalid="ignore"):  # an infinite bound is never open
        y = np.where(open_low & (y <= low), low + 1e-3 * (guess - low), y)
        return np.where(open_high & (y >= high), high - 1e-3 * (high - guess), y)
