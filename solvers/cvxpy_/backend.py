"""``cvxpy``: every follower's best reply as a convex problem, replies in turn, leaders by search.

At given leader actions the followers' equilibrium is a fixed point y = T(y) of their best replies
T(r) to rivals' actions r. Each reply is a convex problem, built from the game's own formulas: from
their recovered terms as one DPP problem for all followers and all trial prices at once
(:mod:`stackel.solvers.cvxpy_.compiled`), or, where the formulas follow CVXPY's rules but are no
sum of terms, from the formulas as they stand. Shared limits bind the replies of all together:
a fixed point of that joint map is the variational equilibrium, and the multiplier of the joint
limit is everybody's (von Heusinger and Kanzow, "Optimization reformulations of the generalized
Nash equilibrium problem using Nikaido-Isoda-type functions", Comput. Optim. Appl. 43, 2009).

The iteration is accelerated by Anderson's method (Walker and Ni, "Anderson acceleration for
fixed-point iterations", SIAM J. Numer. Anal. 49, 2011), damped and restarted where replies
overshoot, as those of many Cournot firms do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stackel.backend import Backend, begin, check_positive, check_whole, only
from stackel.calculus.calculus import trace
from stackel.calculus.structure import degree
from stackel.errors import OptionError, unknown
from stackel.followers.response import Response
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.equilibrium import find
from stackel.leaders.oracle import Followers
from stackel.run import Point, Run, Status, within
from stackel.solvers.cvxpy_.array import why_not_concave
from stackel.solvers.cvxpy_.mixing import Mixer
from stackel.solvers.cvxpy_.replies import CONE_ERROR, FormulaReplies, Replies
from stackel.solvers.cvxpy_.solving import choose
from stackel.solvers.cvxpy_.terms import Recovered
from stackel.types import Array

LOOKS = 5
"""Profiles at which convexity is looked at before accepting a game."""


MOST_CONES = 6
"""Cone programs in one settlement after which expansions are no help, and their answer stands."""

NEAR = 1e-2
"""Expansions with a step up to this, relative to 1 + max |y|, are replies near enough."""


class CvxpyFollowers(Followers):
    """Best replies in turn, as an oracle for the leaders' search.

    Args:
        game: the market.
        run: whose clock is kept.
        options: the backend's.

    Attributes:
        oracle: what answers.
        coupled: whether rivals matter to a follower.
        inner_iterations: rounds of replies so far.
    """

    def __init__(self, game: Game, run: Run, options: CVXPY) -> None:
        super().__init__(trace(game), run.anticipation)
        self.run, self.options = run, options
        self.oracle, _ = options.replies(game)
        self.tolerance = max(options.inner_tolerance, self.oracle.accuracy)
        self.difference = self.oracle.difference
        formulas = self.calculus.formulas
        own = (formulas.follower_payoff, *formulas.own_limits.values())
        self.coupled = any(degree(e, formulas.R) > 0 for e in own)
        self.inner_iterations = 0

    def settle(self, x: Array, start: Response | None) -> Response:
        return self._loop(x, None, start)

    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        return self._loop(x, rivals, start)

    def _loop(self, x: Array, rivals: Array | None, start: Response | None) -> Response:
        calculus, B = self.calculus, len(x)
        shape = (B, *calculus.follower_shape)
        low, high = calculus.follower_bounds
        cold = np.full(B, start is None)
        if start is None:
            y, (lam, mu) = calculus.first_guess, calculus.zeros((B,))
        else:
            start = start.broadcast((B,))
            y, lam, mu = start.y, start.lam, start.mu
        y = np.array(np.broadcast_to(inside(calculus, y), shape))
        lam, mu = np.array(lam), np.array(mu)
        r = np.array(y if rivals is None else np.broadcast_to(rivals, shape))
        mixer = Mixer(B, y[0].size, self.options.acceleration)
        residual, cones = np.full(B, np.inf), np.zeros(B, dtype=int)
        alone = rivals is not None or not self.coupled  # then one reply is the answer
        live, t = np.arange(B), 0
        while len(live) and t < self.options.max_inner:
            t += 1
            self.run.check()
            with within(self.run.left):
                found = self.oracle(x[live], r[live], y[live], lam[live], mu[live], cold[live])
            moved = np.abs(found.y - (y if alone else r)[live]).max((-1, -2))
            if alone and not self.oracle.expands:
                moved = np.zeros(len(live))
            # What an expansion leaves out is of the square of its step.
            moved = np.maximum(moved, found.error**2)
            size = 1.0 + np.abs(found.y).max((-1, -2))
            y[live], lam[live], mu[live] = found.y, found.lam, found.mu
            residual[live] = np.where(found.good, moved, np.inf)
            cold[live] = ~found.good
            if not alone:
                near = np.flatnonzero(found.error <= NEAR * size)
                some = live[near]
                at, reached = (v.reshape(len(near), y[0].size) for v in (r[some], found.y[near]))
                floor = 100 * self.tolerance * size[near]
                ahead, again = mixer.next(some, at, reached, floor)
                r[some] = np.clip(ahead.reshape(r[some].shape), low, high)
                cold[some[again]] |= found.error[near[again]] < CONE_ERROR
            cones[live] += found.error == CONE_ERROR
            settled = (moved <= self.tolerance * size) | (cones[live] >= MOST_CONES)
            live = live[found.good & ~settled]
        self.inner_iterations += t
        enough = max(100 * self.tolerance, CONE_ERROR**2)
        good = residual <= enough * (1.0 + np.abs(y).max((-1, -2)))
        if rivals is not None:
            residual, good = (np.broadcast_to(v[:, None], shape[:2]) for v in (residual, good))
        return Response(y, lam, mu, residual, good, t)


@dataclass(frozen=True)
class CVXPY(Backend):
    """Best replies by convex optimisation, in turn until they settle.

    Attributes:
        solver: any solver that CVXPY finds installed; by default OSQP for quadratic programs and
            Clarabel for cone programs, with tight tolerances.
        solver_options: passed on to that solver, e.g. ``{"eps_abs": 1e-8}``; needs ``solver``.
        acceleration: how many past replies Anderson's method combines; 0 is plain iteration.
        inner_tolerance: change of the replies, relative to 1 + max |y|, that counts as none.
        max_inner: most rounds of replies at given leader actions.
        leader_tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best prices in turn.
        points: trial actions on each leader's line.

    Raises:
        OptionError: a value out of range, a solver that is not installed, or options without one.
    """

    solver: str | None = None
    solver_options: Mapping[str, Any] | None = None
    acceleration: int = 5
    inner_tolerance: float = 1e-11
    max_inner: int = 300
    leader_tolerance: float = 1e-8
    max_sweeps: int = 30
    points: int = 33

    name: ClassVar[str] = "cvxpy"
    requires: ClassVar[Mapping[str, str]] = {"cvxpy": "cvxpy"}

    def __post_init__(self) -> None:
        check_positive(self, "inner_tolerance", "leader_tolerance")
        check_whole(self, acceleration=0, max_inner=1, max_sweeps=0, points=5)
        if self.solver_options and self.solver is None:
            raise OptionError(
                f"option solver_options = {dict(self.solver_options)!r} without solver; name the "
                "solver that these options belong to"
            )
        if self.solver is not None and not self.missing():
            import cvxpy as cp

            known = cp.installed_solvers()
            if not isinstance(self.solver, str) or self.solver.upper() not in known:
                raise unknown("CVXPY solver", self.solver, known)

    def accepts(self, game: Game) -> list[str]:
        """Refuses formulas that are not convex by their terms nor by CVXPY's rules.

        Raises:
            GameError: a formula does not run, or does not differentiate.
            OptionError: the solver does not take its options.
        """
        return self.replies(game)[1]

    def replies(self, game: Game) -> tuple[Replies | FormulaReplies, list[str]]:
        """What answers for the followers, and reasons against the game.

        Raises:
            OptionError: the solver does not take its options.
        """
        options = dict(self.solver_options or {})
        recovered, looks = Recovered(trace(game)), list(_looks(game))
        replies: Replies | FormulaReplies
        if recovered.complete and all(
            recovered.agrees(y, r, x)
            and all(t.convex().all() for t in recovered.terms(r[None], x[None]))
            for y, r, x in looks
        ):
            replies = Replies(game, recovered, self.solver, options)
        else:
            replies = FormulaReplies(game, self.solver, options)
            for _, r, x in looks:
                reasons = why_not_concave(game, r, x)
                if reasons:
                    return replies, reasons
        _, r, x = looks[0]
        return replies, self._solver_takes(replies, x, r)

    def _solver_takes(self, replies: Replies | FormulaReplies, x: Array, r: Array) -> list[str]:
        """CVXPY's word on whether the solver suits the problem, at one profile.

        Raises:
            OptionError: the solver does not take its options.
        """
        import cvxpy as cp

        if not choose(replies.quadratic, self.solver):
            return ["no solver that CVXPY could use is installed: pip install clarabel osqp"]
        if self.solver is None:
            return []
        problem = replies.example(x, r)
        try:
            problem.get_problem_data(self.solver.upper())
        except cp.error.SolverError as error:
            kind = "quadratic" if replies.quadratic else "cone"
            said = str(error).splitlines()[0]
            return [f"solver {self.solver.upper()} does not take its {kind} programs: {said}"]
        if self.solver_options:
            try:
                problem.solve(solver=self.solver.upper(), **self.solver_options)
            except Exception as error:  # each solver has its own kind for what it does not know
                raise OptionError(
                    f"option solver_options = {dict(self.solver_options)!r}: {self.solver.upper()} "
                    f"says: {error}"
                ) from error
        return []

    def solve(self, game: Game, run: Run) -> Point:
        import cvxpy as cp

        followers = CvxpyFollowers(game, run, self)
        oracle, tally = followers.oracle, followers.oracle.tally
        found = find(
            followers,
            run,
            begin(followers.calculus, run),
            tolerance=max(self.leader_tolerance, oracle.leader_accuracy),
            max_sweeps=self.max_sweeps,
            points=self.points,
            survey=True,
        )
        point = only(found, followers.calculus, self.name)
        if not found.settled.all():
            point.status = Status.FAILED
            point.detail = (
                f"the followers were not settled at the last leader actions: {tally.failure}"
            )
        point.stats |= {
            "formulas": oracle.formulas,
            "solves": dict(tally.solves),
            "solver_seconds": tally.solver_seconds,
            "failed_solves": tally.failures,
            "inner_iterations": followers.inner_iterations,
            "cvxpy": cp.__version__,
        }
        return point


def _looks(game: Game) -> Iterator[tuple[Array, Array, Array]]:
    """Profiles to look at convexity at.

    Yields:
        actions (I, n), rivals (I, n) and leader actions (d, J).
    """
    rng = np.random.default_rng(0)
    low, high = game.leader_bounds
    x, width = middle(low, high), np.where(np.isfinite(high - low), high - low, 0.0)
    guess = inside(game, first_guess(game))
    yield guess, guess, x
    for _ in range(LOOKS - 1):
        away = x + rng.uniform(-0.4, 0.4, x.shape) * width
        y, r = (inside(game, guess * rng.uniform(0.2, 3.0, guess.shape)) for _ in range(2))
        yield y, r, away
