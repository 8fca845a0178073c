"""Which actions can be a follower's best reply at all, over boxes of leader actions: whatever is
never one, whatever the others do, is cut off."""

from __future__ import annotations

import numpy as np

from stackel.calculus.intervals import Interval
from stackel.certificate.boxes import MarketBoxes
from stackel.types import Array

CUTS = np.concatenate([[0.0], 10.0 ** np.linspace(-2, 8, 41)])
"""Where an action is cut, in sizes of the one that it is measured from."""

NEAR = 10.0 ** np.linspace(-6, 0, 25)
"""The same from the lower bound, in widths of the range: what is small beside that."""

ROUNDS = 3

PIECES = 24
"""Into how many parts a follower's range is cut to look for its best replies."""


def reach(boxes: MarketBoxes, X: Interval, y: Array, alone: bool = False) -> Interval:
    """Bounds (B, I, n) of every follower equilibrium: an action beyond which the own payoff falls
    in it whatever else anybody does is none.

    Args:
        boxes: the market.
        X: leader actions (B, d, J).
        y: follower actions to measure from (B, I, n).
        alone: of every follower's best replies to y instead, the others held.
    """
    n = boxes.shape[1]
    low, high = (np.array(np.broadcast_to(b, y.shape)) for b in (boxes.low, boxes.high))
    upwards = Interval(np.zeros(boxes.q), np.full(boxes.q, np.inf))
    size = np.abs(y).max(-1, keepdims=True)
    size = np.where(size > 0, size, np.maximum(np.abs(y).max((-1, -2), keepdims=True), 1e-9))
    steps = CUTS.reshape(-1, 1, 1, 1) * size
    near = NEAR.reshape(-1, 1, 1, 1) * np.where(np.isfinite(high - low), high - low, size)
    for _ in range(ROUNDS):
        before = low.copy(), high.copy()
        rivals = Interval(y) if alone else Interval(low.copy(), high.copy())
        for a in range(n):
            for up in (True, False):
                ends = [y + steps if up else y - steps, low + near]
                if not up and not np.isfinite(high).all():  # none may lie below where it rises to
                    ends.append(y + steps)
                ends = [e for e in ends if np.isfinite(e).all()]
                if not ends:
                    continue
                cut = np.concatenate(ends)
                cut = np.clip(cut, low, high)
                box = [np.array(np.broadcast_to(e, cut.shape)) for e in (low, high)]
                box[0 if up else 1][..., a] = cut[..., a]
                inputs = boxes.inputs(Interval(*box), X, upwards, rivals)
                field = boxes.system(inputs, cut.shape[:2])[..., : boxes.p].reshape(*cut.shape)
                falls = field.lo[..., a] > 0 if up else field.hi[..., a] < 0
                if up:
                    best = np.where(falls, cut[..., a], np.inf).min(0)
                    high[..., a] = np.minimum(high[..., a], best)
                else:
                    best = np.where(falls, cut[..., a], -np.inf).max(0)
                    low[..., a] = np.maximum(low[..., a], best)
        if (before[0] == low).all() and (before[1] == high).all():
            break
    return Interval(low, high)


def every_reply(boxes: MarketBoxes, X: Interval, y: Array) -> Interval:
    """Bounds (B, I, 1) of every follower equilibrium, one or many, concave or not: of followers
    with one decision and no limits but bounds.

    Args:
        boxes: the market.
        X: leader actions (B, d, J).
        y: follower actions to measure from (B, I, 1).
    """
    found = reach(boxes, X, y)
    low, high = np.array(found.lo), np.array(found.hi)
    parts = np.linspace(0.0, 1.0, PIECES + 1).reshape(-1, 1, 1, 1)
    for _ in range(ROUNDS):
        finite = np.isfinite(high - low)
        a, c = np.where(finite, low, 0.0), np.where(finite, high, 0.0)
        grid = np.clip(a + (c - a) * parts, a, c)
        grid[-1] = c
        R = Interval(low, high)
        over = boxes.payoffs(Interval(grid[:-1], grid[1:]), R, X)
        sure = boxes.payoffs(Interval(grid), R, X).lo.max(0)
        keep = ~(over.hi < sure)
        first = np.where(keep, grid[:-1, ..., 0], np.inf).min(0)[..., None]
        last = np.where(keep, grid[1:, ..., 0], -np.inf).max(0)[..., None]
        good = finite & (first <= last)
        low, high = np.where(good, first, low), np.where(good, last, high)
    return Interval(low, high)
