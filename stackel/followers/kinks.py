"""Kinks of complementarity conditions, and what smooths them (Chen, Harker, Kanzow, Smale)."""

from __future__ import annotations

import numpy as np

from stackel.types import Array


def least(a: Array, b: Array, tau: Array | None) -> Array:
    """min(a, b), its kink smoothed; exact to rounding of the smaller, however large the other.

    Args:
        a, b: arrays of one shape.
        tau: smoothing, in their units; None for none.
    """
    low = np.minimum(a, b)
    if tau is None:
        return low
    apart = np.abs(a - b)
    bend = 2 * tau * tau / (apart + np.sqrt(apart * apart + 4 * tau * tau))
    return low - np.where(np.isfinite(apart), bend, 0.0)


def most(a: Array, b: Array, tau: Array | None) -> Array:
    """max(a, b), its kink smoothed likewise.

    Args:
        a, b, tau: as for :func:`least`.
    """
    return np.maximum(a, b) if tau is None else -least(-a, -b, tau)


def least_slope(a: Array, b: Array, tau: Array | None) -> Array:
    """How the smoothed minimum moves with b; with a it is what is missing to 1.

    Args:
        a, b, tau: as for :func:`least`.
    """
    if tau is None:
        return (a > b) * 1.0
    z = a - b
    slope = (1 + z / np.sqrt(z * z + 4 * tau * tau)) / 2
    return np.where(np.isfinite(z), slope, (z > 0) * 1.0)
