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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stackel.backend import Backend, begin, check_range, only
from stackel.calculus.calculus import trace
from stackel.calculus.structure import degree
from stackel.errors import OptionError, unknown
from stackel.followers.response import Response
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.equilibrium import find
from stackel.leaders.oracle import Followers
from stackel.run import Point, Run, Status
from stackel.solvers.cvxpy_.array import why_not_concave
from stackel.solvers.cvxpy_.compiled import choose
from stackel.solvers.cvxpy_.mixing import Mixer
from stackel.solvers.cvxpy_.replies import CONE_ERROR, FormulaReplies, Replies
from stackel.solvers.cvxpy_.terms import Recovered
from stackel.types import Array

LOOKS = 5
"""Profiles at which convexity is looked at before accepting a game."""


MOST_CONES = 6
"""Cone programs in one settlement after which expansions are no help, and their answer stands."""

NEAR = 1e-2
"""Expansions with a step up to this, relative to 1 + max |y|, are replies near enough."""

FORMULA_ACCURACY = 1e-7
"""What a cone solver's answers to unexpanded formulas are good for, relative."""


class CvxpyFollowers(Followers):
    """Best replies in turn, as an oracle for the leaders' search.

    Args:
        game: the market.
        run: whose clock is kept.
        options: the backend's.

    Attributes:
        oracle: what answers.
        expands: whether it does so by expansions, from recovered terms.
        coupled: whether rivals matter to a follower.
        inner_iterations: rounds of replies so far.
    """

    def __init__(self, game: Game, run: Run, options: CVXPY) -> None:
        super().__init__(trace(game), run.anticipation)
        self.run, self.options = run, options
        recovered, _ = options.recover(game)
        settings = dict(options.solver_options or {})
        self.oracle: Replies | FormulaReplies
        if recovered is not None:
            self.oracle = Replies(game, recovered, options.solver, settings)
            self.tolerance = options.inner_tolerance
            self.difference = 3e-5
        else:
            self.oracle = FormulaReplies(game, options.solver, settings)
            self.tolerance = max(options.inner_tolerance, FORMULA_ACCURACY)
            self.difference = 3e-3
        self.expands = recovered is not None
        formulas = self.calculus.formulas
        own = (formulas.follower_payoff, *formulas.own_limits.values())
        self.coupled = any(degree(e, formulas.R) > 0 for e in own)
        self.inner_iterations = 0

    def settle(self, x: Array, start: Response | None) -> Response:
        return self._loop(x, None, start)

    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        found = self._loop(x, rivals, start)
        share = found.y.shape[:2]
        residual = np.broadcast_to(found.residual[:, None], share)
        good = np.broadcast_to(found.converged[:, None], share)
        return Response(found.y, found.lam, found.mu, residual, good)

    def _loop(self, x: Array, rivals: Array | None, start: Response | None) -> Response:
        calculus, B = self.calculus, len(x)
        shape = calculus.follower_shape
        low, high = calculus.follower_bounds
        lam, mu = (np.array(v) for v in calculus.zeros((B,)))
        y = calculus.first_guess
        cold = np.full(B, start is None)
        if start is not None:
            y = start.y
            lam, mu = (
                np.array(np.broadcast_to(v, (B, *v.shape[1:]))) for v in (start.lam, start.mu)
            )
        y = np.array(np.broadcast_to(inside(calculus, y), (B, *shape)))
        r = np.array(y if rivals is None else np.broadcast_to(rivals, y.shape))
        mixer = Mixer(B, y[0].size, self.options.acceleration)
        residual, cones = np.full(B, np.inf), np.zeros(B, dtype=int)
        alone = rivals is not None or not self.coupled  # then one reply is the answer
        live, t = np.arange(B), 0
        while len(live) and t < self.options.max_inner:
            t += 1
            self.run.check()
            found = self.oracle(x[live], r[live], y[live], lam[live], mu[live], cold[live])
            moved = np.abs(found.y - (y if alone else r)[live]).max((-1, -2))
            if alone and not self.expands:
                moved = np.zeros(len(live))
            # What an expansion leaves out is of the square of its step.
            moved = np.maximum(moved, found.error**2)
            size = 1.0 + np.abs(found.y).max((-1, -2))
            y[live], lam[live], mu[live] = found.y, found.lam, found.mu
            residual[live] = np.where(found.good, moved, np.inf)
            cold[live] = ~found.good
            if not alone:
                near = np.flatnonzero(found.error <= NEAR * size)
                some, flat = live[near], (len(near), y[0].size)
                ahead, again = mixer.next(
                    some,
                    r[some].reshape(flat),
                    found.y[near].reshape(flat),
                    100 * self.tolerance * size[near],
                )
                r[some] = np.clip(ahead.reshape(-1, *shape), low, high)
                cold[some[again]] |= found.error[near[again]] < CONE_ERROR
            cones[live] += found.error == CONE_ERROR
            settled = (moved <= self.tolerance * size) | (cones[live] >= MOST_CONES)
            live = live[found.good & ~settled]
        self.inner_iterations += t
        enough = max(100 * self.tolerance, CONE_ERROR**2)
        good = residual <= enough * (1.0 + np.abs(y).max((-1, -2)))
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
        for option in ("inner_tolerance", "leader_tolerance"):
            value = getattr(self, option)
            check_range(option, value, "a positive number", value > 0)
        for option, least in (("acceleration", 0), ("max_inner", 1), ("max_sweeps", 0)):
            value = getattr(self, option)
            check_range(option, value, f"a whole number of at least {least}", value >= least)
        check_range("points", self.points, "at least 5", self.points >= 5)
        if self.solver_options and self.solver is None:
            raise OptionError(
                f"option solver_options = {dict(self.solver_options)!r} without solver; name the "
                "solver that these options belong to"
            )
        if self.solver is not None and not self.missing():
            import cvxpy as cp

            if (
                not isinstance(self.solver, str)
                or self.solver.upper() not in cp.installed_solvers()
            ):
                raise unknown("CVXPY solver", self.solver, cp.installed_solvers())

    def accepts(self, game: Game) -> list[str]:
        """Refuses formulas that are not convex by their terms nor by CVXPY's rules.

        Raises:
            GameError: a formula does not run, or does not differentiate.
            OptionError: the solver does not take its options.
        """
        return self.recover(game)[1]

    def recover(self, game: Game) -> tuple[Recovered | None, list[str]]:
        """The formulas' terms (None: to be run as they stand), and reasons against the game.

        Raises:
            OptionError: the solver does not take its options.
        """
        recovered = Recovered(trace(game))
        looks = list(_looks(game))
        if recovered.complete and all(
            recovered.agrees(y, r, x)
            and all(t.convex().all() for t in recovered.terms(r[None], x[None]))
            for y, r, x in looks
        ):
            return recovered, self._solver_takes(
                Replies(game, recovered, self.solver, {}), looks[0], recovered.quadratic
            )
        for _, r, x in looks:
            reasons = why_not_concave(game, r, x)
            if reasons:
                return None, reasons
        return None, self._solver_takes(FormulaReplies(game, self.solver, {}), looks[0], False)

    def _solver_takes(
        self, replies: Replies | FormulaReplies, look: tuple[Array, Array, Array], quadratic: bool
    ) -> list[str]:
        """CVXPY's word on whether the solver suits the problem.

        Raises:
            OptionError: the solver does not take its options.
        """
        import cvxpy as cp

        if not choose(quadratic, self.solver):
            return ["no solver that CVXPY could use is installed: pip install clarabel osqp"]
        if self.solver is None:
            return []
        _, r, x = look
        problem = replies.example(x, r)
        try:
            problem.get_problem_data(self.solver.upper())
        except cp.error.SolverError as error:
            kind = "quadratic" if quadratic else "cone"
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
        followers = CvxpyFollowers(game, run, self)
        exact = isinstance(followers.oracle, Replies)
        found = find(
            followers,
            run,
            begin(followers.calculus, run),
            tolerance=self.leader_tolerance if exact else max(self.leader_tolerance, 1e-5),
            max_sweeps=self.max_sweeps,
            points=self.points,
            survey=True,
        )
        point = only(found, followers.calculus, self.name)
        if not found.settled.all():
            failure = followers.oracle.tally.failure
            point.status = Status.FAILED
            point.detail = f"the followers were not settled at the last leader actions: {failure}"
        point.stats |= _stats(followers)
        return point


def _stats(followers: CvxpyFollowers) -> dict[str, Any]:
    import cvxpy as cp

    tally = followers.oracle.tally
    exact = isinstance(followers.oracle, Replies)
    return {
        "formulas": "recovered terms, DPP" if exact else "as written, compiled at every solve",
        "solves": dict(tally.solves),
        "solver_seconds": tally.solver_seconds,
        "failed_solves": tally.failures,
        "inner_iterations": followers.inner_iterations,
        "cvxpy": cp.__version__,
    }


def _looks(game: Game) -> Any:
    """Profiles to look at convexity at.

    Yields:
        actions (I, n), rivals (I, n) and leader actions (d, J).
    """
    rng = np.random.default_rng(0)
    low, high = game.leader_bounds
    x = middle(low, high)
    guess = inside(game, first_guess(game))
    yield guess, guess, x
    for _ in range(LOOKS - 1):
        some = (inside(game, guess * rng.uniform(0.2, 3.0, guess.shape)) for _ in range(2))
        away = np.where(
            np.isfinite(low) & np.isfinite(high),
            x
            + rng.uniform(-0.4, 0.4, x.shape)
            * (np.where(np.isfinite(high - low), high - low, 0.0)),
            x,
        )
        y, r = some
        yield y, r, away
