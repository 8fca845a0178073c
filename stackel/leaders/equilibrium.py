"""The leaders' equilibrium over a follower oracle, written once for every backend that has one.

Two methods take turns until one of them settles:

* *stationarity*: semismooth Newton on all leaders' first-order conditions at once, within their
  bounds. Quadratic near an equilibrium where payoffs are smooth.
* *sweeps*: leaders in turn move to their best action, searched globally on a line with the
  followers re-settled (Gauss-Seidel). Needs no derivative: the way through kinks, where followers
  drop out or limits start to bind. Coming back to where a sweep has been is a cycle.

Many markets are searched at once, each with its own mask; one market is a batch of one.
"""

from __future__ import annotations

import numpy as np

from stackel.followers import complementarity
from stackel.followers.response import Response
from stackel.leaders.ascents import move_on
from stackel.leaders.deviations import broken_limit, payoffs_alone, search_range
from stackel.leaders.lines import search_lines
from stackel.leaders.oracle import Followers, record, steps, trial_oracle
from stackel.leaders.stationarity import Stationarity
from stackel.run import Points, Run, Status
from stackel.types import Array


def find(
    followers: Followers,
    run: Run,
    x: Array,
    *,
    tolerance: float,
    max_sweeps: int,
    points: int,
    survey: bool,
    settled: Response | None = None,
) -> Points:
    """The leaders' equilibria, the followers answering.

    Args:
        followers: the oracle, of one market or of a batch of B.
        run: the run; of a batch of one it gets the history.
        x: leader actions (B, d, J) to start from.
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best actions in turn.
        points: trial actions on each line.
        survey: begin with one global look along each leader's line.
        settled: the followers' answers at x, if they are known.
    """
    at = followers.settle(x, None) if settled is None else settled
    search = _Search(followers, run, x, at, tolerance, points)
    limited = bool(followers.calculus.leader_limit_names)
    if survey and not limited and x.shape[1] == 1:
        search.survey()
    trail: list[Array] = [search.x.copy()]
    open_ = np.arange(len(x))
    while len(open_):
        search.newton(open_)
        for _ in range(3):
            open_ = open_[[search.status[k] is None for k in open_]]
            for k in open_[search.sweeps[open_] >= max_sweeps]:
                search.end(k, Status.ITERATION_LIMIT, f"{search.sweeps[k]} sweeps over the leaders")
            open_ = open_[search.sweeps[open_] < max_sweeps]
            if not len(open_):
                break
            change = search.sweep(open_)
            still = change <= max(tolerance, 1e-8)
            for k in open_[still]:
                broken = broken_limit(search.calculus.at([k]), search.x[[k]], search.at.y[[k]])
                search.end(k, Status.FAILED if broken else Status.CONVERGED, broken)
            search.look_back(open_[~still], trail[:-1])
            trail.append(search.x.copy())
    return search.points()


class _Search:
    """Where each element is (B, d, J), what its followers answer, and which are done."""

    def __init__(
        self,
        followers: Followers,
        run: Run,
        x: Array,
        at: Response,
        tolerance: float,
        trial_points: int,
    ) -> None:
        self.followers, self.calculus, self.run = followers, followers.calculus, run
        self.tolerance, self.trial_points = tolerance, trial_points
        self.x, self.at = np.array(x), at.map(lambda array, core: np.array(array))
        self.status: list[Status | None] = [None] * len(x)
        self.detail = [""] * len(x)
        self.sweeps = np.zeros(len(x), dtype=int)
        self.newton_steps = np.zeros(len(x), dtype=int)
        record(run, self.calculus, self.x, self.at, np.nan)

    def end(self, k: int, status: Status, detail: str = "") -> None:
        self.status[k], self.detail[k] = status, detail

    def points(self) -> Points:
        stats = {"newton_steps": self.newton_steps, "sweeps": self.sweeps}
        status = [s or Status.ITERATION_LIMIT for s in self.status]
        at = self.at
        arrays = at.y, at.lam, at.mu, at.residual, at.converged
        return Points(self.x, *arrays, status, self.detail, stats)

    def _move(self, index: Array, x: Array, at: Response) -> None:
        self.x[index] = x
        self.at.put(index, at)

    def survey(self) -> None:
        """All leaders at once to the best of a coarse look: a start in the right neighbourhood."""
        oracle = trial_oracle(self.followers, self.run, self.at)
        x = search_lines(self.calculus, self.x, oracle, points=self.trial_points, rounds=0).action
        self._move(np.arange(len(x)), x, self.followers.settle(x, self.at))
        if not self.calculus.batched:
            self.run.keep(x[0], self.at.y[0])

    def newton(self, index: Array) -> None:
        """Newton's method on the first-order conditions from where elements stand; those whose
        solution is no equilibrium stay there."""
        followers, start = self.followers.at(index), self.x[index]
        flat = start.reshape(len(index), -1)
        system = Stationarity(followers, self.run, start, self.at[index])
        solution = complementarity.solve(
            system,
            flat,
            np.zeros((len(flat), 0)),
            tolerance=self.tolerance,
            acceptable=100 * self.tolerance,
            max_iterations=25,
            patience=3,
        )
        self.newton_steps[index] += solution.iterations
        rows = np.flatnonzero(solution.converged & np.isfinite(solution.y).all(-1))
        if not len(rows):
            return
        part, y = system.at(rows), solution.y[rows]
        known = part.evaluate(y)
        good = known.settled[rows] & part.concave(y)
        x, at = y.reshape(-1, *start.shape[1:]), known.at[rows]
        limits = followers.calculus.at(rows).leader_values(x, at.y)[1]
        good &= (limits < 0).all((-1, -2))
        if not good.any():
            return
        good[good] = ~self._beaten(followers.at(rows[good]), start[rows[good]], x[good], at[good])
        found = index[rows[good]]
        self._move(found, x[good], at[good])
        for k in found:
            self.end(k, Status.CONVERGED)
        if len(found):
            record(self.run, self.calculus, x[good], at[good], solution.residual.max())

    def _beaten(self, followers: Followers, start: Array, x: Array, at: Response) -> Array:
        """Where some leader does better by going back alone to where it started (b,), or, where
        slopes are differences, by a move within one difference step.

        Differences across a kink average its two slopes and vanish beside it, within one step.
        """
        b, d, J = x.shape
        back = np.repeat(x[:, None], J, axis=1)
        back[:, np.arange(J), :, np.arange(J)] = np.moveaxis(start, -1, 0)
        trials, leader = [back], [np.arange(J)]
        if not followers.exact:
            for side in steps(followers.calculus, x, followers.difference)[:2]:
                for share in (1.0, 0.5, 0.1):
                    trials.append(x[:, None] + (side - x[:, None]) * share)
                    leader.append(np.tile(np.arange(J), d))
        profiles, who = np.concatenate(trials, 1), np.concatenate(leader)
        element = np.repeat(np.arange(b), len(who))
        oracle = trial_oracle(followers, self.run, at)
        worth = payoffs_alone(
            followers.calculus, profiles.reshape(-1, d, J), np.tile(who, b), oracle, element
        )
        now = followers.calculus.leader_values(x, at.y)[0]
        gain = worth.payoff.reshape(b, -1) - now[:, who]
        return (gain > 1e-9 * (1e-300 + np.abs(now).max(-1, keepdims=True))).any(-1)

    @staticmethod
    def _moved(followers: Followers, x: Array, new: Array, at: Response) -> tuple[Array, Response]:
        """Elements moved to new profiles; a hair less far where followers only settle there now and
        then, at the edge of what they can meet."""
        answer = followers.settle(new, at)
        for share in (1 - 1e-8, 1 - 1e-6, 0.0):
            lost = np.flatnonzero(~answer.converged)
            if not len(lost) or not at.converged[lost].any():
                break
            new = np.array(new)
            new[lost] = x[lost] + share * (new[lost] - x[lost])
            answer = followers.settle(new, at)
        return new, answer

    def sweep(self, index: Array) -> Array:
        """Each leader in turn to its best action; how far any moved, relative to 1 + |x| (b,)."""
        followers, x, at = self.followers.at(index), self.x[index], self.at[index]
        calculus = followers.calculus
        for j in range(calculus.n_leaders):
            for decision in range(calculus.leader_shape[0]):
                found = search_lines(
                    calculus,
                    x,
                    trial_oracle(followers, self.run, at),
                    points=self.trial_points,
                    finish=3,  # it moves there
                    decision=decision,
                    leaders=np.array([j]),
                )
                known = np.isfinite(found.payoff[:, j])
                new = np.where(known[:, None, None], found.action, x)
                x, at = self._moved(followers, x, new, at)
            if calculus.leader_shape[0] > 1 or calculus.leader_limit_names:
                x = np.array(x)
                for k in range(len(x)):
                    one, here = followers.at([k]), at[[k]]
                    exact = followers.exact and followers.anticipation == "equilibrium"
                    oracle = trial_oracle(one, self.run, here)
                    x[k] = move_on(one.calculus, x[k], j, oracle, here if exact else None)
                at = followers.settle(x, at)
        change = np.abs(x - self.x[index]).max((-1, -2))
        record(self.run, calculus, x, at, change.max())
        self._move(index, x, at)
        self.sweeps[index] += 1
        return change / (1.0 + np.abs(x).max((-1, -2)))

    def look_back(self, index: Array, trail: list[Array]) -> None:
        """End elements that are where they were before: cycles."""
        low, high = search_range(self.calculus, self.x)
        width = np.where(high > low, high - low, 1.0)
        for k in index:
            far = np.array([(np.abs(self.x[k] - old[k]) / width[k]).max() for old in trail])
            near = far <= 1e-6
            if near.any():
                first = int(near.argmax())
                if (
                    far[first:].max() <= 1e-5
                ):  # it has not been away: it stands, to what it can tell
                    broken = broken_limit(self.calculus.at([k]), self.x[[k]], self.at.y[[k]])
                    self.end(k, Status.FAILED if broken else Status.CONVERGED, broken)
                    continue
                steps_ = [*(old[k] for old in trail[first:]), self.x[k]]
                shown = " -> ".join(np.array2string(v.ravel(), precision=6) for v in steps_)
                self.end(k, Status.CYCLE, f"best actions in turn: {shown}")
