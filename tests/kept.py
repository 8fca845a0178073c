"""The market of the sweep store in ``data/sweep``, written before the core was rebuilt.

A store knows its market by this source: a change here makes it another sweep's.
"""

from dataclasses import dataclass
from typing import Any

from stackel import Action, Follower, Game
from stackel.functions import log


@dataclass(frozen=True)
class Toll(Game):
    value: Follower
    cost: float = 0.5

    @property
    def leader_action(self) -> Action:
        return Action("toll", low=self.cost, high=10.0)

    @property
    def follower_action(self) -> Action:
        return Action("trips")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * log(1 + y) - x * y

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return ((x - self.cost) * y).sum(axis=-2, keepdims=True)


def toll(cost: float) -> Toll:
    return Toll(value=[3.0, 5.0], cost=cost)
