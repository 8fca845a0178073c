"""Followers without an equilibrium are told before any iteration, whatever rounding does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stackel
from problems import LinearCournot, LogPricing
from stackel import Action, Follower, Game
from stackel.calculus import trace
from stackel.followers import existence, settle
from stackel.followers.existence import bound_radius, diagnose
from stackel.followers.limits import can_be_met, least_violation
from stackel.formulations.vehicular_twins import VehicularTwins
from stackel.functions import over_followers, over_leaders


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.05, 1.0))
@settings(max_examples=100, deadline=None)
def test_bounds_hold_the_radius(seed: int, size: int, filled: float) -> None:
    rng = np.random.default_rng(seed)
    M = rng.random((size, size)) * (rng.random((size, size)) < filled)
    truth = np.abs(np.linalg.eigvals(M)).max()
    for v in (np.ones(size), rng.random(size) + 1e-3):
        radius = bound_radius(lambda u: u @ M, v)
        assert radius.low <= truth * (1 + 1e-9) + 1e-9
        assert truth <= radius.high * (1 + 1e-9)


def test_a_part_that_fades_does_not_hide_one_that_grows() -> None:
    M = np.diag([1.5, 0.5])
    radius = bound_radius(lambda u: u @ M, np.array([1.0, 1e-12]))
    assert radius.low == pytest.approx(1.5)


def _market(ties: np.ndarray, radius: float) -> VehicularTwins:
    """Equal sensitivities; the best-reply map is ties / (2 sensitivity), scaled to a radius."""
    size = np.abs(np.linalg.eigvalsh(ties)).max()
    return VehicularTwins(
        [30.0] * len(ties), 1.0, ties * (2 * radius / size), [0.3, 0.1], payment_scale=15
    )


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "matrix-free"])
@given(seed=st.integers(0, 10_000), followers=st.integers(3, 9))
@settings(max_examples=25, deadline=None)
def test_beside_the_boundary_the_diagnosis_is_right(dense: bool, seed: int, followers: int) -> None:
    rng = np.random.default_rng(seed)
    half = np.triu(
        rng.random((followers, followers)) * (rng.random((followers, followers)) < 0.7), 1
    )
    half[0, 1:] = rng.random(followers - 1) + 0.1  # everybody is tied to somebody
    ties = half + half.T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(existence, "DENSE_UP_TO", 400 if dense else 0)
        patch.setattr(existence, "STEPS", 20_000)
        assert diagnose(trace(_market(ties, 1 - 1e-6))) is None
        assert "grows for ever" in (diagnose(trace(_market(ties, 1 + 1e-6))) or "")
        assert "1 within rounding" in (diagnose(trace(_market(ties, 1.0))) or "")


@pytest.mark.parametrize("nudge", [-3, -1, 0, 1, 3])
def test_thirteen_equal_followers_stand_at_the_boundary(nudge: int) -> None:
    """Twelve times 1/12 is 1 or just beside it, as the processor adds up: no price has an answer
    that numbers could hold, and that is said whichever it is."""
    weight = 5.0 * (1 + nudge * np.finfo(float).eps)
    game = VehicularTwins([30.0] * 13, 30.0, weight, [0.3, 0.1], payment_scale=15)
    with pytest.raises(stackel.NoEquilibriumError, match="1 within rounding") as found:
        stackel.solve(game, "newton")
    assert "bound bandwidth" in str(found.value)


def test_a_component_that_contracts_saves_nobody() -> None:
    """Thirty followers in two groups without ties between them; only the second reinforces."""
    ties = np.zeros((30, 30))
    ties[:8, :8], ties[8:, 8:] = 5.0, 5.0
    np.fill_diagonal(ties, 0.0)
    game = VehicularTwins([30.0] * 30, 30.0, ties, [0.3, 0.1], payment_scale=15)
    assert "radius of the best-reply map 1.75" in (diagnose(trace(game)) or "")


def test_substitutes_prove_nothing() -> None:
    """Best replies of the opposite sign (Cournot) may swing ever wider and still have a rest."""
    assert diagnose(trace(LinearCournot(1, 40))) is None


def test_batches_know_the_boundary_too() -> None:
    """In a batch as alone: nobody is handed purchases of 1e16 because a sum came out below 1."""
    counts = [12, 13, 14]
    for followers in counts:
        games = [
            VehicularTwins([30.0] * followers, 30.0, 5.0, [0.3, cost], payment_scale=15)
            for cost in (0.1, 0.11, 0.12, 0.13)
        ]
        for answer in stackel.solve_many(games):
            assert isinstance(answer, stackel.NoEquilibriumError) == (followers > 12)


def test_many_followers_that_do_not_interact_have_one_equilibrium() -> None:
    """Their best replies do not depend on anybody's: above the size of dense matrices too."""
    game = LogPricing(np.linspace(2.0, 4.0, existence.DENSE_UP_TO + 1), [0.5])
    x = np.ones((1, 1))
    (found,) = existence.uniqueness(trace(game), x[None], settle(game, x).y[None])
    assert found.spectral_radius == 0.0
    assert found.smallest_eigenvalue > 0
    assert stackel.solve(game).certificate.holds


@pytest.mark.parametrize("seed", range(5))
def test_limits_that_can_be_met_are_told_by_programme_as_by_search(seed: int) -> None:
    """Affine limits go through one linear programme for all trials, others one by one."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3, 2))

    @dataclass(frozen=True)
    class Boxed(Game):
        value: Follower

        @property
        def leader_action(self) -> Action:
            return Action("room", low=-3.0, high=3.0)

        @property
        def follower_action(self) -> Action:
            return Action("move", low=-1.0, high=1.0, size=2)

        def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
            return -over_leaders((y - self.value) ** 2)

        def follower_limits(self, y: Any, rivals: Any, x: Any) -> Any:
            return {f"{k}": over_leaders(rows[k] * y) - over_leaders(x) for k in range(2)}

        def shared_limits(self, y: Any, x: Any) -> Any:
            return {"all": over_followers(over_leaders(rows[2] * y)) - over_leaders(x)}

        def leader_payoff(self, x: Any, y: Any) -> Any:
            return -(x**2) + 0 * over_followers(over_leaders(y))

    calculus = trace(Boxed(value=[0.5, 2.0]))
    assert calculus.concavity.affine_together
    x = rng.uniform(-3, 1, (40, 1, 1))
    y = rng.uniform(-1, 1, (40, 2, 2))
    met = can_be_met(calculus, x, y)
    assert 0 < met.sum() < 40
    violations = [least_violation(calculus, *one)[1] for one in zip(x, y, strict=True)]
    np.testing.assert_array_equal(met, np.array(violations) <= 1e-9)
