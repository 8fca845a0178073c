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

from typing import Any

import numpy as np

from stackel.calculus.curvature import modulus
from stackel.calculus.intervals import TINY, UNIT, Interval, ball, join, point_matmul
from stackel.certificate.answers import Answers, Everywhere, Found, put, put_found
from stackel.certificate.boxes import MarketBoxes
from stackel.certificate.linear import fixed_point, inverse, times, where_known
from stackel.certificate.replies import every_reply, reach
from stackel.certificate.totals import Totals
from stackel.certificate.uniqueness import dominance
from stackel.followers.response import Response, settle
from stackel.followers.starts import inside
from stackel.types import Array

ROUNDS = 4
"""Most applications of Krawczyk's operator."""

REMEMBERED = 256
"""Answers that others start from."""


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
        self.totals = self.calculus.once(Totals)
        whole = [b[None, :, leader] for b in self.calculus.leader_bounds]
        nothing, at = np.zeros((0, whole[0].shape[1])), np.zeros(0, dtype=int)
        lam, mu = self.calculus.zeros((1,))
        here = Response(y[None], lam, mu, np.full(1, np.inf), np.zeros(1, dtype=bool))
        self._answers = x[None, :, leader], settle(self.calculus, x[None], here)
        everywhere = self._all_actions(self.profiles(*whole))
        self._regions = nothing, nothing, everywhere.at(at)
        if everywhere.only.all():
            self._regions = whole[0], whole[1], everywhere

    def profiles(self, low: Array, high: Array) -> Interval:
        """Leader actions (B, d, J) where the leader's own are in a box (B, d)."""
        ends = []
        for own in (low, high):
            out = np.repeat(self.x[None], len(own), axis=0)
            out[:, :, self.leader] = own
            ends.append(out)
        return Interval(*ends)

    # -- the only one ------------------------------------------------------------------------------

    def _all_actions(self, X: Interval) -> Everywhere:
        """What holds over all actions of the followers, for boxes X of leader actions."""
        boxes, B = self.boxes, X.shape[0]
        shape = (B, *boxes.shape)
        Y = Interval(np.broadcast_to(boxes.low, shape), np.broadcast_to(boxes.high, shape))
        J, (v, w, dominant), m, only = self._only(Y, X)
        if not only.all() or not J.finite.all():
            Y = reach(boxes, X, np.broadcast_to(self.y, shape))
            J, (v, w, dominant), m, only = self._only(Y, X)
        if not only.all() and self.totals.applies and Y.finite.all():
            Y = self._fixed(self.totals.narrowed(Y, X), X)
            J, (v, w, dominant), m, only = self._only(Y, X)
        if not boxes.q:
            Y = self._fixed(Y, X)
        only &= boxes.curvature.limits_convex(Y, Y, X) & (not boxes.unsupported)
        return Everywhere(Y, v, w, dominant & (boxes.q == 0), m, only)

    def _fixed(self, Y: Interval, X: Interval) -> Interval:
        """Bounds Y of all equilibria, of followers with no limits, at the bounds where the field
        has one sign all over Y."""
        boxes = self.boxes
        F = boxes.system(boxes.inputs(Y, X), X.shape[:1])[:, : boxes.p].reshape(*Y.shape)
        down, up = (F.lo > 0) & (Y.lo <= boxes.low), (F.hi < 0) & (Y.hi >= boxes.high)
        return Interval(np.where(up, Y.hi, Y.lo), np.where(down, Y.lo, Y.hi))

    def _only(
        self, Y: Interval, X: Interval
    ) -> tuple[Interval, tuple[Array, Array, Array], Array, Array]:
        """The field's derivative over actions Y, its dominance and modulus, and where these say
        that there is one equilibrium at most."""
        boxes, inputs = self.boxes, self.boxes.inputs(Y, X)
        J = boxes.jacobian(inputs, X.shape[:1], None)[0][:, : boxes.p, : boxes.p]
        # Of what all equilibria have in common none can differ from another in.
        fixed = (Y.hi <= Y.lo).reshape(len(Y.lo), -1)
        out, eye = fixed[:, :, None] | fixed[:, None], np.eye(boxes.p)
        J = Interval(np.where(out, eye, J.lo), np.where(out, eye, J.hi))
        dominant, m = dominance(J), modulus(J)
        # Within bounds alone every H-matrix will do.
        return J, dominant, m, (m > 0) | (dominant[2] & (boxes.q == 0))

    def _known(self, low: Array, high: Array) -> Everywhere:
        """What holds over all actions of the followers, for boxes (B, d) of the leader's decisions:
        if they are known to have one equilibrium in a region that a box is inside, what holds
        there."""
        first, last, pool = self._regions
        inside: Any = (first <= low[:, None]).all(2) & (high[:, None] <= last).all(2)
        latest = inside.shape[1] - 1 - inside[:, ::-1].argmax(1) if len(first) else inside.sum(1)
        rest = np.flatnonzero(~inside.any(1))
        if not len(rest):
            return pool.at(latest)
        new = self._all_actions(self.profiles(low[rest], high[rest]))
        latest[rest] = len(first) + np.arange(len(rest))
        out = Everywhere.stack(pool, new).at(latest)
        only = rest[new.only]
        regions = np.concatenate([first, low[only]]), np.concatenate([last, high[only]])
        self._regions = *regions, Everywhere.stack(pool, new.at(np.flatnonzero(new.only)))
        return out

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
        everywhere = self._known(low, high)
        at = self._settled(C, centre)
        z = np.concatenate([a.reshape(B, -1) for a in (at.y, at.lam, at.mu)], 1)
        z = np.where(np.isfinite(z), z, 0.0)
        whole = everywhere.Y.reshape(B, boxes.p)
        answers = Answers(
            np.zeros(B, dtype=bool),
            np.zeros(B, dtype=bool),
            Interval(+whole.lo, +whole.hi),
            Interval(+whole.lo, +whole.hi),
            Interval(np.full((B, boxes.p, d), -np.inf), np.full((B, boxes.p, d), np.inf)),
            [""] * B,
        )
        if boxes.unsupported:
            answers.why = [boxes.unsupported] * B
            return answers
        only = np.flatnonzero(everywhere.only)
        if len(only):
            found = self._krawczyk(X[only], C[only], z[only], half[only], everywhere.at(only))
            put(answers, only, found)
            lost = only[~answers.known[only]]
            if len(lost) and not boxes.q:
                part = everywhere.at(lost)
                found = self._near(X[lost], C[lost], z[lost], half[lost], part)
                put(answers, lost, found)
        for k in np.flatnonzero(~answers.known):
            answers.why[k] = "the followers' answer could not be enclosed"
            if not everywhere.only[k]:
                answers.why[k] = "the followers are not proved to have one equilibrium"
        rest = np.flatnonzero(~answers.known)
        if len(rest):
            self._every(answers, rest, X[rest], C[rest])
            answers.every[rest] &= ~everywhere.only[rest]
        return answers

    def _settled(self, C: Array, own: Array) -> Response:
        """Points to enclose from, nearly the followers' answers at leader actions C, in which the
        leader does own (B, d): each starts from the nearest one known."""
        known, pool = self._answers
        width = np.ptp(np.concatenate([known, own]), axis=0)
        width = np.where(width > 0, width, 1.0)
        nearest = np.abs((own[:, None] - known) / width).sum(-1).argmin(1)
        at = settle(self.calculus, C, pool[nearest])
        good = np.flatnonzero(at.converged)
        known = np.concatenate([known, own[good]])[-REMEMBERED:]
        pool = Response.join([pool, at[good]])[slice(-REMEMBERED, None)]
        self._answers = known, pool
        return at

    def _every(self, answers: Answers, rest: Array, X: Interval, C: Array) -> None:
        """Bounds of whatever equilibria there are, where nothing better is known: what followers
        can do at all, or their best replies by pieces."""
        if not self.boxes.q and self.boxes.shape[1] == 1:
            start = np.broadcast_to(inside(self.calculus, self.y), (len(rest), *self.boxes.shape))
            for target, box in ((answers.over, X), (answers.centre, Interval(C))):
                found = every_reply(self.boxes, box, start).reshape(len(rest), -1)
                target.lo[rest], target.hi[rest] = found.lo, found.hi
        answers.slope.lo[rest], answers.slope.hi[rest] = -np.inf, np.inf
        answers.known[rest] = answers.every[rest] = True

    def _krawczyk(
        self, X: Interval, C: Array, z: Array, half: Array, everywhere: Everywhere
    ) -> Found:
        """Krawczyk's operator from points z (B, p + q) that nearly solve the system at C."""
        p, q, B = self.boxes.p, self.boxes.q, len(z)
        D, S, z = self._scaled(z, C)
        mid = Interval(C)
        M, N, *_ = self._slopes(Interval(z), mid, D, S)
        good: Array = M.finite.all((1, 2)) & N.finite.all((1, 2))
        R = self._residual(z, C, D, S)
        good &= R.finite.all(1)
        eye = np.eye(p + q)
        middle = where_known(good, M.mid, eye)
        back = inverse(middle)
        moves = np.abs(back @ where_known(good, N.mid, 0.0))
        # What rounding makes of each unknown, in its own unit (Skeel, J. ACM 26, 1979).
        size = np.abs(z) + _times(np.abs(back), _times(np.abs(middle), np.abs(z)))
        off = _times(np.abs(back), where_known(good, R.mag, 0.0))
        base = 1e-14 * size + 10 * off + 10 * TINY
        radius = 1.1 * _times(moves, half) + base
        done, zone = np.zeros(B, dtype=bool), ball(z, radius)
        out = Found.nothing(B, p, half.shape[1])
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
            reached = left + _times(G.mag, half[live]) + _times(E, radius[live])
            reached = reached * grow + TINY
            within = (reached < radius[live]).all(1)
            rows = np.flatnonzero(within)
            if len(rows):
                some = live[rows]
                M_, N_, E_, B_ = M[rows], N[rows], E[rows], inverted[rows]
                found = self._refined(
                    zone[some], z[some], half[some], R[some], (M_, N_, E_, bend[rows], B_)
                )
                put_found(out, some, found, everywhere.at(some), self.low, self.high)
                done[some] = True
            again = live[~within]
            radius[again] = 1.3 * reached[~within] + base[again]
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
    ) -> Found:
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
        return Found(moved & stays, over, at_centre, slope)

    def _near(self, X: Interval, C: Array, z: Array, half: Array, everywhere: Everywhere) -> Found:
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
        return Found(known, over, at, Interval(-S, S))


def _times(matrix: Array, vector: Array) -> Array:
    """Products of matrices (B, r, s) with vectors (B, s)."""
    return (matrix @ vector[..., None])[..., 0]
