"""Small games whose equilibria are known in closed form, for every backend to be tried on.

Each problem is a game, its equilibrium (leader and follower actions) and where that comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel import Action, Follower, Game, Leader, Pairs
from stackel.formulations import vehicular_twins
from stackel.functions import log, over_followers, over_leaders


@dataclass(frozen=True)
class LogPricing(Game):
    """Followers value q at a_i log(1 + q); leaders charge p for it."""

    value: Follower
    unit_cost: Leader
    cap: float = 10.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost, high=self.cap)

    @property
    def follower_action(self) -> Action:
        return Action("purchase")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@dataclass(frozen=True)
class Duopoly(Game):
    """Quantities: u_L = q_L (1 - q_L - q_F), u_F = q_F (1 - q_L - q_F)."""

    @property
    def leader_action(self) -> Action:
        return Action("quantity", high=1.0)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", high=1.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return y * (1 - x - y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * (1 - x - y)


@dataclass(frozen=True)
class LinearCournot(Game):
    """M leading and N following firms, price a - b Q, marginal cost c (DeMiguel and Xu, 2009)."""

    leaders: int
    followers: int
    intercept: float = 10.0
    slope: float = 0.5
    cost: float = 1.0

    @property
    def leader_action(self) -> Action:
        return Action("quantity", high=self.intercept / self.slope)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", size=1)

    def _price(self, x: Any, following: Any) -> Any:
        return self.intercept - self.slope * (over_leaders(x) + following)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        following = y + (over_followers(rivals) - rivals)
        return y * (self._price(x, following) - self.cost)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * (self._price(x, over_followers(y)) - self.cost)


@dataclass(frozen=True)
class Substitutes(Game):
    """Two goods that are substitutes (g) to quadratic followers, one price leader each."""

    value: Pairs
    unit_cost: Leader
    g: float = 0.4
    cap: float = 10.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost, high=self.cap)

    @property
    def follower_action(self) -> Action:
        return Action("purchase")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        both = over_leaders(y) ** 2 - over_leaders(y**2)  # 2 y_1 y_2
        return over_leaders(self.value * y - 0.5 * y**2 - x * y) - self.g / 2 * both

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@dataclass(frozen=True)
class SharedCapacity(Game):
    """Followers share a road of a given capacity: one multiplier for all (variational)."""

    value: Follower
    capacity: float = 1.0

    @property
    def leader_action(self) -> Action:
        return Action("toll", high=5.0)

    @property
    def follower_action(self) -> Action:
        return Action("flow", size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * y - y**2 / 2 - over_leaders(x) * y

    def shared_limits(self, y: Any, x: Any) -> dict[str, Any]:
        return {"capacity": over_followers(y) - self.capacity}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * over_followers(y)


@dataclass(frozen=True)
class Budget(Game):
    """A follower with a budget: limits that depend on the leader's price."""

    value: Follower
    budget: Follower
    unit_cost: Leader

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost, high=8.0)

    @property
    def follower_action(self) -> Action:
        return Action("purchase")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * y - y**2 / 2 - x * y)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"budget": over_leaders(x * y) - self.budget}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@dataclass(frozen=True)
class PersonalPrices(Game):
    """One leader asks every follower a price of its own (d = I); demand exp(-p / v) each."""

    value: Follower
    unit_cost: float = 0.2

    @property
    def leader_action(self) -> Action:
        return Action("price", high=10.0, size=self.n_followers)

    @property
    def follower_action(self) -> Action:
        return Action("purchase", size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * y - y**2 / 2 - x * y

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@dataclass(frozen=True)
class DropOut(Game):
    """Followers who value q at a_i log(1 + q) drop out one by one as the price rises.

    The leader's payoff has a local maximum for each set of customers that stays.
    """

    value: Follower
    unit_cost: float = 1.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost, high=30.0)

    @property
    def follower_action(self) -> Action:
        return Action("purchase", size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * log(1 + y) - x * y

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return (x - self.unit_cost) * over_followers(y)


@dataclass(frozen=True)
class PangFukushima(Game):
    """MacEPEC ex-4: no pure equilibrium (Pang and Fukushima, Comput. Manag. Sci. 2005)."""

    @property
    def leader_action(self) -> Action:
        return Action("action", high=1.0)

    @property
    def follower_action(self) -> Action:
        return Action("answer", size=1)

    leaders: int = 2

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return -0.5 * y**2 + y * (1 - over_leaders(x))

    def leader_payoff(self, x: Any, y: Any) -> Any:
        sign = np.array([[-1.0, 1.0]])
        return sign * (0.5 * x + y)


@dataclass(frozen=True)
class Congestion(Game):
    """Queues: followers' delays 1 / (mu - y) blow up at the upper bound of their actions."""

    value: Follower
    service: Follower

    @property
    def leader_action(self) -> Action:
        return Action("fee", high=5.0)

    @property
    def follower_action(self) -> Action:
        return Action("load", high=self.service, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * log(1 + y) - y / (self.service - y) - x * y

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * over_followers(y)


@dataclass(frozen=True)
class Problem:
    """A game with its known equilibrium."""

    name: str
    make: Callable[[], Game]
    x: Any
    y: Any
    source: str


def _log_pricing() -> tuple[float, float]:
    price = np.sqrt(3.0 * 0.5)  # (p - c)(a / p - 1): p = sqrt(a c)
    return price, 3.0 / price - 1


def _cournot(M: int, N: int) -> tuple[float, float]:
    game = LinearCournot(M, N)
    margin = game.intercept - game.cost
    leader = margin / (game.slope * (M + 1))
    return leader, leader / (N + 1)


def _drop_out(values: Any, cost: float) -> tuple[float, Any]:
    """The best of the sqrt(c * sum a / k) optima over the customers that stay."""
    values = np.sort(values)[::-1]
    best = (-np.inf, 0.0)
    for k in range(1, len(values) + 1):
        price = np.sqrt(cost * values[:k].mean())
        for p in (price, *values):
            q = np.maximum(values / p - 1, 0)
            best = max(best, ((p - cost) * q.sum(), p))
    price = best[1]
    return price, np.maximum(values / price - 1, 0)


_P, _Q = _log_pricing()
_DROP_P, _DROP_Q = _drop_out(np.array([20.0, 6.0, 3.0]), 1.0)
_DELAY_Y = [[0.471824, 0.493389], [0.178243, 0.218334], [0.332089, 0.372181]]

PROBLEMS = [
    Problem(
        "fig3",
        vehicular_twins.fig3,
        [[0.95618652, 0.81081216]],
        [[0.31314404, 0.35675635], [0.23622097, 0.27983327], [0.39006712, 0.43367943]],
        "closed form of the vehicular-twin market",
    ),
    Problem(
        "fig3-delay",
        lambda: vehicular_twins.fig3(delay=True),
        [[1.221667, 1.081852]],
        _DELAY_Y,
        "independent computation, six digits",
    ),
    Problem(
        "fig3-literal",
        lambda: vehicular_twins.fig3(scale="literal"),
        [[1.5, 1.5]],
        [[0.57, 0.57], [0.4930769230769, 0.4930769230769], [0.6469230769231, 0.6469230769231]],
        "every leader asks the cap",
    ),
    Problem("log-pricing", lambda: LogPricing([3.0], [0.5]), [[_P]], [[_Q]], "p = sqrt(a c)"),
    Problem("duopoly", Duopoly, [[0.5]], [[0.25]], "von Stackelberg (1934)"),
    Problem(
        "cournot-3x4",
        lambda: LinearCournot(3, 4),
        np.full((1, 3), _cournot(3, 4)[0]),
        np.full((4, 1), _cournot(3, 4)[1]),
        "DeMiguel and Xu, Oper. Res. 57 (2009), linear demand",
    ),
    Problem(
        "cournot-2x12",
        lambda: LinearCournot(2, 12),
        np.full((1, 2), _cournot(2, 12)[0]),
        np.full((12, 1), _cournot(2, 12)[1]),
        "the same; replies in turn overshoot",
    ),
    Problem(
        "substitutes",
        lambda: Substitutes([[10, 8], [9, 9], [7, 10]], [1.0, 1.2]),
        [[3.8611111111, 4.1388888889]],
        None,
        "2n p_j - g n p_k = S_j - g S_k + n c_j",
    ),
    Problem(
        "shared-capacity",
        lambda: SharedCapacity([3.0, 2.5]),
        [[2.25]],
        [[0.75], [0.25]],
        "the toll rises until the capacity is just slack: p = mean(a) - C / 2",
    ),
    Problem(
        "budget",
        lambda: Budget([6.0, 6.0], [3.0, 100.0], [1.0]),
        None,
        None,
        "by brute force in the test",
    ),
    Problem(
        "congestion",
        lambda: Congestion([4.0, 6.0], [1.0, 2.0]),
        None,
        None,
        "by brute force in the test",
    ),
    Problem(
        "drop-out",
        lambda: DropOut([20.0, 6.0, 3.0]),
        [[_DROP_P]],
        _DROP_Q[:, None],
        "the best of the optima for each set of customers",
    ),
    Problem(
        "personal-prices",
        lambda: PersonalPrices([3.0, 2.0, 1.0]),
        [[1.6], [1.1], [0.6]],
        [[1.4], [0.9], [0.4]],
        "p_i = (v_i + c) / 2",
    ),
]
