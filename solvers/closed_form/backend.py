"""``closed-form``: games whose followers answer affinely and whose leaders' payoffs are simple.

For the vehicular-twin market with slack limits, A = 2 diag(beta) - W is the followers' system, so
purchases are b_ij = u_i - s p_j v_i with u = A^-1 alpha and v = A^-1 1, and leader j's payoff is a
quadratic over an affine function of its own price. With a = sum(u) / (s sum(v)) and S_j the sum of
the others' 1/p_l its best price is

    p_j = (sqrt((1 + S_j a)(1 + S_j c_j)) - 1) / S_j,    clipped to [c_j, p_max],

which replaces (15) of the paper; the map is a standard function (positive, monotone, scalable:
Yates, IEEE JSAC 13, 1995), so the equilibrium is unique and the iteration converges from any start.

Nothing here knows that market. The backend finds by running a game whether its followers' system
is affine, whether their answer is affine in the leaders' decisions, and whether each leader's
payoff is a quadratic over an affine function of its own decision; then it recovers the
coefficients and maximises that ratio exactly. Linear-quadratic pricing games and Cournot games
with linear demand are of this kind too. At the answer it checks that bounds and limits are slack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stackel.backend import Backend, begin, check_positive, check_whole, only
from stackel.calculus.calculus import Calculus, trace
from stackel.calculus.concavity import Concavity
from stackel.followers.response import Response
from stackel.game.game import Game
from stackel.run import Point, Points, Run, Status
from stackel.solvers.closed_form.affine import recover, sample_range
from stackel.solvers.closed_form.ratios import along, best, fit
from stackel.types import Array

SLACK = 1e-9
"""A bound, relative to the actions, or a limit counts as slack up to this."""


@dataclass(frozen=True)
class ClosedForm(Backend):
    """Affine followers, ratio payoffs: exact best decisions, iterated to a fixed point.

    Attributes:
        leader_tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best decisions in turn.
    """

    leader_tolerance: float = 1e-13
    max_sweeps: int = 500

    name: ClassVar[str] = "closed-form"

    def __post_init__(self) -> None:
        check_positive(self, "leader_tolerance")
        check_whole(self, max_sweeps=1)

    def accepts(self, game: Game) -> list[str]:
        calculus = trace(game)
        out = _reasons(calculus)
        if out:
            return out
        with np.errstate(all="ignore"):
            affine, (why,) = calculus.once(recover, "equilibrium")
            x, ranges = begin(calculus, Run()), sample_range(calculus)
            for j in range(calculus.n_leaders):
                (also,) = fit(along(calculus, affine, x, j, ranges), j)[1]
                why = why or also
        return [why] if why else []

    def solve(self, game: Game, run: Run) -> Point:
        calculus = trace(game)
        found = self.solve_batch(calculus, run, begin(calculus, run))
        assert found is not None  # accepted
        return only(found, calculus, self.name)

    def solve_batch(
        self, whole: Calculus, run: Run, start: Array, settled: Response | None = None
    ) -> Points | None:
        if _reasons(whole):
            return None
        with np.errstate(all="ignore"):
            return self._iterate(whole, run, np.array(start))

    def _iterate(self, whole: Calculus, run: Run, x: Array) -> Points:
        """Leaders in turn to their best decisions; markets that turn out not to be of this form,
        or whose answer a bound or a limit cuts off, are refused."""
        affine, refused = whole.once(recover, run.anticipation)
        refused, ranges = list(refused), sample_range(whole)
        B = len(x)
        sweeps, converged = np.zeros(B, dtype=int), np.zeros(B, dtype=bool)
        live = np.array([k for k in range(B) if not refused[k]], dtype=int)
        for _ in range(self.max_sweeps):
            if not len(live):
                break
            part, some = whole.at(live), affine.some(live)
            here = ranges[0][live], ranges[1][live]
            before, now = x[live], x[live]
            for j in range(whole.n_leaders):
                ratio, why = fit(along(part, some, now, j, here), j)
                now[:, 0, j], ends = best(ratio, j, part.leader_bounds, here)
                endless = f"leader {j}'s payoff grows without end; bound {whole.leader_name}"
                for row in np.flatnonzero(~ends | np.array([bool(w) for w in why])):
                    refused[live[row]] = refused[live[row]] or why[row] or endless
            x[live] = now
            sweeps[live] += 1
            change = np.abs(now - before).max((-1, -2))
            self._record(part, run, now, some.at(now), change.max())
            done = change <= self.leader_tolerance * (1 + np.abs(now).max((-1, -2)))
            converged[live] = done
            live = live[~done & np.array([not refused[k] for k in live])]
        y = affine.at(x)
        refused = [why or cut for why, cut in zip(refused, _cut_off(whole, x, y), strict=True)]
        status = [Status.CONVERGED if c else Status.ITERATION_LIMIT for c in converged]
        lam, mu = whole.zeros((B,))
        known = np.zeros(B), np.ones(B, dtype=bool)
        return Points(x, y, lam, mu, *known, status, [""] * B, {"sweeps": sweeps}, refused)

    @staticmethod
    def _record(part: Calculus, run: Run, x: Array, y: Array, change: float) -> None:
        if part.batched:
            run.check()
            return
        shown = {part.leader_name: x.ravel(), "payoff": part.leader_values(x, y)[0][0]}
        run.step(x[0], y[0], stage="outer", change=float(change), **shown)


def _reasons(calculus: Calculus) -> list[str]:
    """What speaks against a market before anything is computed."""
    out = []
    if calculus.leader_shape[0] != 1:
        out.append(f"leaders have {calculus.leader_shape[0]} decisions each; it takes one each")
    if calculus.leader_limit_names:
        out.append("leaders have limits of their own")
    if not calculus.concavity.affine_field:
        out.append(
            "the followers' first-order conditions are not affine in their actions: "
            + _culprit(calculus.concavity)
        )
    return out


def _culprit(structure: Concavity) -> str:
    if structure.payoff.atoms:
        names = sorted({a.function.op for a in structure.payoff.atoms})
        return f"follower_payoff has {', '.join(names)} of the own action"
    if structure.payoff.other:
        return "follower_payoff is not a quadratic plus simple terms"
    return "follower_payoff multiplies the own action by more than an affine term of the rivals'"


def _cut_off(calculus: Calculus, x: Array, y: Array) -> list[str]:
    """Which bound or limit, of those that the formulas left out, is broken at each answer; an
    empty text where none is."""
    low, high = (np.broadcast_to(b, y.shape) for b in calculus.follower_bounds)
    outside = np.maximum(low - y, y - high)
    _, own, shared = calculus.system(y, y, x, *calculus.zeros((len(y),)))
    beyond = outside.max((-1, -2)) > SLACK * (1 + np.abs(y).max((-1, -2)))
    own_met = own.max((-1, -2), initial=-np.inf) <= SLACK
    shared_met = shared.max(-1, initial=-np.inf) <= SLACK
    out = [""] * len(y)
    for k in np.flatnonzero(beyond):
        i, column = np.unravel_index(outside[k].argmax(), outside[k].shape)
        out[k] = (
            f"at its answer follower {i} would choose {calculus.follower_name} "
            f"{y[k, i, column]:.6g}, outside its bounds [{low[k, i, column]:g}, "
            f"{high[k, i, column]:g}]: the closed form needs them slack"
        )
    for k in np.flatnonzero(~beyond & ~own_met):
        worst = np.nan_to_num(own[k], nan=np.inf)
        i, column = np.unravel_index(worst.argmax(), worst.shape)
        out[k] = (
            f"at its answer the limit {calculus.limit_names[column]!r} of follower {i} is broken "
            f"by {own[k, i, column]:.6g}: the closed form needs it slack"
        )
    for k in np.flatnonzero(~beyond & own_met & ~shared_met):
        name = calculus.shared_names[shared[k].argmax()]
        out[k] = (
            f"at its answer the shared limit {name!r} is broken by {shared[k].max():.6g}: the "
            "closed form needs it slack"
        )
    return out
