"""How large followers' actions are: what their residuals and scales are measured against, and where
to start from. Everything comes from the formulas' own terms, so that no unit enters."""

from __future__ import annotations

import numpy as np

from stackel.calculus.axes import distinct, wide
from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import field_sizes, own_sizes
from stackel.followers.complementarity import FAR
from stackel.types import Array

FLOOR = 1e-5
"""A term that does not move counts as this share of itself: it leaves rounding behind."""


def curvature(H: Array) -> Array:
    """A positive scale for each own decision: the diagonal of its follower's Hessian.

    Args:
        H: own Hessians (..., I, n, n).
    """
    diagonal = np.diagonal(H, axis1=-2, axis2=-1)
    h = np.abs(distinct(diagonal))  # one number where payoffs are quadratic
    floor = 1e-12 * np.maximum(h.max(axis=(-1, -2), keepdims=True, initial=0.0), 1e-300)
    # Not 1 where it vanishes: far out on a flat payoff that would hide how far it is to go back.
    h = np.where(np.isfinite(h), np.where(h > 0, h, floor), 1.0)
    return wide(h, diagonal.shape)


def natural_lengths(calculus: Calculus, x: Array, y: Array) -> Array:
    """How large each follower's actions are, or would be without one term of its payoff's slope
    (..., I, n); 0 where that is not known.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (..., d, J) and follower actions (..., I, n).
    """
    H, _ = calculus.own_blocks(y, y, x, *calculus.zeros(y.shape[:-2]))
    with np.errstate(all="ignore"):
        lengths = _lengths(calculus, x, y, curvature(H))
    return np.where(np.isfinite(lengths), lengths, 0.0)


def own_lengths(calculus: Calculus, x: Array, y: Array, h: Array) -> Array:
    """The same, up to what actions that run away would claim; not of the limits' part: a multiplier
    that runs away brings no yardstick along.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (..., d, J) and follower actions (..., I, n).
        h: what :func:`curvature` says.
    """
    return np.minimum(_lengths(calculus, x, y, h), FAR * usual_size(calculus))


def _lengths(calculus: Calculus, x: Array, y: Array, h: Array) -> Array:
    field, terms = field_sizes(calculus, y, x)
    size = own_sizes(calculus, x, y)[1]
    return np.maximum(size, np.maximum(field, FLOOR * terms) / h)


NEAR = 1e3
"""How many times more or less than payoffs ask for a guess may be."""


def natural_guess(calculus: Calculus, x: Array) -> Array:
    """Follower actions (..., I, n) to start from: the first guess, but as far off their bounds as
    payoffs ask for there where a unit is far more than anybody would do, or far less.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (..., d, J).
    """
    guess, (low, high) = calculus.first_guess, calculus.follower_bounds
    one_sided = np.isfinite(low) != np.isfinite(high)
    if not one_sided.any():
        return guess
    at = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))
    length = natural_lengths(calculus, x, np.broadcast_to(at, (*x.shape[:-2], *at.shape[-2:])))
    ratio = np.where(one_sided & (length > 0), length / np.abs(guess - at), 1.0)
    off = at + np.where(np.isfinite(low), length, -length)
    return np.where((ratio < 1 / NEAR) | (ratio > NEAR), off, guess)


def usual_size(calculus: Calculus) -> Array:
    """How large actions usually are (..., I, n): what has run far away from it has no size of its
    own."""
    if calculus.whole is not None:
        return usual_size(calculus.whole)[calculus.index]
    return calculus.once(_usual_size)


def _usual_size(calculus: Calculus) -> Array:
    """What the payoffs ask for at the natural guess."""
    x = calculus.footing[0]
    size = natural_lengths(calculus, x, natural_guess(calculus, x))
    size = np.where(size > 0, size, size.max((-1, -2), keepdims=True))
    return np.where(size > 0, size, 1.0)
