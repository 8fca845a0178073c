"""Everything that is measured of many points at once, and the verdict that a search gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import apart, follower_sizes, half_moves, moved, system_sizes
from stackel.certificate import measures
from stackel.certificate.certificate import (
    CANDIDATES_ALONE,
    NO_BOUNDS,
    NOT_PROVED,
    SEVERAL,
    Certificate,
    Verdict,
)
from stackel.certificate.closed import closed, said
from stackel.certificate.measures import (
    Scales,
    follower_scales,
    leader_scales,
    share,
    violations,
)
from stackel.followers.complementarity import FAR
from stackel.followers.existence import uniqueness
from stackel.followers.lengths import usual_size
from stackel.followers.replies import Replies, best_replies, settle_best
from stackel.followers.response import Response
from stackel.leaders.anticipation import Anticipation, Lost, Trials
from stackel.leaders.ascents import search_jointly
from stackel.leaders.deviations import (
    Deviation,
    Search,
    each_alone,
    payoffs_alone,
    search_candidates,
    search_range,
)
from stackel.leaders.lines import ENOUGH, search_lines
from stackel.types import Array

ELSEWHERE = 1e-3
"""Relative distance from which on followers are said to settle elsewhere than at the point."""

SEEMS = 1e-6
"""Share of its size up to which a limit seems to bind."""


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
        points: size of the first grid over each leader's decision; 0: the candidates alone.
        candidates: leader actions (B, K, d, J) of which every leader tries its own too.
    """

    def __init__(
        self,
        calculus: Calculus,
        x: Array,
        y: Array,
        anticipation: Anticipation,
        points: int,
        candidates: Array | None = None,
    ) -> None:
        self.calculus, self.x, self.y, self.anticipation = calculus, x, y, anticipation
        self.points, self.candidates = points, candidates
        self.now_f = calculus.follower_payoffs(y, y, x)
        self.now_l = calculus.leader_values(x, y)[0]
        self.followers = self._follower_side()
        lam = self.followers.best.lam[..., : calculus.m]
        self.settled = settle_best(calculus, x, self._as_response(lam))
        self.at = self.settled.map(lambda array, core: np.array(array))
        astray = np.flatnonzero(~self.settled.converged)
        self.at.put(astray, self._as_response(calculus.zeros((len(x),))[0])[astray])
        concave = self.followers.best.concave  # else hardly where leaders move
        self.oracle = Trials(calculus, x, self.at, anticipation, concave)
        lost: Lost = []
        self.search, self.base = self._leader_side(lost)
        self.unsettled, self.closed = self._sorted(lost)
        self.drifts = np.abs(self.now_l - self.base)
        # Followers that are off in a leader's favour must not hide what it could gain.
        reached = self.search.payoff
        self.leader_gaps = _gaps(reached - np.minimum(self.now_l, self.base))
        self.sure_gaps = _gaps(reached - np.maximum(self.now_l, self.base))
        self.answers, lowest, cost = self._probe()
        lowest = np.fmin(lowest, np.minimum(self.now_l, self.base))
        span = np.fmax(reached, np.maximum(self.now_l, self.base)) - lowest
        self.scales_l = leader_scales(calculus, x, y, self.search.action, self.answers, span, cost)
        self.leader_gaps[self.leader_gaps <= self.scales_l.noise] = 0.0
        best = self.followers.best.action
        self.violations = violations(calculus, x, y, best, self.search.action)
        self.far = moved(y, calculus.follower_bounds) > FAR * usual_size(calculus)
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
        best = best_replies(calculus, x, y, self._as_response(self._binding()))
        exact = best.concave & best.solved.all(-1)
        gaps = _gaps(best.payoff - now) + measures.slack(calculus, x, y, best)
        gaps = np.where(np.isfinite(now), gaps, np.inf)
        scales = follower_scales(calculus, x, y, best)
        gaps = np.where(gaps <= scales.noise, 0.0, gaps)
        return _FollowerGains(best, gaps, scales, exact)

    def _binding(self) -> Array:
        """Multipliers (B, I, m + k) to start from: next to nothing where limits seem to bind."""
        calculus, x, y = self.calculus, self.x, self.y
        if not calculus.m + calculus.k:
            return np.zeros((*y.shape[:-1], 0))
        none, wide = calculus.zeros((len(y),)), (*y.shape[:-1], calculus.k)
        near, size = (
            np.concatenate([own, np.broadcast_to(shared[:, None], wide)], -1)
            for _, own, shared in (
                calculus.system(y, y, x, *none),
                system_sizes(calculus, y, x, *none)[0],
            )
        )
        unit = follower_sizes(calculus, y, y, x).stake[..., None] / size
        return np.where((np.abs(near) < SEEMS * size) & np.isfinite(unit), SEEMS * unit, 0.0)

    def _leader_side(self, lost: Lost) -> tuple[Search, Array]:
        """Each leader's best moves alone, and what it has where the followers settle (B, J);
        ``lost`` gets the trials at which these were not settled."""
        calculus, x, at, candidates = self.calculus, self.x, self.at, self.candidates
        base = calculus.leader_values(x, at.y)[0]
        if self.points and calculus.leader_shape[0] > 1:
            found = search_jointly(
                calculus,
                x,
                at,
                self.anticipation,
                points=max(self.points // 4, 17),
                candidates=candidates,
                lost=lost,
            )
            return found, base
        if self.points:
            found = search_lines(
                calculus, x, self.oracle, points=self.points, enough=ENOUGH, candidates=candidates
            )
        else:
            assert candidates is not None
            found = search_candidates(calculus, x, self.oracle, candidates)
        lost += self.oracle.lost
        return found, base

    def _sorted(self, lost: Lost) -> tuple[Array, list[list[tuple[Array, str]]]]:
        """At how many of each point's trials the followers were not settled and might have been;
        and those that are not open to a leader, and why: they leave nothing unknown."""
        unsettled = np.zeros(len(self.x), dtype=int)
        out: list[list[tuple[Array, str]]] = [[] for _ in self.x]
        if lost and self.anticipation == "equilibrium":
            element, profiles = (np.array(part) for part in zip(*lost, strict=True))
            reasons = closed(self.calculus, element, profiles, self.y[element])
        else:
            reasons = [""] * len(lost)
        for (k, profile), why in zip(lost, reasons, strict=True):
            if why:
                out[k].append((profile, why))
            else:
                unsettled[k] += 1
        return unsettled, out

    def _probe(self) -> tuple[Array, Array, Array]:
        """What the followers answer to each leader's best move (B, J, I, n), the least that a
        leader has there or at some other moves of its own (B, J), and the least that it loses by
        moves of half its own size (B, J)."""
        calculus, x, (B, _, J) = self.calculus, self.x, self.x.shape
        low, high = search_range(calculus, x)
        best = self.search.action
        halves = half_moves(best, calculus.leader_bounds)
        moves = np.stack([best, low, (low + high) / 2, high, *halves], 1)
        trials, leader, element = each_alone(x, moves)
        answers = self.oracle(trials, element)
        found = payoffs_alone(calculus, trials, leader, lambda *_: answers, element)
        worth = found.payoff.reshape(B, -1, J)
        lost = worth[:, :1] - worth[:, -len(halves) :]
        cost = np.where(np.isfinite(lost) & (lost > 0), lost, np.inf).min(1)
        lowest = np.where(np.isfinite(worth), worth, np.inf).min(1)
        return answers[0].reshape(B, -1, J, *answers[0].shape[1:])[:, 0], lowest, cost

    def certificates(self, tolerance: float) -> list[Certificate]:
        return [self._certificate(k, tolerance) for k in range(len(self.x))]

    def _certificate(self, k: int, tolerance: float) -> Certificate:
        search, followers = self.search, self.followers
        found = {name: float(value[k]) for name, value in self.violations.raw.items()}
        violation, unsettled = float(self.violations.worst[k]), int(self.unsettled[k])
        notes = self._notes(k)
        astray = unsettled > 0 or not self.settled.converged[k]
        if astray and self.far[k].any():
            # Payoffs out there are no scale to measure gaps by, and a leader that drives its
            # followers there stops where numbers end, beside moves at which nobody settles.
            found[f"{self.calculus.follower_name} (running away)"] = violation = float(
                np.abs(self.y[k]).max()
            )
            notes.append("the followers' actions run away: here or beside, they do not settle")
        deviation, reasons = self._deviation(k, tolerance), self._reasons(k, tolerance)
        if deviation is not None and not self._holds(k, deviation):
            deviation = None
            reasons.append("where a leader would gain the followers' answer is none")
        one = self.calculus.leader_shape[0] == 1 and self.points > 0
        everywhere = one and bool(self.bounded[k]) and unsettled == 0
        known = np.isfinite(self.x[k]).all() and np.isfinite(self.y[k]).all()
        if not known:
            reasons.append("the point's actions are not all finite numbers")
        verdict: Verdict = "searched" if everywhere and self._replies_searched(k) else "local"
        if reasons:
            verdict = "unknown"
        if known and (deviation is not None or not violation <= tolerance):
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
            deviation=deviation if known else None,
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
        if self.unsettled[k]:
            count = f"{self.unsettled[k]} of {search.tried[k]}"
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
        if not self.points:
            notes.append(CANDIDATES_ALONE)
        elif not self.bounded[k]:
            notes.append(NO_BOUNDS)
        notes += said(self.calculus, self.x[k], self.closed[k])
        if self.points and self.calculus.leader_shape[0] > 1:
            notes.append(SEVERAL)
        return notes

    def _holds(self, k: int, deviation: Deviation) -> bool:
        """Whether a leader gains by a move even where followers that would rather leave the answer
        that it counts on do so: what was settled is looked at once more."""
        if deviation.player == "follower" or self.anticipation != "equilibrium":
            return True
        assert deviation.answer is not None
        market, moved = self.calculus.at(np.array([k])), np.array(self.x[k])
        moved[:, deviation.index] = deviation.action
        answer = measures.rather(market, moved, deviation.answer)
        if answer is None:
            return False
        reached = market.leader_values(moved[None], answer[None])[0][0, deviation.index]
        return bool(reached - deviation.payoff >= deviation.gain / 2)

    def _deviation(self, k: int, tolerance: float) -> Deviation | None:
        """The move of who gains most, as a share of its own scale, if that is too much."""
        (scale_l, scale_f), (noise_l, noise_f) = self._at(k, "scale"), self._at(k, "noise")
        gains = (
            np.where(np.isnan(self.now_l[k]), 0.0, self.sure_gaps[k]),
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
