"""Governments tax their firms' output to keep emissions low and the price bearable.

Government j taxes each of its own firms; the firms of its country are Cournot oligopolists under
the inverse demand a_j - b_j Q_j:

    firm i of country j:  max (a_j - b_j Q_j - c_i - t_ij) q_i - d_i q_i^2 / 2,   0 <= q_i <= cap_i
    government j:         min sum_i e_i q_i,   0 <= t_ij <= T_i,   a_j - b_j Q_j <= ceiling_j

S. Sankaranarayanan, M. Carvalho, G. Dragotto and others, "When Nash meets Stackelberg", Management
Science (2023), without trade between the countries; the instances are test cases of their library
ZERO. Units there: $ for a unit of energy, and emissions by unit of energy.

Taxes may be degenerate: a firm kept at its capacity by a whole interval of taxes, or one that no
longer produces, leaves its tax open. Quantities, prices and emissions are what is determined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel import Action, Follower, Game, Leader, Pairs
from stackel.functions import over_followers, over_leaders


@dataclass(frozen=True)
class CarbonTax(Game):
    """Firms and governments; a government's action is a tax on every firm, 0 on foreign ones.

    Attributes:
        member: 1 where firm i is of country j, else 0.
        intercept: a_j, the price at which nothing is bought [$/unit].
        slope: b_j [$/unit^2].
        cost: c_i [$/unit].
        curvature: d_i, growth of the marginal cost [$/unit^2].
        capacity: cap_i [unit].
        emission: e_i [emission/unit].
        tax_cap: T_i, the highest tax [$/unit]. None: as high as it takes to stop the firm.
        price_ceiling: highest price that a government tolerates [$/unit]. None: any.
    """

    member: Pairs
    intercept: Leader
    slope: Leader
    cost: Follower
    curvature: Follower
    capacity: Follower
    emission: Follower
    tax_cap: Follower | None = None
    price_ceiling: Leader | None = None

    @property
    def leader_action(self) -> Action:
        stops = over_leaders(self.member * self.intercept) - self.cost  # no output at this tax
        highest = np.maximum(stops, 0.0) if self.tax_cap is None else self.tax_cap
        high = self.member * highest
        return Action("tax", unit="$/unit", low=0.0, high=high, size=self.n_followers)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", unit="unit", low=0.0, high=self.capacity, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        at_home = self.member * rivals
        total = self.member * y + (over_followers(at_home) - at_home)  # (I, J), row i moves y_i
        price = over_leaders(self.member * (self.intercept - self.slope * total))
        tax = over_leaders(self.member * x)
        return (price - self.cost - tax) * y - 0.5 * self.curvature * y**2

    def price(self, y: Any) -> Any:
        """Price in each country (..., 1, J) [$/unit].

        Args:
            y: quantities (..., I, 1) [unit].
        """
        return self.intercept - self.slope * over_followers(self.member * y)

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        if self.price_ceiling is None:
            return {}
        return {"price ceiling": self.price(y) - self.price_ceiling}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -over_followers(self.member * (self.emission * y))

    def validate(self) -> None:
        self.reject("member", ~np.isin(self.member, (0, 1)), "0 or 1")
        countries = self.member.sum(axis=1, keepdims=True)
        self.reject("member", countries != 1, "one country for each firm")
        for name in ("slope", "capacity"):
            self.reject(name, getattr(self, name) <= 0, "a positive number")


COAL: dict[str, float] = {"cost": 120.0, "curvature": 0.3, "capacity": 150.0, "emission": 10.0}
GAS: dict[str, float] = {"cost": 130.0, "curvature": 0.5, "capacity": 100.0, "emission": 6.0}
SOLAR: dict[str, float] = {"cost": 140.0, "curvature": 0.9, "capacity": 80.0, "emission": 1.0}
BLU: dict[str, float] = {"cost": 10.0, "curvature": 0.5, "capacity": 100.0, "emission": 6.0}


def _market(firms: list[dict[str, float]], member: Any, **fields: Any) -> CarbonTax:
    data = {name: [firm[name] for firm in firms] for name in firms[0]}
    return CarbonTax(member=member, **data, **fields)


def c2f2() -> CarbonTax:
    """ZERO's C2F2: two countries with two firms each, ceilings that bind, no trade.

    Firms in order: gas and coal of the first country, gas and solar of the second.
    """
    return _market(
        [GAS, COAL, GAS, SOLAR],
        [[1, 0], [1, 0], [0, 1], [0, 1]],
        intercept=[300.0, 300.0],
        slope=0.5,
        tax_cap=100.0,
        price_ceiling=[230.0, 240.0],
    )


def simple_blu(tax_cap: float | None = 250.0, price_ceiling: float | None = None) -> CarbonTax:
    """ZERO's SimpleBlu: one country, one firm.

    Args:
        tax_cap: T [$/unit]; published with 250, 20 and none.
        price_ceiling: [$/unit]; published with none, 299, and 80, which no tax can meet.
    """
    return _market(
        [BLU], [[1]], intercept=300.0, slope=0.05, tax_cap=tax_cap, price_ceiling=price_ceiling
    )


def simple_verde() -> CarbonTax:
    """ZERO's SimpleVerde: one country with a gas and a solar firm, a ceiling that never binds."""
    return _market(
        [GAS, SOLAR], [[1], [1]], intercept=300.0, slope=0.05, tax_cap=100.0, price_ceiling=300.0
    )
