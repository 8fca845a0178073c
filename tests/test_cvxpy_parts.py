"""What the CVXPY backend is made of: wrapper, recovered problems, followers' replies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cvxpy")

import cvxpy as cp

import stackel
from problems import LinearCournot, LogPricing, SharedCapacity
from stackel import Follower, Peers
from stackel.calculus import trace
from stackel.followers import response
from stackel.followers.starts import first_guess, inside
from stackel.formulations.vehicular_twins import fig3
from stackel.functions import concat, exp, log, over_leaders, sqrt, tanh
from stackel.game.grids import SparseOperator, middle
from stackel.solvers.cvxpy_.array import Elementwise
from stackel.solvers.cvxpy_.compiled import Compiled
from stackel.solvers.cvxpy_.mixing import Mixer
from stackel.solvers.cvxpy_.replies import Replies
from stackel.solvers.cvxpy_.terms import Recovered
from test_cvxpy import TAKEN, followers


@dataclass(frozen=True)
class Curved(LogPricing):
    """Every kind of atom, arguments that depend on the price, a quadratic limit, a tie."""

    ties: Peers = 0.1
    size: Follower = 0.8

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        gain = self.value * log(1 + y / x) + sqrt(1 + y) - 0.1 * exp(y) + (1 + y) ** 0.3
        return over_leaders(gain - x * y - 0.05 * y**3 + y * (self.ties @ rivals))

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {
            "ball": over_leaders(y**2) - self.size,
            "each": (y - 0.9) * self.size,
            "least": (y[..., :1] + 0.1) ** -1.0 - 9.0,
        }


@dataclass(frozen=True)
class Powers(LogPricing):
    """Followers whose formulas differ in an exponent."""

    power: Follower = 0.5

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * (1 + y) ** self.power - x * y)


# -- the wrapper -------------------------------------------------------------------------------


def test_wrapper_says_what_numpy_says() -> None:
    rng = np.random.default_rng(0)
    value = rng.uniform(0.5, 2.0, (3, 2))
    row, column, full = rng.uniform(1, 2, (1, 2)), rng.uniform(1, 2, (3, 1)), value + 0.5
    matrix = rng.uniform(0, 1, (3, 3))
    exponent = np.array([[2.0, -1.0]])

    def formulas(y: Any, peers: Any) -> list[Any]:
        total = +y
        total += row
        return [
            total,
            row * y + column - full / y,
            (y - row) * 2.0 - column * y / 3 + 1 / y,
            row - y,
            2.0**y,
            y**exponent,
            y**-0.9,
            (peers @ y) @ np.ones((2, 4)),
            y.sum(axis=-1, keepdims=True) * row,
            y.sum(axis=(-1, -2), keepdims=True) - y.sum(axis=-2, keepdims=True),
            y[..., 1:] + y[..., :1, :],
            y.swapaxes(-1, -2) * 2 + (-y).mT + (+y).mT,
            log(y) + exp(y) + sqrt(y),
            np.log(y) + np.exp(y) + np.sqrt(y) + np.square(y) + np.reciprocal(y) + np.log1p(y),
            np.multiply(row, y) + np.add(column, y) - np.subtract(y, row) + np.divide(y, column),
            concat([y, np.ones((3, 1))]),
            concat([row, y], axis=-2),
        ]

    variable = cp.Variable((3, 2))
    variable.value = value
    for peers in (matrix, SparseOperator(matrix)):
        found = formulas(Elementwise(variable), peers)
        for got, wanted in zip(found, formulas(value, matrix), strict=True):
            assert isinstance(got, Elementwise)
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got.expression.value, wanted, rtol=1e-12)


def test_wrapper_refuses_what_has_no_rule() -> None:
    y = Elementwise(cp.Variable((2, 2)))
    for formula in (
        lambda: y**y,
        lambda: (-1.0) ** y,
        lambda: tanh(y),
        lambda: np.arctan(y),
        lambda: y.sum(),
        lambda: y[0],
    ):
        with pytest.raises(stackel.GameError):
            formula()


def test_importing_the_backend_does_not_load_cvxpy() -> None:
    code = "import sys, stackel.solvers.cvxpy_ as c; c.CVXPY(); assert 'cvxpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- recovered problems ------------------------------------------------------------------------


@pytest.mark.parametrize("p", TAKEN, ids=lambda p: p.name)
def test_recovered_terms_are_the_formulas(p: Any) -> None:
    game = p.make()
    recovered = Recovered(trace(game))
    assert recovered.complete
    rng = np.random.default_rng(1)
    x = middle(*game.leader_bounds)
    for _ in range(3):
        y, r = (first_guess(game) * rng.uniform(0.5, 1.5, game.follower_shape) for _ in "yr")
        assert recovered.agrees(y, r, x)


@pytest.mark.parametrize("p", TAKEN, ids=lambda p: p.name)
def test_recovered_problem_is_dpp(p: Any) -> None:
    game = p.make()
    replies = Replies(game, Recovered(trace(game)), None, {})
    x = np.broadcast_to(middle(*game.leader_bounds), (2, *game.leader_shape))
    y = np.broadcast_to(inside(game, first_guess(game)), (2, *game.follower_shape))
    compiled = replies.compiled(replies.batch(x, y))
    assert isinstance(compiled, Compiled)
    assert compiled.problem.is_dcp(dpp=True)
    assert compiled.problem.is_qp() == replies.recovered.quadratic


@pytest.mark.parametrize("rows", [2, 3, 4])
@pytest.mark.parametrize(
    ("game", "alike"),
    [
        (Curved([3.0, 4.0, 2.0, 5.0, 3.5], [0.5, 0.6], size=[0.8, 0.7, 0.9, 1.0, 0.6]), True),
        (Powers([3.0, 4.0, 2.0, 5.0, 3.5], [0.5, 0.6]), True),
        (Powers([3.0, 4.0, 2.0, 5.0, 3.5], [0.5, 0.6], power=[0.5, 0.4, 0.5, 0.5, 0.3]), False),
        (SharedCapacity([3.0, 2.5, 2.0, 3.5, 1.0]), False),
    ],
    ids=["curved", "powers", "several powers", "shared"],
)
def test_many_followers_are_solved_in_parts(
    game: Any, alike: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing but numbers tells followers apart, some of them are as good as an element."""
    seen: list[tuple[int, ...]] = []
    real = Compiled.solve

    def watched(self: Compiled, batch: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(batch.low.shape[:2])
        return real(self, batch, *arguments, **options)

    monkeypatch.setattr(Compiled, "solve", watched)
    monkeypatch.setattr("stackel.solvers.cvxpy_.replies.ROWS", rows)
    low, high = (np.broadcast_to(b, game.leader_shape) for b in game.leader_bounds)
    x = np.stack([low + share * (np.minimum(high, low + 2.0) - low) for share in (0.2, 0.5)])
    found, wanted = followers(game).settle(x, None), response.settle(game, x)
    assert found.converged.all()
    np.testing.assert_allclose(found.y, wanted.y, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(found.lam, wanted.lam, rtol=1e-5, atol=1e-6)
    assert (max(E * I for E, I in seen) <= rows) == alike


def test_every_kind_of_term() -> None:
    game = Curved([3.0, 4.0], [0.5, 0.6])
    recovered = Recovered(trace(game))
    assert recovered.complete
    assert not recovered.quadratic
    x = np.array([[[1.0, 1.2]], [[0.7, 2.0]], [[1.5, 0.9]]])
    settled, wanted = followers(game).settle(x, None), response.settle(game, x)
    assert settled.converged.all()
    np.testing.assert_allclose(settled.y, wanted.y, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(settled.lam, wanted.lam, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("p", TAKEN, ids=lambda p: p.name)
def test_settled_followers_and_multipliers(p: Any) -> None:
    game = p.make()
    low, high = game.leader_bounds
    share = np.linspace(0.1, 0.9, 5)[:, None, None]
    x = low + np.minimum(high - low, 4.0) * share
    settled, wanted = followers(game).settle(x, None), response.settle(game, x)
    assert settled.converged.all()
    np.testing.assert_allclose(settled.y, wanted.y, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(settled.lam, wanted.lam, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(settled.mu, wanted.mu, rtol=1e-6, atol=1e-7)
    assert (settled.lam >= 0).all()
    assert (settled.mu >= 0).all()


def test_best_replies_to_given_rivals() -> None:
    game = fig3(delay=True)
    x, rivals = np.array([[[1.2, 1.0]]]), np.full((1, 3, 2), 0.4)
    reply, wanted = followers(game).reply(x, rivals, None), response.reply(game, x, rivals)
    assert reply.residual.shape == (1, 3)
    np.testing.assert_allclose(reply.y, wanted.y, rtol=1e-9)
    np.testing.assert_allclose(reply.lam, wanted.lam, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("acceleration", [0, 5])
def test_replies_that_overshoot_settle(acceleration: int) -> None:
    game = LinearCournot(2, 12)
    x = np.array([[[6.0, 3.0]], [[0.0, 0.0]]])
    one = followers(game, acceleration=acceleration, max_inner=3000)
    settled, wanted = one.settle(x, None), response.settle(game, x)
    assert settled.converged.all()
    np.testing.assert_allclose(settled.y, wanted.y, rtol=1e-7)


def test_acceleration_saves_replies() -> None:
    game, x = fig3(), np.array([[[1.0, 0.8]]])
    plain, fast = (followers(game, acceleration=m).settle(x, None) for m in (0, 5))
    np.testing.assert_allclose(plain.y, fast.y, rtol=1e-9)
    assert fast.iterations < plain.iterations


def test_mixer_solves_a_linear_map_in_as_many_steps_as_unknowns() -> None:
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(2, 4, 4)) * 0.8, rng.normal(size=(2, 4))
    wanted = np.linalg.solve(np.eye(4) - A, b[..., None])[..., 0]
    mixer, y, live = Mixer(2, 4, 5), np.zeros((2, 4)), np.arange(2)
    for _ in range(8):
        y, _ = mixer.next(live, y, (A @ y[..., None])[..., 0] + b, np.full(2, np.inf))
    np.testing.assert_allclose(y, wanted, atol=1e-6)
