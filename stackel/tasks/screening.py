"""Checks of many stacked games before any solver starts: those beyond doubt go on together.

The same questions as :mod:`stackel.feasibility` asks of one game. A game that fails one here is
not refused: it is left to be looked at alone, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stackel.calculus.batch import agreeing
from stackel.calculus.calculus import Calculus, trace
from stackel.followers import response
from stackel.followers.existence import contracting, derivatives, opposing
from stackel.followers.response import Response
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.types import Array


def screen(whole: Calculus, games: Sequence[Game]) -> tuple[Array, Response]:
    """Which games of a stack are beyond doubt (B,), and their followers' answer in the middle of
    the leaders' bounds."""
    good = agreeing(whole, games) & _finite(whole) & _not_diverging(whole)
    settled = response.settle(whole, middle(*whole.leader_bounds))
    return good & settled.converged, settled


def _finite(whole: Calculus) -> Array:
    """Where payoffs and their derivatives are finite in the middle of the bounds (B,)."""
    calculus = trace(whole)
    x = middle(*whole.leader_bounds)
    y = inside(whole, first_guess(whole))
    field = calculus.system(y, y, x, *calculus.zeros(x.shape[:1]))[0]
    values = (calculus.follower_payoffs(y, y, x), calculus.leader_values(x, y)[0], field)
    return np.all([np.isfinite(v).reshape(len(x), -1).all(-1) for v in values], axis=0)


def _not_diverging(whole: Calculus) -> Array:
    """Where the followers' best replies surely do not reinforce each other without end (B,)."""
    structure = trace(whole).concavity
    bounded = np.isfinite(whole.follower_bounds[1]).any((-1, -2))
    if not structure.affine_field or trace(whole).k:
        return np.ones(len(bounded), dtype=bool)
    x = middle(*whole.leader_bounds)
    _, replies = derivatives(whole, x, first_guess(whole))
    known = np.isfinite(replies).all((-1, -2))
    replies = np.where(known[:, None, None], replies, 0.0)
    return bounded | ~known | opposing(replies) | contracting(replies)
