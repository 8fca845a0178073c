"""Leader actions at which followers can meet their limits at all."""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

from stackel.calculus.calculus import Calculus
from stackel.followers.response import Response, settle
from stackel.game.grids import middle
from stackel.types import Array

SPREAD = 16
"""Leader actions over their whole ranges at which an answer of the followers is looked for."""


def leader_actions(calculus: Calculus) -> Array:
    """Leader actions (N, d, J) over their whole ranges: the middle, the ends, and a spread."""
    low, high = calculus.leader_bounds
    centre = middle(low, high)
    left = np.where(np.isfinite(low), low, centre)
    right = np.where(np.isfinite(high), high, 2 * centre - left)
    parts = qmc.Sobol(centre.size, rng=0).random(SPREAD).reshape(SPREAD, *centre.shape)
    together = np.broadcast_to(np.linspace(0.0, 1.0, 9)[:, None, None], (9, *centre.shape))
    inner = left + (right - left) * np.concatenate([together, parts])
    return np.concatenate([centre[None], inner])


def somewhere(calculus: Calculus) -> tuple[Array, Response]:
    """Leader actions (d, J) at which the followers settle, and their answer; the middle of the
    bounds if they do there, or if they were found to nowhere. One market."""
    x = leader_actions(calculus)
    first = settle(calculus, x[:1])
    if first.converged[0]:
        return x[0], first[0]
    rest = settle(calculus, x[1:])
    if not rest.converged.any():
        return x[0], first[0]
    k = int(rest.converged.argmax())
    return x[1 + k], rest[k]
