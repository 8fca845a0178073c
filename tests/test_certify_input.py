"""What is asked of ``certify``: points of the right shape, options that make sense; and points that
are no numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import stackel
from stackel import Action, Game, Leader, Pairs
from stackel.followers import settle
from stackel.formulations.vehicular_twins import fig3
from stackel.functions import over_followers, over_leaders, sqrt

X, Y = np.full((1, 2), 1.0), np.full((3, 2), 0.3)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X, Y.T, r"follower actions have shape \(2, 3\); expected \(3, 2\).*3 followers"),
        (Y, X, r"leader actions have shape \(3, 2\); expected \(1, 2\).*2 leaders"),
        (X[:, :1], Y, r"leader actions have shape \(1, 1\)"),
        ("dear", Y, "leader actions = 'dear'; expected numbers"),
    ],
)
def test_points_have_their_shape(x: Any, y: Any, said: str) -> None:
    with pytest.raises(stackel.OptionError, match=said):
        stackel.certify(fig3(), x, y)


def test_axes_of_length_one_may_be_left_out() -> None:
    first, second = (stackel.certify(fig3(), x, Y, proof=False) for x in (X[0], X))
    assert str(first) == str(second)
    assert first.leader_gaps.tolist() == second.leader_gaps.tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"proof": "yes"}, "proof = 'yes'; expected 'auto', True or False"),
        ({"tolerance": -1}, "tolerance = -1; expected a number between 0 and 1"),
        ({"tolerance": np.nan}, "tolerance = nan; expected"),
    ],
)
def test_options_make_sense(options: Any, said: str) -> None:
    with pytest.raises(stackel.OptionError, match=said):
        stackel.certify(fig3(), X, Y, **options)


@pytest.mark.parametrize("whose", ["leader", "follower"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_point_that_is_no_number_is_unknown(whose: str, value: float) -> None:
    """Nothing is refuted without a witness, and NaN is none."""
    x, y = X.copy(), Y.copy()
    (x if whose == "leader" else y)[0, 0] = value
    found = stackel.certify(fig3(), x, y)
    assert found.verdict == "unknown"
    assert found.deviation is None
    assert "the point's actions are not all finite numbers" in found.reasons


@dataclass(frozen=True)
class Roots(Game):
    """Buyers at a sqrt(1 + y) - x y; a far larger one, or a range far wider than any price."""

    a: Pairs
    cost: Leader
    highest: float

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.cost, high=self.highest)

    @property
    def follower_action(self) -> Action:
        return Action("amount")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.a * sqrt(1 + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.cost) * y)


@pytest.mark.parametrize(
    ("large", "small", "price"),
    [(3e8, 2e-8, 44080.0), (3e8, 1.0, 44080.0), (1e4, 1e-4, 10.0), (3.0, 2e-8, 1.0)],
)
def test_who_stays_out_beside_a_giant_stays_out(large: float, small: float, price: float) -> None:
    """A payoff flat far out would make any amount look as near to nothing as a rounding error."""
    game = Roots([[large], [small]], [1e-9], 1e9)
    at = settle(game, np.array([[price]]))
    wanted = np.maximum((game.a / (2 * price)) ** 2 - 1, 0)
    np.testing.assert_allclose(at.y, wanted, rtol=1e-9)
    away = stackel.certify(game, [[price]], wanted, proof=False).deviation
    assert away is not None
    assert away.answer is not None
    best = np.maximum((game.a / (2 * away.action)) ** 2 - 1, 0)
    np.testing.assert_allclose(away.answer, best, rtol=1e-6)


@pytest.mark.parametrize("highest", [1e3, 1e6, 1e12])
def test_a_range_made_wide_hides_nothing(highest: float) -> None:
    eq = stackel.solve(Roots([[3.0], [2.0]], [0.1], highest))
    assert eq.is_equilibrium
    assert float(eq.leader_actions[0, 0]) == pytest.approx(0.195408, rel=1e-4)
