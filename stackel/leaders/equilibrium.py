"""The leaders' equilibrium over a follower oracle, written once for every backend that has one.

Two methods take turns until one of them settles:

* *stationarity*: semismooth Newton on all leaders' first-order conditions at once, within their
  bounds. Quadratic near an equilibrium where payoffs are smooth.
* *sweeps*: leaders in turn move to their best action, searched globally on a line with the
  followers re-settled (Gauss-Seidel). Needs no derivative: the way through kinks, where followers
  drop out or limits start to bind. Coming back to where a sweep has been is a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers import complementarity
from stackel.followers.response import Response
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.ascents import together
from stackel.leaders.deviations import (
    broken_limit,
    payoffs_alone,
    search_lines,
    search_range,
)
from stackel.leaders.oracle import Followers, oracle, record, steps
from stackel.leaders.stationarity import Stationarity
from stackel.run import Run, Status
from stackel.types import Array


@dataclass
class Found:
    """Where the leaders' search ended."""

    x: Array
    at: Response
    status: Status
    detail: str
    sweeps: int
    newton_steps: int


def find(
    followers: Followers,
    run: Run,
    *,
    tolerance: float,
    max_sweeps: int,
    points: int,
    survey: bool,
) -> Found:
    """The leaders' equilibrium, the followers answering.

    Args:
        followers: the oracle.
        run: the run; its ``start`` is where to begin (default the middle of the bounds).
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best actions in turn.
        points: trial actions on each line.
        survey: begin with one global look along each leader's line.
    """
    game = followers.game
    x = middle(*game.leader_bounds) if run.start is None else np.array(run.start)
    at = followers.settle(x[None], None)
    record(run, game, x, at, np.nan)
    limits = bool(trace(game).formulas.leader_limits)
    if survey and not limits and game.leader_shape[0] == 1:
        x, at = _survey(followers, run, x, at, points)
    trail = [x]
    newton_steps = sweeps = 0
    while True:
        smooth, solution = _stationary(followers, run, x, at, tolerance)
        newton_steps += solution.iterations
        if smooth is not None:
            xs, ats = smooth
            if not limits or _feasible(game, xs, ats):
                record(run, game, xs, ats, solution.residual.max())
                return Found(xs, ats, Status.CONVERGED, "", sweeps, newton_steps)
        for _ in range(3):
            if sweeps >= max_sweeps:
                detail = f"{sweeps} sweeps over the leaders"
                return Found(x, at, Status.ITERATION_LIMIT, detail, sweeps, newton_steps)
            sweeps += 1
            before = x
            x, at = _sweep(followers, run, x, at, points)
            change = np.abs(x - before).max() / (1.0 + np.abs(x).max())
            if change <= max(tolerance, 1e-8):
                broken = broken_limit(game, x, at.y[0]) if limits else ""
                if broken:
                    return Found(x, at, Status.FAILED, broken, sweeps, newton_steps)
                return Found(x, at, Status.CONVERGED, "", sweeps, newton_steps)
            again = _visited(game, x, trail[:-1])
            if again is not None:
                shown = " -> ".join(
                    np.array2string(v.ravel(), precision=6) for v in [*trail[again:], x]
                )
                detail = f"best actions in turn: {shown}"
                return Found(x, at, Status.CYCLE, detail, sweeps, newton_steps)
            trail.append(x)


def _visited(game: Game, x: Array, trail: list[Array]) -> int | None:
    low, high = search_range(game, x)
    width = np.where(high > low, high - low, 1.0)
    for k, old in enumerate(trail):
        if (np.abs(x - old) <= 1e-6 * width).all():
            return k
    return None


def _feasible(game: Game, x: Array, at: Response) -> bool:
    return bool((trace(game).leader_values(x, at.y[0])[1] < 0).all())


def _survey(
    followers: Followers, run: Run, x: Array, at: Response, points: int
) -> tuple[Array, Response]:
    """All leaders at once to the best of a coarse look: a start in the right neighbourhood."""
    found = search_lines(followers.game, x, oracle(followers, run, at), points=points, rounds=0)
    at = followers.settle(found.action[None], at)
    run.keep(found.action, at.y[0])
    return found.action, at


def _stationary(
    followers: Followers, run: Run, x: Array, at: Response, tolerance: float
) -> tuple[tuple[Array, Response] | None, complementarity.Solution]:
    """Newton on the first-order conditions; None where it fails or ends in somebody's minimum."""
    system = Stationarity(followers, run, at)
    start = x.reshape(1, -1)
    solution = complementarity.solve(
        system,
        start,
        np.zeros((1, 0)),
        tolerance=tolerance,
        acceptable=100 * tolerance,
        max_iterations=25,
        patience=3,
    )
    there = solution.y.reshape(followers.game.leader_shape)
    if not solution.converged.all():
        return None, solution
    response, _ = system.evaluate(there)
    if not response.converged.all() or not system.concave(solution.y[0]):
        return None, solution
    doubts = [_returns(x, there)]
    if not followers.exact_slopes:
        doubts.append(_neighbours(followers, there))
    trials, leader = (np.concatenate(part) for part in zip(*doubts, strict=True))
    if len(trials) and _beaten(followers, run, there, response, trials, leader):
        return None, solution
    return (there, response), solution


def _returns(start: Array, x: Array) -> tuple[Array, Array]:
    """Profiles in which one leader goes back to where it started, and which leader."""
    moved = np.flatnonzero((start != x).any(0))
    trials = np.repeat(x[None], len(moved), axis=0)
    trials[np.arange(len(moved)), :, moved] = start[:, moved].T
    return trials, moved


def _neighbours(followers: Followers, x: Array) -> tuple[Array, Array]:
    """Profiles within one difference step.

    Differences across a kink average its two slopes and vanish beside it, within one step: some
    leader then does better at one of these.
    """
    up, down, _ = steps(followers.game, x[None], followers.difference)
    trials = [x + (side[0] - x) * f for side in (up, down) for f in (1.0, 0.5, 0.1)]
    leader = np.tile(np.arange(x.shape[1]), x.shape[0])
    return np.concatenate(trials), np.tile(leader, len(trials))


def _beaten(
    followers: Followers, run: Run, x: Array, at: Response, trials: Array, leader: Array
) -> bool:
    """Whether a leader does better in one of the profiles in which it alone moves."""
    payoff, _ = payoffs_alone(followers.game, trials, leader, oracle(followers, run, at))
    now = trace(followers.game).leader_values(x, at.y[0])[0]
    return bool((payoff - now[leader] > 1e-9 * (1e-300 + np.abs(now).max())).any())


def _sweep(
    followers: Followers, run: Run, x: Array, at: Response, points: int
) -> tuple[Array, Response]:
    """Each leader in turn to its best action, decision by decision."""
    game = followers.game
    before = x
    for j in range(game.n_leaders):
        for decision in range(game.leader_shape[0]):
            found = search_lines(
                game,
                x,
                oracle(followers, run, at),
                points=points,
                rounds=7,
                decision=decision,
                leaders=np.array([j]),
            )
            if np.isfinite(found.payoff[j]):
                x = found.action
                at = followers.settle(x[None], at)
        if game.leader_shape[0] > 1 or trace(game).formulas.leader_limits:
            exact = followers.exact_slopes and followers.anticipation == "equilibrium"
            x = together(game, x, j, oracle(followers, run, at), at[0] if exact else None)
            at = followers.settle(x[None], at)
    record(run, game, x, at, float(np.abs(x - before).max()))
    return x, at
