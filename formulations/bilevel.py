"""Small bilevel problems from the literature: one leader, one follower, each minimising.

A payoff is minus the objective, and nothing has a unit. Bounds and limits are the upper and lower
level's constraints; where the lower level has no feasible answer beyond some leader action, that is
stated as the leader's bound, which changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stackel import Action, Game


@dataclass(frozen=True)
class HendersonQuandt(Game):
    """A duopoly in quantities, the leader's x and the follower's y.

        leader:    min x^2 / 2 + x y / 2 - 95 x,    0 <= x <= 200
        follower:  min y^2 + x y / 2 - 100 y,       y >= 0

    J. M. Henderson and R. E. Quandt, Microeconomic Theory, McGraw-Hill 1958; MacMPEC
    stackelberg1, BOLIB HendersonQuandt1958.
    """

    leader_action = Action("quantity", low=0.0, high=200.0)
    follower_action = Action("quantity", low=0.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return 100 * y - 0.5 * x * y - y**2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return 95 * x - 0.5 * x * y - 0.5 * x**2


@dataclass(frozen=True)
class Outrata31(Game):
    """A follower with two decisions between a linear and a ball constraint, both moved by x.

        leader:    min ((y1 - 3)^2 + (y2 - 4)^2) / 2,    0 <= x <= 10
        follower:  min (1/2 + x/10) y1^2 + (1/2 + x/20) y2^2 - (3 + 1.333 x) y1 - x y2,   y >= 0
                   y2 <= 0.333 y1 + 1 - x/10
                   y1^2 + y2^2 <= 9 + x/10

    J. V. Outrata, "On optimization problems with variational inequality constraints", SIAM Journal
    on Optimization 4 (1994), 340-357, example 3.1; MacMPEC outrata31, BOLIB Outrata1994Ex31.
    """

    leader_action = Action("x", low=0.0, high=10.0)
    follower_action = Action("y", low=0.0, size=2)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        first, second = y[..., :1], y[..., 1:]
        curved = (0.5 + 0.1 * x) * first**2 + (0.5 + 0.05 * x) * second**2
        return (3 + 1.333 * x) * first + x * second - curved

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        first, second = y[..., :1], y[..., 1:]
        return {
            "line": second - 0.333 * first - 1 + 0.1 * x,
            "ball": first**2 + second**2 - 9 - 0.1 * x,
        }

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -0.5 * ((y[..., :1] - 3) ** 2 + (y[..., 1:] - 4) ** 2)


@dataclass(frozen=True)
class Bard1(Game):
    """A follower between three lines, which leave it a single point at the leader's optimum.

        leader:    min (x - 5)^2 + (2 y + 1)^2,    x >= 0
        follower:  min (y - 1)^2 - 3/2 x y,        y >= 0
                   y <= 3 x - 3,  y >= 2 x - 8,  y <= 7 - x

    The three lines and y >= 0 leave the follower an answer for 1 <= x <= 5 only; at the optimum
    x = 1 the only answer is y = 0. J. F. Bard, "Convex two-level optimization", Mathematical
    Programming 40 (1988), 15-27, example 1; MacMPEC bard1, BOLIB Bard1988Ex1, BASBLib b_1988_01.
    """

    leader_action = Action("x", low=1.0, high=5.0)
    follower_action = Action("y", low=0.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return 1.5 * x * y - (y - 1) ** 2

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {
            "first": y - 3 * x + 3,
            "second": 2 * x - 8 - y,
            "third": y - 7 + x,
        }

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -((x - 5) ** 2) - (2 * y + 1) ** 2


@dataclass(frozen=True)
class DeSilva(Game):
    """A leader with two decisions; the follower stays as near to them as its box allows.

        leader:    min x1^2 - 2 x1 + x2^2 - 2 x2 + y1^2 + y2^2,    0 <= x <= 2
        follower:  min (y1 - x1)^2 + (y2 - x2)^2,                  1/2 <= y <= 3/2

    The optimum x = (1/2, 1/2) is a kink: below it the follower no longer moves.
    A. H. De Silva, Sensitivity formulas for nonlinear factorable programming and their application
    to the solution of an implicitly defined optimization model of US crude oil production, PhD
    thesis, George Washington University 1978; MacMPEC desilva, BOLIB DeSilva1978, BASBLib
    d_1978_01.
    """

    leader_action = Action("x", low=0.0, high=2.0, size=2)
    follower_action = Action("y", low=0.5, high=1.5, size=2)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return -((y[..., :1] - x[..., :1, :]) ** 2) - (y[..., 1:] - x[..., 1:, :]) ** 2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        own = (2 * x - x**2).sum(axis=-2, keepdims=True)
        return own - (y**2).sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Dempe(Game):
    """A follower whose feasible set shrinks to a point where the leader wants it.

        leader:    min (x - 7/2)^2 + (y + 4)^2,    x >= 0
        follower:  min y^2 / 2 - 3 y,              y^2 <= x

    The follower answers y = sqrt(x) for x <= 9, so the leader's objective is (x - 7/2)^2 +
    (sqrt(x) + 4)^2, which never falls as x grows: its least value, 113/4 = 28.25, is that of
    x = 0. There the feasible set is the single point y = 0, Slater's condition fails and no
    multiplier exists (it grows like 3 / (2 sqrt(x))): with the follower's optimality conditions in
    its place the value is an infimum that no point attains. S. Dempe, "A necessary and a sufficient
    optimality condition for bilevel programming problems", Optimization 25 (1992), 341-354;
    MacMPEC dempe.
    """

    leader_action = Action("x", low=0.0)
    follower_action = Action("y", low=-float("inf"))

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return 3 * y - 0.5 * y**2

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"disc": y**2 - x}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -((x - 3.5) ** 2) - (y + 4) ** 2
