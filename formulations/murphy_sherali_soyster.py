"""A large firm leads an oligopoly: the five firms of Murphy, Sherali and Soyster.

Firm 1 commits to a quantity first; the others follow as a Cournot oligopoly. With price elasticity
gamma the price of a total quantity Q is

    p(Q) = (D / Q)^(1 / gamma),

and a firm's cost of a quantity q, with supply elasticity beta,

    f(q) = c q + beta / (1 + beta) K^(-1 / beta) q^((1 + beta) / beta).

F. H. Murphy, H. D. Sherali and A. L. Soyster, "A mathematical programming approach for determining
oligopolistic market equilibrium", Mathematical Programming 24 (1982), 92-106; the leader's problem
is H. D. Sherali, A. L. Soyster and F. H. Murphy, "Stackelberg-Nash-Cournot equilibria:
characterizations and computations", Operations Research 31 (1983), 253-276. Quantities and money
have no units in either.

With ``anticipation="none"`` no firm foresees another's reaction, which is the Cournot-Nash
equilibrium of all five.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stackel import Action, Follower, Game, Leader
from stackel.functions import over_followers, over_leaders

CAPACITY = 5.0
"""K of all five firms."""

COSTS = (10.0, 8.0, 6.0, 4.0, 2.0)
"""c of the five firms, the leader's first."""

ELASTICITIES = (1.2, 1.1, 1.0, 0.9, 0.8)
"""beta of the five firms."""

GNASH = {
    "gnash10": (1.0, 150.0),
    "gnash11": (1.1, 150.0),
    "gnash12": (1.3, 150.0),
    "gnash13": (1.5, 150.0),
    "gnash14": (1.7, 150.0),
    "gnash15": (1.0, 50.0),
    "gnash16": (1.1, 40.0),
    "gnash17": (1.3, 30.0),
    "gnash18": (1.5, 25.0),
    "gnash19": (1.7, 20.0),
}
"""gamma and L of MacMPEC's ten instances."""


@dataclass(frozen=True)
class MurphySheraliSoyster(Game):
    """Leading and following firms that choose quantities.

    Attributes:
        cost: c_i > 0 of the following firms.
        elasticity: beta_i > 0 of the following firms.
        leader_cost, leader_elasticity: those of the leading firms.
        capacity, leader_capacity: K_i > 0, scales of the costs' convex part.
        demand: D.
        gamma: price elasticity of demand.
        most: L, the most that a firm can produce.
    """

    cost: Follower
    elasticity: Follower
    leader_cost: Leader
    leader_elasticity: Leader
    capacity: Follower = CAPACITY
    leader_capacity: Leader = CAPACITY
    demand: float = 5000.0
    gamma: float = 1.0
    most: float = 150.0

    @property
    def leader_action(self) -> Action:
        return Action("quantity", low=0.0, high=self.most)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", low=0.0, high=self.most, size=1)

    def price(self, total: Any) -> Any:
        """The price p(Q) of a total quantity Q."""
        return self.demand ** (1 / self.gamma) * total ** (-1 / self.gamma)

    def follower_cost(self, y: Any) -> Any:
        """The followers' costs f_i(y_i), (..., I, 1) as the quantities y."""
        return _cost(y, self.cost, self.elasticity, self.capacity)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        total = over_leaders(x) + y + (over_followers(rivals) - rivals)
        return y * self.price(total) - self.follower_cost(y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        cost = _cost(x, self.leader_cost, self.leader_elasticity, self.leader_capacity)
        return x * self.price(over_leaders(x) + over_followers(y)) - cost

    def validate(self) -> None:
        scales = ("elasticity", "capacity", "leader_elasticity", "leader_capacity")
        for name in (*scales, "demand", "gamma", "most"):
            self.reject(name, getattr(self, name) <= 0, "a positive number")


@dataclass(frozen=True)
class Gnash(MurphySheraliSoyster):
    """The same as MacMPEC codes it (gnash1 and gnash1m, Facchinei, Jiang and Qi's problem 8).

    There the followers' marginal cost is c_i + K_i^(-1 / beta_i) y_i, without the exponent
    1 / beta_i of y_i: a different market, with its own published values. The leader's cost is as
    above.
    """

    def follower_cost(self, y: Any) -> Any:
        """The followers' costs c_i y_i + K_i^(-1 / beta_i) y_i^2 / 2, (..., I, 1) as y."""
        return self.cost * y + 0.5 * self.capacity ** (-1 / self.elasticity) * y**2


def _cost(quantity: Any, unit_cost: Any, beta: Any, capacity: Any) -> Any:
    scale = beta / (1 + beta) * capacity ** (-1 / beta)
    return unit_cost * quantity + scale * quantity ** ((1 + beta) / beta)


def _firms(kind: type[MurphySheraliSoyster], gamma: float, most: float) -> MurphySheraliSoyster:
    return kind(
        cost=COSTS[1:],
        elasticity=ELASTICITIES[1:],
        leader_cost=COSTS[:1],
        leader_elasticity=ELASTICITIES[:1],
        gamma=gamma,
        most=most,
    )


def five_firms(gamma: float = 1.0, most: float = 150.0) -> MurphySheraliSoyster:
    """The five firms of 1982, the first of them leading. Tables exist for gamma 1, 1.1 and 1.3.

    Args:
        gamma: price elasticity of demand.
        most: L, the most that a firm can produce.
    """
    return _firms(MurphySheraliSoyster, gamma, most)


def gnash(instance: str = "gnash10") -> MurphySheraliSoyster:
    """An instance of MacMPEC's gnash1: ``"gnash10"`` to ``"gnash19"``.

    Raises:
        KeyError: there is none of that name.
    """
    return _firms(Gnash, *GNASH[instance])
