"""Leaders that ask prices for goods that replace each other, to quadratic followers.

Follower i buys q_ij of leader j's good at its price p_j:

    max  sum_j (A_ij q_ij - q_ij^2 / 2 - p_j q_ij) - g sum_{j<k} q_ij q_ik,    q >= 0,

and leader j maximises (p_j - c_j) sum_i q_ij. Quadratic utility of differentiated goods is N. Singh
and X. Vives, "Price and quantity competition in a differentiated duopoly", RAND Journal of
Economics 15 (1984), 546-554; with two leaders and everybody buying both goods the prices solve two
linear equations, see :meth:`Substitutes.closed_form`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel import Action, Game, GameError, Leader, Pairs
from stackel.functions import over_followers, over_leaders


@dataclass(frozen=True)
class Substitutes(Game):
    """Price leaders and quadratic followers.

    Attributes:
        value: A_ij, what the first unit is worth [$/unit].
        unit_cost: c_j [$/unit].
        substitution: g, from 0 (unrelated goods) to below 1 (the same good).
        price_cap: the highest price that a leader may ask [$/unit].
    """

    value: Pairs
    unit_cost: Leader
    substitution: float = 0.4
    price_cap: float = 10.0

    follower_action = Action("purchase", unit="unit", low=0.0)

    @property
    def leader_action(self) -> Action:
        return Action("price", unit="$/unit", low=self.unit_cost, high=self.price_cap)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        pairs = over_leaders(y) ** 2 - over_leaders(y**2)  # 2 sum_{j<k} y_j y_k
        alone = over_leaders(self.value * y - 0.5 * y**2 - x * y)
        return alone - 0.5 * self.substitution * pairs

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)

    def validate(self) -> None:
        outside = not 0 <= self.substitution < 1
        self.reject("substitution", outside, "a number from 0 to below 1")

    def closed_form(self) -> np.ndarray:
        """Two leaders' prices (1, 2) where everybody buys both goods [$/unit].

        With S_j = sum_i A_ij they solve 2 I p_j - g I p_k = S_j - g S_k + I c_j.

        Raises:
            GameError: there are not two leaders.
        """
        if self.n_leaders != 2:
            raise GameError(f"Substitutes.closed_form: {self.n_leaders} leaders; expected 2")
        size, g = self.n_followers, self.substitution
        demand, cost = self.value.sum(axis=0), self.unit_cost[0]
        matrix = size * np.array([[2.0, -g], [-g, 2.0]])
        return np.linalg.solve(matrix, demand - g * demand[::-1] + size * cost)[None]


def three_buyers() -> Substitutes:
    """Two leaders and three followers that buy both goods."""
    return Substitutes([[10, 8], [9, 9], [7, 10]], [1.0, 1.2])
