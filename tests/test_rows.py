"""Followers' formulas take the others' actions from ``rivals``; one that does not is no game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

import stackel
from stackel import Action, Follower, Game, Leader, Peers
from stackel.calculus import trace
from stackel.functions import over_followers, over_leaders

How = Literal["total", "ties", "limit", "kinds", "rivals"]


@dataclass(frozen=True)
class Congested(Game):
    """Buyers who crowd each other, written wrongly in three ways and rightly in two."""

    value: Follower
    unit_cost: Leader
    ties: Peers
    how: How = "rivals"

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost, high=10.0)

    @property
    def follower_action(self) -> Action:
        return Action("purchase", high=5.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        own = (self.value - x) * y - y**2 / 2
        if self.how == "total":
            return over_leaders(own - 0.1 * y * over_followers(y))
        if self.how == "ties":
            return over_leaders(own + (self.ties @ y) * y)
        if self.how == "kinds":  # a product with rows that nobody else is in
            return over_leaders(np.diag([0.5, 1.0, 1.0]) @ own)
        return over_leaders(own + (self.ties @ rivals) * y)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return (
            {"room": over_leaders(over_followers(y)) - 9.0 + 0 * y} if self.how == "limit" else {}
        )

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


def market(how: How) -> Congested:
    ties = 0.1 * (1 - np.eye(3))
    return Congested([3.0, 4.0, 5.0], [0.5], ties, how)


@pytest.mark.parametrize(
    ("how", "formula"),
    [
        ("total", "follower_payoff of follower 0"),
        ("ties", "follower_payoff of follower 0"),
        ("limit", r"follower_limits\['room'\] of follower 0"),
    ],
)
def test_another_row_of_y_is_refused(how: How, formula: str) -> None:
    said = rf"Congested.{formula} changes with another follower's row of y; take what the others do"
    with pytest.raises(stackel.GameError, match=said):
        stackel.solve(market(how))
    with pytest.raises(stackel.GameError, match=said):
        stackel.certify(market(how), [[1.0]], np.ones((3, 1)))


@pytest.mark.parametrize("how", ["kinds", "rivals"])
def test_what_comes_through_rivals_is_taken(how: How) -> None:
    trace(market(how))
