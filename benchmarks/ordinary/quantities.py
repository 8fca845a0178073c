"""Markets in which followers supply: Cournot, retailers, effort for a reward, contests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ordinary.truth import Ordinary, halve, iterate
from stackel import Action, Follower, Leader, Pairs
from stackel.functions import log, over_followers, over_leaders, sqrt
from stackel.types import Array


@dataclass(frozen=True)
class Cournot(Ordinary):
    """Firms that move first and firms that move second sell at one linear price."""

    first_cost: Leader
    second_cost: Follower
    choke: float
    growing: float = 0.0
    most: Follower = 100.0

    @property
    def leader_action(self) -> Action:
        return Action("quantity", low=0.0, high=self.choke)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", size=1, high=self.most)

    def price(self, total: Any) -> Any:
        """What a unit sells for."""
        return self.choke - total

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        total = y + (over_followers(rivals) - rivals) + over_leaders(x)
        return (self.price(total) - self.second_cost) * y - self.growing * y**2 / 2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return (self.price(over_leaders(x) + over_followers(y)) - self.first_cost) * x

    def answer(self, x: Array) -> Array:
        lead = x.sum(-1, keepdims=True)

        def supply(total: Array) -> Array:
            wanted = (self.choke - total - self.second_cost) / (1 + self.growing)
            return np.clip(wanted, 0, self.most)

        def excess(total: Array) -> Array:
            return lead + supply(total).sum(-2, keepdims=True) - total

        return supply(halve(excess, lead, lead + self.choke * (1 + len(self.second_cost))))


@dataclass(frozen=True)
class Isoelastic(Cournot):
    """The price falls like a power of what is sold."""

    elasticity: float = 0.7
    shift: float = 0.5

    @property
    def leader_action(self) -> Action:
        return Action("quantity", low=0.01, high=5.0)

    def price(self, total: Any) -> Any:
        return self.choke * (total + self.shift) ** -self.elasticity

    def answer(self, x: Array) -> Array:
        lead, e = x.sum(-1, keepdims=True), self.elasticity

        def supply(total: Array) -> Array:
            whole = total + self.shift
            margin = self.price(total) - self.second_cost
            slope = self.choke * e * whole ** (-e - 1)
            return np.clip(margin / slope, 0, self.most)

        def excess(total: Array) -> Array:
            return lead + supply(total).sum(-2, keepdims=True) - total

        return supply(halve(excess, lead, lead + 300.0))


@dataclass(frozen=True)
class Supply(Ordinary):
    """Makers set wholesale prices; retailers sell all products, in competition."""

    choke: Leader
    cost: Leader
    handling: Follower
    replaced: float = 0.3

    @property
    def leader_action(self) -> Action:
        return Action("wholesale price", low=self.cost, high=self.choke)

    @property
    def follower_action(self) -> Action:
        return Action("orders")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        sold = y + (over_followers(rivals) - rivals)
        others = over_leaders(sold) - sold
        price = self.choke - sold - self.replaced * others
        return over_leaders((price - x - self.handling) * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.cost) * y)

    def answer(self, x: Array) -> Array:
        def reply(y: Array) -> Array:
            rivals = y.sum(-2, keepdims=True) - y
            others = rivals.sum(-1, keepdims=True) - rivals
            own = y.sum(-1, keepdims=True) - y
            crowd = rivals + self.replaced * others + 2 * self.replaced * own
            return np.maximum((self.choke - x - self.handling - crowd) / 2, 0)

        start = np.maximum(self.choke - x - self.handling, 0) / (2 + len(self.handling))
        return iterate(reply, start, 0.4)


@dataclass(frozen=True)
class Effort(Ordinary):
    """Leaders pay for each unit of effort, which is worth to them its logarithm."""

    skill: Pairs
    worth: Leader
    most: float = 4.0

    @property
    def leader_action(self) -> Action:
        return Action("reward", low=0.0, high=self.most)

    @property
    def follower_action(self) -> Action:
        return Action("effort")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(x * y - y**2 / (2 * self.skill))

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return self.worth * log(1 + over_followers(y)) - over_followers(x * y)

    def answer(self, x: Array) -> Array:
        return self.skill * x


@dataclass(frozen=True)
class TimeLimited(Effort):
    """Effort out of one's time; its worth is a root."""

    time: Follower = 1.0

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"time": over_leaders(y) - self.time}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return self.worth * sqrt(0.1 + over_followers(y)) - over_followers(x * y)

    def answer(self, x: Array) -> Array:
        def excess(m: Array) -> Array:
            return np.maximum(self.skill * (x - m), 0).sum(-1, keepdims=True) - self.time

        zero = np.zeros_like(excess(np.zeros(1)))
        return np.maximum(self.skill * (x - halve(excess, zero, zero + self.most)), 0)


@dataclass(frozen=True)
class Contest(Ordinary):
    """Leaders offer prizes, shared by effort; all effort is worth to them its logarithm."""

    effort_cost: Pairs
    worth: Leader
    idle: float = 0.1
    most: float = 5.0

    @property
    def leader_action(self) -> Action:
        return Action("prize", low=0.0, high=self.most)

    @property
    def follower_action(self) -> Action:
        return Action("effort", high=20.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        others = over_followers(rivals) - rivals + self.idle
        return over_leaders(x * y / (y + others) - self.effort_cost * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return self.worth * log(1 + over_followers(y)) - x

    def answer(self, x: Array) -> Array:
        c = self.effort_cost

        def effort(total: Array) -> Array:
            whole = total + self.idle
            return np.maximum(whole - c * whole**2 / np.maximum(x, 1e-300), 0)

        def excess(total: Array) -> Array:
            return effort(total).sum(-2, keepdims=True) - total

        # Effort falls short of a total for all totals above the equilibrium's.
        top = x / c.min(axis=0, keepdims=True) + self.idle
        return effort(halve(excess, 0 * x, top))


@dataclass(frozen=True)
class Prosumers(Ordinary):
    """Buyers of energy bid for what small producers make; they sell it on at a falling price."""

    growing: Pairs
    most: Follower
    choke: Leader
    fall: float = 0.3

    @property
    def leader_action(self) -> Action:
        return Action("bid", low=0.0, high=self.choke)

    @property
    def follower_action(self) -> Action:
        return Action("energy", high=self.most)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(x * y - self.growing * y**3 / 3)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        total = over_followers(y)
        return (self.choke - self.fall * total) * total - over_followers(x * y)

    def answer(self, x: Array) -> Array:
        return np.minimum(sqrt(x / self.growing), self.most)
