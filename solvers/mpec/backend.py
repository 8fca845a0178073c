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

from stackel.backend import Backend, check_positive, check_range, check_whole
from stackel.calculus.calculus import trace
from stackel.errors import OptionError, Refusal
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.run import Point, Run
from stackel.solvers.mpec.reformulations.base import check, find

STRATEGIES = ("diagonalisation", "all-at-once")


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
        check(self.mode)
        known = " or ".join(map(repr, STRATEGIES))
        check_range("strategy", self.strategy, known, self.strategy in STRATEGIES)
        check_whole(self, starts=1, max_sweeps=1)
        check_positive(self, "tolerance", "complementarity")
        good = self.complementarity < 1e-2
        check_range("complementarity", self.complementarity, "between 0 and 0.01", good)

    def accepts(self, game: Game) -> list[str]:
        from pyomo.core.expr.calculus.diff_with_pyomo import DifferentiationException

        from stackel.solvers.mpec import ipopt, model

        trace(game)  # raises a GameError if a formula does not differentiate
        reasons = [] if ipopt.locate() is not None else [ipopt.MISSING]
        size = int(np.prod(game.follower_shape))
        most = model.MOST_FOLLOWER_ACTIONS
        if size > most:
            large = f"{size:,} follower decisions (followers times decisions of each)"
            return [*reasons, f"{large}: the symbolic model is built for at most {most}"]
        try:
            model.build_leader(game, 0, middle(*game.leader_bounds))
        except (
            ArithmeticError,
            AttributeError,
            DifferentiationException,
            NotImplementedError,
            TypeError,
            ValueError,
        ) as e:
            reasons.append(
                f"the formulas do not run on Pyomo's symbols: {type(e).__name__}: {e}".rstrip()
            )
        return reasons

    def solve(self, game: Game, run: Run) -> Point:
        from stackel.solvers.mpec import ipopt
        from stackel.solvers.mpec.pieces import Method
        from stackel.solvers.mpec.search import Search

        found = ipopt.locate()
        if found is None:
            raise Refusal(self.name, str(game), [ipopt.MISSING])
        if run.anticipation != "equilibrium":
            reason = (
                f"anticipation is {run.anticipation!r}: followers' optimality conditions as "
                "constraints mean that leaders foresee the followers' equilibrium"
            )
            raise Refusal(self.name, str(game), [reason])
        method = Method(find(self.mode), self.complementarity, found, self.ipopt_options, run)
        search = Search(game, method, self.starts, self.tolerance, self.max_sweeps)
        point = search.find(jointly=self.strategy == "all-at-once")
        how = {"ipopt": str(found), "mode": self.mode, "strategy": self.strategy}
        point.stats = how | point.stats
        return point


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
    from stackel.solvers.mpec.model import build_leader
    from stackel.solvers.mpec.pieces import minimise

    if not 0 <= leader < game.n_leaders:
        raise OptionError(f"leader = {leader!r}; expected 0 to {game.n_leaders - 1}")
    at = middle(*game.leader_bounds) if x is None else np.asarray(x, dtype=float)
    if at.size != np.prod(game.leader_shape):
        raise OptionError(f"x has shape {at.shape}; expected {game.leader_shape}")
    treatment = find(mode)
    model, pairs = build_leader(game, leader, at.reshape(game.leader_shape))
    minimise(model, -model.payoff, pairs, treatment)
    model.complementarity.knob.fix(knob)
    return model
