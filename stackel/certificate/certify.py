"""Measuring points, whoever found them: many at once, a single one as a batch of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.calculus import Calculus, trace
from stackel.certificate import measures
from stackel.certificate.certificate import NO_BOUNDS, NOT_PROVED, TOLERANCE, Certificate, Verdict
from stackel.followers.complementarity import FAR
from stackel.followers.existence import uniqueness
from stackel.followers.response import Response, reply, settle
from stackel.followers.starts import usual_size
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation, Trials, check_anticipation
from stackel.leaders.ascents import search_jointly
from stackel.leaders.deviations import Deviation, Search, search_lines
from stackel.types import Array

POINTS = 129
"""Trial decisions on each leader's first grid."""

ROUNDING = 1e-9
"""Payoffs below this share of what they are elsewhere are measured against that share."""

ELSEWHERE = 1e-3
"""Relative distance from which on followers are said to settle elsewhere than at the point."""

NUMBERS = 3_000
"""Points whose leaders' trial actions are answered together, times followers' decisions, times the
square of how many leaders there are: how the memory for them grows."""


def certify(
    game: Game,
    x: Any,
    y: Any,
    *,
    anticipation: Anticipation = "equilibrium",
    tolerance: float = TOLERANCE,
    points: int = POINTS,
) -> Certificate:
    """Measure a point, whoever found it.

    Args:
        game: the market.
        x: leader actions (d, J), in the unit of ``game.leader_action``.
        y: follower actions (I, n), in the unit of ``game.follower_action``.
        anticipation: what a deviating leader foresees: ``"equilibrium"``, the followers' new
            equilibrium; ``"own_response"``, each one's own reply; ``"none"``, nothing.
        tolerance: gaps and violations up to this share of their scale count as none.
        points: size of the first grid over each leader's decision.

    Returns:
        gaps in units of payoff, violations in the limits' own units, and a verdict.

    Raises:
        GameError: a formula does not differentiate.
        OptionError: no such anticipation.
        ValueError: actions of another shape.
    """
    x = np.asarray(x, dtype=float).reshape(game.leader_shape)
    y = np.asarray(y, dtype=float).reshape(game.follower_shape)
    options: Any = {"anticipation": anticipation, "tolerance": tolerance, "points": points}
    return certify_points(game, x[None], y[None], **options)[0]


def certify_points(
    game: Game | Calculus,
    x: Any,
    y: Any,
    *,
    anticipation: Anticipation = "equilibrium",
    tolerance: float = TOLERANCE,
    points: int = POINTS,
) -> list[Certificate]:
    """Measure many points of one market: each certificate is what :func:`certify` says of its
    point alone, to the bit.

    Args:
        game: the market; or a batch of as many markets as there are points.
        x: leader actions (B, d, J).
        y: follower actions (B, I, n).
        anticipation, tolerance, points: as in :func:`certify`.

    Returns:
        one certificate for each point.

    Raises:
        GameError, OptionError: as :func:`certify`.
        ValueError: actions of other shapes, or of other points than the batch's.
    """
    check_anticipation(anticipation)
    calculus = trace(game)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    count = len(calculus.follower_bounds[0]) if calculus.batched else len(np.atleast_1d(x))
    for name, actions, core in (
        ("x", x, calculus.leader_shape),
        ("y", y, calculus.follower_shape),
    ):
        if actions.shape != (count, *core):
            raise ValueError(f"{name} has shape {actions.shape}; expected {(count, *core)}")
    at_once = max(1, NUMBERS // (calculus.n_leaders**2 * math.prod(calculus.follower_shape)))
    out: list[Certificate] = []
    for start in range(0, len(x), at_once):
        some = np.arange(start, min(start + at_once, len(x)))
        with np.errstate(all="ignore"):
            one = _Measured(calculus.at(some), x[some], y[some], anticipation, points)
            out += one.certificates(tolerance)
    return out


@dataclass
class _FollowerGains:
    """What the followers could gain, of B points.

    Attributes:
        best: their best replies.
        gaps: what each gains by its own (B, I).
        action: that reply (B, I, n).
        exact: whether it is surely the best (B,).
        notes: caveats in words, of each point.
    """

    best: Response
    gaps: Array
    action: Array
    exact: Array
    notes: list[list[str]]


class _Measured:
    """Everything that is measured of B points, for their certificates."""

    def __init__(
        self, calculus: Calculus, x: Array, y: Array, anticipation: Anticipation, points: int
    ) -> None:
        self.calculus, self.x, self.y, self.anticipation = calculus, x, y, anticipation
        self.now_f = calculus.follower_payoffs(y, y, x)
        self.now_l = calculus.leader_values(x, y)[0]
        self.followers = self._follower_side()
        lam = self.followers.best.lam[..., : calculus.m]
        self.settled = settle(calculus, x, self._as_response(lam))
        self.search, self.base = self._leader_side(points)
        self.leader_gaps = _gaps(self.search.payoff - self.base)
        self.violations, self.violation = measures.violations(calculus, x, y)
        typical_l, typical_f = (ROUNDING * t for t in measures.typical(calculus, x, y))
        reached = np.maximum(self.search.payoff, self.base)
        gained = self.now_f + self.followers.gaps
        self.scale_f = measures.scale(self.now_f, gained, typical_f)
        self.scale_l = measures.scale(self.now_l, reached, typical_l)
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
        best = reply(calculus, x, y, self._as_response(hint))
        proved, modulus = calculus.prove_concave(y, x)
        exact = proved & (not calculus.k or calculus.concavity.affine_shared)
        slack = np.where(exact[:, None], measures.slack(calculus, x, y, best, modulus), 0.0)
        reached, action = calculus.follower_payoffs(best.y, y, x), best.y
        solved = best.converged & np.isfinite(reached)  # off the payoff's domain it is no reply
        reached = np.where(solved, reached, now)
        exact = exact & solved.all(-1)
        if not exact.all():
            tried, better = measures.sampled(calculus, x, y, action, reached)
            action = np.where(exact[:, None, None], action, tried)
            reached = np.where(exact[:, None], reached, better)
        notes: list[list[str]] = []
        for k in range(len(x)):
            notes.append([NOT_PROVED] * (not exact[k]))
            missing = np.flatnonzero(~solved[k])
            if len(missing):
                what = f"best replies of {len(missing)} followers not solved"
                notes[k].insert(0, f"{what}, e.g. of {missing[0]}")
        gaps = np.where(np.isfinite(now), _gaps(reached - now) + slack, np.inf)
        return _FollowerGains(best, gaps, action, exact, notes)

    def _leader_side(self, points: int) -> tuple[Search, Array]:
        """Each leader's best moves alone, and what it has where the followers settle (B, J)."""
        calculus, x, settled = self.calculus, self.x, self.settled
        at = settled.map(lambda array, core: np.array(array))
        lost = np.flatnonzero(~settled.converged)
        at.put(lost, self._as_response(calculus.zeros((len(x),))[0])[lost])
        base = calculus.leader_values(x, at.y)[0]
        if calculus.leader_shape[0] == 1:
            oracle = Trials(calculus, x, at, self.anticipation)
            return search_lines(calculus, x, oracle, points=points), base
        points = max(points // 4, 17)
        return search_jointly(calculus, x, at, self.anticipation, points=points), base

    def certificates(self, tolerance: float) -> list[Certificate]:
        return [self._certificate(k, tolerance) for k in range(len(self.x))]

    def _certificate(self, k: int, tolerance: float) -> Certificate:
        search, gaps_l, gaps_f = self.search, self.leader_gaps[k], self.followers.gaps[k]
        scale_l, scale_f = float(self.scale_l[k]), float(self.scale_f[k])
        violations = {name: float(value[k]) for name, value in self.violations.items()}
        violation, unsettled = float(self.violation[k]), int(search.unsettled[k])
        notes = [*self.followers.notes[k], *self._notes(k)]
        far = float(np.abs(self.y[k]).max())
        astray = unsettled > 0 or not self.settled.converged[k]
        if astray and far > FAR * (1.0 + self.usual[k]):
            # Payoffs out there are no scale to measure gaps by, and a leader that drives its
            # followers there stops where numbers end, beside moves at which nobody settles.
            violations[f"{self.calculus.follower_name} (running away)"] = violation = far
            notes.append("the followers' actions run away: here or beside, they do not settle")
        deviation = self._deviation(k, gaps_l / scale_l, gaps_f / scale_f, tolerance)
        one = self.calculus.leader_shape[0] == 1
        everywhere = one and bool(self.bounded[k]) and unsettled == 0
        verdict: Verdict = "certified" if everywhere else "local"
        if deviation is not None or not violation <= tolerance:
            verdict = "refuted"
        losers = losing(self.now_l[k], self.now_f[k], scale_l, scale_f, tolerance)
        return Certificate(
            verdict=verdict,
            follower_gaps=gaps_f.copy(),
            leader_gaps=gaps_l.copy(),
            follower_scale=scale_f,
            leader_scale=scale_l,
            tolerance=tolerance,
            exact_replies=bool(self.followers.exact[k]),
            global_search=everywhere,
            resolution=search.resolution[k].copy(),
            trials=int(search.tried[k]),
            unsettled=unsettled,
            violations=violations,
            violation=violation,
            individually_rational=not losers,
            losers=losers,
            uniqueness=self.uniqueness[k],
            anticipation=self.anticipation,
            deviation=deviation,
            notes=tuple(notes),
        )

    def _notes(self, k: int) -> list[str]:
        """Caveats about the leaders."""
        notes, settled, search = [], self.settled, self.search
        apart = np.abs(settled.y[k] - self.y[k]).max() / (1 + np.abs(self.y[k]).max())
        if not settled.converged[k]:
            notes.append("the followers could not be settled at the point's own leader actions")
        elif apart > ELSEWHERE:
            notes.append(f"the followers settle elsewhere than at the point (relative {apart:.2g})")
        if search.unsettled[k]:
            count = f"{search.unsettled[k]} of {search.tried[k]}"
            notes.append(f"{count} leader deviations could not be settled")
        if not self.bounded[k]:
            notes.append(NO_BOUNDS)
        if self.calculus.leader_shape[0] > 1:
            notes.append("leaders have several decisions each: their gap is a multi-start estimate")
        return notes

    def _deviation(
        self, k: int, leaders: Array, followers: Array, tolerance: float
    ) -> Deviation | None:
        """The move of who gains most, as a share of its side's scale, if that is too much."""
        gap, player, index = max(
            (leaders.max(), "leader", int(leaders.argmax())),
            (followers.max(), "follower", int(followers.argmax())),
        )
        if gap <= tolerance:
            return None
        if player == "leader":
            move, has, gain = self.search.action[k][:, index], self.now_l, self.leader_gaps
            return Deviation("leader", index, move, float(has[k, index]), float(gain[k, index]))
        move, has, gain = self.followers.action[k, index], self.now_f, self.followers.gaps
        return Deviation("follower", index, move, float(has[k, index]), float(gain[k, index]))


def _gaps(gained: Array) -> Array:
    """Gains are no less than nothing; one that is not known counts as endless."""
    return np.where(np.isnan(gained), np.inf, np.maximum(gained, 0.0))


def losing(
    leaders: Array, followers: Array, scale_l: float, scale_f: float, tolerance: float
) -> tuple[tuple[str, int], ...]:
    """Who has less than nothing, as pairs such as ``("leader", 0)``.

    Args:
        leaders, followers: payoffs (J,) and (I,).
        scale_l, scale_f: their sizes.
        tolerance: the share of these up to which a loss counts as none.
    """
    out = [("leader", int(j)) for j in np.flatnonzero(leaders < -tolerance * scale_l)]
    out += [("follower", int(i)) for i in np.flatnonzero(followers < -tolerance * scale_f)]
    return tuple(out)
