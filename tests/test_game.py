"""Stating a market: grids, shapes, bounds, and what is wrong with a bad one."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import stackel
from problems import LinearCournot, LogPricing, PangFukushima
from stackel import Action, Follower, Game, GameError, Leader, Pairs, Peers
from stackel.functions import log, over_followers, over_leaders
from stackel.testing import check_backend, check_game


@dataclass(frozen=True)
class Market(Game):
    """A market whose parts tests replace by bad ones."""

    value: Follower = 3.0
    unit_cost: Leader = 0.5
    taste: Pairs = 1.0
    ties: Peers = 0.0
    cap: float = 4.0
    tricks: dict = field(default_factory=dict)

    @property
    def leader_action(self) -> Action:
        return self.tricks.get("leader_action", Action("price", low=self.unit_cost, high=self.cap))

    @property
    def follower_action(self) -> Action:
        return self.tricks.get("follower_action", Action("purchase", high=5.0))

    def _tricked(self, name: str, *arguments: Any) -> Any:
        return self.tricks[name](*arguments)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        if "follower_payoff" in self.tricks:
            return self._tricked("follower_payoff", y, rivals, x)
        return over_leaders(self.value * self.taste * log(1 + y) - x * y)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> Any:
        return self._tricked("limits", y, rivals, x) if "limits" in self.tricks else {}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        if "leader_payoff" in self.tricks:
            return self._tricked("leader_payoff", x, y)
        return over_followers((x - self.unit_cost) * y)


def test_data_lands_on_its_grid() -> None:
    game = Market(value=[3, 4, 5], unit_cost=(0.5, 0.6), taste=np.ones((3, 2)))
    assert game.value.shape == (3, 1)
    assert game.unit_cost.shape == (1, 2)
    assert game.taste.shape == (3, 2)
    assert game.ties.shape == (3, 3)
    assert game.value.dtype == float
    assert (game.n_followers, game.n_leaders) == (3, 2)
    assert game.follower_shape == (3, 2)
    assert str(game) == "Market (3 followers, 2 leaders)"
    series = Market(value=pd.Series([3.0, 4.0]), unit_cost=pd.Series([0.5]))
    assert series.value.shape == (2, 1)


def test_scalars_broadcast_and_counts_can_be_stated() -> None:
    game = LinearCournot(3, 4)
    assert (game.n_leaders, game.n_followers) == (3, 4)
    assert PangFukushima().n_leaders == 2
    assert replace(game, followers=7).n_followers == 7


def test_data_is_the_games_own() -> None:
    values = np.array([3.0, 4.0])
    game = Market(value=values)
    values[:] = -1
    assert (game.value[:, 0] == [3.0, 4.0]).all()


def test_games_copy_and_pickle() -> None:
    game = LogPricing([3.0, 2.0], [0.5])
    eq = stackel.solve(game, "newton")  # traced and compiled by now
    for twin in (pickle.loads(pickle.dumps(game)), copy.deepcopy(game)):
        np.testing.assert_array_equal(twin.value, game.value)
        again = stackel.solve(twin, "newton")
        np.testing.assert_array_equal(again.leader_actions, eq.leader_actions)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": [3.0, 4.0], "taste": np.ones((3, 2))}, ["taste", "3 followers", "value", "2"]),
        ({"taste": np.ones(3)}, ["taste", "(3,)", "(I, J)"]),
        ({"unit_cost": [[0.5], [0.6]]}, ["unit_cost", "(2, 1)", "(J,)"]),
        ({"cap": "x"}, ["cap = 'x'", "a number"]),
        ({"cap": 0.1}, ["'price'", "low 0.5 exceeds high 0.1"]),
        (
            {"tricks": {"leader_action": Action("price", low=[0.1, 0.2, 0.3])}},
            ["'price'", "low", "(3,)", "(1, 1)"],
        ),
        (
            {"tricks": {"leader_action": Action("price", low=np.nan)}},
            ["'price'", "low", "NaN"],
        ),
        ({"tricks": {"follower_action": Action("purchase", low=np.inf)}}, ["wrong side"]),
    ],
)
def test_bad_data(changes: dict, words: list[str]) -> None:
    with pytest.raises(GameError) as found:
        Market(**changes)
    for word in words:
        assert word in str(found.value)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "two"])
def test_bad_counts(count: Any) -> None:
    with pytest.raises(GameError, match="whole number of at least 1"):
        LinearCournot(count, 2)


@pytest.mark.parametrize(
    ("tricks", "words"),
    [
        (
            {"follower_payoff": lambda y, r, x: np.maximum(y, 1) - x * y},
            ["Market.follower_payoff", "numpy.maximum", "cannot differentiate"],
        ),
        (
            {"follower_payoff": lambda y, r, x: y if (y > 0) else x},
            ["Market.follower_payoff", "branches on or compares"],
        ),
        (
            {"follower_payoff": lambda y, r, x: y * x * np.ones((1, 3))},
            ["follower_payoff", "(1, 3)", "(1, 1)", "each follower"],
        ),
        ({"follower_payoff": lambda y, r, x: None}, ["follower_payoff", "returns nothing"]),
        ({"leader_payoff": lambda x, y: (x * y).sum()}, ["leader_payoff", "keepdims=True"]),
        ({"follower_payoff": lambda y, r, x: y.mean()}, ["follower_payoff", "AttributeError"]),
        ({"follower_payoff": lambda y, r, x: log(-1 - y) - x * y}, ["follower_payoff", "is nan"]),
        (
            {"leader_payoff": lambda x, y: log(x - 9) + 0 * y},
            ["leader_payoff", "is nan", "player 0"],
        ),
        ({"limits": lambda y, r, x: y - 1}, ["follower_limits", '{"name": array}']),
        (
            {"limits": lambda y, r, x: {"cap": y * np.ones((4, 1))}},
            ["follower_limits['cap']", "(4, 1)"],
        ),
    ],
)
def test_bad_formulas(tricks: dict, words: list[str]) -> None:
    with pytest.raises(GameError) as found:
        stackel.solve(Market(tricks=tricks), "newton")
    for word in words:
        assert word in str(found.value)


@pytest.mark.parametrize("method", ["leader_action", "follower_action"])
def test_missing_parts_are_named(method: str) -> None:
    with pytest.raises(GameError, match="must define the property leader_action"):
        type("Empty", (Game,), {})()
    assert method in Game.__dict__


def test_kit_passes_a_good_market() -> None:
    check_game(Market(value=[3.0, 4.0], unit_cost=[0.5, 0.6]))


@pytest.mark.parametrize(
    ("tricks", "words"),
    [
        (
            {
                "follower_payoff": lambda y, r, x: over_leaders(
                    3 * log(1 + y) - x * y - 0.1 * y * over_followers(y)
                )
            },
            "another follower's row of y",
        ),
        (
            {
                "limits": lambda y, r, x: {
                    "sum": over_leaders(over_followers(y)) - 9.0 + 0 * y[..., :1]
                }
            },
            "another follower's row of y",
        ),
        (
            {
                "leader_payoff": lambda x, y: (
                    over_followers(x * y) * np.random.default_rng().random()
                )
            },
            "draw random numbers",
        ),
    ],
)
def test_kit_finds_broken_rules(tricks: dict, words: str) -> None:
    with pytest.raises((AssertionError, GameError), match=words):
        check_game(Market(value=[3.0, 4.0], tricks=tricks))


def test_kit_finds_axes_counted_from_the_front() -> None:
    def front(x: Any, y: Any) -> Any:
        if isinstance(y, np.ndarray):
            return x * y.sum(axis=0)[None]
        return over_followers(x * y)

    with pytest.raises((AssertionError, ValueError)):
        check_game(Market(value=[3.0, 4.0], tricks={"leader_payoff": front}))


def test_kit_wants_backends_that_can_be_stopped() -> None:
    from test_solve import Guess

    with pytest.raises(AssertionError, match="says converged, but its point is refuted"):
        check_backend(Guess(price=2.0), LogPricing([3.0], [0.5]))
    check_backend(Guess(price=float(np.sqrt(1.5))), LogPricing([3.0], [0.5]))


def test_kit_compares_batches_with_single_markets() -> None:
    from stackel.solvers.newton import Newton

    class Hasty(Newton):
        def solve_batch(self, whole: Any, run: Any, start: Any, settled: Any = None) -> Any:
            points = super().solve_batch(whole, run, start, settled)
            points.x = points.x * (1.01 if whole.batched else 1.0)
            return points

    check_backend(Newton(), LogPricing([3.0], [0.5]))
    with pytest.raises(AssertionError, match="solve_batch finds x"):
        check_backend(Hasty(), LogPricing([3.0], [0.5]))


@pytest.mark.parametrize("name", ["on", "once", "over", "reject"])
def test_fields_leave_games_own_names_alone(name: str) -> None:
    from dataclasses import make_dataclass

    kind = make_dataclass("Shop", [(name, float, 1.0)], bases=(LogPricing,), frozen=True)
    with pytest.raises(GameError, match=f"Shop.{name} hides .* rename the field"):
        kind([3.0], [0.5])


def test_backends_written_for_the_former_version_are_told() -> None:
    with pytest.warns(DeprecationWarning, match="Old.solve_stack .* solve_batch"):
        type("Old", (stackel.Backend,), {"solve_stack": None})
