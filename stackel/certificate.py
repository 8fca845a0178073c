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

from stackel import response
from stackel.complementarity import FAR
from stackel.deviations import Deviation, search_lines, search_range
from stackel.existence import Uniqueness, uniqueness
from stackel.game import Game
from stackel.multistart import search_many
from stackel.response import Anticipation, Response
from stackel.systems import Joint, open_bounds

Array = np.ndarray
Verdict = Literal["certified", "local", "refuted"]

TOLERANCE = 1e-6
"""Gaps and violations up to this share of their scale still count as none."""

POINTS = 129
"""Trial decisions on each leader's first grid."""

ROUNDING = 1e-9
"""Payoffs below this share of what they are elsewhere are measured against that share."""

SAMPLES = 64
"""Trial actions of each follower where its problem is not proved concave."""


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
    violations, violation = _violations(game, x, y)
    far = float(np.abs(y).max())
    if not settled.converged and far > FAR * (1.0 + np.abs(response.first_guess(game)).max()):
        # Payoffs out there are no scale to measure gaps by.
        violations[f"{game.follower_action.name} (running away)"] = violation = far
        notes.append("the followers do not settle: their actions run away")
    now_l = game.calculus.leader_values(x, y)[0]

    typical_l, typical_f = _typical(game, x, y)
    scale_f = _scale(now_f, now_f + follower["gaps"], ROUNDING * typical_f)
    scale_l = _scale(now_l, leader["reached"], ROUNDING * typical_l)
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
    losers = _losers(now_l, now_f, scale_l, scale_f, tolerance)
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


def _scale(*payoffs: Array) -> float:
    finite = [np.abs(p[np.isfinite(p)]).max(initial=0.0) for p in payoffs]
    return float(max(finite)) or 1.0


def _typical(game: Game, x: Array, y: Array) -> tuple[Array, Array]:
    """Payoffs of the leaders and the followers elsewhere: where they are nearly 0 at the point
    itself, what counts as rounding can only be told from these."""
    low, high = search_range(game, x)
    at = np.stack([low, (low + high) / 2, high])
    guess = response.inside(game, response.first_guess(game), at)
    leaders = game.calculus.leader_values(at, y)[0]
    return leaders, game.calculus.follower_payoffs(guess, guess, at)


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
    exact, modulus = game.calculus.structure.concavity(y, x)
    exact = (exact and not game.calculus.k) or (exact and _affine_shared(game))
    slack = _slack(game, x, y, best, modulus) if exact else np.zeros(len(now))
    action = best.y
    if not best.converged.all():
        missing = np.flatnonzero(~best.converged)
        notes.append(f"best replies of {len(missing)} followers not solved, e.g. of {missing[0]}")
        reached, exact = np.where(best.converged, reached, now), False
    if not exact:
        action, reached = _sample(game, x, y, action, reached)
        notes.append(
            "followers' problems are not proved concave: their best replies come from optimality "
            f"conditions, compared with {SAMPLES} sampled actions each"
        )
    gaps = np.maximum(reached - now, 0.0) + slack
    gaps = np.where(np.isfinite(now), gaps, np.inf)
    return {"gaps": gaps, "action": action, "lam": best.lam[:, : game.calculus.m]}, exact


def _affine_shared(game: Game) -> bool:
    from stackel.structure import degree

    limits = game.calculus.shared_limits.values()
    return all(degree(e, game.calculus.Y) <= 1 for e in limits)


def _slack(game: Game, x: Array, y: Array, best: Response, modulus: Array) -> Array:
    """A bound on how much better than the computed reply any reply could be.

    For a payoff strongly concave with modulus m, a Lagrangian gradient g and multipliers lam leave
    at most the largest g s - m |s|^2 / 2 over steps s within the bounds, and lam |c|. Zero where
    there is no modulus.
    """
    calculus = game.calculus
    if calculus.k:
        return np.zeros(len(y))
    lam, mu = np.maximum(best.lam, 0.0), np.zeros(0)
    field_, own, _ = calculus.system(best.y, y, x, lam, mu)
    low, high = game.follower_bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        # The most of -field @ step - modulus |step|^2 / 2 over steps that stay within the bounds.
        m = modulus[:, None]
        step = np.clip(best.y - field_ / m, low, high) - best.y
        bound = (-field_ * step - m / 2 * step**2).sum(-1)
    complementary = (lam * np.maximum(-own, 0.0)).sum(-1) if calculus.m else 0.0
    return np.where(modulus > 0, bound + complementary, 0.0)


def _sample(game: Game, x: Array, y: Array, action: Array, reached: Array) -> tuple[Array, Array]:
    """Improve replies by trial actions; row i of a payoff needs row i of the action only."""
    rng = np.random.default_rng(0)
    low, high = game.follower_bounds
    wide = 10.0 * (np.abs(y) + 1.0)
    low = np.where(np.isfinite(low), low, y - wide)
    high = np.where(np.isfinite(high), high, y + wide)
    for _ in range(SAMPLES):
        trial = low + (high - low) * rng.random(y.shape)
        payoff = game.calculus.follower_payoffs(trial, y, x)
        lam, mu = game.calculus.zeros(())
        own = game.calculus.system(trial, y, x, lam, mu)[1]
        good = np.isfinite(payoff) & (own <= 0).all(-1)
        if game.calculus.k:
            good &= False
        better = good & (payoff > reached)
        action = np.where(better[:, None], trial, action)
        reached = np.where(better, payoff, reached)
    return action, reached


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
        notes.append("leaders' actions are unbounded: searched ten times as far as the point")
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


def _violations(game: Game, x: Array, y: Array) -> tuple[dict[str, float], float]:
    """Raw violations by name, and the largest as a relative distance to feasibility."""
    calculus = game.calculus
    out: dict[str, float] = {}
    relative = 0.0
    for action, value, (low, high) in (
        (game.leader_action.name, x, game.leader_bounds),
        (game.follower_action.name, y, game.follower_bounds),
    ):
        raw = float(np.maximum(np.maximum(low - value, value - high), 0.0).max())
        out[action] = raw
        relative = max(relative, raw / (1.0 + float(np.abs(value).max())))
    lam, mu = calculus.zeros((1,))
    batch = y[None], x[None]
    system = Joint(calculus, batch[1], open_bounds(calculus, x, y))
    flat_y, flat_lam = system.flat(batch[0], lam, mu)
    with np.errstate(all="ignore"):
        _, c = system.values(flat_y, flat_lam)
        _, s, w = system.scales(flat_y, flat_lam)
    own = c[0, : game.n_followers * calculus.m].reshape(game.n_followers, calculus.m)
    for name, raw_column in zip(calculus.limit_names, own.T, strict=True):
        out[name] = max(out.get(name, 0.0), float(np.maximum(raw_column, 0.0).max()))
    shared = c[0, game.n_followers * calculus.m :]
    for name, value in zip(calculus.shared_names, shared, strict=True):
        out[name] = max(out.get(name, 0.0), float(max(value, 0.0)))
    if c.size:
        distance = (np.maximum(c, 0.0) / s * w)[0]  # how far y must move to mend the limit
        distance = np.where(np.isfinite(c[0]), distance, np.inf)
        relative = max(relative, float(distance.max()) / (1.0 + float(np.abs(y).max())))
    leader = calculus.leader_values(x, y)[1]
    for name, row in zip(calculus.leader_limit_names, leader, strict=True):
        raw = float(np.maximum(row, 0.0).max())
        out[name] = max(out.get(name, 0.0), raw)
        relative = max(relative, raw / (1.0 + float(np.abs(row).max())))
    return out, relative


def _losers(
    leaders: Array, followers: Array, scale_l: float, scale_f: float, tolerance: float
) -> tuple[tuple[str, int], ...]:
    out = [("leader", int(j)) for j in np.flatnonzero(leaders < -tolerance * scale_l)]
    out += [("follower", int(i)) for i in np.flatnonzero(followers < -tolerance * scale_f)]
    return tuple(out)
