"""A bound of what a leader could gain alone: branch and bound over its own decisions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from stackel.calculus.intervals import Interval
from stackel.certificate.answers import Answers
from stackel.certificate.boxes import MarketBoxes, halved
from stackel.certificate.enclosure import Enclosure
from stackel.certificate.sides import Side
from stackel.run import check_time
from stackel.types import Array

AT_ONCE = 64
"""Boxes looked at together."""

FIRST = {1: 16, 2: 4, 3: 3}
"""Into how many parts each decision is cut to begin with, by how many decisions there are."""

HOPELESS = 240
"""Boxes after which a search in which nothing at all is known is given up."""

DEAR = 3
"""More boxes that one counts for where the followers are not known to have one equilibrium: they
are looked at again and again, and most often for nothing."""

GROW = 1 + 1e-12


def bound_leader(
    market: MarketBoxes,
    x: Array,
    y: Array,
    j: int,
    scale: float,
    tolerance: float,
    boxes: int,
    report: Callable[[int], None] | None = None,
) -> Side:
    """What leader j could gain by other decisions of its own, the followers answering.

    Args:
        market: the market over boxes.
        x, y: leader actions (d, J) and follower actions (I, n).
        j: the leader.
        scale: what its gain is measured against.
        tolerance: the share of it that counts as none.
        boxes: most boxes.
        report: called with the boxes looked at so far.
    """
    low, high = (b[:, j] for b in market.calculus.leader_bounds)
    why = market.unsupported
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        why = "its decisions are not bounded"
    if len(low) > max(FIRST):
        why = "it has too many decisions to search"
    if why:
        return Side("leader", j, np.inf, 0.0, scale, tolerance, 0, why=why)
    return _Search(market, x, y, j, scale, tolerance).run(boxes, report)


class _Search:
    def __init__(
        self, market: MarketBoxes, x: Array, y: Array, j: int, scale: float, tolerance: float
    ) -> None:
        self.market, self.x, self.y, self.j = market, x, y, j
        self.scale, self.tolerance = scale, tolerance
        self.enclosure = Enclosure(market, j, x, y)
        self.low, self.high = (b[:, j] for b in market.calculus.leader_bounds)
        self.used, self.spent, self.every, self.top = 0, 0, False, -np.inf
        self.found, self.action, self.answer = 0.0, None, None
        self.first = True
        self.done: list[tuple[Array, Array, Array]] = []

    def _side(self, bound: float, why: str = "") -> Side:
        return Side(
            "leader",
            self.j,
            bound,
            self.found,
            self.scale,
            self.tolerance,
            self.used,
            self.every,
            why,
            self.action,
            self.answer,
            *self._pieces_done(),
        )

    def _pieces_done(self) -> tuple[Array, Array, Array]:
        """The boxes that were done with, in order, and the payoff's bound over each."""
        d = len(self.low)
        nothing = np.zeros((0, d)), np.zeros((0, d)), np.zeros(0)
        lows, highs, uppers = (np.concatenate(a) for a in zip(nothing, *self.done, strict=True))
        order = np.lexsort(lows.T[::-1])
        return lows[order], highs[order], uppers[order]

    def _start(self) -> tuple[Interval, Interval, str]:
        """The payoff at the point, and where the followers settle there, or why these are not
        close enough."""
        own = self.x[None, :, self.j]
        now = self.market.leader_value(self.j, Interval(self.x[None]), Interval(self.y[None]))
        answers = self.enclosure.enclose(own, own, own)
        self.used += 1
        if not now.finite.all():
            return now, now, "its payoff is not finite at the point"
        if not answers.known[0]:
            return now, now, f"{answers.why[0]} at the point"
        at = answers.centre.reshape(1, *self.market.shape)
        settled = self.market.leader_value(self.j, Interval(self.x[None]), at)
        drift = max(now.hi[0] - settled.lo[0], settled.hi[0] - now.lo[0])
        # Whose payoff no move changes gains nothing, however it is measured.
        if self.scale > 0 and not drift <= self.tolerance * self.scale + 1e-15 * now.mag[0]:
            if answers.why[0]:
                return now, settled, f"{answers.why[0]} at the point"
            return now, settled, (
                "the followers are not settled to the accuracy that its payoff needs: by "
                f"{drift:.3g}"
            )  # fmt: skip
        return now, settled, ""

    def run(self, boxes: int, report: Callable[[int], None] | None = None) -> Side:
        if (self.low == self.high).all():  # nowhere to go
            return self._side(0.0)
        now, settled, why = self._start()
        if why:
            return self._side(np.inf, why)
        least, most = min(now.lo[0], settled.lo[0]), max(now.hi[0], settled.hi[0])
        goal = least + self.tolerance * self.scale
        low, high = self._pieces()
        anything, last = False, ""
        while len(low):
            check_time()
            if report is not None:
                report(self.used)
            if self.spent >= boxes:
                where = f"boxes spent with {len(low)} boxes left, at {low[0]} to {high[0]}"
                return self._side(np.inf, f"{where}{f': {last}' if last else ''}")
            lo, hi = low[:AT_ONCE], high[:AT_ONCE]
            low, high = low[AT_ONCE:], high[AT_ONCE:]
            self.used += len(lo)
            centre = np.clip(lo + (hi - lo) / 2, lo, hi)
            answers = self.enclosure.enclose(lo, hi, centre)
            self.spent += len(lo) + DEAR * int(answers.every.sum())
            self.every |= bool((answers.every & answers.known).any())
            upper, moves = self._upper(lo, hi, centre, answers)
            if not len(low) and self._flat(answers, moves):
                return self._side(0.0 if self.scale == 0 else max(most - least, 0.0))
            self.first = False
            closed, open_ = self._limits(lo, hi, centre, answers)
            at = answers.centre.reshape(len(lo), *self.market.shape)
            value = self.market.leader_value(self.j, self.enclosure.profiles(centre, centre), at)
            # Of any equilibrium that there may be there might be none: one that is known to be
            # there has a slope.
            there = answers.known & answers.slope.finite.all((1, 2))
            sure = there & open_ & value.finite
            gain = np.where(sure, value.lo - most, -np.inf)
            k = int(gain.argmax())
            if gain[k] > max(self.found, self.tolerance * self.scale):
                self.found, self.action = float(gain[k]), centre[k]
                self.answer = at.mid[k]
                return self._side(np.inf)
            done = answers.known & (closed | (upper <= goal))
            kept = done & ~closed
            self.done.append((lo[kept], hi[kept], upper[kept]))
            tops = np.where(kept, upper, -np.inf)
            self.top = max(self.top, float(tops.max(initial=-np.inf)))
            anything |= bool((done | (answers.known & ~answers.every)).any())
            rest = np.flatnonzero(~done)
            for k in rest[(answers.every | ~answers.known)[rest]][:1]:
                last = f"{answers.why[k]} at {lo[k]} to {hi[k]}"
            tight = ((hi - lo)[rest] <= 1e-13 * (self.high - self.low)).all(-1)
            if tight.any():
                k = int(rest[tight][0])
                what = answers.why[k] or "its payoff is not bounded tightly enough"
                return self._side(np.inf, f"{what}, at {centre[k]}")
            if self.used >= HOPELESS and not anything:
                return self._side(np.inf, last)
            more = self._halved(lo[rest], hi[rest], moves[rest], answers.known[rest])
            low, high = (np.concatenate(pair) for pair in zip((low, high), more, strict=True))
        return self._side(max(self.top - least, 0.0))

    def _flat(self, answers: Answers, moves: Array) -> bool:
        """Whether boxes that make up the whole range, as the first ones do, show that nothing that
        the leader does changes what it has: no scale could measure what rounding leaves then."""
        one = answers.known & ~answers.every
        return bool(self.first and one.all() and not moves.any())

    def _pieces(self) -> tuple[Array, Array]:
        """The whole range in a few parts, cut at the point itself."""
        d, own = len(self.low), self.x[:, self.j]
        low, high = self.low[None], self.high[None]
        for a in range(d):
            cuts = np.linspace(self.low[a], self.high[a], FIRST[d] + 1)
            cuts = np.unique(np.concatenate([cuts, np.clip(own[a : a + 1], cuts[0], cuts[-1])]))
            if len(cuts) == 1:
                continue
            lows, highs = [], []
            for left, right in pairwise(cuts):
                lo, hi = low.copy(), high.copy()
                lo[:, a], hi[:, a] = left, right
                lows.append(lo)
                highs.append(hi)
            low, high = np.concatenate(lows), np.concatenate(highs)
        return low, high

    def _upper(self, lo: Array, hi: Array, centre: Array, answers: Answers) -> tuple[Array, Array]:
        """An upper bound of the payoff over each box (B,), and how much each decision may move it
        there (B, d)."""
        market, j, B = self.market, self.j, len(lo)
        X, shape = self.enclosure.profiles(lo, hi), (B, *market.shape)
        over, at = answers.over.reshape(*shape), answers.centre.reshape(*shape)
        natural = market.leader_value(j, X, over).hi
        value = market.leader_value(j, self.enclosure.profiles(centre, centre), at)
        own, by_y = market.leader_slopes(j, X, over)
        total = own + (by_y.reshape(B, 1, market.p) @ answers.slope).reshape(B, lo.shape[1])
        half = np.maximum(hi - centre, centre - lo) * (1 + 1e-15)
        moves = np.where(half == 0, 0.0, total.mag * half)
        mean = value.hi + moves.sum(-1) * GROW
        mean = np.nextafter(mean, np.inf)
        return np.where(np.isnan(mean), natural, np.fmin(natural, mean)), moves

    def _limits(self, lo: Array, hi: Array, centre: Array, answers: Answers) -> tuple[Any, Any]:
        """Which boxes surely break the leader's own limits everywhere, and which centres surely
        meet them (B,)."""
        market, shape = self.market, (len(lo), *self.market.shape)
        X, C = self.enclosure.profiles(lo, hi), self.enclosure.profiles(centre, centre)
        over = market.leader_limits(self.j, X, answers.over.reshape(*shape))
        at = market.leader_limits(self.j, C, answers.centre.reshape(*shape))
        return (over.lo > 0).any(-1), (at.hi <= 0).all(-1)

    def _halved(self, lo: Array, hi: Array, moves: Array, known: Array) -> tuple[Array, Array]:
        """Boxes halved where the payoff may move most; unknown ones where they are widest."""
        width = np.maximum(self.high - self.low, 1e-300)
        weight = np.where(np.isfinite(moves) & known[:, None], moves, 0.0)
        axis = np.where(weight.any(-1), weight.argmax(-1), ((hi - lo) / width).argmax(-1))
        return halved(lo, hi, axis)
