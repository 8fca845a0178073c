"""Markets in which leaders set prices and followers buy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ordinary.truth import Ordinary, halve, iterate
from stackel import Action, Follower, Leader, Pairs, Peers
from stackel.functions import exp, log, over_followers, over_leaders, sqrt
from stackel.types import Array


@dataclass(frozen=True)
class Priced(Ordinary):
    """Sellers with a cost for each unit; what buyers want is a subclass's matter."""

    value: Pairs
    cost: Leader
    cap: float

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.cost, high=self.cap)

    @property
    def follower_action(self) -> Action:
        return Action("amount")

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.cost) * y)


@dataclass(frozen=True)
class Log(Priced):
    """Logarithmic value."""

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y) - x * y)

    def answer(self, x: Array) -> Array:
        return self.demand(x)

    def demand(self, price: Array) -> Array:
        """What everybody buys at prices (B, 1 or I, J)."""
        return np.maximum(self.value / np.maximum(price, 1e-12) - 1, 0)


@dataclass(frozen=True)
class Budget(Log):
    """Nobody spends more than it has."""

    budget: Follower = 1.0

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"budget": over_leaders(x * y) - self.budget}

    def answer(self, x: Array) -> Array:
        def excess(m: Array) -> Array:
            return (x * self.demand(x * (1 + m))).sum(-1, keepdims=True) - self.budget

        top = np.zeros_like(excess(np.zeros(1)))
        return self.demand(x * (1 + halve(excess, top, top + 1e4)))


@dataclass(frozen=True)
class OwnCap(Log):
    """Nobody stores more than it can."""

    room: Follower = 1.0

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"room": over_leaders(y) - self.room}

    def answer(self, x: Array) -> Array:
        def excess(m: Array) -> Array:
            return self.demand(x + m).sum(-1, keepdims=True) - self.room

        top = np.zeros_like(excess(np.zeros(1)))
        return self.demand(x + halve(excess, top, top + self.value.max()))


@dataclass(frozen=True)
class SharedCapacity(Log):
    """All buyers share what each seller has; a congestion price for all of them clears it."""

    capacity: Leader = 1.0

    def shared_limits(self, y: Any, x: Any) -> dict[str, Any]:
        return {"capacity": over_followers(y) - self.capacity}

    def answer(self, x: Array) -> Array:
        def excess(m: Array) -> Array:
            return self.demand(x + m).sum(-2, keepdims=True) - self.capacity

        top = np.zeros_like(excess(np.zeros(1)))
        return self.demand(x + halve(excess, top, top + self.value.max()))


@dataclass(frozen=True)
class LeaderCapacity(Log):
    """A seller must not sell more than it has."""

    capacity: Leader = 1.0

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {"capacity": over_followers(y) - self.capacity}


@dataclass(frozen=True)
class Overtime(Log):
    """What a seller sells beyond its capacity costs it more, all but from there on."""

    capacity: Leader = 1.0
    overtime: float = 0.5

    def leader_payoff(self, x: Any, y: Any) -> Any:
        over = 0.2 * log(1 + exp((over_followers(y) - self.capacity) / 0.2))
        return over_followers((x - self.cost) * y) - self.overtime * over


@dataclass(frozen=True)
class OddUnits(Priced):
    """Logarithmic value, amounts and prices in units of any size."""

    amount: float = 1.0
    money: float = 1.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.cost * self.money, high=self.cap * self.money)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(
            self.value * log(1 + y / self.amount) - x / self.money * y / self.amount
        )

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x / self.money - self.cost) * y / self.amount) * self.money

    def answer(self, x: Array) -> Array:
        return self.amount * np.maximum(self.value / np.maximum(x / self.money, 1e-12) - 1, 0)


@dataclass(frozen=True)
class Quadratic(Priced):
    """Linear demand, own caps."""

    slope: Follower = 1.0
    most: Follower = 1.0

    @property
    def follower_action(self) -> Action:
        return Action("amount", high=self.most)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders((self.value - x) * y - self.slope * y**2 / 2)

    def answer(self, x: Array) -> Array:
        return np.clip((self.value - x) / self.slope, 0, self.most)


@dataclass(frozen=True)
class Substitutes(Priced):
    """Linear demand; what one seller sells replaces some of another's."""

    slope: float = 1.0
    replaced: float = 0.3

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        own = over_leaders((self.value - x) * y - (self.slope - self.replaced) * y**2 / 2)
        return own - self.replaced * over_leaders(y) ** 2 / 2

    def answer(self, x: Array) -> Array:
        def reply(y: Array) -> Array:
            others = y.sum(-1, keepdims=True) - y
            return np.maximum((self.value - x - self.replaced * others) / self.slope, 0)

        return iterate(reply, np.maximum((self.value - x) / self.slope, 0) / 2)


@dataclass(frozen=True)
class Tied(Priced):
    """Linear demand; buyers value what those they know buy."""

    ties: Peers = 0.0
    slope: float = 1.0

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders((self.value - x + self.ties @ rivals) * y - self.slope * y**2 / 2)

    def answer(self, x: Array) -> Array:
        def reply(y: Array) -> Array:
            return np.maximum((self.value - x + self.ties @ y) / self.slope, 0)

        return iterate(reply, np.maximum((self.value - x) / self.slope, 0), 0.8)


@dataclass(frozen=True)
class Root(Priced):
    """Value like a square root; the first unit is worth a finite sum."""

    shift: float = 0.1

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(2 * self.value * sqrt(y + self.shift) - x * y)

    def answer(self, x: Array) -> Array:
        return np.maximum((self.value / x) ** 2 - self.shift, 0)


@dataclass(frozen=True)
class Power(Priced):
    """Value like a power below one."""

    exponent: float = 0.5

    @property
    def follower_action(self) -> Action:
        return Action("amount", low=1e-3, high=50.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * y**self.exponent - x * y)

    def answer(self, x: Array) -> Array:
        t = self.exponent
        return np.clip((self.value * t / x) ** (1 / (1 - t)), 1e-3, 50.0)


@dataclass(frozen=True)
class Ces(Priced):
    """Constant elasticity of substitution between sellers, a power of the aggregate."""

    substitution: float = 0.5
    exponent: float = 0.5

    @property
    def follower_action(self) -> Action:
        return Action("amount", low=1e-4)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        r = self.substitution
        joint = over_leaders(y**r) ** (self.exponent / r)
        return self.value[:, :1] * joint - over_leaders(x * y)

    def answer(self, x: Array) -> Array:
        s, t = 1 / (1 - self.substitution), self.exponent
        index = (x ** (1 - s)).sum(-1, keepdims=True) ** (1 / (1 - s))
        joint = (self.value[:, :1] * t / index) ** (1 / (1 - t))
        return joint * (index / x) ** s


@dataclass(frozen=True)
class Entropy(Priced):
    """Value with an entropy, as of buyers who choose by a logit."""

    temperature: float = 0.5

    @property
    def follower_action(self) -> Action:
        return Action("share", low=1e-6, high=3.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders((self.value - x) * y - self.temperature * (y * log(y) - y))

    def answer(self, x: Array) -> Array:
        return np.clip(np.exp((self.value - x) / self.temperature), 1e-6, 3.0)


@dataclass(frozen=True)
class Saturation(Priced):
    """Value that saturates exponentially."""

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * (1 - exp(-y)) - x * y)

    def answer(self, x: Array) -> Array:
        return np.maximum(np.log(self.value / x), 0)


@dataclass(frozen=True)
class Ratio(Priced):
    """Value that saturates like y / (1 + y)."""

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * y / (1 + y) - x * y)

    def answer(self, x: Array) -> Array:
        return np.maximum(np.sqrt(self.value / x) - 1, 0)


@dataclass(frozen=True)
class Delay(Log):
    """Work must be done in time: a floor on what a buyer needs from each seller."""

    work: Follower = 1.0
    most: Follower = 1.0

    @property
    def follower_action(self) -> Action:
        return Action("rate", low=1e-3, high=50.0)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"delay": self.work / y - self.most}

    def answer(self, x: Array) -> Array:
        return np.clip(self.demand(x), np.maximum(self.work / self.most, 1e-3), 50.0)


@dataclass(frozen=True)
class Queue(Priced):
    """Sellers are queues: everybody waits longer, the more all send."""

    capacity: Leader = 1.0
    wait: Follower = 0.1

    @property
    def follower_action(self) -> Action:
        return Action("rate", high=0.9 * self.capacity / len(self.value))

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        load = y + over_followers(rivals) - rivals
        return over_leaders((self.value - x) * y - self.wait * y / (self.capacity - load))

    def answer(self, x: Array) -> Array:
        top = 0.9 * self.capacity / len(self.value)

        def reply(y: Array) -> Array:
            left = self.capacity - (y.sum(-2, keepdims=True) - y)
            worth = np.maximum(self.value - x, 1e-300)
            return np.clip(left - np.sqrt(self.wait * left / worth), 0, top)

        start = np.broadcast_to(top / 2, (len(x), *self.value.shape))
        return iterate(reply, start, 1 / (1 + 0.5 * len(self.value)))


@dataclass(frozen=True)
class Quality(Ordinary):
    """Sellers choose a price and a quality, which costs its square."""

    value: Pairs
    cost: Leader
    cap: float
    care: float = 1.0

    @property
    def leader_action(self) -> Action:
        low = np.concatenate([self.cost, 0 * self.cost])
        return Action("price and quality", low=low, high=self.cap, size=2)

    @property
    def follower_action(self) -> Action:
        return Action("amount")

    def worth(self, quality: Any) -> Any:
        """What the first unit is worth at a quality."""
        return self.value + quality

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        worth = self.worth(x[..., 1:, :])
        return over_leaders(worth * log(1 + y) - x[..., :1, :] * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        price, quality = x[..., :1, :], x[..., 1:, :]
        return over_followers((price - self.cost) * y) - self.care * quality**2

    def answer(self, x: Array) -> Array:
        return np.maximum(self.worth(x[:, 1:]) / x[:, :1] - 1, 0)


@dataclass(frozen=True)
class Advertising(Quality):
    """Sellers choose a price and how much to advertise, which works like a root."""

    def worth(self, quality: Any) -> Any:
        return self.value * (1 + 0.5 * sqrt(quality + 0.01))

    def leader_payoff(self, x: Any, y: Any) -> Any:
        price, quality = x[..., :1, :], x[..., 1:, :]
        return over_followers((price - self.cost) * y) - self.care * quality
