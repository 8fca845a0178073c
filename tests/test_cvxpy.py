"""The CVXPY backend: answers, refusals, failures. Its parts: test_cvxpy_parts.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cvxpy")


import stackel
from problems import PROBLEMS, Budget, DropOut, LinearCournot, LogPricing, SharedCapacity
from stackel import Action, Game
from stackel.followers import response
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import log, over_followers, over_leaders, sqrt, tanh
from stackel.run import Run, Stop
from stackel.solvers.cvxpy_.array import why_not_concave
from stackel.solvers.cvxpy_.backend import CVXPY, CvxpyFollowers
from stackel.solvers.cvxpy_.compiled import Compiled
from stackel.solvers.cvxpy_.replies import FormulaReplies
from stackel.solvers.cvxpy_.solving import SolverFailure

NOT_DCP = {"congestion"}
TAKEN = [p for p in PROBLEMS if p.name not in NOT_DCP]


def problem(name: str) -> Game:
    return next(p for p in PROBLEMS if p.name == name).make()


# -- markets made for these tests --------------------------------------------------------------


@dataclass(frozen=True)
class Nested(LogPricing):
    """Concave by composition, which is no sum of terms: log of a concave function."""

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        crowd = 0.1 * y * (over_followers(rivals) - rivals)
        return over_leaders(self.value * log(1 + y + sqrt(1 + y)) - x * y - crowd)


@dataclass(frozen=True)
class NestedRoad(SharedCapacity):
    """The same with a limit that the followers share and one of their own."""

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.value * log(1 + y + sqrt(1 + y)) - y**2 / 2 - over_leaders(x) * y

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"own": y**2 + y - 0.6}


@dataclass(frozen=True)
class Floor(LogPricing):
    """Followers must buy a share of the price, but at most 1: impossible above a price of 2."""

    @property
    def follower_action(self) -> Action:
        return Action("purchase", high=1.0)

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {"floor": over_leaders(0.5 * x - y)}


@dataclass(frozen=True)
class Wavy(LogPricing):
    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * tanh(y) - x * y)


@dataclass(frozen=True)
class Loving(LogPricing):
    """The more the better: convex, not concave."""

    @property
    def follower_action(self) -> Action:
        return Action("purchase", high=2.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * y**2 - x * y)


def followers(game: Game, **options: Any) -> CvxpyFollowers:
    return CvxpyFollowers(game, Run(), CVXPY(**options))


# -- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", TAKEN, ids=lambda p: p.name)
def test_agrees_with_newton(p: Any) -> None:
    game = p.make()
    eq, newton = stackel.solve(game, CVXPY()), stackel.solve(game, "newton")
    assert eq.status is stackel.Status.CONVERGED
    assert eq.certificate is not None
    assert eq.certificate.verdict == newton.certificate.verdict  # type: ignore[union-attr]
    np.testing.assert_allclose(eq.leader_actions, newton.leader_actions, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(eq.follower_actions, newton.follower_actions, rtol=1e-6, atol=1e-7)
    for name, multiplier in newton.multipliers.items():
        np.testing.assert_allclose(eq.multipliers[name], multiplier, rtol=1e-5, atol=1e-6)


def agree_on_draws(seeds: range) -> None:
    for seed in seeds:
        game = draw(seed)
        eq, newton = stackel.solve(game, CVXPY()), stackel.solve(game, "newton")
        assert eq.is_equilibrium
        for name in ("leader_actions", "follower_actions"):
            got, wanted = getattr(eq, name), getattr(newton, name)
            np.testing.assert_allclose(got, wanted, rtol=1e-4, err_msg=f"draw({seed})")


def test_agrees_with_newton_on_some_draws() -> None:
    agree_on_draws(range(8))


def test_own_response_anticipation() -> None:
    eq = stackel.solve(fig3(), CVXPY(), anticipation="own_response")
    newton = stackel.solve(fig3(), "newton", anticipation="own_response")
    np.testing.assert_allclose(eq.leader_actions, newton.leader_actions, rtol=1e-6)


def test_a_leaders_local_optimum_is_left() -> None:
    eq = stackel.solve(DropOut([20.0, 6.0, 3.0]), CVXPY(), start=[1.2])
    assert eq.certificate is not None
    assert eq.certificate.verdict in ("proved", "searched")


@pytest.mark.parametrize("game", [Nested([3.0, 2.0], [0.5]), NestedRoad([3.0, 2.5])], ids=str)
def test_formulas_that_are_no_sum_of_terms_run_as_written(game: Game) -> None:
    one = followers(game)
    assert isinstance(one.oracle, FormulaReplies)
    x = np.linspace(0.6, 1.5, 3)[:, None, None]
    settled, wanted = one.settle(x, None), response.settle(game, x)
    assert settled.converged.all()
    np.testing.assert_allclose(settled.y, wanted.y, atol=2e-6)
    np.testing.assert_allclose(settled.lam, wanted.lam, atol=2e-5)
    np.testing.assert_allclose(settled.mu, wanted.mu, atol=2e-5)


def test_formulas_as_written_reach_the_equilibrium() -> None:
    game = Nested([3.0, 2.0], [0.5])
    eq, newton = stackel.solve(game, CVXPY()), stackel.solve(game, "newton")
    assert eq.stats["formulas"].startswith("as written")
    np.testing.assert_allclose(eq.leader_actions, newton.leader_actions, rtol=1e-3)
    np.testing.assert_allclose(eq.follower_actions, newton.follower_actions, rtol=1e-3)


# -- refusals and failures ---------------------------------------------------------------------


def test_formulas_outside_the_rules_are_refused_in_cvxpys_words() -> None:
    with pytest.raises(stackel.Refusal) as refused:
        stackel.solve(problem("congestion"), CVXPY())
    (reason,) = refused.value.reasons
    assert reason.startswith("follower_payoff is not concave by DCP rules: load * ")
    assert "newton" in refused.value.alternatives
    (reason,) = CVXPY().accepts(Wavy([3.0], [0.5]))
    assert reason.endswith("is neither convex nor concave")
    (reason,) = CVXPY().accepts(Loving([3.0], [0.5]))
    assert reason == "follower_payoff is not concave by DCP rules: its curvature is convex"


def test_cournot_is_taken_for_its_terms_though_not_for_its_formula() -> None:
    game = LinearCournot(3, 4)
    (reason,) = why_not_concave(game, np.ones((4, 1)), np.ones((1, 3)))
    assert "by DCP rules: quantity * " in reason
    assert CVXPY().accepts(game) == []


@pytest.mark.parametrize(("solver", "market"), [("CLARABEL", "fig3"), ("scs", "fig3-delay")])
def test_the_user_names_the_solver(solver: str, market: str) -> None:
    game = problem(market)
    eq = stackel.solve(game, CVXPY(solver=solver))
    assert set(eq.stats["solves"]) == {solver.upper()}
    newton = stackel.solve(game, "newton")
    np.testing.assert_allclose(eq.leader_actions, newton.leader_actions, rtol=1e-5)


def test_default_solvers() -> None:
    assert set(stackel.solve(fig3(), CVXPY()).stats["solves"]) == {"OSQP"}
    assert "CLARABEL" in stackel.solve(fig3(delay=True), CVXPY()).stats["solves"]


def test_options() -> None:
    with pytest.raises(stackel.OptionError, match=r"unknown CVXPY solver 'clarabell'.*CLARABEL"):
        CVXPY(solver="clarabell")
    with pytest.raises(stackel.OptionError, match="name the solver"):
        CVXPY(solver_options={"max_iter": 10})
    with pytest.raises(stackel.OptionError, match="acceleration"):
        CVXPY(acceleration=-1)
    options = {"no_such_setting": 1}
    with pytest.raises(stackel.OptionError, match="no_such_setting"):
        stackel.solve(fig3(), CVXPY(solver="CLARABEL", solver_options=options))


def test_a_solver_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(stackel.Refusal, match="solver OSQP does not take its cone programs"):
        stackel.solve(fig3(delay=True), CVXPY(solver="OSQP"))


def test_a_price_without_an_answer_spoils_no_other() -> None:
    game = Floor([3.0, 2.0], [0.5], cap=3.0)
    x = np.array([0.6, 1.4, 2.5, 1.9])[:, None, None]
    one = followers(game)
    settled = one.settle(x, None)
    np.testing.assert_array_equal(settled.converged, [True, True, False, True])
    assert np.isfinite(settled.y).all()
    assert "infeasible" in one.oracle.tally.failure
    good = np.array([0, 1, 3])
    wanted = response.settle(game, x[good])
    np.testing.assert_allclose(settled.y[good], wanted.y, atol=1e-8)
    # The best price is the edge, where a single purchase is left: not settled to be judged there.
    eq = stackel.solve(game, CVXPY(), throw=False)
    newton = stackel.solve(game, "newton", throw=False)
    np.testing.assert_allclose(eq.leader_actions, newton.leader_actions, rtol=1e-5)


def test_a_solver_that_dies_in_the_middle_loses_nothing(monkeypatch: Any) -> None:
    real, calls = Compiled.solve, iter(range(10_000))

    def dying(self: Compiled, *arguments: Any, **options: Any) -> Any:
        if next(calls) >= 12:
            raise SolverFailure("OSQP: out of memory")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Compiled, "solve", dying)
    eq = stackel.solve(fig3(), CVXPY(), throw=False)
    assert eq.status is stackel.Status.FAILED
    assert "OSQP: out of memory" in eq.detail
    assert len(eq.records) > 0
    assert np.isfinite(eq.follower_actions).all()


def test_infeasible_followers_are_known_before_the_start() -> None:
    with pytest.raises(stackel.InfeasibleError, match="budget"):
        stackel.solve(Budget([6.0, 6.0], [-3.0, 100.0], [1.0]), CVXPY())


def test_time_limit_and_interruption() -> None:
    eq = stackel.solve(fig3(), CVXPY(), time_limit=1e-9, throw=False)
    assert eq.status is stackel.Status.TIME_LIMIT
    one = CvxpyFollowers(fig3(), Run(time_limit=1e-9), CVXPY())
    with pytest.raises(Stop):
        one.settle(np.array([[[1.0, 0.8]]]), None)

    def stop(iteration: int, row: Any) -> None:
        if iteration == 2:
            raise KeyboardInterrupt

    eq = stackel.solve(fig3(delay=True), CVXPY(), callback=stop, throw=False)
    assert eq.status is stackel.Status.INTERRUPTED
    assert (eq.follower_actions > 0).all()


def test_missing_cvxpy_is_refused_with_the_command(monkeypatch: Any) -> None:
    monkeypatch.setattr("stackel.plugins.find_spec", lambda package: None)
    with pytest.raises(stackel.Refusal, match=r'pip install "stackel\[cvxpy\]"'):
        stackel.solve(fig3(), CVXPY(solver="CLARABEL"))
