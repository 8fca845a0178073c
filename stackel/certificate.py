"""What a point is worth: computed from the game alone, by the same code for every backend.

A certificate answers four questions. How much does any follower gain by a best reply of its own?
How much does any leader gain by moving alone, the followers re-settled? By how much is any limit
broken? Does anybody lose by taking part? An equilibrium is a point where nobody gains more than
the tolerance and no limit is broken by more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from stackel import measures, response
from stackel.complementarity import FAR
from stackel.deviations import Deviation, search_lines
from stackel.existence import Uniqueness, uniqueness
from stackel.game.game import Game
from stackel.multistart import search_many
from stackel.response import Anticipation, Response
from stackel.types import Array

Verdict = Literal["certified", "local", "refuted"]

TOLERANCE = 1e-6
"""Gaps and violations up to this share of their scale still count as none."""

POINTS = 129
"""Trial decisions on each leader's first grid."""

ROUNDING = 1e-9
"""Payoffs below this share of what they are elsewhere are measured against that share."""

NOT_PROVED = (
    "followers' problems are not proved concave: their best replies come from optimality "
    f"conditions, compared with {measures.SAMPLES} sampled actions each"
)

NO_BOUNDS = "leaders' actions are unbounded: searched ten times as far as the point"


@dataclass(frozen=True)
class Certificate:
    """The worth of a point; see the module. Players are counted from 0.

    Attributes:
        verdict: ``"certified"``: nobody gains, leaders searched globally; ``"local"``: nobody
            was found to gain, but some search was only an estimate; ``"refuted"``.
        follower_gaps: most that each follower gains alone (I,), in units of payoff.
        leader_gaps: most that each leader gains alone, the followers re-settled (J,).
        follower_scale, leader_scale: payoffs' sizes that the gaps are measured against.
        tolerance: relative gap and violation that still count as none.
        exact_replies: whether every follower's problem is proved concave, so that its best reply
            is one; otherwise replies are compared with samples.
        global_search: whether each leader's whole range was searched (one decision each).
        resolution: spacing of the search over each leader's decision (J,).
        trials: leader deviations tried.
        unsettled: how many of them were left out because the followers could not be settled.
        violations: largest violation by limit, raw, in the limit's own units.
        violation: largest violation of all, as a relative distance to feasibility.
        individually_rational: whether everybody's payoff is at least 0 (staying out).
        losers: who has less, as ``("follower", 0)``.
        uniqueness: evidence that the followers have one equilibrium.
        anticipation: what leaders foresee when they deviate.
        deviation: the move that refutes the point, if any.
        notes: caveats in words.
    """

    verdict: Verdict
    follower_gaps: Array
    leader_gaps: Array
    follower_scale: float
    leader_scale: float
    tolerance: float
    exact_replies: bool
    global_search: bool
    resolution: Array
    trials: int
    unsettled: int
    violations: Mapping[str, float]
    violation: float
    individually_rational: bool
    losers: tuple[tuple[str, int], ...]
    uniqueness: Uniqueness
    anticipation: Anticipation
    deviation: Deviation | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def follower_gap(self) -> float:
        """The most that any follower gains, in units of payoff."""
        return float(self.follower_gaps.max())

    @property
    def leader_gap(self) -> float:
        """The most that any leader gains, in units of payoff."""
        return float(self.leader_gaps.max())

    @property
    def relative_gap(self) -> float:
        """The larger of the two gaps, each as a share of its side's payoff scale."""
        follower = self.follower_gap / self.follower_scale
        return max(follower, self.leader_gap / self.leader_scale)

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the point."""
        return self.verdict != "refuted"

    def _broken(self) -> str:
        name = max(self.violations, key=lambda key: self.violations[key])
        return f"{name} breaks its limit by {self.violations[name]:.3g}"

    def __str__(self) -> str:
        if self.verdict == "refuted":
            return f"refuted: {self.deviation or self._broken()}"
        return (
            f"{self.verdict}: no follower gains more than {self.follower_gap:.2g}, "
            f"no leader more than {self.leader_gap:.2g}"
        )


def certify(
    game: Game,
    x: Array,
    y: Array,
    *,
    anticipation: Anticipation = "equilibrium",
    tolerance: float = TOLERANCE,
    points: int = POINTS,
) -> Certificate:
    """Measure a point, whoever found it.

    Args:
        game: the market.
        x: leader actions (d, J).
        y: follower actions (I, n).
        anticipation: what a deviating leader foresees; see :data:`stackel.response.Anticipation`.
        tolerance: gaps and violations up to this share of their scale count as none.
        points: size of the first grid over each leader's decision.
    """
    response.check_anticipation(anticipation)
    x = np.asarray(x, dtype=float).reshape(game.leader_shape)
    y = np.asarray(y, dtype=float).reshape(game.follower_shape)
    notes: list[str] = []
    now_f = game.calculus.follower_payoffs(y, y, x)
    follower, exact = _follower_side(game, x, y, now_f, notes)
    settled = response.settle(game, x, _as_response(game, y, follower["lam"]))
    leader, search = _leader_side(game, x, y, settled, anticipation, points, notes)
    broken, relative = measures.violations(game, x, y)
    violations, violation = {k: float(v) for k, v in broken.items()}, float(relative)
    far = float(np.abs(y).max())
    astray = not settled.converged or search["unsettled"] > 0
    if astray and far > FAR * (1.0 + np.abs(response.first_guess(game)).max()):
        # Payoffs out there are no scale to measure gaps by, and a leader that drives its followers
        # there stops where numbers end, beside moves at which nobody settles any more.
        violations[f"{game.follower_action.name} (running away)"] = violation = far
        notes.append("the followers' actions run away: here or beside, they do not settle")
    now_l = game.calculus.leader_values(x, y)[0]

    typical_l, typical_f = (ROUNDING * t.ravel() for t in measures.typical(game, x, y))
    scale_f = float(measures.scale(now_f, now_f + follower["gaps"], typical_f))
    scale_l = float(measures.scale(now_l, leader["reached"], typical_l))
    worst = [
        (leader["gaps"].max() / scale_l, "leader", int(leader["gaps"].argmax())),
        (follower["gaps"].max() / scale_f, "follower", int(follower["gaps"].argmax())),
    ]
    deviation = None
    gap, player, index = max(worst)
    if not gap <= tolerance:
        side = leader if player == "leader" else follower
        action = side["action"][:, index] if player == "leader" else side["action"][index]
        base = now_l if player == "leader" else now_f
        deviation = Deviation(
            "leader" if player == "leader" else "follower",
            index,
            action,
            float(base[index]),
            float(side["gaps"][index]),
        )
    if deviation is not None or not violation <= tolerance:
        verdict: Verdict = "refuted"
    else:
        verdict = "certified" if search["global"] else "local"
    losers = losing(now_l, now_f, scale_l, scale_f, tolerance)
    return Certificate(
        verdict=verdict,
        follower_gaps=follower["gaps"],
        leader_gaps=leader["gaps"],
        follower_scale=scale_f,
        leader_scale=scale_l,
        tolerance=tolerance,
        exact_replies=exact,
        global_search=search["global"],
        resolution=search["resolution"],
        trials=search["trials"],
        unsettled=search["unsettled"],
        violations=violations,
        violation=violation,
        individually_rational=not losers,
        losers=losers,
        uniqueness=uniqueness(game, x, settled.y if settled.converged else y),
        anticipation=anticipation,
        deviation=deviation,
        notes=tuple(notes),
    )


def _as_response(game: Game, y: Array, lam: Array | None = None) -> Response:
    none, mu = game.calculus.zeros(())
    lam = none if lam is None else lam
    return Response(y, lam, mu, np.array(np.inf), np.array(False))


def _follower_side(
    game: Game, x: Array, y: Array, now: Array, notes: list[str]
) -> tuple[dict[str, Array], bool]:
    """Each follower's best move alone, and whether it is surely the best."""
    lam, mu = game.calculus.zeros(())
    own, shared = game.calculus.system(y, y, x, lam, mu)[1:]
    near = np.concatenate([own, np.broadcast_to(shared, (len(y), len(shared)))], -1)
    hint = np.where(np.abs(near) < 1e-6, 1e-6, 0.0)  # which limits seem to bind
    best = response.reply(game, x, y, _as_response(game, y, hint))
    reached = game.calculus.follower_payoffs(best.y, y, x)
    proved, modulus = game.calculus.structure.concavity(y, x)
    exact = proved and (not game.calculus.k or measures.affine_shared(game))
    slack = measures.slack(game, x, y, best, modulus) if exact else np.zeros(len(now))
    action = best.y
    if not best.converged.all():
        missing = np.flatnonzero(~best.converged)
        notes.append(f"best replies of {len(missing)} followers not solved, e.g. of {missing[0]}")
        reached, exact = np.where(best.converged, reached, now), False
    if not exact:
        action, reached = measures.sampled(game, x, y, action, reached)
        notes.append(NOT_PROVED)
    gaps = np.maximum(reached - now, 0.0) + slack
    gaps = np.where(np.isfinite(now), gaps, np.inf)
    return {"gaps": gaps, "action": action, "lam": best.lam[:, : game.calculus.m]}, exact


def _leader_side(
    game: Game,
    x: Array,
    y: Array,
    settled: Response,
    anticipation: Anticipation,
    points: int,
    notes: list[str],
) -> tuple[dict[str, Array], dict]:
    """Each leader's best move alone."""
    at = settled if settled.converged else _as_response(game, y)
    if not settled.converged:
        notes.append("the followers could not be settled at the point's own leader actions")
    apart = float(np.abs(settled.y - y).max() / (1 + np.abs(y).max()))
    if settled.converged and apart > 1e-3:
        notes.append(f"the followers settle elsewhere than at the point (relative {apart:.2g})")

    oracle = response.Trials(game, at, anticipation, x)
    base = game.calculus.leader_values(x, at.y)[0]
    one = game.leader_shape[0] == 1
    found = (
        search_lines(game, x, oracle, points=points)
        if one
        else search_many(game, x, at, oracle, anticipation, points=max(points // 4, 17))
    )
    if found.unsettled:
        notes.append(f"{found.unsettled} of {found.tried} leader deviations could not be settled")
    finite = all(np.isfinite(b).all() for b in game.leader_bounds)
    if not finite:
        notes.append(NO_BOUNDS)
    if not one:
        notes.append("leaders have several decisions each: their gap is a multi-start estimate")
    gaps = np.maximum(found.payoff - base, 0.0)
    side = {"gaps": gaps, "action": found.action, "reached": np.maximum(found.payoff, base)}
    search = {
        "global": one and finite and found.unsettled == 0,
        "resolution": found.resolution,
        "trials": found.tried,
        "unsettled": found.unsettled,
    }
    return side, search


def losing(
    leaders: Array, followers: Array, scale_l: float, scale_f: float, tolerance: float
) -> tuple[tuple[str, int], ...]:
    """Who has less than nothing, from payoffs (J,) and (I,)."""
    out = [("leader", int(j)) for j in np.flatnonzero(leaders < -tolerance * scale_l)]
    out += [("follower", int(i)) for i in np.flatnonzero(followers < -tolerance * scale_f)]
    return tuple(out)
