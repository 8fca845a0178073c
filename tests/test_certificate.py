"""The certificate must pass equilibria and refute everything else, whoever brings the point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stackel
from problems import PROBLEMS, Budget, DropOut, LinearCournot, LogPricing
from stackel import Peers
from stackel.calculus import trace
from stackel.calculus.batch import together
from stackel.followers import response
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import log, over_followers, over_leaders


def _known(name: str) -> tuple[stackel.Game, np.ndarray, np.ndarray]:
    (problem,) = (p for p in PROBLEMS if p.name == name)
    return problem.make(), np.array(problem.x, dtype=float), np.array(problem.y, dtype=float)


def _settled(game: stackel.Game, x: np.ndarray) -> np.ndarray:
    found = response.settle(game, x)
    assert found.converged
    return found.y


@pytest.mark.parametrize("delay", [False, True])
@pytest.mark.parametrize("leader", [0, 1])
@pytest.mark.parametrize("share", [0.99, 1.01])
def test_price_moved_by_one_percent_is_refuted(delay: bool, leader: int, share: float) -> None:
    """The followers re-settled at the moved price, so that nothing but the price is wrong."""
    eq = stackel.solve(fig3(delay=delay), "newton")
    x = eq.leader_actions.copy()
    x[0, leader] *= share
    verdict = stackel.certify(eq.game, x, _settled(eq.game, x))
    assert verdict.verdict == "refuted"
    assert not verdict.holds
    move = verdict.deviation
    assert (move.player, move.index) == ("leader", leader)
    assert move.gain > 0
    # It would go back to (nearly) where it was: the other's price has not moved.
    assert move.action[0] == pytest.approx(eq.leader_actions[0, leader], rel=1e-3)
    # The gain is real: the leader's payoff after the move, less before.
    after = x.copy()
    after[0, leader] = move.action[0]
    value = trace(eq.game).leader_values(after, _settled(eq.game, after))[0][leader]
    assert value - move.payoff == pytest.approx(move.gain, rel=1e-6)


@pytest.mark.parametrize("delay", [False, True])
@pytest.mark.parametrize("follower", [0, 1, 2])
@pytest.mark.parametrize("share", [0.99, 1.01])
def test_purchase_moved_by_one_percent_is_refuted(delay: bool, follower: int, share: float) -> None:
    eq = stackel.solve(fig3(delay=delay), "newton")
    y = eq.follower_actions.copy()
    y[follower, 1] *= share
    verdict = stackel.certify(eq.game, eq.leader_actions, y)
    assert verdict.verdict == "refuted"
    move = verdict.deviation
    broken = verdict.violation > verdict.tolerance
    if broken and move is None:  # buying less breaks the binding delay limit instead
        assert delay
        assert follower == 0
        return
    assert move.player == "follower"
    if not broken:
        assert move.index == follower
    assert move.gain > 0


def test_an_equilibrium_of_the_followers_alone_is_refuted() -> None:
    """Where a check of the followers only would pass a leader that forgoes half its profit."""
    game = fig3()
    x = np.array([[0.35, 0.2]])
    verdict = stackel.certify(game, x, _settled(game, x))
    assert verdict.relative_follower_gap < 1e-12
    assert verdict.verdict == "refuted"
    assert verdict.deviation.player == "leader"
    assert verdict.deviation.gain > 0.5 * verdict.deviation.payoff


def test_local_optimum_is_refuted_by_the_global_search() -> None:
    """At the best price for all three customers the leader would rather lose two of them."""
    game = DropOut([20.0, 6.0, 3.0])
    together = np.sqrt(29 / 3)  # stationary while all three buy, if they do
    x = np.array([[together]])
    y = _settled(game, x)
    verdict = stackel.certify(game, x, y)
    alone = np.sqrt(20.0)
    both = np.sqrt(13.0)
    values = {p: (p - 1) * np.maximum(game.value / p - 1, 0).sum() for p in (together, both, alone)}
    best = max(values, key=values.__getitem__)
    assert verdict.verdict == "refuted"
    assert verdict.deviation.action[0] == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "fig3",
        "fig3-literal",
        "log-pricing",
        "duopoly",
        "cournot-3x4",
        "shared-capacity",
        "drop-out",
    ],
)
def test_known_equilibria_are_certified(name: str) -> None:
    verdict = stackel.certify(*_known(name))
    assert verdict.verdict in ("proved", "searched")
    assert verdict.exact_replies
    assert verdict.global_search


@given(
    st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=2),
    st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6),
)
@settings(max_examples=30, deadline=None)
def test_gaps_are_what_players_could_gain(prices: list[float], purchases: list[float]) -> None:
    """Against brute force over a fine grid, at arbitrary points."""
    game = fig3()
    x = np.array([[0.95, 0.81]]) * (1 + np.array(prices))
    y = np.array(_known("fig3")[2]) * (1 + np.array(purchases).reshape(3, 2))
    verdict = stackel.certify(game, x, y)
    base = trace(game).leader_values(x, _settled(game, x))[0]
    now = trace(game).leader_values(x, y)[0]
    low, high = game.leader_bounds
    for j in range(2):
        grid = np.linspace(low[0, j], high[0, j], 2001)
        trial = np.repeat(x[None], len(grid), 0)
        trial[:, 0, j] = grid
        values = trace(game).leader_values(trial, response.settle(game, trial).y)[0][:, j]
        brute = max(values.max() - min(base[j], now[j]), 0.0)
        assert verdict.leader_gaps[j] >= brute - 1e-9
        assert verdict.leader_gaps[j] <= brute + 1e-3 * abs(values.max())
    # quadratic payoffs without limits: the exact reply is the unconstrained one, clipped
    theta = game.pairing(x)
    pull = game.satisfaction + game.ties @ y - game.payment_scale * x
    reply = np.maximum(pull / (2 * game.sensitivity), 0)
    gain = (theta * (pull * (reply - y) - game.sensitivity * (reply**2 - y**2))).sum(1)
    np.testing.assert_allclose(verdict.follower_gaps, np.maximum(gain, 0), rtol=1e-7, atol=1e-12)


def test_follower_gap_with_limits_against_slsqp() -> None:
    """The best reply within the delay limit, by an outside solver."""
    from scipy.optimize import minimize

    game = fig3(delay=True)
    x, y = np.array([[1.1, 0.9]]), np.array([[0.5, 0.6], [0.3, 0.3], [0.4, 0.5]])
    verdict = stackel.certify(game, x, y)
    for i in range(3):

        def at(own: np.ndarray, i: int = i) -> np.ndarray:
            mixed = y.copy()
            mixed[i] = own
            return mixed

        found = minimize(
            lambda own, i=i: -float(game.follower_payoff(at(own), y, x)[i, 0]),
            y[i] + 0.2,
            method="SLSQP",
            bounds=[(1e-3, None)] * 2,
            constraints={
                "type": "ineq",
                "fun": lambda own, i=i: -float(game.follower_limits(at(own), y, x)["delay"][i, 0]),
            },
            options={"ftol": 1e-14, "maxiter": 500},
        )
        now = float(game.follower_payoff(y, y, x)[i, 0])
        assert verdict.follower_gaps[i] == pytest.approx(max(-found.fun - now, 0), abs=1e-6)


def test_violations_are_named_and_refute() -> None:
    game = fig3(delay=True)
    eq = stackel.solve(game, "newton")
    y = eq.follower_actions * 0.9
    verdict = stackel.certify(game, eq.leader_actions, y)
    assert verdict.violations["delay"] > 0.1
    assert verdict.verdict == "refuted"
    outside = stackel.certify(fig3(), [[1.6, 0.8]], _settled(fig3(), np.array([[1.6, 0.8]])))
    assert outside.violations["price"] == pytest.approx(0.1)
    assert outside.verdict == "refuted"


def test_shared_limits_bind_each_deviation() -> None:
    game, x, y = _known("shared-capacity")
    assert stackel.certify(game, x, y).verdict in ("proved", "searched")
    # Any split of the capacity is a generalised Nash equilibrium of the followers: nobody can
    # take more while the others hold theirs, but this one is not what the followers settle to.
    verdict = stackel.certify(game, [[1.0]], [[0.6], [0.4]])
    assert verdict.follower_gap == pytest.approx(0.0, abs=1e-9)
    assert not verdict
    assert any("settle elsewhere" in reason for reason in verdict.reasons)


def test_leaders_with_several_decisions_are_an_estimate() -> None:
    game, x, y = _known("personal-prices")
    verdict = stackel.certify(game, x, y)
    assert verdict.verdict == "local"
    assert not verdict.global_search
    worse = x.copy()
    worse[1, 0] *= 1.02
    refuted = stackel.certify(game, worse, _settled(game, worse))
    assert refuted.verdict == "refuted"
    assert refuted.deviation.action[1] == pytest.approx(x[1, 0], rel=1e-3)


def test_uniqueness_evidence() -> None:
    weak = stackel.solve(fig3(), "newton").certificate.uniqueness
    assert weak.unique
    assert weak.everywhere
    # W = 5 (ones - I), 2 beta = 60: the best-reply map's spectral radius is 10 / 60
    assert weak.spectral_radius == pytest.approx(10 / 60)
    assert "strongly monotone" in str(weak)
    cournot = stackel.solve(LinearCournot(2, 12), "newton").certificate.uniqueness
    assert cournot.spectral_radius == pytest.approx(11 / 2)  # replies in turn overshoot
    assert cournot.smallest_eigenvalue > 0  # and yet there is one equilibrium only


@pytest.mark.proofs
def test_summary_says_what_matters() -> None:
    eq = stackel.solve(fig3(delay=True), "newton")
    text = eq.summary()
    for word in ("proved", "price", "bandwidth[1]", "delay multiplier", "welfare", "newton"):
        assert word in text
    html = eq._repr_html_()
    assert "<table" in html
    assert "proved" in html
    frame = eq.to_frame()
    assert frame.loc[("leader", 0), "price"] == pytest.approx(1.221667, abs=1e-6)
    assert list(frame.index.get_level_values("player")) == ["leader"] * 2 + ["follower"] * 3


def test_certificate_of_a_budget_with_brute_force() -> None:
    game = Budget([6.0, 6.0], [3.0, 100.0], [1.0])
    eq = stackel.solve(game, "newton")
    grid = np.linspace(1.0, 8.0, 20_001)
    bought = [np.minimum(np.maximum(6 - grid, 0), m / grid) for m in (3.0, 100.0)]
    payoff = (grid - 1) * sum(bought)
    assert eq.leader_payoffs[0] == pytest.approx(payoff.max(), rel=1e-7)
    assert eq.leader_actions[0, 0] == pytest.approx(grid[payoff.argmax()], abs=5e-4)


def test_bad_points() -> None:
    with pytest.raises(ValueError, match="leader actions have shape"):
        stackel.certify(fig3(), [[0.9]], np.ones((3, 2)))
    with pytest.raises(stackel.OptionError, match="anticipation"):
        stackel.certify(fig3(), [[0.9, 0.8]], np.ones((3, 2)), anticipation="some")  # type: ignore[arg-type]


def test_unbounded_leaders_are_searched_and_said_so() -> None:
    game = LogPricing([3.0], [0.5], cap=np.inf)
    eq = stackel.solve(game, "newton", start=[[1.0]])
    assert eq.leader_actions[0, 0] == pytest.approx(np.sqrt(1.5), rel=1e-8)
    assert any("unbounded" in note for note in eq.certificate.notes)
    assert eq.certificate.verdict == "local"


@pytest.mark.parametrize("seed", range(5))
def test_points_off_equilibrium_never_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = draw(rng, 4, 3)
    low, high = game.leader_bounds
    x = rng.uniform(low, high)
    verdict = stackel.certify(game, x, _settled(game, x))
    assert verdict.verdict == "refuted"


@dataclass(frozen=True)
class WithTies(LogPricing):
    """Bounded social terms on a logarithm: far out the payoff is flat."""

    ties: Peers = 0.0

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        social = y * (self.ties @ (rivals / (1 + rivals)))
        return over_leaders(self.value * log(1 + y) - x * y + social)


def test_a_purchase_that_runs_away_is_not_an_equilibrium() -> None:
    graph = nx.Graph([(0, 1, {"weight": 0.2}), (1, 2, {"weight": 0.4})])
    game = WithTies([3.0, 2.0, 2.0], [0.5, 0.4], ties=graph)
    eq = stackel.solve(game, "newton", throw=False)
    assert eq.follower_actions.max() < 1e3 or not eq.is_equilibrium
    # At a price below what the ties alone are worth there is no best purchase at all.
    assert not response.settle(game, np.array([[0.5, 0.41]])).converged


@dataclass(frozen=True)
class Threshold(LogPricing):
    """A first unit is worth nothing: at 0, within the bounds, the payoff is no number."""

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(y - 4.0) - x * y)


@pytest.mark.parametrize("purchase", [4.2, 5.0, 7.0])
def test_a_reply_off_the_payoffs_domain_is_none(purchase: float) -> None:
    game = Threshold([3.0], [0.5], cap=3.0)
    verdict = stackel.certify(game, [[1.0]], [[purchase]])
    assert np.isfinite(verdict.follower_gaps).all()
    best = 3.0 * np.log(3.0) - 7.0
    gap = best - (3.0 * np.log(purchase - 4.0) - purchase)
    # Samples only say that there is a gap, at least so large as their best.
    assert verdict.follower_gap <= gap + 1e-9
    assert (verdict.follower_gap > 0.1) == (purchase < 7.0)
    assert verdict.verdict == "refuted" or purchase == 7.0


def test_a_leader_without_a_payoff_is_no_equilibrium() -> None:
    @dataclass(frozen=True)
    class Nothing(LogPricing):
        def leader_payoff(self, x: Any, y: Any) -> Any:
            return super().leader_payoff(x, y) + 0.0 * log(x - 1.0)

    verdict = stackel.certify(Nothing([3.0], [0.5]), [[0.8]], [[2.75]])
    assert verdict.verdict == "unknown"  # NaN is no witness
    assert verdict.leader_gap == np.inf


@dataclass(frozen=True)
class SharedTrap(LogPricing):
    """Followers that gain by buying far more than what a first-order condition shows them."""

    room: float = 100.0

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * y**3 / 3 - 2 * y**2 - x * y)

    def shared_limits(self, y: Any, x: Any) -> dict[str, Any]:
        return {"room": over_followers(y) - self.room}


@pytest.mark.parametrize(("room", "gains"), [(100.0, True), (1.2, False)])
def test_samples_are_drawn_under_shared_limits_too(room: float, gains: bool) -> None:
    game = SharedTrap([1.0, 1.0], [0.5], room=room)
    y = np.full((2, 1), 0.5)
    verdict = stackel.certify(game, [[1.0]], y)
    payoff = trace(game).follower_payoffs(y, y, np.array([[1.0]]))
    assert verdict.verdict == "refuted"  # buying nothing is worth more
    # The most that is left by the other: above about 7 units it is worth buying.
    most = max(0.0, np.max([(u**3 / 3 - 2 * u**2 - u) for u in (0.0, room - 0.5)]))
    assert verdict.follower_gap <= most - payoff.min() + 1e-9
    assert (verdict.follower_gap > 10.0) == gains


def test_a_limit_that_is_endlessly_slack_is_met() -> None:
    @dataclass(frozen=True)
    class Slack(LogPricing):
        def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
            return {"slack": log(y) - 5.0}

    verdict = stackel.certify(Slack([3.0], [0.5]), [[1.0]], [[0.0]])
    assert verdict.violation == 0.0


def test_points_come_in_shapes_that_fit() -> None:
    x, y = np.array([[0.9, 0.8]]), np.ones((3, 2))
    for bad in ((x, y), (x[None], y), (x[None], np.stack([y, y])), (x.T[None], y[None])):
        with pytest.raises(ValueError, match="expected"):
            stackel.certify_points(fig3(), *bad)
    whole = together([draw(k) for k in range(4)])
    assert whole is not None
    with pytest.raises(ValueError, match=r"x has shape \(1, 1, 2\); expected \(4, 1, 2\)"):
        stackel.certify_points(whole, x[None], y[None])
