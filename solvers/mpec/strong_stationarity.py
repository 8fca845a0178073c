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

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.calculus.derivatives import Modes, differentiate

from stackel.game.game import Game
from stackel.solvers.mpec.model import Key, Pair, add_bound_pairs, add_market, leader_formulas
from stackel.solvers.mpec.pieces import NEGLIGIBLE, Method, PairedProblem
from stackel.types import Array

CHOICE = 1e-3
"""Weight of the squared xi."""

EQUATIONS = ("stationarity", "limit", "shared_limit")
"""The followers' equations, which every leader prices."""

RESPONSE = ("y", "multiplier", "slack", "shared_multiplier", "shared_slack")
"""The followers' variables, but for the multipliers of their bounds."""


def members(model: Any, names: Sequence[str]) -> list[Any]:
    """All entries of a Pyomo model's components of these names."""
    return [entry for name in names for entry in model.component(name).values()]


class StrongStationarity(PairedProblem):
    """The joint problem of a game's leaders, all pairs in it, those of their multipliers too.

    Args:
        game: the market.
        x: leader actions (d, J) to begin at.
        method: how it is solved.

    Attributes:
        followers: the followers' pairs.
    """

    def __init__(self, game: Game, x: Array, method: Method) -> None:
        model = pyo.ConcreteModel(name=f"all leaders of {game}")
        self.followers = add_market(model, game, x)
        payoffs, limits = leader_formulas(model, game)
        model.leader = pyo.Block(range(game.n_leaders))
        pairs = list(self.followers)
        for j, block in model.leader.items():
            pairs += self._conditions(block, game, j, payoffs[j], limits[j])
        model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
        choice = [v**2 for block in model.leader.values() for v in block.xi.values()]
        super().__init__(model, CHOICE * pyo.quicksum(choice), pairs, method)

    def _conditions(
        self, block: Any, game: Game, j: int, payoff: Any, limits: Mapping[Key, Any]
    ) -> list[Pair]:
        """Leader j's conditions on its block, and the pairs that they bring."""
        model = block.model()
        bodies = [equation.body for equation in members(model, EQUATIONS)]
        count = range(len(self.followers))
        block.nu = pyo.Var(range(len(bodies)), initialize=0.0)
        block.xi = pyo.Var(count, bounds=(0, None), initialize=0.0)
        block.sigma = pyo.Var(count, bounds=(0, None), initialize=0.1)
        block.tau = pyo.Var(count, bounds=(0, None), initialize=0.1)
        block.omega = pyo.Var(list(limits), bounds=(0, None), initialize=0.1)
        block.slack = pyo.Var(list(limits), bounds=(0, None), initialize=1.0)
        block.limit = pyo.Constraint(list(limits), rule=lambda b, *k: limits[k] + b.slack[k] == 0)
        low, high = game.leader_bounds
        own = (np.arange(game.n_leaders) == j) & (low < high)
        pairs = add_bound_pairs(block, "x", model.x, (low, high), (own, own))
        lagrangian = [-payoff, *(block.nu[k] * body for k, body in enumerate(bodies))]
        lagrangian += [block.omega[k] * e for k, e in limits.items()]
        lagrangian += [-p.dual * p.a for p in pairs]
        pairs += [Pair("limit", block.slack[k], 0.0, 1, v) for k, v in block.omega.items()]
        for k, p in enumerate(self.followers):
            lagrangian.append(block.xi[k] * p.a * p.dual)
            lagrangian.append(-block.sigma[k] * p.a - block.tau[k] * p.dual)
            pairs.append(Pair(p.name, p.variable, p.bound, p.sign, block.sigma[k]))
            pairs.append(Pair(p.name, p.dual, 0.0, 1, block.tau[k]))
        choices = [v for k, v in model.x.items() if own[k]]
        choices += members(model, [*RESPONSE, "low_dual", "high_dual"])
        choices = [v for v in choices if not v.fixed]
        slopes = differentiate(
            pyo.quicksum(lagrangian), wrt_list=choices, mode=Modes.reverse_symbolic
        )
        block.conditions = pyo.Constraint(range(len(choices)))
        for k, slope in enumerate(slopes):
            if not isinstance(slope, (int, float)):
                block.conditions[k] = slope == 0
        return pairs

    def begin(self, x: Array, leaders: Sequence[PairedProblem]) -> None:
        """Stand where the leaders' own problems ended, with their multipliers.

        Args:
            x: leader actions (d, J).
            leaders: the problems, one a leader.
        """
        model, last = self.model, leaders[-1]
        model.x.set_values(dict(np.ndenumerate(x.astype(object))), skip_validation=True)
        for name in RESPONSE:
            values = last.model.component(name).get_values()
            model.component(name).set_values(values, skip_validation=True)
        for here, there in zip(self.followers, last.pairs, strict=True):
            here.dual.set_value(there.dual.value, skip_validation=True)
        for block, leader in zip(model.leader.values(), leaders, strict=True):
            _begin_leader(block, leader)

    def solve(self) -> bool:
        """Whether a point was found that is strongly stationary for every leader.

        Raises:
            Stop: the run's time is up.
        """
        return self.approach() and self.polish(pivot=False)

    def stationarity(self) -> str:
        """What is known of the kind of stationarity, by construction."""
        count = sum(max(p.values) <= NEGLIGIBLE for p in self.followers)
        which = f"{count} pair{'s' if count > 1 else ''}" if count else "no pair is"
        return f"strong ({which} doubly active)"


def _begin_leader(block: Any, leader: PairedProblem) -> None:
    model = leader.model
    for v, equation in zip(block.nu.values(), members(model, EQUATIONS), strict=True):
        v.set_value(-model.dual.get(equation, 0.0))
    for k, v in block.omega.items():
        v.set_value(max(-model.dual.get(model.leader_limit[k], 0.0), 0.0))
    for sign, duals in ((1.0, block.low_dual), (-1.0, block.high_dual)):
        for k, v in duals.items():
            v.set_value(max(sign * model.rc.get(model.x[k], 0.0), 0.0))
    for k, (_, first, second) in enumerate(leader.prices()):
        a, b = leader.pairs[k].values
        block.sigma[k].set_value(max(first, 0.0))
        block.tau[k].set_value(max(second, 0.0))
        needed = [-s / z for s, z in ((first, b), (second, a)) if s < 0 and z > 1e-8]
        block.xi[k].set_value(max(needed, default=0.0))
