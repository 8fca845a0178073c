"""How settled followers move when the leaders do."""

from __future__ import annotations

import math

import numpy as np

from stackel.calculus.axes import first_to_last
from stackel.calculus.calculus import Calculus, trace
from stackel.followers import complementarity
from stackel.followers.response import Response
from stackel.followers.systems import Joint
from stackel.game.game import Game
from stackel.types import Array


def sensitivity(game: Game | Calculus, x: Array, at: Response, directions: Array) -> Array:
    """How the settled followers move when the leaders do, by the implicit function theorem.

    At a point where a limit only just binds this is one of the one-sided derivatives.

    Args:
        game: the market.
        x: leader actions (d, J) or a batch (B, d, J).
        at: the settled response there.
        directions: leader directions (r, d, J), the same for every batch element.

    Returns:
        follower directions (..., r, I, n).
    """
    x = np.asarray(x, dtype=float)
    batch = x.shape[:-2]
    flat = x.reshape(math.prod(batch), *x.shape[-2:])
    here = at.reshape((len(flat),))
    system = Joint(trace(game), flat)
    y, lam = system.flat(here.y, here.lam, here.mu)
    with np.errstate(all="ignore"):
        at_low, at_high, off = complementarity.active(
            y, lam, system.values(y, lam), system.scales(y, lam), (system.low, system.high)
        )
        by = system.calculus.by_leaders(here.y, flat, here.lam, here.mu, directions[:, None])
        dF, dc = system.flat(*by)  # (r, B, p), (r, B, q)
        right = np.concatenate(
            [np.where(at_low | at_high, 0.0, -dF), np.where(off, 0.0, -dc)], axis=-1
        )
        rows = complementarity.Rows.units(at_low | at_high, off)
        moved = system.linear_solve(y, lam, rows, first_to_last(right))
    dy = np.moveaxis(moved[:, : system.p], -1, 1)
    return dy.reshape(*batch, len(directions), *system.shape)
