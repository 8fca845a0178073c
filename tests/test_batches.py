"""Elements of a batch never touch each other: each is what it is alone, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stackel
from problems import PROBLEMS, DropOut, PersonalPrices, SharedCapacity, Substitutes
from stackel import Action, Follower, Leader
from stackel.calculus import matrices
from stackel.calculus.batch import together
from stackel.calculus.matrices import bicgstab
from stackel.followers import response, systems
from stackel.followers.sensitivity import sensitivity
from stackel.formulations.vehicular_twins import draw, on_graph
from stackel.functions import over_followers, over_leaders


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_singular_matrices_spoil_no_other(seed: int, size: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, size, size))
    right = rng.normal(size=(count, size, 2))
    for k in np.flatnonzero(rng.random(count) < 0.4):
        kind = rng.integers(4)
        if kind == 0:
            matrix[k] = 0.0
        elif kind == 1:
            matrix[k, rng.integers(size)] = 0.0
        elif kind == 2:
            matrix[k] = np.outer(matrix[k, 0], matrix[k, 0]) * 10.0 ** rng.integers(-9, 9)
        else:
            matrix[k, 0, 0] = np.nan
    together = matrices.solve(matrix, right)
    assert np.isfinite(together).all()
    for k in range(count):
        assert np.array_equal(together[k], matrices.solve(matrix[k : k + 1], right[k : k + 1])[0])


def test_a_nearly_solved_row_keeps_its_own_unit() -> None:
    """Watts beside kilowatts: the shift that makes a matrix regular is one of each row's size."""
    matrix = np.array([[1e-9, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    found = matrices.solve(matrix, np.array([[3e-9], [2.0], [2.0]]))[:, 0]
    assert found[0] == pytest.approx(3.0, rel=1e-8)
    assert found[1:].sum() == pytest.approx(2.0, rel=1e-8)


@dataclass(frozen=True)
class TwoLimits(stackel.Game):
    """An own limit and a shared one that say the same: where both bind, the system is singular."""

    value: Follower
    unit: Leader

    @property
    def leader_action(self) -> Action:
        return Action("price", high=10.0)

    @property
    def follower_action(self) -> Action:
        return Action("quantity", high=5.0 * self.unit.item())

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        z = y / self.unit
        return over_leaders((self.value - x) * z - 0.5 * z * z)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"own": over_leaders(y) - 2.0 * self.unit}

    def shared_limits(self, y: Any, x: Any) -> dict[str, Any]:
        return {"all": over_leaders(over_followers(y)) - 2.0 * self.unit}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers(x * y)


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e5, 1e6])
def test_a_singular_neighbour_leaves_sensitivities_alone(unit: float) -> None:
    game = TwoLimits([4.0], [unit])
    x = np.array([1.0, 3.0]).reshape(2, 1, 1)
    at = response.settle(game, x)
    assert at.converged.all()
    moved = sensitivity(game, x, at, np.ones((1, 1, 1))).ravel() / unit
    assert moved[1] == pytest.approx(-1.0, rel=1e-9)
    alone = sensitivity(game, x[1], at[1], np.ones((1, 1, 1))).item() / unit
    assert moved[1] == alone


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_krylov_solves_each_system_alone(seed: int) -> None:
    """Sizes apart by twelve digits, one system singular, one solved at its start."""
    rng = np.random.default_rng(seed)
    z, count = 12, 5
    matrix = np.eye(z) * 4 + rng.normal(size=(count, z, z)) * 0.4
    matrix *= 10.0 ** rng.uniform(-6, 6, (count, 1, 1))
    matrix[2] = 0.0
    right = rng.normal(size=(count, z)) * 10.0 ** rng.uniform(-6, 6, (count, 1))
    start = np.zeros_like(right)
    start[4] = np.linalg.solve(matrix[4], right[4])

    def solve(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        A = matrix[some]
        scale = np.abs(A).max((-1, -2))[:, None]
        return bicgstab(
            lambda v: (A @ v[..., None])[..., 0],
            lambda v: v / np.where(scale > 0, scale, 1.0),
            right[some],
            start[some],
        )

    found, solved = solve(np.arange(count))
    assert solved.tolist() == [True, True, False, True, True]
    for k in np.flatnonzero(solved):
        expected = np.linalg.solve(matrix[k], right[k])
        np.testing.assert_allclose(
            found[k], expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max()
        )
        assert np.array_equal(found[k], solve(np.array([k]))[0][0])


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "matrix-free"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_settled_alone_as_in_a_batch(
    problem: Any, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "DENSE_UP_TO", 100 if dense else 0)
    game = problem.make()
    low, high = game.leader_bounds
    x = np.random.default_rng(1).uniform(low, high, (40, *low.shape))
    together = response.settle(game, x)
    for k in (0, 17, 39):
        alone = response.settle(game, x[k : k + 1])
        for name in ("y", "lam", "mu", "residual", "converged"):
            assert np.array_equal(getattr(together, name)[k], getattr(alone, name)[0])


def test_a_profile_that_does_not_settle_changes_no_other() -> None:
    """With 34 followers and delay limits, by products; one price is not a number."""
    game = on_graph(nx.karate_club_graph(), twin_size=2e8, max_delay=2.0)
    x = np.array([[[0.9, 0.8]], [[np.nan, 0.5]], [[0.5, 1.2]]])
    together = response.settle(game, x)
    assert together.converged.tolist() == [True, False, True]
    alone = response.settle(game, x[[0, 2]])
    assert np.array_equal(together.y[[0, 2]], alone.y)


def _vehicular(seed: int) -> stackel.Game:
    rng = np.random.default_rng(seed)
    return draw(rng, int(rng.integers(2, 5)), int(rng.integers(1, 4)), delay=bool(seed % 2))


def _tolls(seed: int) -> stackel.Game:
    return DropOut(np.random.default_rng(seed).uniform(2.0, 25.0, 3))


def _capacity(seed: int) -> stackel.Game:
    return SharedCapacity(np.random.default_rng(seed).uniform(1.0, 4.0, 3))


def _goods(seed: int) -> stackel.Game:
    rng = np.random.default_rng(seed)
    return Substitutes(rng.uniform(5.0, 10.0, (3, 2)), rng.uniform(0.5, 1.5, 2))


def _personal(seed: int) -> stackel.Game:
    """A leader with a price for each of three followers."""
    return PersonalPrices(np.random.default_rng(seed).uniform(1.0, 4.0, 3))


MARKETS = {
    "vehicular twins": _vehicular,
    "tolls": _tolls,
    "shared capacity": _capacity,
    "substitutes": _goods,
    "personal prices": _personal,
}
MEASURED = (
    *("follower_gaps", "leader_gaps", "follower_scales", "leader_scales", "violation", "trials"),
    *("unsettled", "resolution", "exact_replies", "global_search", "losers"),
)


def _points(game: stackel.Game, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An equilibrium, settled points that are none, points off, points outside the bounds."""
    rng = np.random.default_rng(seed)
    low, high = game.leader_bounds
    x = rng.uniform(low, np.where(np.isfinite(high), high, low + 10.0), (count, *low.shape))
    x[0] = stackel.solve(game, "newton", throw=False).leader_actions
    y = np.array(response.settle(game, x).y)
    y[1::3] *= rng.uniform(0.5, 1.5, y[1::3].shape)
    y[5], x[7] = y[5] + 100.0, 2.0 * np.where(np.isfinite(high), high, 10.0)
    return x, y


def assert_equal_to_the_bit(one: stackel.Certificate, other: stackel.Certificate) -> None:
    assert (one.verdict, one.notes) == (other.verdict, other.notes)
    assert one.violations == other.violations
    for name in MEASURED:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert (one.deviation is None) == (other.deviation is None)
    if one.deviation is not None and other.deviation is not None:
        assert str(one.deviation) == str(other.deviation)
        assert np.array_equal(one.deviation.action, other.deviation.action)
    first, second = one.uniqueness, other.uniqueness
    assert str(first) == str(second)


@pytest.mark.parametrize("market", MARKETS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=2, deadline=None)
def test_a_point_is_worth_the_same_alone_and_among_fifty(market: str, seed: int) -> None:
    game = MARKETS[market](seed)
    several = game.leader_shape[0] > 1
    x, y = _points(game, 51, seed)
    found = stackel.certify_points(game, x, y)
    assert len(found) == 51
    verdicts = {c.verdict for c in found}
    assert {"refuted", "local" if several else "searched"} <= verdicts or seed != 0
    rng = np.random.default_rng(seed)
    for k in {0, 1, 5, 7, *rng.integers(0, 51, 2 if several else 6).tolist()}:
        assert_equal_to_the_bit(found[k], stackel.certify(game, x[k], y[k], proof=False))


def test_a_point_is_worth_the_same_among_other_markets() -> None:
    """Data with a batch axis gives each market the numbers that its own data gives."""
    games = [draw(k, 3, 2, delay=True) for k in range(8)]
    whole = together(games)
    assert whole is not None
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.4, (8, 1, 2))
    y = response.settle(whole, x).y
    for k, found in enumerate(stackel.certify_points(whole, x, y)):
        assert_equal_to_the_bit(found, stackel.certify(games[k], x[k], y[k]))


@pytest.mark.parametrize("anticipation", ["own_response", "none"])
def test_points_are_worth_the_same_whatever_leaders_foresee(anticipation: Any) -> None:
    game = draw(3, 3, 2, delay=True)
    x, y = _points(game, 9, 3)
    found = stackel.certify_points(game, x, y, anticipation=anticipation)
    for k in range(9):
        alone = stackel.certify(game, x[k], y[k], anticipation=anticipation)
        assert_equal_to_the_bit(found[k], alone)


def test_a_batch_of_nothing() -> None:
    game = draw(0, 3, 2, delay=True)
    nothing = np.zeros((0, 1, 2))
    at = response.settle(game, nothing)
    assert at.y.shape == (0, 3, 2)
    assert response.reply(game, nothing, at.y).y.shape == (0, 3, 2)
    assert sensitivity(game, nothing, at, np.ones((4, 1, 2))).shape == (0, 4, 3, 2)
    assert stackel.certify_points(game, nothing, at.y) == []


def test_starts_broadcast_over_batch_axes() -> None:
    game = draw(0, 3, 2, delay=True)
    x = np.random.default_rng(0).uniform(*game.leader_bounds, (4, 3, 1, 2))
    start = response.settle(game, x[0])
    many = response.settle(game, x, start)
    one = response.reply(game, x, many.y, many)
    for k in range(4):
        assert np.array_equal(many.y[k], response.settle(game, x[k], start).y)
        assert np.array_equal(one.y[k], response.reply(game, x[k], many.y[k], many[k]).y)


def test_steps_are_counted_for_each_market() -> None:
    games = [draw(k, delay=True) for k in range(6)]
    answers = stackel.solve_many(games, "newton", certificate=False)
    counts = [eq.stats["newton_steps"] for eq in answers]
    alone = [stackel.solve(g, "newton", certificate=False).stats["newton_steps"] for g in games]
    assert counts == alone
    assert len(set(counts)) > 1
