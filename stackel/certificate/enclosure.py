"""Where the followers' equilibrium lies over boxes of one leader's actions.

*The only one*: the field's derivative over all actions that followers can take, bounded by
intervals (:mod:`stackel.certificate.uniqueness`); own limits convex, shared ones affine.

*Where*: Krawczyk's operator on the piecewise smooth system

    y = mid(low, y - D F(y, max(w, 0)), high),    S c(y) = min(w, 0),

where w is Robinson's normal-map variable of the limits, the multiplier where it is positive and
what is left of the limit where it is negative (Robinson, Math. of Operations Research 17, 1992).
Slopes across kinks are convex combinations of those on either side (Neumaier, Interval Methods for
Systems of Equations, 1990, chapter 5); at a kink of w one unknown number moves its whole column,
which the entries' intervals alone would forget. A box that the operator maps into itself holds a
solution for every x of its box: the only one.

Where that does not contract (strongly coupled kinks), a point that nearly solves the equations is
near the solution by the modulus or the comparison matrix. Where the solution need not be the only
one, every best reply is enclosed: then bounds hold for any equilibrium that there may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.intervals import Interval, ball, join, point_matmul
from stackel.certificate.boxes import MarketBoxes
from stackel.certificate.linear import fixed_point, inverse, times, where_known
from stackel.certificate.replies import every_reply, reach
from stackel.certificate.uniqueness import TINY, UNIT, dominance, modulus
from stackel.followers.response import settle
from stackel.followers.starts import inside
from stackel.types import Array

ROUNDS = 4
"""Most applications of Krawczyk's operator."""


@dataclass
class Answers:
    """The followers' answers to a leader's actions, of B boxes.

    Attributes:
        known: where there are bounds (B,).
        every: where these are of all equilibria that there may be, rather than of the only one.
        over: their actions over the box (B, p).
        centre: their actions at the box's centre (B, p).
        slope: how they move, y(x) - y(centre) is in slope (x - centre) (B, p, d).
        why: why they are not known, in words, of each box.
    """

    known: Array
    every: Array
    over: Interval
    centre: Interval
    slope: Interval
    why: list[str]


class Enclosure:
    """The followers' answers over boxes of one leader's decisions.

    Args:
        boxes: the market.
        leader: who decides.
        x: the profile whose other entries stay (d, J).
        y: the followers' actions there (I, n).
    """

    def __init__(self, boxes: MarketBoxes, leader: int, x: Array, y: Array) -> None:
        self.boxes, self.leader, self.x, self.y = boxes, leader, x, y
        self.calculus = boxes.calculus
        self.low, self.high = boxes.low.ravel(), boxes.high.ravel()
        bounds = (b[None, :, leader] for b in self.calculus.leader_bounds)
        self.whole = self._all_actions(self.profiles(*bounds))

    def profiles(self, low: Array, high: Array) -> Interval:
        """Leader actions (B, d, J) where the leader's own are in a box (B, d)."""
        ends = []
        for own in (low, high):
            out = np.repeat(self.x[None], len(own), axis=0)
            out[:, :, self.leader] = own
            ends.append(out)
        return Interval(*ends)

    # -- the only one ------------------------------------------------------------------------------

    def _all_actions(self, X: Interval) -> _Everywhere:
        """What holds over all actions of the followers, for boxes X of leader actions."""
        boxes, B = self.boxes, X.shape[0]
        shape = (B, *boxes.shape)
        Y = Interval(np.broadcast_to(boxes.low, shape), np.broadcast_to(boxes.high, shape))
        J = self._field_jacobian(Y, X)
        v, w, dominant = dominance(J)
        m = modulus(J)
        if not ((m > 0) | dominant).all() or not J.finite.all():
            Y = reach(boxes, X, np.broadcast_to(self.y, shape))
            J = self._field_jacobian(Y, X)
            v, w, dominant = dominance(J)
            m = modulus(J)
        only = np.array(m > 0)
        if not boxes.q:  # within bounds alone every H-matrix will do
            only |= dominant
        only &= boxes.limits_convex(Y, X, (B,)) & (not boxes.unsupported)
        return _Everywhere(Y, v, w, dominant & (boxes.q == 0), m, only)

    def _field_jacobian(self, Y: Interval, X: Interval) -> Interval:
        batch = X.shape[:1]
        inputs = self.boxes.inputs(Y, X)
        return self.boxes.jacobian(inputs, batch, None)[0][:, : self.boxes.p, : self.boxes.p]

    # -- where -------------------------------------------------------------------------------------

    def enclose(self, low: Array, high: Array, centre: Array) -> Answers:
        """Answers over boxes of the leader's decisions.

        Args:
            low, high: the boxes (B, d).
            centre: a point inside each.
        """
        boxes, B, d = self.boxes, len(low), low.shape[1]
        X, C = self.profiles(low, high), self.profiles(centre, centre).lo
        half = np.maximum(high - centre, centre - low)
        half = np.where(half > 0, np.nextafter(half, np.inf), 0.0)
        everywhere = self.whole.at(np.zeros(B, dtype=int))  # each box is inside the whole one
        if not everywhere.only.all():
            everywhere = self._all_actions(X)
        at = settle(self.calculus, C)
        z = np.concatenate([a.reshape(B, -1) for a in (at.y, at.lam, at.mu)], 1)
        z = np.where(np.isfinite(z), z, 0.0)
        answers = Answers(
            np.zeros(B, dtype=bool),
            np.zeros(B, dtype=bool),
            everywhere.Y.reshape(B, boxes.p),
            everywhere.Y.reshape(B, boxes.p),
            Interval(np.full((B, boxes.p, d), -np.inf), np.full((B, boxes.p, d), np.inf)),
            [""] * B,
        )
        if boxes.unsupported:
            answers.why = [boxes.unsupported] * B
            return answers
        only = np.flatnonzero(everywhere.only)
        if len(only):
            found = self._krawczyk(X[only], C[only], z[only], half[only], everywhere.at(only))
            _put(answers, only, found)
            lost = only[~answers.known[only]]
            if len(lost) and not boxes.q:
                part = everywhere.at(lost)
                found = self._near(X[lost], C[lost], z[lost], half[lost], part)
                _put(answers, lost, found)
        for k in np.flatnonzero(~answers.known):
            answers.why[k] = "the followers' answer could not be enclosed"
            if not everywhere.only[k]:
                answers.why[k] = "the followers are not proved to have one equilibrium"
        rest = np.flatnonzero(~answers.known)
        if len(rest) and not boxes.q and boxes.shape[1] == 1:
            self._every(answers, rest, X[rest], C[rest])
        return answers

    def _every(self, answers: Answers, rest: Array, X: Interval, C: Array) -> None:
        start = np.broadcast_to(inside(self.calculus, self.y), (len(rest), *self.boxes.shape))
        for target, box in ((answers.over, X), (answers.centre, Interval(C))):
            found = every_reply(self.boxes, box, start).reshape(len(rest), -1)
            target.lo[rest], target.hi[rest] = found.lo, found.hi
        finite = answers.over.finite[rest].all(-1) & answers.centre.finite[rest].all(-1)
        answers.slope.lo[rest], answers.slope.hi[rest] = -np.inf, np.inf
        answers.known[rest] = answers.every[rest] = finite

    def _krawczyk(
        self, X: Interval, C: Array, z: Array, half: Array, everywhere: _Everywhere
    ) -> _Found:
        """Krawczyk's operator from points z (B, p + q) that nearly solve the system at C."""
        p, q, B = self.boxes.p, self.boxes.q, len(z)
        D, S, z = self._scaled(z, C)
        mid = Interval(C)
        M, N, *_ = self._slopes(Interval(z), mid, D, S)
        good: Array = M.finite.all((1, 2)) & N.finite.all((1, 2))
        R = self._residual(z, C, D, S)
        good &= R.finite.all(1)
        eye = np.eye(p + q)
        moves = np.abs(inverse(where_known(good, M.mid, eye)) @ where_known(good, N.mid, 0.0))
        size = np.abs(z) + np.abs(z).max(1, keepdims=True)
        base = 1e-14 * size + 10 * where_known(good, R.mag, 0.0) + TINY
        radius = 1.1 * (moves @ half[..., None])[..., 0] + base
        done, zone = np.zeros(B, dtype=bool), ball(z, radius)
        out = _Found.nothing(B, p, half.shape[1])
        grow = 1 + 4 * (p + q + 8) * UNIT
        for _ in range(ROUNDS):
            live = np.flatnonzero(good & ~done)
            if not len(live):
                break
            part = self._slopes(zone[live], X[live], D[live], S[live])
            M, N, kinks, swing = part
            finite = M.finite.all((1, 2)) & N.finite.all((1, 2)) & kinks.finite.all((1, 2))
            good[live[~finite]] = False
            live, swing = live[finite], swing[finite]
            M, N, kinks = M[finite], N[finite], kinks[finite]
            if not len(live):
                break
            inverted = inverse(M.mid)
            E = (Interval(eye) - point_matmul(inverted, M)).mag
            bend = point_matmul(inverted, kinks).mag * swing[:, None] * grow
            E[:, :, p:] += bend
            G = point_matmul(inverted, N)
            left = point_matmul(inverted, R[live].reshape(-1, p + q, 1)).mag[..., 0]
            reached = left + (G.mag @ half[live][..., None])[..., 0]
            reached = (reached + (E @ radius[live][..., None])[..., 0]) * grow + TINY
            within = (reached < radius[live]).all(1)
            rows = np.flatnonzero(within)
            if len(rows):
                some = live[rows]
                M_, N_, E_, B_ = M[rows], N[rows], E[rows], inverted[rows]
                found = self._refined(
                    zone[some], z[some], half[some], R[some], (M_, N_, E_, bend[rows], B_)
                )
                _put_found(out, some, found, everywhere.at(some), self.low, self.high)
                done[some] = True
            again = live[~within]
            wider = np.minimum(1.3 * reached[~within] + base[again], 1e3 * radius[again])
            radius[again] = wider
            zone = ball(z, radius)
        return out

    def _scaled(self, z: Array, C: Array) -> tuple[Array, Array, Array]:
        """Scales of the system's rows at points z (B, p + q), and these with normal-map variables
        in place of multipliers."""
        p, q, B = self.boxes.p, self.boxes.q, len(z)
        inputs = self.boxes.inputs(*self._parts(Interval(z), Interval(C)))
        A = self.boxes.jacobian(inputs, (B,), None)[0].mid
        with np.errstate(all="ignore"):
            h = np.abs(np.diagonal(A, axis1=1, axis2=2)[:, :p])
            D = np.where(np.isfinite(h) & (h > 0), 1 / h, 1.0)
            s = (A[:, p:, :p] ** 2 * D[:, None]).sum(-1)
            S = np.where(np.isfinite(s) & (s > 0), 1 / s, 1.0)
        if q:
            z = np.array(z)
            c = self.boxes.system(inputs, (B,)).mid[:, p:]
            z[:, p:] += np.where(np.isfinite(c), S * c, 0.0)
        return D, S, z

    def _parts(self, Z: Interval, X: Interval) -> tuple[Interval, Interval, Interval]:
        """What :meth:`MarketBoxes.inputs` takes, of z with normal-map variables."""
        p = self.boxes.p
        Y = Z[:, :p].reshape(Z.shape[0], *self.boxes.shape)
        w = Z[:, p:]
        return Y, X, Interval(np.maximum(w.lo, 0.0), np.maximum(w.hi, 0.0))

    def _slopes(
        self, Z: Interval, X: Interval, D: Array, S: Array
    ) -> tuple[Interval, Interval, Interval, Array]:
        """Slopes of the system over boxes: by z (B, p + q, p + q), by x (B, p + q, d); and where w
        has a kink, what it moves (B, p + q, q) by +- how much (B, q)."""
        p, q, B = self.boxes.p, self.boxes.q, Z.shape[0]
        inputs = self.boxes.inputs(*self._parts(Z, X))
        F = self.boxes.system(inputs, (B,))[:, :p]
        A, N = self.boxes.jacobian(inputs, (B,), self.leader)
        step = Z[:, :p] - Interval(D) * F
        free = (step.lo > self.low) & (step.hi < self.high)
        fixed = (step.hi <= self.low) | (step.lo >= self.high)
        share = Interval(np.where(free, 1.0, 0.0), np.where(fixed, 0.0, 1.0))
        weight = share * Interval(D)
        rows = weight.reshape(B, p, 1) * A[:, :p]
        lo, hi = np.array(rows.lo), np.array(rows.hi)
        i = np.arange(p)
        # t (D A_ii) + (1 - t) lies between 1 and D A_ii: tighter than the sum of its parts
        own = Interval(D) * A[:, i, i]
        both = own.hull(1.0)
        lo[:, i, i] = np.where(free, own.lo, np.where(fixed, 1.0, both.lo))
        hi[:, i, i] = np.where(free, own.hi, np.where(fixed, 1.0, both.hi))
        by_z, by_x = Interval(lo, hi), weight.reshape(B, p, 1) * N[:, :p]
        if not q:
            return by_z, by_x, Interval(np.zeros((B, p, 0))), np.zeros((B, 0))
        w = Z[:, p:]
        on, off = w.lo > 0, w.hi <= 0
        slope = np.where(on, 1.0, np.where(off, 0.0, 0.5))  # d max(w, 0) / d w, +- swing
        swing = np.where(on | off, 0.0, 0.5)
        eye = np.broadcast_to(np.eye(q), (B, q, q))
        by_lam = by_z[..., p:]
        kinks = join([by_lam, Interval(eye)], 1)
        upper = join([by_z[..., :p], by_lam * Interval(slope[:, None])], -1)
        limit = Interval(S[..., None])
        lower = join([limit * A[:, p:, :p], Interval((slope - 1)[..., None] * np.eye(q))], -1)
        return join([upper, lower], 1), join([by_x, limit * N[:, p:]], 1), kinks, swing

    def _residual(self, z: Array, C: Array, D: Array, S: Array) -> Interval:
        p = self.boxes.p
        Z = Interval(z)
        values = self.boxes.system(self.boxes.inputs(*self._parts(Z, Interval(C))), (len(z),))
        step = Z[:, :p] - Interval(D) * values[:, :p]
        clipped = Interval(*(np.clip(end, self.low, self.high) for end in (step.lo, step.hi)))
        slack = Interval(np.minimum(z[:, p:], 0.0))
        return join([Z[:, :p] - clipped, Interval(S) * values[:, p:] - slack], 1)

    def _refined(
        self, zone: Interval, z: Array, half: Array, R: Interval, at: tuple[Any, ...]
    ) -> _Found:
        """Bounds from slopes over a zone that holds the solution."""
        M, N, E, bend, inverted = at
        p = self.boxes.p
        grow = 1 + 4 * (len(E[0]) + 8) * UNIT
        guess = -(inverted @ N.mid)
        left = point_matmul(inverted, times(M, guess) + N).mag
        left = (left + bend @ np.abs(guess[:, p:])) * grow
        t, moved = fixed_point(E, left)
        near, stays = fixed_point(E, point_matmul(inverted, R.reshape(*R.shape, 1)).mag)
        slope = ball(guess, t)[:, :p]
        at_centre = ball(z, near[..., 0])[:, :p]
        far = (slope.mag @ half[..., None])[..., 0] * grow
        over = zone[:, :p].meet(at_centre + Interval(-far, far))
        return _Found(moved & stays, over, at_centre, slope)

    def _near(
        self, X: Interval, C: Array, z: Array, half: Array, everywhere: _Everywhere
    ) -> _Found:
        """By how far a point that nearly solves the equations can be from the solution: bounds
        only. The field that would make it exact is off by e; then |y - y*| <= <J>^-1 |e|, and its
        length at most that of e over the modulus."""
        boxes, B, p = self.boxes, len(z), self.boxes.p
        whole = everywhere.Y.reshape(B, p)

        def far(e: Array) -> Array:  # (B, p, k)
            with np.errstate(all="ignore"):
                v, w = everywhere.v[..., None], everywhere.w[..., None]
                first = v * (e / w).max(1, keepdims=True)
                second = np.sqrt((e**2).sum(1, keepdims=True)) / everywhere.m[:, None, None]
            first = np.where(everywhere.dominant[:, None, None], first, np.inf)
            second = np.where(everywhere.m[:, None, None] > 0, second, np.inf)
            return np.minimum(first, second) * (1 + 1e-12)

        y = np.clip(z[:, :p], np.maximum(self.low, whole.lo), np.minimum(self.high, whole.hi))
        F = boxes.system(boxes.inputs(Interval(y).reshape(B, *boxes.shape), Interval(C)), (B,))
        F = F[:, :p]
        e = np.where(y <= self.low, np.maximum(-F.lo, 0.0), F.mag)
        e = np.where(y >= self.high, np.maximum(F.hi, 0.0), e)
        within = Interval(self.low, self.high)
        near = far(np.where(np.isfinite(e), e, np.inf)[..., None])[..., 0]
        at = ball(y, near).meet(whole).meet(within)
        # What makes the solution at C one at another x is how its field moves with x.
        _, N = boxes.jacobian(boxes.inputs(at.reshape(B, *boxes.shape), X), (B,), self.leader)
        S = far(N[:, :p].mag)
        known = np.isfinite(S).all((1, 2)) & np.isfinite(near).all(1)
        S = np.where(known[:, None, None], S, 0.0)
        moved = (S @ half[..., None])[..., 0] * (1 + 1e-12)
        over = (at + Interval(-moved, moved)).meet(whole).meet(within)
        return _Found(known, over, at, Interval(-S, S))


@dataclass
class _Everywhere:
    """What holds over all actions of the followers, of B boxes of leader actions."""

    Y: Interval
    v: Array
    w: Array
    dominant: Array
    m: Array
    only: Array

    def at(self, index: Array) -> _Everywhere:
        arrays = (self.v, self.w, self.dominant, self.m, self.only)
        return _Everywhere(self.Y[index], *(a[index] for a in arrays))


@dataclass
class _Found:
    known: Array
    over: Interval
    centre: Interval
    slope: Interval

    @staticmethod
    def nothing(B: int, p: int, d: int) -> _Found:
        over, centre, slope = (
            Interval(np.full(s, -np.inf), np.full(s, np.inf)) for s in ((B, p), (B, p), (B, p, d))
        )
        return _Found(np.zeros(B, dtype=bool), over, centre, slope)


def _put_found(
    out: _Found, index: Array, found: _Found, everywhere: _Everywhere, low: Array, high: Array
) -> None:
    whole = everywhere.Y.reshape(len(index), -1).meet(Interval(low, high))
    found.over, found.centre = found.over.meet(whole), found.centre.meet(whole)
    out.known[index] = found.known
    for name in ("over", "centre", "slope"):
        new, old = getattr(found, name), getattr(out, name)
        old.lo[index], old.hi[index] = new.lo, new.hi


def _put(answers: Answers, index: Array, found: _Found) -> None:
    good = index[found.known]
    answers.known[good] = True
    for name in ("over", "centre", "slope"):
        new, old = getattr(found, name)[found.known], getattr(answers, name)
        fresh = Interval(np.array(old.lo), np.array(old.hi))
        fresh.lo[good], fresh.hi[good] = new.lo, new.hi
        setattr(answers, name, fresh)
