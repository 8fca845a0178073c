"""Two small equilibrium problems of MacEPEC: two leaders over one follower's complementarity.

S. Leyffer and T. Munson, MacEPEC. Leaders minimise there; payoffs are minus their objectives.
Nothing has a unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from stackel import Action, Game, Leader
from stackel.functions import over_leaders


@dataclass(frozen=True)
class PangFukushima(Game):
    """A game without an equilibrium in pure actions.

        leader 1:  min  x1 / 2 + y,    0 <= x1 <= 1
        leader 2:  min -x2 / 2 - y,    0 <= x2 <= 1
        follower:  y = max(0, 1 - x1 - x2)

    The first leader's best reply is x1 = 1 - x2; the second's is 0 for x1 < 1/2 and 1 for
    x1 > 1/2, either at 1/2: the two never meet. J.-S. Pang and M. Fukushima, "Quasi-variational
    inequalities, generalized Nash equilibria, and multi-leader-follower games", Computational
    Management Science 2 (2005), 21-56; MacEPEC ex-4.

    Attributes:
        side: +1 for a leader that wants x / 2 + y large, -1 for one that wants it small.
    """

    side: Leader = (-1.0, 1.0)

    leader_action = Action("x", low=0.0, high=1.0)
    follower_action = Action("y", low=0.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return y * (1 - over_leaders(x)) - 0.5 * y**2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return self.side * (0.5 * x + y)


@dataclass(frozen=True)
class SharedComplementarity(Game):
    """Two leaders above one complementarity, which neither of them cares for.

        leader i:  min (x_i + 1)^2
        follower:  0 <= y  complementary to  x1 + x2 + y >= 0

    so y = max(0, -x1 - x2), and at the equilibrium x = (-1, -1), y = 2. MacEPEC ex-001.
    """

    leaders: int = 2

    leader_action = Action("x", low=-math.inf)
    follower_action = Action("y", low=0.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return -y * over_leaders(x) - 0.5 * y**2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -((x + 1) ** 2)
