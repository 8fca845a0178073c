"""All leaders' strong stationarity conditions as one problem.

Leader j minimises -V_j over its own x_j and the followers' y, multipliers and slacks, subject to
the followers' equations h = 0 and pairs 0 <= a _|_ b >= 0. It is strongly stationary if the
ordinary optimality conditions of that problem, with a b <= 0 beside a, b >= 0, have multipliers:

    grad [ -V_j + nu h + omega g_j + xi a b - sigma a - tau b - bounds of x_j ] = 0,
    0 <= a _|_ sigma >= 0,   0 <= b _|_ tau >= 0,   xi >= 0,   and the same for g_j and the bounds.

The followers' response is shared; each leader has multipliers of its own. All leaders together
(Leyffer and Munson, Optim. Methods Softw. 25, 2010, doi 10.1080/10556780903448052) this is a
complementarity problem, treated by the same modes. Where b > 0, sigma and xi b only count
together: the smallest xi is chosen by what is minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stackel.game.game import Game
from stackel.run import Run
from stackel.solvers.mpec import model as pyomo_model
from stackel.solvers.mpec.complementarity import Mode
from stackel.solvers.mpec.ipopt import Ipopt
from stackel.solvers.mpec.model import Pair
from stackel.solvers.mpec.pieces import NEGLIGIBLE, Pieces
from stackel.types import Array


def equations(model: Any) -> list[Any]:
    """The followers' equations, which every leader prices."""
    return [
        c for n in ("stationarity", "limit", "shared_limit") for c in getattr(model, n).values()
    ]


CHOICE = 1e-3
"""Weight of the squared xi."""


class StrongStationarity:
    """The joint problem of a game's leaders.

    Args:
        game: the market.
        x: leader actions (d, J) to begin at.
        mode: makes the treatment of complementarity.
        tolerance, ipopt, options, run: as for :class:`Pieces`.

    Attributes:
        model: the Pyomo model.
        followers: the followers' pairs.
        pieces: the model with all pairs, the leaders' multipliers' among them.
    """

    def __init__(
        self,
        game: Game,
        x: Array,
        mode: Callable[[], Mode],
        tolerance: float,
        ipopt: Ipopt,
        options: Mapping[str, Any],
        run: Run,
    ) -> None:
        import pyomo.environ as pyo

        self.game = game
        self.model = pyo.ConcreteModel(name=f"all leaders of {game}")
        pyomo_model.add_actions(self.model, game, x)
        self.followers = pyomo_model.add_followers(self.model, game)
        payoffs, limits = pyomo_model.leader_formulas(self.model, game)
        self.model.leader = pyo.Block(range(game.n_leaders))
        pairs = list(self.followers)
        for j, block in self.model.leader.items():
            own = {
                k: e
                for k, e in limits.items()
                if k[2] == j and hasattr(e, "is_potentially_variable")
            }
            pairs += self._conditions(block, j, payoffs[j], own)
        choice = [v**2 for block in self.model.leader.values() for v in block.xi.values()]
        self.model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
        loss = CHOICE * pyo.quicksum(choice)
        self.pieces = Pieces(self.model, loss, pairs, mode(), tolerance, ipopt, options, run)

    def _conditions(
        self, block: Any, j: int, payoff: Any, limits: Mapping[tuple[str, int, int], Any]
    ) -> list[Pair]:
        """Leader j's conditions on its block, and the pairs that they bring."""
        import pyomo.environ as pyo
        from pyomo.core.expr.calculus.derivatives import Modes, differentiate

        model = self.model
        bodies = [equation.body for equation in equations(model)]
        count = range(len(self.followers))
        block.nu = pyo.Var(range(len(bodies)), initialize=0.0)
        block.xi = pyo.Var(count, bounds=(0, None), initialize=0.0)
        block.sigma = pyo.Var(count, bounds=(0, None), initialize=0.1)
        block.tau = pyo.Var(count, bounds=(0, None), initialize=0.1)
        block.omega = pyo.Var(list(limits), bounds=(0, None), initialize=0.1)
        block.slack = pyo.Var(list(limits), bounds=(0, None), initialize=1.0)
        block.limit = pyo.Constraint(list(limits), rule=lambda b, *k: limits[k] + b.slack[k] == 0)
        low, high = self.game.leader_bounds
        own = [(row, j) for row in range(self.game.leader_shape[0]) if low[row, j] < high[row, j]]
        block.low_dual = pyo.Var([k for k in own if np.isfinite(low[k])], bounds=(0, None))
        block.high_dual = pyo.Var([k for k in own if np.isfinite(high[k])], bounds=(0, None))
        pairs = [
            *(Pair("x", model.x[k], float(low[k]), 1, v) for k, v in block.low_dual.items()),
            *(Pair("x", model.x[k], float(high[k]), -1, v) for k, v in block.high_dual.items()),
            *(Pair("limit", block.slack[k], 0.0, 1, v) for k, v in block.omega.items()),
        ]
        lagrangian = [-payoff, *(block.nu[k] * body for k, body in enumerate(bodies))]
        lagrangian += [block.omega[k] * e for k, e in limits.items()]
        lagrangian += [-p.dual * p.a for p in pairs if p.name == "x"]
        for k, p in enumerate(self.followers):
            lagrangian.append(block.xi[k] * p.a * p.dual)
            lagrangian.append(-block.sigma[k] * p.a - block.tau[k] * p.dual)
            pairs.append(Pair(p.name, p.variable, p.bound, p.sign, block.sigma[k]))
            pairs.append(Pair(p.name, p.dual, 0.0, 1, block.tau[k]))
        choices = [model.x[k] for k in own]
        for name in ("y", "multiplier", "slack", "shared_multiplier", "shared_slack"):
            choices += getattr(model, name).values()
        choices += [*model.low_dual.values(), *model.high_dual.values()]
        choices = [v for v in choices if not v.fixed]
        slopes = differentiate(
            pyo.quicksum(lagrangian), wrt_list=choices, mode=Modes.reverse_symbolic
        )
        block.conditions = pyo.Constraint(range(len(choices)))
        for k, slope in enumerate(slopes):
            if not isinstance(slope, (int, float)):
                block.conditions[k] = slope == 0
        return pairs

    def begin(self, x: Array, leaders: Sequence[Pieces]) -> None:
        """Stand where the leaders' own problems ended, with their multipliers.

        Args:
            x: leader actions (d, J).
            leaders: the problems, one a leader.
        """
        for (row, j), value in np.ndenumerate(x):
            self.model.x[row, j].set_value(float(value), skip_validation=True)
        last = leaders[-1].model
        for name in ("y", "multiplier", "slack", "shared_multiplier", "shared_slack"):
            for k, v in getattr(self.model, name).items():
                v.set_value(getattr(last, name)[k].value, skip_validation=True)
        for here, there in zip(self.followers, leaders[-1].pairs, strict=True):
            here.dual.set_value(there.dual.value, skip_validation=True)
        for block, pieces in zip(self.model.leader.values(), leaders, strict=True):
            self._begin_leader(block, pieces)

    def _begin_leader(self, block: Any, pieces: Pieces) -> None:
        model = pieces.model
        for v, equation in zip(block.nu.values(), equations(model), strict=True):
            v.set_value(-model.dual.get(equation, 0.0))
        for k, v in block.omega.items():
            v.set_value(max(-model.dual.get(model.leader_limit[k], 0.0), 0.0))
        for k, v in block.low_dual.items():
            v.set_value(max(model.rc.get(model.x[k], 0.0), 0.0))
        for k, v in block.high_dual.items():
            v.set_value(max(-model.rc.get(model.x[k], 0.0), 0.0))
        for k, (_, first, second) in enumerate(pieces.prices()):
            a, b = pieces.pairs[k].values
            block.sigma[k].set_value(max(first, 0.0))
            block.tau[k].set_value(max(second, 0.0))
            needed = [-s / z for s, z in ((first, b), (second, a)) if s < 0 and z > 1e-8]
            block.xi[k].set_value(max(needed, default=0.0))

    def solve(self) -> bool:
        """Whether a point was found that is strongly stationary for every leader.

        Raises:
            Stop: the run's time is up.
        """
        return self.pieces.approach() and self.pieces.polish(pivot=False)

    def stationarity(self) -> str:
        """What is known of the kind of stationarity, by construction."""
        count = sum(max(p.values) <= NEGLIGIBLE for p in self.followers)
        which = f"{count} pair{'s' if count > 1 else ''}" if count else "no pair is"
        return f"strong ({which} doubly active)"
