"""Points of known truth: nothing wrong passes, nothing right is refused, in any unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import stackel
from stackel import Action, Follower, Game, Leader
from stackel.followers import settle
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import exp, log, over_followers, over_leaders


@dataclass(frozen=True)
class Market(Game):
    """Log buyers; actions in other units, payoffs multiplied and shifted, leaders of other size."""

    value: Follower
    unit_cost: Leader
    size: Leader
    fixed: float = 0.0
    ux: float = 1.0
    uy: float = 1.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost * self.ux, high=4.0 * self.ux)

    @property
    def follower_action(self) -> Action:
        return Action("amount")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y / self.uy) - x / self.ux * y / self.uy)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        margin = x / self.ux - self.unit_cost
        return over_followers(margin * y / self.uy) * self.size - self.fixed


def _market(**other: Any) -> Market:
    return Market(
        **{"value": [3.0, 2.0, 5.0], "unit_cost": [0.5, 0.8], "size": [1.0, 1.0], **other}
    )


PLAIN = stackel.solve(_market(), proof=False)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"size": [1.0, 1e-7]},
        {"size": [1e9, 1e9]},
        {"fixed": 1e6},
        {"ux": 1e-9},
        {"ux": 1e9},
        {"uy": 1e-12},
        {"uy": 1e12},
    ],
    ids=str,
)
def test_a_point_is_worth_the_same_in_any_unit(other: dict[str, Any]) -> None:
    game = _market(**other)
    ux, uy = game.ux, game.uy
    x, y = PLAIN.leader_actions, PLAIN.follower_actions
    assert stackel.certify(game, x * ux, y * uy).verdict in ("proved", "searched")
    for j in (0, 1):  # either leader off, the followers settled
        off = np.array(x)
        off[0, j] *= 1.05
        settled = settle(_market(), off).y
        assert stackel.certify(game, off * ux, settled * uy).verdict == "refuted"
    for bad_x, bad_y in ((x, y * 1.05), (x * 0.3, y)):  # purchases off; a price below its bound
        assert stackel.certify(game, bad_x * ux, bad_y * uy).verdict == "refuted"


def test_distances_are_symmetric_and_have_no_unit() -> None:
    small = stackel.solve(_market(ux=1e-5, uy=1e-5), proof=False)
    other = replace(small, leader_actions=0.8 * small.leader_actions)
    assert small.distance(other) > 0.05
    assert small.distance(other) == other.distance(small)


def test_a_delay_limit_that_is_broken_by_seconds_is_broken() -> None:
    game = replace(fig3(delay=True), max_delay=[2.2, 3.0, 4.0])
    eq = stackel.solve(game)
    y = np.array(eq.follower_actions)
    y[0] = 1e-8
    assert stackel.certify(game, eq.leader_actions, y).verdict == "refuted"


@dataclass(frozen=True)
class Cap(Game):
    """A leader must not sell more than it has; its limit in any unit."""

    value: Follower
    unit: float = 1.0
    leader_action = Action("price", low=0.1, high=10.0)
    follower_action = Action("units", size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * log(1 + y) - x * y

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {"capacity": (over_followers(y) - 2.0) * self.unit}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - 0.1) * y)


@pytest.mark.parametrize("unit", [1.0, 1e-10, 1e9])
def test_a_leaders_limit_is_measured_by_its_own_size(unit: float) -> None:
    game = Cap(value=[5.0, 6.0], unit=unit)
    x = np.array([[2.75]])
    assert stackel.certify(game, x, settle(game, x).y)
    cheaper = np.array([[2.0]])
    assert stackel.certify(game, cheaper, settle(game, cheaper).y).verdict == "refuted"


@dataclass(frozen=True)
class Peaks(Game):
    """Four peaks on the grid, and a better one between its points."""

    followers: int = 1
    leader_action = Action("place", low=0.0, high=128.0)
    follower_action = Action("y", low=0.0, high=1.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return -0.5 * (y - 0.5) ** 2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        total = 1.5 * exp(-(((x - 100.5) / 0.9) ** 2))
        for place in (20.0, 40.0, 60.0, 80.0):
            total = total + 1.2 * exp(-(((x - place) / 0.9) ** 2))
        return total + 0 * over_followers(y)


def test_no_peak_is_dropped() -> None:
    found = stackel.certify(Peaks(), [[20.0]], [[0.5]])
    assert found.verdict == "refuted"
    assert found.deviation is not None
    assert found.deviation.action[0] == pytest.approx(100.5, abs=1e-3)


@dataclass(frozen=True)
class Window(Game):
    """A tariff that a leader's limit allows below 1, and in a window of 4.95 to 4.99."""

    value: Follower
    leader_action = Action("price", low=0.0, high=10.0)
    follower_action = Action("units", size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * y - 0.5 * y**2 - x * y

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers(x * y)

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {"tariff": (x - 1.0) * ((x - 4.97) ** 2 - 0.02**2)}


def test_a_narrow_window_of_a_leaders_limit_is_found() -> None:
    found = stackel.certify(Window(value=[10.0]), [[1.0]], [[9.0]])
    assert found.verdict == "refuted"
    assert found.deviation is not None
    assert found.deviation.action[0] == pytest.approx(4.99, abs=1e-6)


@dataclass(frozen=True)
class Turn(Game):
    """A follower that is concave at prices above a half, convex below."""

    followers: int = 1
    leader_action = Action("x", low=0.0, high=1.0)
    follower_action = Action("y", low=0.0, high=2.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return -(x - 0.5) * (y - 1.2) ** 2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((y - 1.2) ** 2) - 0.1 * (x - 0.8) ** 2


def test_a_followers_minimum_is_no_answer() -> None:
    found = stackel.certify(Turn(), [[0.8]], [[1.2]])
    assert found.verdict == "refuted"
    assert found.deviation is not None
    assert found.deviation.player == "leader"
    assert found.deviation.gain == pytest.approx(1.44, abs=0.02)


@dataclass(frozen=True)
class Steep(Game):
    """Followers that want 7.3 of everything; the loss grows with the tenth power, up to 1e15."""

    followers: int = 2
    leaders: int = 4
    leader_action = Action("fee", low=0.0, high=1.0)
    follower_action = Action("units", low=0.0, high=100.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(-(((y - 7.3) / 3) ** 10) + 0 * x)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -((x - 0.3) ** 2) + 0 * over_followers(y)


def test_moves_that_nobody_would_make_hide_no_gain() -> None:
    found = stackel.certify(Steep(), np.full((1, 4), 0.3), np.full((2, 4), 10.3))
    assert found.verdict == "refuted"
    assert found.follower_gap == pytest.approx(4.0)  # all that it has lost


@dataclass(frozen=True)
class Free(Game):
    """Prices that may be 0, where followers would buy without end."""

    value: Follower
    unit_cost: Leader

    @property
    def leader_action(self) -> Action:
        return Action("price", low=0.0, high=10.0)

    @property
    def follower_action(self) -> Action:
        return Action("purchase")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@pytest.mark.proofs
def test_a_price_at_which_followers_want_more_without_end_is_closed() -> None:
    market = Free(value=[3.0, 2.0], unit_cost=[0.5, 0.4])
    eq = stackel.solve(market)
    # v / p - 1 is bought: (p - c) (v / p - 1) is most at the root of c times the mean of v.
    np.testing.assert_allclose(eq.leader_actions[0], np.sqrt(2.5 * np.array([0.5, 0.4])), 1e-5)
    assert eq.certificate.verdict == "proved"
    searched = stackel.certify(market, eq.leader_actions, eq.follower_actions, proof=False)
    assert searched.verdict == "searched"
    assert searched.unsettled == 0
    assert any(
        "want more without end there: leader 0 at price from 0 to" in n for n in searched.notes
    )


def test_a_hair_off_a_bound_is_no_gain() -> None:
    """A price cap binds: what the last hair up to it costs is no scale for anything."""
    market = draw(6, 3, 2, price_cap=0.8, delay=False)
    eq = stackel.solve(market, proof=False)
    cap = market.leader_bounds[1]
    x = np.array(eq.leader_actions)
    binding = int(np.argmax(x[0] >= cap[0] - 1e-6))
    assert x[0, binding] >= cap[0, binding] - 1e-6
    for off in (0.0, 1e-12, 1e-10, 1e-9):
        x[0, binding] = cap[0, binding] - off
        found = stackel.certify(market, x, settle(market, x).y, proof=False)
        assert found.verdict == "searched"
        assert found.leader_scales[binding] > 1e-3 * eq.certificate.leader_scales.max()
