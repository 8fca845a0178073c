"""What followers answer: equilibria, best replies, sensitivities, at any scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stackel
from problems import PROBLEMS, Budget, Congestion, LinearCournot, SharedCapacity
from stackel import Action, Follower, Leader, Pairs
from stackel.calculus import trace
from stackel.followers import response, systems
from stackel.followers.sensitivity import sensitivity
from stackel.formulations.vehicular_twins import VehicularTwins, draw, fig3, on_graph
from stackel.functions import log, over_followers, over_leaders
from stackel.leaders.slopes import own_slopes


def _residuals(game: stackel.Game, x: np.ndarray, at: response.Response) -> float:
    """The optimality conditions, written out independently of the solver's own residual."""
    field, own, shared = trace(game).system(at.y, at.y, x, at.lam, at.mu)
    low, high = game.follower_bounds
    inside = (at.y > low + 1e-9) & (at.y < high - 1e-9)
    worst = [
        np.abs(np.where(inside, field, 0)).max(),
        np.maximum(np.where(at.y <= low + 1e-9, -field, 0), 0).max(),
        np.maximum(np.where(at.y >= high - 1e-9, field, 0), 0).max(),
        np.maximum(own, 0).max(initial=0),
        np.maximum(shared, 0).max(initial=0),
        np.abs(own * at.lam).max(initial=0),
        np.abs(shared * at.mu).max(initial=0),
        np.maximum(-at.lam, 0).max(initial=0),
        np.maximum(-at.mu, 0).max(initial=0),
    ]
    return float(max(worst))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_settled_points_meet_the_optimality_conditions(problem) -> None:
    game = problem.make()
    low, high = game.leader_bounds
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, (60, *low.shape))
    at = response.settle(game, x)
    assert at.converged.all()
    for k in range(len(x)):
        assert _residuals(game, x[k], at[k]) < 1e-7 * (1 + np.abs(at.y[k]).max()) * 10


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_settling_is_the_same_alone_in_a_batch_and_from_elsewhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = draw(rng, int(rng.integers(2, 6)), int(rng.integers(1, 4)))
    low, high = game.leader_bounds
    x = rng.uniform(low, high, (4, *low.shape))
    together = response.settle(game, x)
    assert together.converged.all()
    warm = response.settle(game, x, together[0])
    np.testing.assert_allclose(warm.y, together.y, rtol=1e-8, atol=1e-10)
    one = response.settle(game, x[2])
    np.testing.assert_allclose(one.y, together.y[2], rtol=1e-10, atol=1e-12)
    # An equilibrium is everybody's best reply.
    replies = response.reply(game, x, together.y)
    assert replies.converged.all()
    np.testing.assert_allclose(replies.y, together.y, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(replies.lam, together.lam, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "game",
    [
        SharedCapacity([3.0, 2.5, 1.0]),
        Budget([6.0, 2.0], [3.0, 100.0], [1.0]),
        Congestion([4.0, 6.0], [1.0, 2.0]),
    ],
    ids=["shared", "budget", "congestion"],
)
def test_every_leader_action_can_be_answered(game: stackel.Game) -> None:
    """Also where everybody stays out and limits and bounds contradict each other on the way."""
    low, high = game.leader_bounds
    x = low + (high - low) * np.linspace(0, 1, 101)[:, None, None]
    at = response.settle(game, x)
    assert at.converged.all()
    worst = max(_residuals(game, x[k], at[k]) for k in range(len(x)))
    assert worst < 1e-7


def test_shared_multiplier_is_one_for_all() -> None:
    game = SharedCapacity([3.0, 2.5])
    at = response.settle(game, np.array([[1.0]]))
    np.testing.assert_allclose(at.y, [[0.75], [0.25]])
    # a_i - y_i - p = mu for both
    np.testing.assert_allclose(game.value - at.y - 1.0, at.mu[0])


@pytest.mark.parametrize("delay", [False, True])
def test_sensitivities_are_derivatives(delay: bool) -> None:
    game = fig3(delay=delay)
    x = np.array([[0.9, 0.8]])
    at = response.settle(game, x)
    directions = np.eye(2).reshape(2, 1, 2)
    exact = sensitivity(game, x, at, directions)
    h = 1e-6
    for k, d in enumerate(directions):
        ahead, behind = (response.settle(game, x + s * h * d).y for s in (1, -1))
        np.testing.assert_allclose(exact[k], (ahead - behind) / (2 * h), atol=1e-7)
    slopes = own_slopes(trace(game), x[None], at.reshape((1,))).payoffs[0]

    def value(z: np.ndarray) -> np.ndarray:
        return trace(game).leader_values(z, response.settle(game, z).y)[0]

    for j, d in enumerate(directions):
        difference = (value(x + h * d) - value(x - h * d))[j] / (2 * h)
        assert slopes[0, j] == pytest.approx(difference, rel=1e-6)


def test_matrix_free_is_the_same_as_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    game = on_graph(nx.karate_club_graph(), twin_size=2e8, max_delay=2.0)
    x = np.array([[[0.9, 0.8]], [[0.5, 1.2]]])
    monkeypatch.setattr(systems, "DENSE_UP_TO", 10_000)
    dense = response.settle(game, x)
    monkeypatch.setattr(systems, "DENSE_UP_TO", 1)
    free = response.settle(game, x)
    assert dense.converged.all()
    assert free.converged.all()
    np.testing.assert_allclose(free.y, dense.y, rtol=1e-9)
    np.testing.assert_allclose(free.lam, dense.lam, rtol=1e-7, atol=1e-9)
    capacity = SharedCapacity(np.linspace(1.0, 3.0, 40), capacity=5.0)
    shared = response.settle(capacity, np.array([[0.3]]))
    assert shared.converged
    assert shared.mu[0] > 0
    assert shared.y.sum() == pytest.approx(5.0)


def test_five_thousand_followers_on_a_sparse_graph() -> None:
    """Ties stay sparse: (5000)^2 doubles would be 200 MB, and nobody forms them."""
    game = on_graph(nx.barabasi_albert_graph(5000, 3, seed=1), twin_size=1e8, max_delay=2.0)
    assert not isinstance(game.ties, np.ndarray)
    eq = stackel.solve(game, "newton", certificate=False)
    assert eq.status is stackel.Status.CONVERGED
    at = response.settle(game, eq.leader_actions)
    assert _residuals(game, eq.leader_actions, at) < 1e-7


def test_replies_that_overshoot_still_settle() -> None:
    game = LinearCournot(1, 40)
    at = response.settle(game, np.array([[3.0]]))
    margin = game.intercept - game.slope * 3.0 - game.cost
    np.testing.assert_allclose(at.y, margin / (game.slope * 41), rtol=1e-10)


def test_limits_that_cannot_be_met_are_named() -> None:
    @dataclass(frozen=True)
    class Impossible(Budget):
        def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
            return {"quota": 5.0 + y**2}

    game = Impossible([6.0, 6.0], [3.0, 100.0], [1.0])
    with pytest.raises(stackel.InfeasibleError) as found:
        stackel.solve(game, "newton")
    for word in ("'quota'", "follower 0", "least violation", "is 5 > 0", "Loosen the limit"):
        assert word in str(found.value)

    @dataclass(frozen=True)
    class Crowded(SharedCapacity):
        def shared_limits(self, y: Any, x: Any) -> dict[str, Any]:
            return {"room": y.sum(axis=-2, keepdims=True) + 1.0}

    with pytest.raises(stackel.InfeasibleError, match="shared limit 'room'"):
        stackel.solve(Crowded([3.0, 2.0]), "admm")


def test_delay_at_its_own_edge() -> None:
    """A delay that leaves almost no time for the transfer: huge purchases, still exact."""
    game = VehicularTwins(
        [30.0], 30.0, 0.0, [0.3, 0.1], payment_scale=15.0, twin_size=4e8, max_delay=0.36
    )
    x = np.array([[0.9, 0.8]])
    at = response.settle(game, x)
    assert at.converged
    assert at.y.max() > 50
    assert _residuals(game, x, at) < 1e-5


def test_several_limits_of_different_shapes() -> None:
    @dataclass(frozen=True)
    class TwoLimits(Budget):
        def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
            return {"sum": over_leaders(self.value * y**2) - 2.0, "each": y - 0.4}

    game = TwoLimits([6.0, 2.0], 9.0, [1.0, 1.2])
    x = np.array([[1.5, 1.6]])
    at = response.settle(game, x)
    assert at.converged
    assert at.lam.shape == (2, 3)
    assert _residuals(game, x, at) < 1e-8
    assert stackel.solve(game, "newton").is_equilibrium


@dataclass(frozen=True)
class CappedGoods(stackel.Game):
    """Quadratic buyers of several goods, each good's total capped."""

    value: Follower
    unit_cost: Leader
    capacity: float = 3.0

    @property
    def leader_action(self) -> Action:
        return Action("price", high=10.0)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", high=5.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders((self.value - x) * y - y * y - 0.1 * y * over_followers(rivals))

    def shared_limits(self, y: Any, x: Any) -> dict[str, Any]:
        return {"cap": over_followers(y) - self.capacity}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@dataclass(frozen=True)
class Capped(stackel.Game):
    """Buyers with a budget and a cap, and prices at which neither is anywhere near."""

    value: Follower
    budget: Follower
    high: float

    @property
    def leader_action(self) -> Action:
        return Action("price", high=self.high)

    @property
    def follower_action(self) -> Action:
        return Action("purchase", high=50.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * log(1 + y) - over_leaders(x * y)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"budget": over_leaders(x * y) - self.budget}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return (x - 0.5) * over_followers(y)


@pytest.mark.parametrize("high", [1e2, 1e4, 1e6])
def test_who_cannot_afford_anything_buys_nothing(high: float) -> None:
    """From the middle of the cap the budget is broken a million times over: what Newton's first
    steps charge for it must not stay once nobody buys anything."""
    game = Capped([3.0, 4.0], [1.0, 2.0], high)
    price = np.concatenate([[1.0, 2.0], np.linspace(5.0, high, 96)])[:, None, None]
    at = response.settle(game, price)
    assert at.converged.all()
    wanted = np.clip(np.array([3.0, 4.0]) / price[..., 0] - 1, 0, [1.0, 2.0] / price[..., 0])
    np.testing.assert_allclose(at.y[..., 0], wanted, atol=1e-9)


def test_a_wide_range_makes_no_answer_coarse() -> None:
    """Everybody spends the whole budget at any price up to 2, and buys less above."""
    eq = stackel.solve(Capped([3.0, 4.0], [1.0, 2.0], 1e6))
    np.testing.assert_allclose(eq.leader_actions, [[2.0]], rtol=1e-7)


@pytest.mark.parametrize("followers", [10, 33, 60, 200])
def test_a_runaway_multiplier_of_a_slack_cap_is_no_answer(followers: int) -> None:
    """Beside a multiplier of 1e15 a residual of 1 is less than rounding: lam - max(0, lam + c) is
    then 0 whatever c is."""
    rng = np.random.default_rng(0)
    game = CappedGoods(rng.uniform(4, 9, followers), [1.0, 1.0, 1.0])
    x = rng.uniform(0, 10, (6, 1, 3))
    at = response.settle(game, x)
    assert at.converged.all()
    for k in range(len(x)):
        assert _residuals(game, x[k], at[k]) < 1e-8


@dataclass(frozen=True)
class LargeQuantities(stackel.Game):
    """Quadratic buyers with a cap of their own on the sum, quantities in thousands."""

    value: Pairs
    cap: Follower
    lowest: Pairs
    highest: Any

    @property
    def leader_action(self) -> Action:
        return Action("price", low=0.05, high=10.0)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", low=self.lowest, high=self.highest)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        z = y / 1000.0
        return over_leaders(self.value * z - x * z - 0.15 * z * z)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"cap": over_leaders(y) - self.cap}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers(x * y)


@pytest.mark.parametrize("seed", range(12))
def test_a_cap_on_large_quantities_is_met_exactly(seed: int) -> None:
    """The best purchases under a cap on their sum, by bisection on the cap's multiplier."""
    rng = np.random.default_rng(seed)
    lowest = np.zeros((3, 5))
    lowest[:, 0] = 1000 * rng.uniform(0.05, 0.1, 3)
    high = np.where(rng.random((3, 5)) < 0.5, 1000 * rng.uniform(0.1, 5, (3, 5)), np.inf)
    cap = lowest.sum(1) + 1000 * rng.uniform(0.1, 0.6)
    game = LargeQuantities(rng.uniform(0.2, 6, (3, 5)), cap, lowest, np.maximum(high, lowest))
    x = rng.uniform(0.1, 3, (6, 1, 5))
    at = response.settle(game, x)
    assert at.converged.all()

    def bought(price: np.ndarray) -> np.ndarray:
        free = 1000 * (game.value - x - price[..., None]) / 0.3
        return np.clip(free, lowest, game.highest)

    low, high = np.zeros((6, 3)), np.full((6, 3), 10.0)
    for _ in range(100):
        middle = (low + high) / 2
        over = bought(middle).sum(-1) > cap
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    np.testing.assert_allclose(at.y, bought(np.where(low > 0, high, 0.0)), atol=1e-6)
