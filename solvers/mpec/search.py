"""The leaders' equilibrium over their problems: leaders in turn, or all at once."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo

from stackel.calculus.calculus import trace
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.deviations import search_range
from stackel.run import Point, Status, Stop
from stackel.solvers.mpec.model import build_leader, read_actions, read_multipliers
from stackel.solvers.mpec.pieces import Method, PairedProblem, Place
from stackel.solvers.mpec.stationarity import kind
from stackel.solvers.mpec.strong_stationarity import StrongStationarity
from stackel.types import Array

GAIN = 1e-8
"""A leader's gain, relative to 1 + |payoff|, for which it leaves where it stands."""

SAME = 1e-7
"""Change or gain, relative to 1 + |x| or 1 + |payoff|, up to which the leaders' own problems
confirm the joint problem's answer."""

NOT_JOINT = "the leaders' joint problem was not solved; their own problems in turn settled"


class LeaderProblem(PairedProblem):
    """One leader's problem, kept from round to round.

    Args:
        game: the market.
        index: which leader, counted from 0.
        x: leader actions (d, J): where it begins and the others stay.
        method: how it is solved.
    """

    def __init__(self, game: Game, index: int, x: Array, method: Method) -> None:
        model, pairs = build_leader(game, index, x)
        super().__init__(model, -model.payoff, pairs, method)
        self.game, self.index = game, index
        self._begin = self.snapshot()

    @property
    def payoff(self) -> float:
        """The leader's payoff where the model stands."""
        return float(pyo.value(self.model.payoff))

    def stationarity(self) -> str:
        """The kind of stationarity where the model stands, in words."""
        if self.sides is None:
            return "unknown: the exact problem on its piece was not solved"
        return kind(self.model, self.pairs)

    def meet(self, x: Array) -> None:
        """The other leaders move to x (d, J)."""
        for (row, j), value in np.ndenumerate(x):
            if j != self.index:
                self.model.x[row, j].fix(float(value))

    def follow(self) -> bool:
        """The best action near the last one, the others having moved a little.

        Returns:
            whether it led anywhere.
        """
        if self.sides is not None and self.polish():
            return True
        near = self.approach(skip=1)
        if near:
            self.polish()
        return near

    def best(self, x: Array, starts: list[Array]) -> bool:
        """The best action found from the starts (d,) each, and from where the model stands.

        Returns:
            whether any start led anywhere.
        """
        found: list[tuple[float, Place]] = []
        if self.sides is not None and self.follow():
            found.append((self.payoff, self.snapshot()))
        own = list(self.model.x[:, self.index])
        for start in starts:
            self.restore(self._begin)
            self.meet(x)
            for variable, value in zip(own, start, strict=True):
                variable.fix(float(value))
            settled = self.approach()
            for variable in own:
                variable.unfix()
            if settled and self.method.run.best is None:  # the followers' answer: a point to keep
                self.method.run.keep(*read_actions(self.model, self.game))
            if settled and self.polish():  # the piece that the start lies on
                found.append((self.payoff, self.snapshot()))
            if self.approach(skip=int(settled)):
                self.polish()
                found.append((self.payoff, self.snapshot()))
        if not found:
            return False
        payoff, place = found[0]
        for other, there in found[1:]:
            exact = there.sides is not None or place.sides is None
            if exact and other > payoff + GAIN * (1.0 + abs(payoff)):
                payoff, place = other, there
        self.restore(place)
        return True


class _Failed(Exception):
    """A leader's problem was solved from no start."""


class Search:
    """The leaders' equilibrium over their problems.

    Args:
        game: the market.
        method: how each problem is solved.
        starts: trial starts for each leader's own problem, spread over its range.
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds over the leaders.
    """

    def __init__(
        self, game: Game, method: Method, starts: int, tolerance: float, max_sweeps: int
    ) -> None:
        self.game, self.method, self.run = game, method, method.run
        self.starts, self.tolerance, self.max_sweeps = starts, tolerance, max_sweeps
        start = self.run.start
        self.x = middle(*game.leader_bounds) if start is None else np.array(start)
        self.leaders = [self._problem(j) for j in range(game.n_leaders)]
        self.last = self.leaders[0]
        self.trail = [self.x]
        self.sweeps = 0

    def _problem(self, j: int) -> LeaderProblem:
        self.run.check()  # stating it takes long in a large market
        return LeaderProblem(self.game, j, self.x, self.method)

    def find(self, jointly: bool) -> Point:
        """Where the search ends, and why there.

        Args:
            jointly: all leaders' conditions as one problem, rather than leaders in turn.

        Raises:
            Stop: the run's time is up.
        """
        try:
            return self._all_at_once() if jointly else self._diagonalise()
        except _Failed as failed:
            return self._point(Status.FAILED, str(failed))
        except Stop:
            if self.run.best is None:  # what the first solve had reached by then
                self.run.keep(*read_actions(self.last.model, self.game))
            raise

    def _starts(self, j: int) -> list[Array]:
        """Where leader j's problem is begun: where it stands, and spread over its range."""
        low, high = (b[:, j] for b in search_range(trace(self.game), self.x))
        spread = [low + (high - low) * (k + 0.5) / self.starts for k in range(self.starts)]
        if len(low) > 1:  # several decisions: corners and mixtures too
            spread += [self.run.rng.uniform(low, high) for _ in range(self.starts)]
        return [self.x[:, j], *spread]

    def _sweep(self, globally: bool, at: Array | None = None) -> float:
        """Every leader in turn to its best action; the largest change, relative to 1 + |x|.

        Args:
            globally: from all starts, rather than near its last action.
            at: payoffs (J,) where the leaders stand; who does not gain then stays.

        Raises:
            _Failed: a leader's problem was solved from no start.
        """
        largest = 0.0
        stays = None if at is None else at + SAME * (1.0 + np.abs(at))
        for leader in self.leaders:
            j = leader.index
            leader.meet(self.x)
            near = not globally and leader.follow()
            if not near and not leader.best(self.x, self._starts(j)):
                raise _Failed(f"leader {j}: IPOPT: {leader.message}")
            if stays is not None and leader.payoff <= stays[j]:
                continue
            stays = None
            x, y = read_actions(leader.model, self.game)
            change = float(np.abs(x[:, j] - self.x[:, j]).max())
            largest = max(largest, change / (1.0 + float(np.abs(x).max())))
            self.x = np.array(self.x)
            self.x[:, j] = x[:, j]
            self.last = leader
            self.run.step(self.x, y, leader=j, payoff=leader.payoff, change=change)
        self.sweeps += 1
        return largest

    def _diagonalise(self) -> Point:
        """Leaders in turn, searched from all starts at first and again once nobody moves."""
        globally = True
        while self.sweeps < self.max_sweeps:
            change = self._sweep(globally)
            alone = len(self.leaders) == 1
            if change <= self.tolerance or (alone and globally):
                if globally:
                    return self._point(Status.CONVERGED)
                globally = True
                continue
            globally = False
            if cycle := self._cycle():
                return self._point(Status.CYCLE, cycle)
        return self._point(Status.ITERATION_LIMIT, f"{self.sweeps} sweeps over the leaders")

    def _cycle(self) -> str:
        """The cycle that the leaders have just closed, in words; if none, their trail goes on."""
        low, high = search_range(trace(self.game), self.x)
        width = np.where(high > low, high - low, 1.0)
        for k, old in enumerate(self.trail[:-1]):
            apart, moved = (np.abs(x - old) / width for x in (self.x, self.trail[-1]))
            if apart.max() <= 1e-7 and moved.max() > 1e-4:
                closed = [*self.trail[k:], self.x]
                shown = [np.array2string(x.ravel(), precision=6) for x in closed]
                return f"best actions in turn: {' -> '.join(shown)}"
        self.trail.append(self.x)
        return ""

    def _all_at_once(self) -> Point:
        """All leaders' conditions together; then each leader, from all starts, has its say."""
        joint = StrongStationarity(self.game, self.x, self.method)
        found: tuple[Array, Array] | None = None
        tries = 0
        while self.sweeps < self.max_sweeps:
            payoffs = None if found is None else trace(self.game).leader_values(*found)[0]
            change = self._sweep(globally=True, at=payoffs)
            if found is not None and change <= SAME:
                return self._point(Status.CONVERGED, joint=joint, all_at_once=tries)
            if cycle := self._cycle():
                return self._point(Status.CYCLE, cycle, all_at_once=tries)
            if change <= self.tolerance and tries:
                return self._point(Status.CONVERGED, NOT_JOINT, all_at_once=tries)
            joint.begin(self.x, self.leaders)
            tries += 1
            found = None
            if joint.solve():
                found = read_actions(joint.model, self.game)
                self.x = found[0]
                self.run.step(*found, all_at_once=tries)
        detail = f"{self.sweeps} sweeps over the leaders"
        return self._point(Status.ITERATION_LIMIT, detail, all_at_once=tries)

    def _point(
        self, status: Status, detail: str = "", joint: StrongStationarity | None = None, **more: int
    ) -> Point:
        """Where the search stands, or the leaders' joint problem."""
        model = self.last.model if joint is None else joint.model
        solved = [*self.leaders] if joint is None else [*self.leaders, joint]
        judged = self.leaders if joint is None else [joint] * len(self.leaders)
        x, y = read_actions(model, self.game)
        stats = {
            "sweeps": self.sweeps,
            "solves": sum(p.solves for p in solved),
            "complementarity": max(leader.complementarity for leader in self.leaders),
            "stationarity": [problem.stationarity() for problem in judged],
            **more,
        }
        at = self.x if joint is None else x
        return Point(at, y, status, read_multipliers(model), stats, detail)
