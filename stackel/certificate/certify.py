"""Measuring a point, whoever found it."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import trace
from stackel.certificate import measures
from stackel.certificate.certificate import NO_BOUNDS, NOT_PROVED, TOLERANCE, Certificate, Verdict
from stackel.followers import response
from stackel.followers.complementarity import FAR
from stackel.followers.existence import uniqueness
from stackel.followers.response import Response
from stackel.followers.starts import first_guess
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation, Trials, check_anticipation
from stackel.leaders.ascents import search_many
from stackel.leaders.deviations import Deviation, search_lines
from stackel.types import Array

POINTS = 129
"""Trial decisions on each leader's first grid."""


ROUNDING = 1e-9
"""Payoffs below this share of what they are elsewhere are measured against that share."""


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
    check_anticipation(anticipation)
    x = np.asarray(x, dtype=float).reshape(game.leader_shape)
    y = np.asarray(y, dtype=float).reshape(game.follower_shape)
    notes: list[str] = []
    now_f = trace(game).follower_payoffs(y, y, x)
    follower, exact = _follower_side(game, x, y, now_f, notes)
    settled = response.settle(game, x, _as_response(game, y, follower["lam"]))
    leader, search = _leader_side(game, x, y, settled, anticipation, points, notes)
    broken, relative = measures.violations(game, x, y)
    violations, violation = {k: float(v) for k, v in broken.items()}, float(relative)
    far = float(np.abs(y).max())
    astray = not settled.converged or search["unsettled"] > 0
    if astray and far > FAR * (1.0 + np.abs(first_guess(game)).max()):
        # Payoffs out there are no scale to measure gaps by, and a leader that drives its followers
        # there stops where numbers end, beside moves at which nobody settles any more.
        violations[f"{trace(game).follower_name} (running away)"] = violation = far
        notes.append("the followers' actions run away: here or beside, they do not settle")
    now_l = trace(game).leader_values(x, y)[0]

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
    none, mu = trace(game).zeros(())
    lam = none if lam is None else lam
    return Response(y, lam, mu, np.array(np.inf), np.array(False))


def _follower_side(
    game: Game, x: Array, y: Array, now: Array, notes: list[str]
) -> tuple[dict[str, Array], bool]:
    """Each follower's best move alone, and whether it is surely the best."""
    lam, mu = trace(game).zeros(())
    own, shared = trace(game).system(y, y, x, lam, mu)[1:]
    near = np.concatenate([own, np.broadcast_to(shared, (len(y), len(shared)))], -1)
    hint = np.where(np.abs(near) < 1e-6, 1e-6, 0.0)  # which limits seem to bind
    best = response.reply(game, x, y, _as_response(game, y, hint))
    reached = trace(game).follower_payoffs(best.y, y, x)
    proved, modulus = trace(game).prove_concave(y, x)
    exact = bool(proved) and (not trace(game).k or trace(game).concavity.affine_shared)
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
    return {"gaps": gaps, "action": action, "lam": best.lam[:, : trace(game).m]}, exact


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

    oracle = Trials(game, at, anticipation, x)
    base = trace(game).leader_values(x, at.y)[0]
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
