"""Where all followers' equilibria lie if each meets the others only through what they do together:
Cournot markets, contests, queues.

Over a slice of the total S that everybody does, each action that can be an equilibrium's solves one
equation of its own, with the others at S - y; slices that these do not add up to hold none (the
backward replies of Novshek, Review of Economic Studies 52, 1985, as intervals).
"""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.enclosing import Boxes, compile_boxes
from stackel.calculus.intervals import Interval, total
from stackel.calculus.program import Program, compile_program
from stackel.calculus.rewriting import by_totals
from stackel.calculus.shares import by_shares
from stackel.certificate.boxes import MarketBoxes
from stackel.types import Array

CELLS = 24
"""Into how many parts what a follower can do is cut."""

CUTS = np.concatenate([[0.0], 10.0 ** np.arange(-7.0, -2.0), np.linspace(0.02, 1.0, 25)])
"""Where the total is cut, finer where it is small: prices that are powers have a pole at 0."""

SMALL = 10.0 ** -np.arange(0.0, 12.0, 0.5)
"""Shares of the largest total up to which it is asked whether one can be so small at all."""

ROUNDS = 12


class Totals:
    """A market's followers' conditions by their totals.

    Args:
        calculus: the market.

    Attributes:
        applies: whether followers have no limits but bounds, and meet each other only so.
    """

    def __init__(self, calculus: Calculus) -> None:
        boxes, formulas = calculus.once(MarketBoxes), calculus.formulas
        self.boxes = boxes
        self.applies = boxes.q == 0 and boxes.shape[0] > 1
        found = by_totals(boxes.conditions.values[:1], formulas.R) if self.applies else None
        self.applies &= found is not None
        if found is not None:
            (field,), others = found
            self.applies &= self._apart(compile_program([formulas.Y, others, formulas.X], [field]))
            self._shares = by_shares(field, formulas.Y, others)
            inputs = [formulas.Y, others, formulas.X]
            if self._shares is not None:
                inputs, field = [*inputs, self._shares.total], self._shares.formula
                shares = [self._shares.share, self._shares.total, formulas.X]
                self._scaled: Boxes = compile_boxes(shares, [self._shares.scaled])
                self._rest: Boxes = compile_boxes([formulas.X], [self._shares.rest])
            self._field: Boxes = compile_boxes(inputs, [field])

    def _apart(self, field: Program) -> bool:
        """Whether each decision's condition knows of no other decision: not a number stays none in
        whatever depends on it."""
        (x, y), n = self.boxes.calculus.footing, self.boxes.shape[1]
        for k in range(n):
            spoilt = np.where(np.arange(n) == k, np.nan, y)
            with np.errstate(all="ignore"):
                both = (field(at, at, x)[0] for at in (y, spoilt))
                plain, other = (np.delete(np.broadcast_to(v, y.shape), k, 1) for v in both)
            if not np.array_equal(plain, other):
                return False
        return True

    def field(self, Y: Interval, others: Interval, X: Interval, base: Interval | None) -> Interval:
        """Of every follower (..., I, n).

        Args:
            Y: own actions (..., I, n).
            others: what the others do together.
            X: leader actions (..., d, J).
            base: the total that the field has a pole in, where it has one.
        """
        (value,) = self._field(Y, others, X, *(() if base is None else (base,)))
        batch = np.broadcast_shapes(Y.shape[:-2], others.shape[:-2], X.shape[:-2])
        return value.wide((*batch, *self.boxes.shape))

    def narrowed(self, Y: Interval, X: Interval) -> Interval:
        """Bounds (B, I, n) of all equilibria among actions Y.

        Args:
            Y: bounds that are known, finite.
            X: leader actions (B, d, J).
        """
        least = self._least(Y, X)
        for _ in range(ROUNDS):
            whole = total(Y, (-2,))
            ends = whole.lo + (whole.hi - whole.lo) * CUTS.reshape(-1, 1, 1, 1)  # (K + 1, B, 1, n)
            ends[-1] = whole.hi
            S = Interval(ends[:-1], ends[1:])
            low, high = self._replies(Y, X, S, least)
            reached = total(Interval(low, high), (-2,))
            possible = (low <= high).all(-2, keepdims=True)  # everybody has something to do
            possible &= (reached.lo <= S.hi) & (reached.hi >= S.lo)
            low = np.where(possible, low, np.inf).min(0)
            high = np.where(possible, high, -np.inf).max(0)
            good = low <= high  # else rounding, or none: nothing is claimed
            low, high = np.where(good, low, Y.lo), np.where(good, high, Y.hi)
            before, Y = Y, Interval(np.maximum(low, Y.lo), np.minimum(high, Y.hi))
            width = (before.hi - before.lo).sum()
            if not (Y.hi - Y.lo).sum() < 0.9 * width:
                break
        return Y

    def _base(self, S: Interval, X: Interval) -> Interval:
        """The total with the pole, where everybody's actions add up to S (..., B, 1, n)."""
        (rest,) = self._rest(X)
        return S + rest

    def _least(self, Y: Interval, X: Interval) -> Array | None:
        """What the total with the pole (B, 1, n) exceeds in every equilibrium; None if there is
        none.

        Over totals up to some number the field times a power of them, which has no pole, tells
        which shares of it a follower can have: if even the least of these add up to more than the
        whole, no equilibrium has so small a total. At a total of nothing payoffs are not defined.
        """
        if self._shares is None:
            return None
        boxes = self.boxes
        zero = np.zeros((X.shape[0], 1, boxes.shape[1]))
        (rest,) = self._rest(X)
        if rest.shape[-2] != 1 or (boxes.low < 0).any() or (rest.lo < 0).any():
            return zero  # no total of everybody's, or shares below 0
        most = self._base(total(Y, (-2,)), X).hi
        ends = most * SMALL.reshape(-1, 1, 1, 1)  # (K, B, 1, n)
        W = Interval(np.zeros_like(ends), ends)
        parts = _shares(CELLS, W.lo.ndim)  # (M + 1, 1, 1, 1, 1)
        cells = Interval(parts[:-1], parts[1:])
        (value,) = self._scaled(cells, W, X)
        value = value.wide((CELLS, len(ends), X.shape[0], *boxes.shape))
        rises = (value.hi < 0) & ((cells * W).hi < boxes.high)
        falls = (value.lo > 0) & (cells.lo > 0) & (boxes.low <= 0)
        own = np.where(rises | falls, np.inf, cells.lo).min(0)
        none = own.sum(-2, keepdims=True) > 1 + 1e-9
        return np.maximum(zero, np.where(none, ends, 0.0).max(0))

    def _replies(
        self, Y: Interval, X: Interval, S: Interval, least: Array | None
    ) -> tuple[Array, Array]:
        """The least and the most (K, B, I, n) that everybody can do in equilibria of totals S."""
        # The own ends swapped: what the others can do at least, and at most.
        rest = total(Y, (-2,)) - Interval(Y.hi, Y.lo)
        most = np.maximum(np.minimum(Y.hi, (S - rest).hi), Y.lo)
        ends = Y.lo + (most - Y.lo) * _shares(CELLS, S.lo.ndim)  # (M + 1, K, B, I, n)
        ends[-1] = most
        cells = Interval(ends[:-1], ends[1:])
        others = S - cells
        lo, hi = np.maximum(others.lo, rest.lo), np.minimum(others.hi, rest.hi)
        fits, base = lo <= hi, None
        if least is not None:
            base = self._base(S, X)
            fits &= base.hi > least
            base = Interval(np.minimum(np.maximum(base.lo, least), base.hi), base.hi)
        F = self.field(cells, Interval(np.where(fits, lo, hi), hi), X, base)
        low, high = self.boxes.low, self.boxes.high
        # No equilibrium's: what is pulled down and can go down, or up and can go up.
        can = fits & ((F.lo <= 0) | (cells.lo <= low)) & ((F.hi >= 0) | (cells.hi >= high))
        first = np.where(can, cells.lo, np.inf).min(0)
        last = np.where(can, cells.hi, -np.inf).max(0)
        return first, last


def _shares(parts: int, axes: int) -> Array:
    return np.linspace(0.0, 1.0, parts + 1).reshape(-1, *(1,) * axes)
