"""Moves that are not open to a leader, since its followers have no answer to them: they cannot meet
their limits there, or want more without end."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.intervals import Interval
from stackel.calculus.rewriting import depends
from stackel.certificate.boxes import MarketBoxes
from stackel.certificate.replies import reach
from stackel.followers.lengths import usual_size
from stackel.followers.limits import can_be_met
from stackel.types import Array

CANNOT = "followers cannot meet their limits there"

ENDLESS = "followers want more without end there"

BEYOND = 1e6
"""Times what followers do at the point, or usually, from which on they want more without end."""


AT_ONCE = 64
"""Moves that are looked at together."""


def closed(calculus: Calculus, element: Array, x: Array, y: Array) -> list[str]:
    """Why each of some moves is not open to whoever makes it; '' where that is not known.

    Args:
        calculus: one market, or a batch of B.
        element: which element of the batch each move is of (N,).
        x: leader actions (N, d, J) at which the followers were not found to settle.
        y: what they do at the point (N, I, n).
    """
    met = can_be_met(calculus.at(element), x, y)
    why = np.full(len(x), "", dtype=object)
    lost = np.flatnonzero(~met)
    why[lost[_surely(calculus.at(element[lost]), x[lost], y[lost])]] = CANNOT
    for k in np.unique(element) if calculus.batched else [None]:
        rows = np.flatnonzero(met & (True if k is None else element == k))
        market = calculus if k is None else calculus.at([k])
        for part in (rows[s : s + AT_ONCE] for s in range(0, len(rows), AT_ONCE)):
            why[part[_endless(market, x[part], y[part])]] = ENDLESS
    return list(why)


def _surely(calculus: Calculus, x: Array, y: Array) -> Array:
    """Of moves at which a search found no way to meet the limits, where there is none (N,): where
    that search sees everything (limits are affine; or each is about the own action alone and convex
    in it), or where some limit is broken whatever anybody does within bounds."""
    if not len(x) or calculus.concavity.affine_together:
        return np.ones(len(x), dtype=bool)
    formulas, bounds = calculus.formulas, calculus.follower_bounds
    sure = np.zeros(len(x), dtype=bool)
    if not calculus.k and not any(depends(c, formulas.R) for c in formulas.own_limits.values()):
        sure |= calculus.concavity.limits_convex(y, x, bounds)
    if not calculus.batched:
        boxes = calculus.once(MarketBoxes)
        whole = Interval(*(np.broadcast_to(b, y.shape) for b in bounds))
        with np.errstate(all="ignore"):
            values = boxes.system(boxes.inputs(whole, Interval(x)), x.shape[:1])
        sure |= (values.lo[:, boxes.p :] > 0).any(-1)
    return sure


def _endless(calculus: Calculus, x: Array, y: Array) -> Array:
    """Where no equilibrium has everybody's actions within reach (N,): whatever the others do, some
    payoff rises in the own action as far as that. One market."""
    low, high = calculus.follower_bounds
    if np.isfinite(low).all() and np.isfinite(high).all():
        return np.zeros(len(x), dtype=bool)
    size = np.maximum(np.abs(y), usual_size(calculus))
    with np.errstate(all="ignore"):
        found = reach(calculus.once(MarketBoxes), Interval(x), size)
    far: Array = (np.maximum(found.lo, -found.hi) > BEYOND * size).any((-1, -2))
    return far


def said(calculus: Calculus, x: Array, moves: list[tuple[Array, str]]) -> list[str]:
    """Where leaders cannot go, in words, a note for each reason.

    Args:
        calculus: the market.
        x: the leaders' actions (d, J).
        moves: leader actions (d, J) that are closed, and why.
    """
    notes, name = [], calculus.leader_name
    for why in dict.fromkeys(why for _, why in moves):
        profiles = np.array([profile for profile, reason in moves if reason == why])
        moved, parts = profiles != x, []
        for row, j in np.argwhere(moved.any(0)):
            values = profiles[moved[:, row, j], row, j]
            parts.append(f"leader {j} at {name} from {values.min():.6g} to {values.max():.6g}")
        notes.append(f"moves not available, {why}: {'; '.join(parts)}")
    return notes
