"""Where the formulas of a market have values at all: a point to start from.

The middle of the bounds need not be one: a logarithm of what a limit keeps positive has no value
where that limit is broken. Limits themselves have values there, and lead to where they are met.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from stackel.types import Array

Calculus = Any  # a stackel.calculus.Calculus, which asks here for its footing

MARGINS = (0.3, 0.1, 0.03, 0.01)
"""How far inside their limits actions are looked for, as a share of what these are made of."""

SHARES = (0.5, 0.0, 1.0, 0.1, 0.9, 0.25, 0.75)
"""Where between the leaders' lowest and highest actions."""


def find_footing(calculus: Calculus, x: Array, y: Array) -> tuple[Array, Array]:
    """Leader and follower actions at which the followers' first-order conditions have values; the
    ones given where they do there, or where nothing better is found.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (..., d, J) and follower actions (..., I, n).
    """
    if calculus.batched or _finite(calculus, x, y):
        return x, y
    low, high = calculus.leader_bounds
    width = np.where(np.isfinite(high - low), high - low, 2 * np.abs(x - np.maximum(low, -1e300)))
    for share in SHARES:
        there = x + (share - 0.5) * width
        if _finite(calculus, there, y):
            return there, y
        for margin in MARGINS if calculus.m or calculus.k else ():
            inside = _inwards(calculus, there, y, margin)
            if _finite(calculus, there, inside):
                return there, inside
    return x, y


def _finite(calculus: Calculus, x: Array, y: Array) -> bool:
    values = calculus.system(y, y, x, *calculus.zeros(y.shape[:-2]))
    return all(np.isfinite(v).all() for v in values)


def _inwards(calculus: Calculus, x: Array, y: Array, margin: float) -> Array:
    """Follower actions (I, n) that meet their limits with some room, or nearly."""
    none = calculus.zeros(())
    units = np.eye(y.size).reshape(-1, *y.shape)
    first = calculus.system(y, y, x, *none)[1:]
    room = [margin * (np.abs(v) + 1e-300) for v in first]

    def broken(flat: Any) -> tuple[float, Any]:
        profile = flat.reshape(y.shape)
        values = calculus.system(profile, profile, x, *none)[1:]
        slopes = calculus.joint(profile, x, *none, units)[1:]
        value, slope = 0.0, np.zeros(y.size)
        for v, r, s in zip(values, room, slopes, strict=True):
            over = np.maximum(v / r + 1.0, 0.0)
            value += 0.5 * float((over**2).sum())
            slope += ((over / r) * s).reshape(y.size, -1).sum(1)
        if not np.isfinite(value) or not np.isfinite(slope).all():
            return 1e300, np.zeros_like(flat)
        return value, slope

    bounds = list(zip(*(b.ravel() for b in calculus.follower_bounds), strict=True))
    found = minimize(broken, y.ravel(), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x.reshape(y.shape)
