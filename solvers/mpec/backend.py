"""``mpec``: each leader's problem with the followers' optimality conditions as constraints.

A mathematical program with equilibrium constraints for each leader, in Pyomo, solved by IPOPT.
Neither the core's follower equilibrium nor the leaders' search of the other backends is used: an
answer from here checks theirs.

Strategies for several leaders: *diagonalisation*, leaders in turn (Gauss-Seidel) until none moves;
*all-at-once*, all leaders' strong stationarity conditions as one problem (Leyffer and Munson,
Optim. Methods Softw. 25, 2010, doi 10.1080/10556780903448052).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from stackel.backend import Backend, check_range
from stackel.calculus.calculus import trace
from stackel.errors import OptionError, Refusal
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.deviations import search_range
from stackel.run import Point, Run, Status
from stackel.solvers.mpec import ipopt as solver
from stackel.solvers.mpec import model as pyomo_model
from stackel.solvers.mpec.complementarity import find
from stackel.solvers.mpec.complementarity.base import attach
from stackel.solvers.mpec.pieces import Pieces
from stackel.solvers.mpec.stationarity import kind
from stackel.solvers.mpec.strong_stationarity import StrongStationarity
from stackel.types import Array

STRATEGIES = ("diagonalisation", "all-at-once")

GAIN = 1e-8
"""A leader's gain, relative to 1 + |payoff|, for which it leaves where it stands."""

SAME = 1e-7
"""Change or gain, relative to 1 + |x| or 1 + |payoff|, up to which the leaders' own problems
confirm the joint problem's answer."""

NOT_JOINT = "the leaders' joint problem was not solved; their own problems in turn settled"


@dataclass(frozen=True)
class MPEC(Backend):
    """Each leader's problem over the followers' optimality conditions, by Pyomo and IPOPT.

    Where followers have several equilibria, a leader picks the one it likes best (optimistic).

    Attributes:
        mode: treatment of complementarity: ``"product"`` (a b <= t), ``"fischer-burmeister"``,
            ``"penalty"``; every answer is then solved exactly on the piece it points to.
        strategy: ``"diagonalisation"`` or ``"all-at-once"``.
        starts: trial starts for each leader's own problem, spread over its range.
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        complementarity: the products a b at which the mode stops.
        max_sweeps: most rounds over the leaders.
        ipopt_options: IPOPT's options by their names.
    """

    mode: str = "product"
    strategy: str = "diagonalisation"
    starts: int = 3
    tolerance: float = 1e-9
    complementarity: float = 1e-10
    max_sweeps: int = 100
    ipopt_options: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "mpec"
    requires: ClassVar[Mapping[str, str]] = {"pyomo": "mpec"}

    def __post_init__(self) -> None:
        find(self.mode)
        known = " or ".join(map(repr, STRATEGIES))
        check_range("strategy", self.strategy, known, self.strategy in STRATEGIES)
        check_range("starts", self.starts, "a number of at least 1", self.starts >= 1)
        check_range("tolerance", self.tolerance, "positive", self.tolerance > 0)
        good = 0 < self.complementarity < 1e-2
        check_range("complementarity", self.complementarity, "between 0 and 0.01", good)
        check_range("max_sweeps", self.max_sweeps, "a number of at least 1", self.max_sweeps >= 1)

    def accepts(self, game: Game) -> list[str]:
        trace(game)  # raises a GameError if a formula does not differentiate
        reasons = [] if solver.locate() is not None else [solver.MISSING]
        size = int(np.prod(game.follower_shape))
        most = pyomo_model.MOST_FOLLOWER_ACTIONS
        if size > most:
            large = f"{size:,} follower decisions (followers times decisions of each)"
            return [*reasons, f"{large}: the symbolic model is built for at most {most}"]
        try:
            pyomo_model.build_leader(game, 0, middle(*game.leader_bounds))
        except (TypeError, ValueError, AttributeError, NotImplementedError, ArithmeticError) as e:
            reasons.append(
                f"the formulas do not run on Pyomo's symbols: {type(e).__name__}: {e}".rstrip()
            )
        return reasons

    def solve(self, game: Game, run: Run) -> Point:
        found = solver.locate()
        if found is None:
            raise Refusal(self.name, str(game), [solver.MISSING])
        if run.anticipation != "equilibrium":
            reason = (
                f"anticipation is {run.anticipation!r}: followers' optimality conditions as "
                "constraints mean that leaders foresee the followers' equilibrium"
            )
            raise Refusal(self.name, str(game), [reason])
        search = _Search(self, game, run, found)
        if self.strategy == "diagonalisation":
            return search.diagonalise()
        return search.all_at_once()


def build(game: Game, leader: int, x: Any = None, mode: str = "product", knob: float = 1e-8) -> Any:
    """One leader's problem as a Pyomo model, for any solver of smooth problems.

    Minimises ``model.objective``, minus the leader's ``model.payoff``, over ``model.x[row, j]``
    (the other leaders' decisions are fixed variables), ``model.y[i, a]`` and the followers'
    multipliers. The complementarity is written out by the mode: nothing of it depends on
    pyomo.mpec, whose untransformed Complementarity solvers ignore.

    Args:
        game: the market.
        leader: which leader, counted from 0.
        x: leader actions (d, J), where the others stay; default the middle of their bounds.
        mode: see :class:`MPEC`.
        knob: the mode's parameter, ``model.complementarity.knob``: t of a b <= t, e of the
            smoothed Fischer-Burmeister function, or the weight of the penalty.

    Returns:
        a ``pyomo.environ.ConcreteModel``.

    Raises:
        OptionError: no such leader or mode, or another number of leader actions.
    """
    import pyomo.environ as pyo

    if not 0 <= leader < game.n_leaders:
        raise OptionError(f"leader = {leader!r}; expected 0 to {game.n_leaders - 1}")
    at = middle(*game.leader_bounds) if x is None else np.asarray(x, dtype=float)
    if at.size != np.prod(game.leader_shape):
        raise OptionError(f"x has shape {at.shape}; expected {game.leader_shape}")
    treatment = find(mode)
    model, pairs = pyomo_model.build_leader(game, leader, at.reshape(game.leader_shape))
    model.objective = pyo.Objective(expr=-model.payoff + attach(treatment, model, pairs))
    model.complementarity.knob.fix(knob)
    return model


class _Leader:
    """One leader's problem, kept from round to round."""

    def __init__(self, search: _Search, index: int, x: Array) -> None:
        options, game = search.options, search.game
        self.game, self.index, self.run = game, index, search.run
        self.model, pairs = pyomo_model.build_leader(game, index, x)
        self.pieces = Pieces(
            self.model,
            -self.model.payoff,
            pairs,
            find(options.mode),
            options.complementarity,
            search.ipopt,
            options.ipopt_options,
            search.run,
        )
        self._begin = self.pieces.snapshot()

    @property
    def payoff(self) -> float:
        import pyomo.environ as pyo

        return float(pyo.value(self.model.payoff))

    def meet(self, x: Array) -> None:
        """The other leaders move to x (d, J)."""
        for (row, j), value in np.ndenumerate(x):
            if j != self.index:
                self.model.x[row, j].fix(float(value))

    def follow(self) -> bool:
        """The best action near the last one, the others having moved a little."""
        if self.pieces.sides is not None and self.pieces.polish():
            return True
        return self.pieces.approach(skip=1) and (self.pieces.polish() or True)

    def best(self, x: Array, starts: list[Array]) -> bool:
        """The best action found from the starts (d,) each, and from where the model stands.

        Returns:
            whether any start led anywhere.
        """
        found: list[tuple[float, list[float], Any]] = []
        if self.pieces.sides is not None and self.follow():
            found.append((self.payoff, self.pieces.snapshot(), self.pieces.sides))
        for start in starts:
            self.pieces.restore(self._begin)
            self.meet(x)
            own = [self.model.x[row, self.index] for row in range(len(start))]
            for variable, value in zip(own, start, strict=True):
                variable.fix(float(value))
            settled = self.pieces.approach()
            for variable in own:
                variable.unfix()
            if settled and self.run.best is None:  # the followers' answer: a point to keep
                self.run.keep(*pyomo_model.read_actions(self.model, self.game))
            if settled and self.pieces.polish():  # the piece that the start lies on
                found.append((self.payoff, self.pieces.snapshot(), self.pieces.sides))
            if self.pieces.approach(skip=int(settled)):
                self.pieces.polish()
                found.append((self.payoff, self.pieces.snapshot(), self.pieces.sides))
        if not found:
            return False
        payoff, values, sides = found[0]
        for other in found[1:]:
            exact = other[2] is not None or sides is None
            if exact and other[0] > payoff + GAIN * (1.0 + abs(payoff)):
                payoff, values, sides = other
        self.pieces.restore(values)
        self.pieces.sides = sides
        return True


class _Failed(Exception):
    """A leader's problem was solved from no start."""


class _Search:
    """The leaders' equilibrium over their problems."""

    def __init__(self, options: MPEC, game: Game, run: Run, ipopt: solver.Ipopt) -> None:
        self.options, self.game, self.run, self.ipopt = options, game, run, ipopt
        self.x = middle(*game.leader_bounds) if run.start is None else np.array(run.start)
        run.check()
        self.leaders = [_Leader(self, j, self.x) for j in range(game.n_leaders)]
        self.last = self.leaders[0]
        self.sweeps = 0

    def _starts(self, j: int) -> list[Array]:
        """Where leader j's problem is begun: where it stands, and spread over its range."""
        low, high = (b[:, j] for b in search_range(self.game, self.x))
        count = self.options.starts
        spread = [low + (high - low) * (k + 0.5) / count for k in range(count)]
        if len(low) > 1:  # several decisions: corners and mixtures too
            spread += [self.run.rng.uniform(low, high) for _ in range(count)]
        return [self.x[:, j], *spread]

    def sweep(self, globally: bool, at: Array | None = None) -> float:
        """Every leader in turn to its best action; the largest change, relative to 1 + |x|.

        Args:
            globally: from all starts, rather than near its last action.
            at: payoffs (J,) where the leaders stand; who does not gain then stays.

        Raises:
            _Failed: a leader's problem was solved from no start.
        """
        largest = 0.0
        for leader in self.leaders:
            leader.meet(self.x)
            good = False if globally else leader.follow()
            if not good and not leader.best(self.x, self._starts(leader.index)):
                raise _Failed(f"leader {leader.index}: IPOPT: {leader.pieces.message}")
            if at is not None and leader.payoff <= at[leader.index] + SAME * (
                1.0 + abs(at[leader.index])
            ):
                continue
            at = None
            x, y = pyomo_model.read_actions(leader.model, self.game)
            change = np.abs(x[:, leader.index] - self.x[:, leader.index]).max()
            largest = max(largest, float(change / (1.0 + np.abs(x).max())))
            self.x = np.array(self.x)
            self.x[:, leader.index] = x[:, leader.index]
            self.last = leader
            self.run.step(
                self.x, y, leader=leader.index, payoff=leader.payoff, change=float(change)
            )
        self.sweeps += 1
        return largest

    def diagonalise(self) -> Point:
        """Leaders in turn, searched from all starts at first and again once nobody moves."""
        trail = [self.x]
        globally = True
        while self.sweeps < self.options.max_sweeps:
            try:
                change = self.sweep(globally)
            except _Failed as failed:
                return self.point(Status.FAILED, str(failed))
            alone = len(self.leaders) == 1
            if change <= self.options.tolerance or (alone and globally):
                if globally:
                    return self.point(Status.CONVERGED)
                globally = True
                continue
            globally = False
            cycle = self.visited(trail)
            if cycle:
                return self.point(Status.CYCLE, cycle)
            trail.append(self.x)
        return self.point(Status.ITERATION_LIMIT, f"{self.sweeps} sweeps over the leaders")

    def visited(self, trail: list[Array]) -> str:
        """The cycle that the leaders have just closed, in words."""
        low, high = search_range(self.game, self.x)
        width = np.where(high > low, high - low, 1.0)
        for k, old in enumerate(trail[:-1]):
            apart = np.abs(self.x - old) / width
            if apart.max() <= 1e-7 and (np.abs(trail[-1] - old) / width).max() > 1e-4:
                shown = [np.array2string(v.ravel(), precision=6) for v in [*trail[k:], self.x]]
                return f"best actions in turn: {' -> '.join(shown)}"
        return ""

    def all_at_once(self) -> Point:
        """All leaders' conditions together; then each leader, from all starts, has its say."""
        joint = self._joint()
        found: tuple[Array, Array] | None = None
        trail = [self.x]
        tries = 0
        while self.sweeps < self.options.max_sweeps:
            try:
                payoffs = None if found is None else trace(self.game).leader_values(*found)[0]
                change = self.sweep(globally=True, at=payoffs)
            except _Failed as failed:
                return self.point(Status.FAILED, str(failed))
            if found is not None and change <= SAME:
                return self.point(Status.CONVERGED, joint=joint, tries=tries)
            cycle = self.visited(trail)
            if cycle:
                return self.point(Status.CYCLE, cycle, tries=tries)
            if change <= self.options.tolerance and tries:
                return self.point(Status.CONVERGED, NOT_JOINT, tries=tries)
            trail.append(self.x)
            joint.begin(self.x, [leader.pieces for leader in self.leaders])
            tries += 1
            found = None
            if joint.solve():
                found = pyomo_model.read_actions(joint.model, self.game)
                self.x = found[0]
                self.run.step(*found, all_at_once=tries)
        detail = f"{self.sweeps} sweeps over the leaders"
        return self.point(Status.ITERATION_LIMIT, detail, tries=tries)

    def _joint(self) -> StrongStationarity:
        o = self.options
        return StrongStationarity(
            self.game,
            self.x,
            lambda: find(o.mode),
            o.complementarity,
            self.ipopt,
            o.ipopt_options,
            self.run,
        )

    def point(
        self,
        status: Status,
        detail: str = "",
        *,
        joint: StrongStationarity | None = None,
        tries: int | None = None,
    ) -> Point:
        """Where the search stands, or the leaders' joint problem."""
        model = self.last.model if joint is None else joint.model
        x, y = pyomo_model.read_actions(model, self.game)
        return Point(
            self.x if joint is None else x,
            y,
            status,
            pyomo_model.read_multipliers(model),
            {
                "ipopt": str(self.ipopt),
                "mode": self.options.mode,
                "strategy": self.options.strategy,
                "sweeps": self.sweeps,
                "solves": sum(leader.pieces.solves for leader in self.leaders)
                + (0 if joint is None else joint.pieces.solves),
                "complementarity": max(leader.pieces.complementarity for leader in self.leaders),
                "stationarity": (
                    [self._kind(leader) for leader in self.leaders]
                    if joint is None
                    else [joint.stationarity()] * len(self.leaders)
                ),
                **({} if tries is None else {"all_at_once": tries}),
            },
            detail,
        )

    @staticmethod
    def _kind(leader: _Leader) -> str:
        if leader.pieces.sides is None:
            return "unknown: the exact problem on its piece was not solved"
        return kind(leader.model, leader.pieces.pairs)
