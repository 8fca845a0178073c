"""Many leading and many following firms that sell one good: quantities, linear demand.

The price of a total quantity Q is a - b Q and a unit costs every firm c. H. D. Sherali, "A multiple
leader Stackelberg model and analysis", Operations Research 32 (1984), 390-404; V. DeMiguel and
H. Xu, "A stochastic multiple-leader Stackelberg model", Operations Research 57 (2009), 1220-1235,
without uncertainty. With M leaders and N followers of the same cost everything is known in closed
form, see :meth:`CournotStackelberg.closed_form`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel import Action, Follower, Game, Leader
from stackel.functions import over_followers, over_leaders


@dataclass(frozen=True)
class CournotStackelberg(Game):
    """M leading and N following firms.

    Attributes:
        leader_cost: c of the leading firms [$/unit]; a list says how many there are.
        cost: c of the following firms [$/unit].
        intercept: a [$/unit], above every cost.
        slope: b > 0 [$/unit^2].
    """

    leader_cost: Leader
    cost: Follower
    intercept: float = 10.0
    slope: float = 0.5

    follower_action = Action("quantity", unit="unit", low=0.0, size=1)

    @property
    def leader_action(self) -> Action:
        return Action("quantity", unit="unit", low=0.0, high=self.intercept / self.slope)

    def price(self, total: Any) -> Any:
        """The price a - b Q [$/unit] of a total quantity Q [unit]."""
        return self.intercept - self.slope * total

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        total = over_leaders(x) + y + (over_followers(rivals) - rivals)
        return y * (self.price(total) - self.cost)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * (self.price(over_leaders(x) + over_followers(y)) - self.leader_cost)

    def validate(self) -> None:
        self.reject("slope", self.slope <= 0, "a positive number")
        for name in ("leader_cost", "cost"):
            self.reject(name, getattr(self, name) >= self.intercept, "less than the intercept")

    def closed_form(self) -> tuple[np.ndarray, np.ndarray]:
        """The equilibrium if all costs are equal: leaders' quantities (1, M), followers' (N, 1).

        A leader produces (a - c) / (b (M + 1)), a follower (a - c) / (b (M + 1) (N + 1)); the
        price is c + (a - c) / ((M + 1) (N + 1)). Quantities are in [unit].

        Raises:
            GameError: costs differ.
        """
        costs = np.concatenate([self.leader_cost.ravel(), self.cost.ravel()])
        self.reject("cost", self.cost != costs[0], "the leaders' cost")
        self.reject("leader_cost", self.leader_cost != costs[0], "the same cost for all")
        M, N = self.n_leaders, self.n_followers
        leading = (self.intercept - costs[0]) / (self.slope * (M + 1))
        return np.full((1, M), leading), np.full((N, 1), leading / (N + 1))


def equal_firms(leaders: int, followers: int, cost: float = 1.0) -> CournotStackelberg:
    """M leaders and N followers of the same cost.

    Args:
        leaders, followers: M and N.
        cost: c [$/unit].
    """
    return CournotStackelberg([cost] * leaders, [cost] * followers)
