"""Followers' best replies by CVXPY, any number of prices at once.

Two problems answer. The *cone problem* holds the atoms as they are and needs no start. The
*quadratic program* expands the followers' Lagrangians around a point: one step of sequential
quadratic programming (Nocedal and Wright, Numerical Optimization, 2006, section 18.1), whose fixed
points are exact replies and which converges quadratically. A cone solver's tolerance leaves 1e-8
in an answer, where two faces of a cone meet; two such steps leave 1e-15. Where a game's followers
solve quadratic programs to begin with, the step is the problem itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers.systems import shared_gradients
from stackel.game.game import Game
from stackel.solvers.cvxpy_.array import Elementwise, expression_of
from stackel.solvers.cvxpy_.compiled import ROWS, SIZES, Batch, Compiled, shape_of
from stackel.solvers.cvxpy_.solving import SolverFailure, Tally, choose, run_solver
from stackel.solvers.cvxpy_.terms import Recovered, Terms
from stackel.types import Array

TRUST = 3.0
"""A step is trusted while every argument of log, root and power changes by less than this factor,
and every argument of exp by less than 1."""


CONE_ERROR = 1e-4
"""What a cone solver's answer counts as: accurate to the square of this, about 1e-8."""

ROUNDING = 1e-12
"""An action this close to a bound, relative to 1 + |y|, is at it."""


NOT_CONVEX = "the followers' problems are not convex at some leader actions"


@dataclass
class Answer:
    """Replies to B elements' rivals.

    Attributes:
        y: (B, I, n).
        lam, mu: multipliers (B, I, m), (B, k).
        good: whether it is an answer (B,).
        error: bound on the length of the last expansion's step (B,); the answer's own error is of
            its square.
    """

    y: Array
    lam: Array
    mu: Array
    good: Array
    error: Array

    def unfolded(self, B: int, I: int) -> Answer:
        """The answers to B elements of I followers, of what was folded for :meth:`Batch.folded`."""
        rows = self.y[..., 0].size // B
        y, lam = (a.reshape(B, rows, a.shape[-1])[:, :I] for a in (self.y, self.lam))
        good = np.asarray(self.good.reshape(B, -1).all(1))
        error = self.error.reshape(B, -1).max(1)
        return Answer(y, lam, np.zeros((B, 0)), good, error)

    @classmethod
    def none(cls, y: Array, lam: Array, mu: Array) -> Answer:
        """No answer yet to any element.

        Args:
            y, lam, mu: what stands where none will come; copied.
        """
        good, error = np.zeros(len(y), dtype=bool), np.full(len(y), np.inf)
        return cls(np.array(y), np.array(lam), np.array(mu), good, error)

    def put(self, where: Array, found: Answer) -> None:
        """Take over what was found.

        Args:
            where: the elements that it is for (b,).
            found: replies to b elements; those that are no answers change nothing.
        """
        for name, array in vars(found).items():
            getattr(self, name)[where[found.good]] = array[found.good]


class Replies:
    """The followers of one game, whose formulas :class:`Recovered` holds completely.

    Args:
        game: the market.
        recovered: its terms.
        solver: see :class:`stackel.solvers.cvxpy_.CVXPY`.
        options: of that solver.

    Attributes:
        quadratic: whether they are quadratic programs.
        expands: whether answers may come from expansions.
        formulas: what of the formulas is solved, in words.
        accuracy, leader_accuracy: tolerances below which replies and leaders cannot be told apart.
        difference: step of leaders' slopes, see :class:`stackel.leaders.oracle.Followers`.
    """

    expands = True
    formulas = "recovered terms, DPP"
    accuracy, leader_accuracy = 0.0, 0.0
    difference = 3e-5

    def __init__(
        self, game: Game, recovered: Recovered, solver: str | None, options: Mapping[str, Any]
    ) -> None:
        self.game, self.recovered, self.options = game, recovered, options
        self.quadratic = recovered.quadratic
        self.tally = Tally()
        self._compiled: dict[Any, Compiled] = {}
        self._solvers = {kind: choose(kind, solver) for kind in (True, False)}

    def __call__(
        self, x: Array, rivals: Array, y: Array, lam: Array, mu: Array, cold: Array
    ) -> Answer:
        """Best replies.

        Args:
            x: leader actions (B, d, J).
            rivals: everybody's actions (B, I, n).
            y, lam, mu: where expansions are made, (B, I, n), (B, I, m), (B, k).
            cold: elements (B,) that have no such point.

        Raises:
            RuntimeError: the solver has broken down for good.
        """
        whole, out = self.batch(x, rivals), Answer.none(y, lam, mu)
        convex = np.all([t.convex() for t in (whole.objective, *whole.limits)], axis=0)
        self.tally.lost(int((~convex).sum()), NOT_CONVEX)
        warm = np.flatnonzero(convex & (~cold | self.quadratic))
        if len(warm):
            self._expanded(whole.at(warm), warm, out)
        rest = np.flatnonzero(convex & ~out.good)
        if len(rest) and not self.quadratic:
            out.put(rest, self._solve(whole.at(rest), quadratic=False))
        return out

    def _shared(self, rivals: Array, x: Array) -> tuple[Array, Array]:
        calculus, zero = trace(self.game), np.zeros(rivals.shape)
        if not calculus.k:
            return np.zeros((len(x), 0, *rivals.shape[1:])), np.zeros((len(x), 0))
        lam, mu = calculus.zeros((len(x),))
        G = shared_gradients(calculus, zero, rivals, x)
        g = calculus.system(zero, rivals, x, lam, mu)[2]
        return G.reshape(len(x), calculus.k, *rivals.shape[1:]), g

    def _expanded(self, whole: Batch, where: Array, out: Answer) -> None:
        """One quadratic program around the point held in ``out``, written back if trusted."""
        y0, lam0 = out.y[where], out.lam[where]
        _, slope, bend = whole.objective.expand(y0)
        limits = []
        for r, t in enumerate(whole.limits):
            value, gradient, hessian = t.expand(y0)
            bend = bend + lam0[..., r, None, None] * hessian
            limits.append(Terms(value, gradient, None, []))
        objective = Terms(np.zeros(slope.shape[:2]), slope, bend, [])
        g = whole.g + (whole.G * y0[:, None]).sum((-1, -2))
        local = Batch(objective, limits, whole.low - y0, whole.high - y0, whole.G, g)
        finite = np.all([t.finite() for t in (objective, *limits)], axis=0)
        usable = np.flatnonzero(finite & np.isfinite(bend).all((-1, -2, -3)))
        if not len(usable):
            return
        found = self._solve(local.at(usable), quadratic=True)
        whole, before, step = whole.at(usable), y0[usable], found.y
        found.y = _snapped(before + step, whole.low, whole.high)
        found.good &= self._trusted(whole, before, found.y)
        if not self.quadratic:
            found.error = np.abs(step).max((-1, -2))
        out.put(where[usable], found)

    @staticmethod
    def _trusted(whole: Batch, before: Array, after: Array) -> Array:
        good = np.ones(len(before), dtype=bool)
        for t in (whole.objective, *whole.limits):
            for kind, a in t.atoms:
                old, new = a.argument(before), a.argument(after)
                if kind.op == "exp":
                    fine = np.abs(new - old) < 1.0
                elif kind.positive:
                    fine = (new > old / TRUST) & (new < old * TRUST)
                else:
                    fine = np.abs(new - old) < 1.0 + np.abs(old)
                good &= fine.all((-1, -2))
        return good

    def _solve(self, batch: Batch, quadratic: bool) -> Answer:
        """All elements, some at once; where these fail their halves are tried."""
        B, I, _ = batch.low.shape
        if I > ROWS and batch.alike:
            width = -(-I // -(-I // ROWS))
            return self._solve(batch.folded(width), quadratic).unfolded(B, I)
        lam = np.zeros((B, I, len(batch.limits)))
        out = Answer.none(np.zeros_like(batch.low), lam, np.zeros_like(batch.g))
        most = max(size for size in SIZES if size == 1 or size * I <= ROWS)
        todo = [np.arange(s, min(s + most, B)) for s in range(0, B, most)]
        while todo:
            part = todo.pop()
            size = min(size for size in SIZES if size >= len(part))
            filled = np.concatenate([part, np.repeat(part[-1:], size - len(part))])
            one = batch.at(filled)
            try:
                y, lam, mu, name, seconds = self.compiled(one).solve(
                    one, self._solvers[quadratic], self.options, exact=quadratic
                )
            except SolverFailure as failure:
                apart = self._separated(one, part, quadratic)
                if apart is not None:
                    todo += apart
                elif len(part) > 1:
                    todo += [part[: len(part) // 2], part[len(part) // 2 :]]
                else:
                    self.tally.failed(failure)
                continue
            self.tally.solved(name, seconds)
            count = len(part)
            out.y[part], out.lam[part], out.mu[part] = y[:count], lam[:count], mu[:count]
            out.good[part], out.error[part] = True, 0.0 if quadratic else CONE_ERROR
        return out

    def _separated(self, one: Batch, part: Array, quadratic: bool) -> list[Array] | None:
        """Of a failed problem, the elements whose limits can be met; None: that is no trouble."""
        if len(part) == 1 or not (one.limits or one.g.size):
            return None
        try:
            elastic, solvers = self.compiled(one, elastic=True), self._solvers[quadratic][-1:]
            lost = elastic.out_of_reach(one, solvers, self.options)[: len(part)]
        except SolverFailure:
            return None
        if not lost.any():
            return None
        self.tally.lost(int(lost.sum()), "limits that cannot be met: infeasible")
        return [part[~lost]] if not lost.all() else []

    def batch(self, x: Array, rivals: Array) -> Batch:
        """The numbers of the problems.

        Args:
            x: leader actions (B, d, J).
            rivals: everybody's actions (B, I, n).
        """
        objective, *limits = self.recovered.terms(rivals, x)
        G, g = self._shared(rivals, x)
        low, high = (np.broadcast_to(b, rivals.shape) for b in self.game.follower_bounds)
        return Batch(objective, limits, low, high, G, g)

    def example(self, x: Array, rivals: Array) -> Any:
        """The CVXPY problem at one profile, its parameters set.

        Args:
            x: leader actions (d, J).
            rivals: everybody's actions (I, n).
        """
        batch = self.batch(x[None], rivals[None])
        compiled = self.compiled(batch)
        compiled.put(batch)
        return compiled.problem

    def compiled(self, batch: Batch, elastic: bool = False) -> Compiled:
        """The compiled problem for numbers of this form.

        Args:
            batch: shows the form.
            elastic: as for :class:`Compiled`.
        """
        functions = tuple(shape_of(t) for t in (batch.objective, *batch.limits))
        key = (len(batch), functions, elastic)
        if key not in self._compiled:
            self._compiled[key] = Compiled(batch, elastic)
        return self._compiled[key]


def _snapped(y: Array, low: Array, high: Array) -> Array:
    """Actions on a bound where rounding alone keeps them off it."""
    near = ROUNDING * (1.0 + np.abs(y))
    return np.where(y <= low + near, low, np.where(y >= high - near, high, y))


class FormulaReplies:
    """The followers of a game whose formulas are convex by CVXPY's rules, but no sum of terms.

    The formulas themselves are run on CVXPY variables, rivals and leaders in numbers, and compiled
    anew for every answer: slower than :class:`Replies`, and as accurate as a cone solver.

    Args:
        game: the market.
        solver, options: as for :class:`Replies`, which explains the attributes.
    """

    quadratic, expands = False, False
    formulas = "as written, compiled at every solve"
    accuracy, leader_accuracy = 1e-7, 1e-5
    difference = 3e-3

    def __init__(self, game: Game, solver: str | None, options: Mapping[str, Any]) -> None:
        self.game, self.options = game, options
        self.tally = Tally()
        self._solvers = choose(False, solver)

    def problem(self, x: Array, rivals: Array) -> tuple[Any, Any, list[Any], list[Any]]:
        """The problem at one profile, its variable, its own limits and its shared limits.

        Args:
            x: leader actions (d, J).
            rivals: everybody's actions (I, n).
        """
        import cvxpy as cp

        y = cp.Variable(self.game.follower_shape, name=self.game.follower_action.name)
        own = Elementwise(y)
        payoff = self.game.follower_payoff(own, rivals, x).expression
        groups = self.game.follower_limits(own, rivals, x), self.game.shared_limits(own, x)
        limits, shared = ([expression_of(e) <= 0 for e in g.values()] for g in groups)
        bounds = []
        for values, sign in zip(self.game.follower_bounds, (1.0, -1.0), strict=True):
            where = np.flatnonzero(np.isfinite(values).ravel())
            if len(where):
                chosen = cp.vec(y, order="C")[where]
                bounds.append(sign * chosen >= sign * values.ravel()[where])
        goal = cp.Maximize(cp.sum(payoff))
        return cp.Problem(goal, [*bounds, *limits, *shared]), y, limits, shared

    def example(self, x: Array, rivals: Array) -> Any:
        """As :meth:`Replies.example`."""
        return self.problem(x, rivals)[0]

    def __call__(
        self, x: Array, rivals: Array, y: Array, lam: Array, mu: Array, cold: Array
    ) -> Answer:
        """Best replies.

        Args:
            x: leader actions (B, d, J).
            rivals: everybody's actions (B, I, n).
            y, lam, mu: what is returned where there is no answer.
            cold: of no use: nothing is expanded.

        Raises:
            RuntimeError: the solver has broken down for good.
        """
        out = Answer.none(y, lam, mu)
        for e in range(len(x)):
            try:
                self._one(e, x[e], rivals[e], out)
            except SolverFailure as failure:
                self.tally.failed(failure)
        return out

    def _one(self, e: int, x: Array, rivals: Array, out: Answer) -> None:
        problem, y, limits, shared = self.problem(x, rivals)
        if not problem.is_dcp():
            raise SolverFailure(NOT_CONVEX, broken=False)
        self.tally.solved(*run_solver(problem, self._solvers, self.options, exact=False))
        low, high = self.game.follower_bounds
        out.y[e] = np.clip(y.value, low, high)
        if limits:
            parts = [np.broadcast_to(c.dual_value, c.shape) for c in limits]
            out.lam[e] = np.maximum(np.concatenate(parts, axis=-1), 0.0)
        if shared:
            out.mu[e] = np.maximum(np.concatenate([np.ravel(c.dual_value) for c in shared]), 0.0)
        out.good[e], out.error[e] = True, 0.0
