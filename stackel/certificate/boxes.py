"""One market's formulas over boxes of everybody's actions: rigorous bounds of what
:class:`stackel.calculus.Calculus` computes at points.

The followers' unknowns are z = (y, lam, mu), flat: p = I n actions, then q multipliers, of each
follower's own limits and of the shared ones. Boxes are batches of B; leader actions (B, d, J).
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.curvature import Curvature
from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.enclosing import Boxes, compile_boxes
from stackel.calculus.expression import symbol, take
from stackel.calculus.formulas import Conditions, first_order
from stackel.calculus.intervals import Interval, join
from stackel.calculus.rewriting import depends, tightened
from stackel.calculus.structure import degree
from stackel.types import Array


class _Leader(NamedTuple):
    """What is compiled of one leader: its payoff, how that moves, and its limits."""

    value: Boxes
    slopes: Boxes
    limits: Boxes


class MarketBoxes:
    """A market's formulas over boxes.

    Args:
        calculus: one market.

    Attributes:
        unsupported: why nothing is proved about the followers together; empty if it can be.
    """

    def __init__(self, calculus: Calculus) -> None:
        self.calculus, f = calculus, calculus.formulas
        self.shape = calculus.follower_shape
        self.p = calculus.first_guess.size
        self.q = calculus.n_followers * calculus.m + calculus.k
        self.low, self.high = calculus.follower_bounds
        (payoff,) = tightened([f.follower_payoff], f.Y)
        inputs, _, values = first_order(f, payoff)
        values = tightened(values)  # before they are differentiated again
        self.conditions = Conditions(inputs, values[0], values)
        self.curvature = f.once(Curvature)
        self.unsupported = ""
        if any(depends(e, f.R) for e in f.own_limits.values()):
            self.unsupported = "a follower's own limit depends on its rivals"
        if any(degree(e, f.Y) > 1 for e in f.shared_limits.values()):
            self.unsupported = "a shared limit is not affine"
        self._leaders: dict[int, _Leader] = {}

    # -- the followers' conditions -----------------------------------------------------------------

    def inputs(
        self,
        Y: Interval,
        X: Interval,
        multipliers: Interval | None = None,
        R: Interval | None = None,
    ) -> list[Interval]:
        """The arguments of the conditions' programs.

        Args:
            Y: own actions (B, I, n).
            X: leader actions (B, d, J).
            multipliers: lam and mu (B, q); default 0.
            R: everybody's actions, if not Y.
        """
        I, m, out = self.shape[0], self.calculus.m, [Y, Y if R is None else R, X]
        flat = Interval(np.zeros(self.q)) if multipliers is None else multipliers
        batch = flat.shape[:-1]
        out.append(flat[..., : I * m].reshape(*batch, I, m))
        start = I * m
        for e in self.calculus.formulas.shared_limits.values():
            size = e.shape[0] * e.shape[1]
            out.append(flat[..., start : start + size].reshape(*batch, *e.shape))
            start += size
        return out

    def _flat(self, values: tuple[Interval, ...], batch: tuple[int, ...]) -> Interval:
        """Field and limits side by side (*batch, p + q)."""
        ends = []
        for end in ("lo", "hi"):
            parts = self.calculus.split([getattr(v, end) for v in values], batch)
            flat = [v.reshape(*batch, -1) for v in parts[:2]]
            ends.append(np.concatenate([*flat, parts[2]], -1))
        return Interval(*ends)

    @cached_property
    def _values(self) -> Boxes:
        return compile_boxes(self.conditions.inputs, self.conditions.values)

    def system(self, inputs: list[Interval], batch: tuple[int, ...]) -> Interval:
        """Field and limits (*batch, p + q).

        Args:
            inputs: what :meth:`inputs` makes.
            batch: the boxes' axes.
        """
        return self._flat(self._values(*inputs), batch)

    @cached_property
    def _moved(self) -> Boxes:
        f, inputs = self.calculus.formulas, self.conditions.inputs
        along = {s: symbol(f"along {s.param}", s.shape) for s in inputs if s is not f.R}
        moved = directional(self.conditions.values, {**along, f.R: along[f.Y]})
        return compile_boxes([*inputs, *along.values()], moved)

    def jacobian(
        self, inputs: list[Interval], batch: tuple[int, ...], leader: int | None
    ) -> tuple[Interval, Interval]:
        """Derivatives of field and limits by z, (*batch, p + q, p + q), and by a leader's own
        decisions, (*batch, p + q, d) (none: d = 0).

        Args:
            inputs: what :meth:`inputs` makes.
            batch: the boxes' axes.
            leader: which one.
        """
        (d, J), z = self.calculus.leader_shape, self.p + self.q
        count = z + (0 if leader is None else d)
        units = np.zeros((count, z + d * J))
        units[:z, :z] = np.eye(z)
        if leader is not None:
            units[z + np.arange(d), z + np.arange(d) * J + leader] = 1.0
        one = (1,) * len(batch)
        y = units[:, : self.p].reshape(count, *one, *self.shape)
        x = units[:, z:].reshape(count, *one, d, J)
        multipliers = Interval(units[:, self.p : z].reshape(count, *one, self.q))
        directions = self.inputs(Interval(y), Interval(x), multipliers)
        del directions[1]  # rivals move as everybody does
        out = self._flat(self._moved(*inputs, *directions), (count, *batch)).moveaxis(0, -1)
        return out[..., :z], out[..., z:]

    # -- payoffs -------------------------------------------------------------------------------

    @cached_property
    def _payoffs(self) -> Boxes:
        f = self.calculus.formulas
        return compile_boxes([f.Y, f.R, f.X], [f.follower_payoff])

    def payoffs(self, Y: Interval, R: Interval, X: Interval) -> Interval:
        """Followers' payoffs (..., I).

        Args:
            Y, R: own actions and everybody's.
            X: leader actions.
        """
        (value,) = self._payoffs(Y, R, X)
        batch = np.broadcast_shapes(Y.shape[:-2], R.shape[:-2], X.shape[:-2])
        return value.wide((*batch, self.shape[0], 1))[..., 0]

    def own_slopes(self, Y: Interval, R: Interval, X: Interval) -> Interval:
        """Slopes of followers' payoffs by their own actions (..., I, n): minus the field without
        multipliers.

        Args:
            Y, R: own actions and everybody's.
            X: leader actions.
        """
        batch = np.broadcast_shapes(Y.shape[:-2], R.shape[:-2], X.shape[:-2])
        field = self._values(*self.inputs(Y, X, R=R))[0]
        return -field.wide((*batch, *self.shape))

    def _leader(self, j: int) -> _Leader:
        if j not in self._leaders:
            f = self.calculus.formulas
            own = (Ellipsis, slice(j, j + 1))
            value, inputs = take(f.leader_payoff, own), [f.X, f.Y]
            limits = [take(e, own) for e in f.leader_limits.values()]
            self._leaders[j] = _Leader(
                compile_boxes(inputs, [value]),
                compile_boxes(inputs, gradient(value, f.X, f.Y)),
                compile_boxes(inputs, limits),
            )
        return self._leaders[j]

    def leader_value(self, j: int, X: Interval, Y: Interval) -> Interval:
        """Leader j's payoff (B,).

        Args:
            j: the leader.
            X, Y: boxes (B, d, J) and (B, I, n).
        """
        (value,) = self._leader(j).value(X, Y)
        return value.wide((*X.shape[:-2], 1, 1))[..., 0, 0]

    def leader_slopes(self, j: int, X: Interval, Y: Interval) -> tuple[Interval, Interval]:
        """How leader j's payoff moves with its own decisions (B, d), and with the followers'
        actions (B, p).

        Args:
            j: the leader.
            X, Y: boxes (B, d, J) and (B, I, n).
        """
        by_x, by_y = self._leader(j).slopes(X, Y)
        batch = X.shape[:-2]
        own = by_x.wide((*batch, *self.calculus.leader_shape))[..., j]
        return own, by_y.wide((*batch, *self.shape)).reshape(*batch, self.p)

    def leader_limits(self, j: int, X: Interval, Y: Interval) -> Interval:
        """Leader j's limits (B, m).

        Args:
            j: the leader.
            X, Y: boxes (B, d, J) and (B, I, n).
        """
        values = self._leader(j).limits(X, Y)
        batch = X.shape[:-2]
        flat = [v.wide((*batch, *v.shape[-2:]))[..., 0] for v in values]
        return join(flat, -1) if flat else Interval(np.zeros((*batch, 0)))


def halved(lo: Array, hi: Array, axis: Array) -> tuple[Array, Array]:
    """Boxes cut in two: first all lower halves, then all upper ones.

    Args:
        lo, hi: the boxes (K, d).
        axis: along which each is cut (K,).
    """
    rows = np.arange(len(lo))
    cut = lo[rows, axis] + (hi - lo)[rows, axis] / 2
    left, right = np.array(hi), np.array(lo)
    left[rows, axis] = right[rows, axis] = cut
    return np.concatenate([lo, right]), np.concatenate([left, hi])
