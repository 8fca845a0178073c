"""Everything that is measured of many points at once, and the verdict that a search gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import apart
from stackel.certificate import measures
from stackel.certificate.certificate import Certificate, Verdict
from stackel.certificate.measures import (
    Scales,
    follower_scales,
    leader_scales,
    share,
    violations,
)
from stackel.followers.complementarity import FAR
from stackel.followers.existence import uniqueness
from stackel.followers.replies import Replies, best_replies, settle_best
from stackel.followers.response import Response
from stackel.followers.starts import usual_size
from stackel.leaders.anticipation import Anticipation, Trials
from stackel.leaders.ascents import search_jointly
from stackel.leaders.deviations import (
    Deviation,
    Search,
    payoffs_alone,
    search_range,
)
from stackel.leaders.lines import search_lines
from stackel.types import Array

ELSEWHERE = 1e-3
"""Relative distance from which on followers are said to settle elsewhere than at the point."""

NOT_PROVED = (
    "followers' problems are not proved concave: their best replies come from a search of their "
    "own range"
)

NO_BOUNDS = "leaders' actions are unbounded: searched ten times as far as the point"


@dataclass
class _FollowerGains:
    """What the followers could gain, of B points.

    Attributes:
        best: their best replies.
        gaps: what each gains by its own (B, I); endless where that is not known.
        scales: what that is measured against.
        exact: whether the replies are surely the best (B,).
    """

    best: Replies
    gaps: Array
    scales: Scales
    exact: Array


class Measured:
    """Everything that is measured of B points, for their certificates.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        anticipation: what leaders foresee.
        points: size of the first grid over each leader's decision.
    """

    def __init__(
        self, calculus: Calculus, x: Array, y: Array, anticipation: Anticipation, points: int
    ) -> None:
        self.calculus, self.x, self.y, self.anticipation = calculus, x, y, anticipation
        self.now_f = calculus.follower_payoffs(y, y, x)
        self.now_l = calculus.leader_values(x, y)[0]
        self.followers = self._follower_side()
        lam = self.followers.best.lam[..., : calculus.m]
        self.settled = settle_best(calculus, x, self._as_response(lam))
        self.unavailable: list[tuple[int, Array]] = []
        self.at = self.settled.map(lambda array, core: np.array(array))
        lost = np.flatnonzero(~self.settled.converged)
        self.at.put(lost, self._as_response(calculus.zeros((len(x),))[0])[lost])
        self.search, self.base = self._leader_side(points)
        self.drifts = np.abs(self.now_l - self.base)
        # Followers that are off in a leader's favour must not hide what it could gain.
        reached = self.search.payoff
        self.leader_gaps = _gaps(reached - np.minimum(self.now_l, self.base))
        self.sure_gaps = _gaps(reached - np.maximum(self.now_l, self.base))
        self.answers, lowest = self._probe()
        lowest = np.fmin(lowest, np.minimum(self.now_l, self.base))
        span = np.fmax(reached, np.maximum(self.now_l, self.base)) - lowest
        self.scales_l = leader_scales(calculus, x, y, self.search.action, self.answers, span)
        self.leader_gaps[self.leader_gaps <= self.scales_l.noise] = 0.0
        best = self.followers.best.action
        self.violations = violations(calculus, x, y, best, self.search.action)
        self.usual = np.broadcast_to(usual_size(calculus), len(x))
        self.bounded = np.all(
            [
                np.isfinite(np.broadcast_to(b, x.shape)).all((-1, -2))
                for b in calculus.leader_bounds
            ],
            axis=0,
        )
        where = np.where(self.settled.converged[:, None, None], self.settled.y, y)
        self.uniqueness = uniqueness(calculus, x, where)

    def _as_response(self, lam: Array) -> Response:
        B = len(self.y)
        _, mu = self.calculus.zeros((B,))
        return Response(self.y, lam, mu, np.full(B, np.inf), np.zeros(B, dtype=bool))

    def _follower_side(self) -> _FollowerGains:
        """Each follower's best move alone, and whether it is surely the best."""
        calculus, x, y, now = self.calculus, self.x, self.y, self.now_f
        own, shared = calculus.system(y, y, x, *calculus.zeros((len(y),)))[1:]
        met = np.broadcast_to(shared[:, None], (*y.shape[:-1], calculus.k))
        near = np.concatenate([own, met], -1)
        hint = np.where(np.abs(near) < 1e-6, 1e-6, 0.0)  # which limits seem to bind
        best = best_replies(calculus, x, y, self._as_response(hint))
        exact = best.concave & best.solved.all(-1)
        gaps = _gaps(best.payoff - now) + measures.slack(calculus, x, y, best)
        gaps = np.where(np.isfinite(now), gaps, np.inf)
        scales = follower_scales(calculus, x, y, best)
        gaps = np.where(gaps <= scales.noise, 0.0, gaps)
        return _FollowerGains(best, gaps, scales, exact)

    def _leader_side(self, points: int) -> tuple[Search, Array]:
        """Each leader's best moves alone, and what it has where the followers settle (B, J)."""
        calculus, x, at = self.calculus, self.x, self.at
        base = calculus.leader_values(x, at.y)[0]
        if calculus.leader_shape[0] == 1:
            oracle = Trials(calculus, x, at, self.anticipation)
            found = search_lines(calculus, x, oracle, points=points)
            self.unavailable = oracle.unavailable
            return self._available(found), base
        points = max(points // 4, 17)
        found = search_jointly(
            calculus, x, at, self.anticipation, points=points, unavailable=self.unavailable
        )
        return self._available(found), base

    def _available(self, found: Search) -> Search:
        """Moves at which followers cannot meet their limits are not open to a leader: that they do
        not settle there leaves nothing unknown."""
        closed = np.bincount([k for k, _ in self.unavailable], minlength=len(self.x))
        return replace(found, unsettled=np.maximum(found.unsettled - closed, 0))

    def _probe(self) -> tuple[Array, Array]:
        """What the followers answer to each leader's best move (B, J, I, n), and the least that a
        leader has there or at some other moves of its own (B, J)."""
        calculus, x, (B, d, J) = self.calculus, self.x, self.x.shape
        low, high = search_range(calculus, x)
        profiles = np.repeat(x[:, None, None], 4, 1).repeat(J, 2)  # (B, 4, J, d, J)
        for k, moves in enumerate((self.search.action, low, (low + high) / 2, high)):
            profiles[:, k, np.arange(J), :, np.arange(J)] = np.moveaxis(moves, -1, 0)
        element = np.repeat(np.arange(B), 4 * J)
        leader, flat = np.tile(np.arange(J), 4 * B), profiles.reshape(-1, d, J)
        answers = Trials(calculus, x, self.at, self.anticipation)(flat, element)
        found = payoffs_alone(calculus, flat, leader, lambda *_: answers, element)
        worth = found.payoff.reshape(B, 4, J)
        lowest = np.where(np.isfinite(worth), worth, np.inf).min(1)
        return answers[0].reshape(B, 4, J, *answers[0].shape[1:])[:, 0], lowest

    def certificates(self, tolerance: float) -> list[Certificate]:
        return [self._certificate(k, tolerance) for k in range(len(self.x))]

    def _certificate(self, k: int, tolerance: float) -> Certificate:
        search, followers = self.search, self.followers
        found = {name: float(value[k]) for name, value in self.violations.raw.items()}
        violation, unsettled = float(self.violations.worst[k]), int(search.unsettled[k])
        notes = self._notes(k)
        far = float(np.abs(self.y[k]).max())
        astray = unsettled > 0 or not self.settled.converged[k]
        if astray and far > FAR * (1.0 + self.usual[k]):
            # Payoffs out there are no scale to measure gaps by, and a leader that drives its
            # followers there stops where numbers end, beside moves at which nobody settles.
            found[f"{self.calculus.follower_name} (running away)"] = violation = far
            notes.append("the followers' actions run away: here or beside, they do not settle")
        deviation = self._deviation(k, tolerance)
        one = self.calculus.leader_shape[0] == 1
        everywhere = one and bool(self.bounded[k]) and unsettled == 0
        reasons = self._reasons(k, tolerance)
        verdict: Verdict = "searched" if everywhere and self._replies_searched(k) else "local"
        if reasons:
            verdict = "unknown"
        if deviation is not None or not violation <= tolerance:
            verdict = "refuted"
        losers = losing(self.now_l[k], self.now_f[k], self._at(k, "scale"), tolerance)
        return Certificate(
            verdict=verdict,
            follower_gaps=followers.gaps[k].copy(),
            leader_gaps=self.leader_gaps[k].copy(),
            follower_scales=followers.scales.scale[k].copy(),
            leader_scales=self.scales_l.scale[k].copy(),
            drifts=self.drifts[k].copy(),
            tolerance=tolerance,
            exact_replies=bool(followers.exact[k]),
            global_search=everywhere,
            resolution=search.resolution[k].copy(),
            trials=int(search.tried[k]),
            unsettled=unsettled,
            violations=found,
            violation=violation,
            individually_rational=not losers,
            losers=losers,
            uniqueness=self.uniqueness[k],
            anticipation=self.anticipation,
            deviation=deviation,
            reasons=tuple(reasons),
            notes=tuple(notes),
        )

    def _at(self, k: int, name: str) -> tuple[Array, Array]:
        """Of point k's leaders and of its followers."""
        return getattr(self.scales_l, name)[k], getattr(self.followers.scales, name)[k]

    def _replies_searched(self, k: int) -> bool:
        """Whether followers' replies are known over their whole range."""
        return bool(self.followers.exact[k]) or self.y.shape[-1] == 1

    def _reasons(self, k: int, tolerance: float) -> list[str]:
        """What the verdict rests on and is not known."""
        out, settled, search = [], self.settled, self.search
        for player, payoffs in (("leader", self.now_l[k]), ("follower", self.now_f[k])):
            lost = np.flatnonzero(~np.isfinite(payoffs))
            if len(lost):
                out.append(f"the payoff of {player} {lost[0]} is {payoffs[lost[0]]} at the point")
        missing = np.flatnonzero(~self.followers.best.solved[k])
        if len(missing):
            out.append(f"best replies of {len(missing)} followers not solved, e.g. of {missing[0]}")
        if self.anticipation == "equilibrium" and not settled.converged[k]:
            out.append("the followers could not be settled at the point's own leader actions")
        elif self.anticipation == "equilibrium":
            scale, noise = self.scales_l.scale[k], self.scales_l.noise[k]
            off = np.flatnonzero(~(self.drifts[k] <= tolerance * scale + noise))
            if len(off):
                j = int(off[0])
                out.append(
                    f"the followers are not settled to the accuracy that the payoff of leader {j} "
                    f"needs: where they settle it differs by {self.drifts[k, j]:.3g}"
                )
        if self.calculus.k and self._elsewhere(k):
            out.append(self._elsewhere(k))
        if search.unsettled[k]:
            count = f"{search.unsettled[k]} of {search.tried[k]}"
            out.append(f"{count} leader deviations could not be settled")
        return out

    def _elsewhere(self, k: int) -> str:
        """That the followers settle elsewhere than at the point, if they do. What they share may be
        split in many ways that nobody leaves alone; leaders foresee only the one with equal prices.
        """
        bounds = [np.broadcast_to(b, self.y.shape)[k] for b in self.calculus.follower_bounds]
        far = float(apart(self.y[k], self.settled.y[k], (bounds[0], bounds[1]), -1))
        if not self.settled.converged[k] or far <= ELSEWHERE:
            return ""
        return f"the followers settle elsewhere than at the point (relative {far:.2g})"

    def _notes(self, k: int) -> list[str]:
        """Caveats about the search."""
        notes = []
        if not self.followers.exact[k]:
            notes.append(NOT_PROVED)
        if not self.calculus.k and self._elsewhere(k):
            notes.append(self._elsewhere(k))
        if not self.bounded[k]:
            notes.append(NO_BOUNDS)
        closed = [profile for element, profile in self.unavailable if element == k]
        if closed:
            notes.append(self._closed(k, np.array(closed)))
        if self.calculus.leader_shape[0] > 1:
            notes.append("leaders have several decisions each: their gap is a multi-start estimate")
        return notes

    def _closed(self, k: int, profiles: Array) -> str:
        """Where leaders cannot go, since followers cannot meet their limits there."""
        moved_, name = profiles != self.x[k], self.calculus.leader_name
        parts = []
        for row, j in np.argwhere(moved_.any(0)):
            values = profiles[moved_[:, row, j], row, j]
            parts.append(f"leader {j} at {name} from {values.min():.6g} to {values.max():.6g}")
        where = "; ".join(parts)
        return f"moves not available, followers cannot meet their limits there: {where}"

    def _deviation(self, k: int, tolerance: float) -> Deviation | None:
        """The move of who gains most, as a share of its own scale, if that is too much."""
        (scale_l, scale_f), (noise_l, noise_f) = self._at(k, "scale"), self._at(k, "noise")
        gains = (
            self.sure_gaps[k],
            np.where(
                np.isfinite(self.now_f[k]) & np.isfinite(self.followers.best.payoff[k]),
                self.followers.gaps[k],
                0.0,
            ),
        )
        leaders = share(np.maximum(gains[0] - noise_l, 0.0), scale_l)
        followers = share(np.maximum(gains[1] - noise_f, 0.0), scale_f)
        gap, player, index = max(
            (leaders.max(), "leader", int(leaders.argmax())),
            (followers.max(), "follower", int(followers.argmax())),
        )
        if gap <= tolerance:
            return None
        if player == "leader":
            move, answer = self.search.action[k][:, index], self.answers[k, index]
            has = float(self.now_l[k, index])
            reached = float(self.search.payoff[k, index])
            return Deviation("leader", index, move, has, reached - has, answer)
        move, answer = self.followers.best.action[k, index], np.array(self.y[k])
        answer[index] = move
        has = float(self.now_f[k, index])
        return Deviation("follower", index, move, has, float(gains[1][index]), answer)


def _gaps(gained: Array) -> Array:
    """Gains are no less than nothing; one that is not known counts as endless."""
    return np.where(np.isnan(gained), np.inf, np.maximum(gained, 0.0))


def losing(
    leaders: Array, followers: Array, scales: tuple[Array, Array], tolerance: float
) -> tuple[tuple[str, int], ...]:
    """Who has less than nothing, as pairs such as ``("leader", 0)``.

    Args:
        leaders, followers: payoffs (J,) and (I,).
        scales: what is at stake for each, (J,) and (I,).
        tolerance: the share of these up to which a loss counts as none.
    """
    out = [("leader", int(j)) for j in np.flatnonzero(leaders < -tolerance * scales[0])]
    out += [("follower", int(i)) for i in np.flatnonzero(followers < -tolerance * scales[1])]
    return tuple(out)
