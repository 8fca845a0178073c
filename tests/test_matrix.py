"""Every backend on every problem it accepts: the answer is known, the certificate must hold."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import stackel
from problems import PROBLEMS, PangFukushima, Problem
from stackel import backend as registry
from stackel.testing import check_backend, check_game

BACKENDS = ["closed-form", "newton", "admm", "cvxpy", "mpec"]

REFUSED = {
    ("closed-form", name)
    for name in (
        "fig3-delay",
        "log-pricing",
        "shared-capacity",
        "budget",
        "congestion",
        "drop-out",
        "personal-prices",
    )
} | {("cvxpy", "congestion")}

# Relative to 1 + |x|. The digits that the source of the numbers gives are the floor.
TOLERANCE = {"closed-form": 1e-7, "newton": 1e-7, "admm": 1e-5, "cvxpy": 1e-6, "mpec": 1e-7}
DIGITS = {"fig3-delay": 1e-6}


def _needs(backend: str) -> None:
    """Skip where the backend's extra is not installed."""
    lacking = registry.find(backend)().missing()
    if lacking:
        pytest.skip(lacking[0])


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_on_problem(backend: str, problem: Problem) -> None:
    _needs(backend)
    game = problem.make()
    if (backend, problem.name) in REFUSED:
        with pytest.raises(stackel.Refusal) as refused:
            stackel.solve(game, backend)
        assert refused.value.reasons
        assert "newton" in refused.value.alternatives
        return
    eq = stackel.solve(game, backend)
    assert eq.status is stackel.Status.CONVERGED
    assert eq.certificate is not None
    assert eq.certificate.relative_gap < 1e-6
    expected = ("proved", "local") if game.leader_shape[0] > 1 else ("proved", "searched")
    assert eq.certificate.verdict in expected
    close = max(TOLERANCE[backend], DIGITS.get(problem.name, 0.0))
    if problem.x is not None:
        np.testing.assert_allclose(eq.leader_actions, problem.x, rtol=close, atol=close)
    if problem.y is not None:
        np.testing.assert_allclose(eq.follower_actions, problem.y, rtol=close, atol=close)


@pytest.mark.parametrize("name", ["budget", "congestion", "substitutes"])
def test_backends_agree_where_no_formula_is_known(name: str) -> None:
    (problem,) = (p for p in PROBLEMS if p.name == name)
    answers = [stackel.solve(problem.make(), backend) for backend in ("newton", "admm")]
    first, second = answers
    np.testing.assert_allclose(first.leader_actions, second.leader_actions, rtol=1e-5)
    np.testing.assert_allclose(first.follower_actions, second.follower_actions, rtol=1e-5)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_problem_is_well_stated(problem: Problem) -> None:
    check_game(problem.make())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name", ["fig3", "fig3-delay", "cournot-3x4", "drop-out", "shared-capacity"]
)
def test_backend_keeps_its_contract(backend: str, name: str) -> None:
    _needs(backend)
    (problem,) = (p for p in PROBLEMS if p.name == name)
    check_backend(backend, problem.make())


@pytest.mark.parametrize("backend", ["newton", "admm", "cvxpy", "mpec"])
def test_no_equilibrium_is_never_an_answer(backend: str) -> None:
    """Pang and Fukushima's example has no pure equilibrium: a cycle, in words."""
    _needs(backend)
    eq = stackel.solve(PangFukushima(), backend, throw=False)
    assert not eq.is_equilibrium
    assert eq.status is stackel.Status.CYCLE
    assert "->" in eq.detail
    assert eq.certificate is not None
    assert eq.certificate.deviation is not None
    with pytest.raises(stackel.NotConverged, match="cycle") as caught:
        stackel.solve(PangFukushima(), backend)
    assert caught.value.result.certificate.verdict == "refuted"


def test_once_best_replies_cycle_no_further_backend_is_tried_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["stackel.tasks.solve"], "CYCLES", 0.0)
    eq = stackel.solve(PangFukushima(), throw=False)
    assert eq.status is stackel.Status.CYCLE
    assert eq.stats["tried"][-1].startswith("newton")


def test_auto_tries_until_one_is_certified() -> None:
    (delay,) = (p for p in PROBLEMS if p.name == "fig3-delay")
    eq = stackel.solve(delay.make())
    assert eq.backend == "newton"
    assert any(
        t.startswith("closed-form: at its answer the limit 'delay'") for t in eq.stats["tried"]
    )


def test_backends_table_says_why_not() -> None:
    (problem,) = (p for p in PROBLEMS if p.name == "log-pricing")
    table = stackel.backends(problem.make())
    assert table.loc["newton", "can"]
    assert table.loc["admm", "can"]
    assert not table.loc["closed-form", "can"]
    assert "log" in table.loc["closed-form", "reasons"]
