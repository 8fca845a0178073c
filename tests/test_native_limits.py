"""Solvers that are not ours get what is left of the time, and end the solve when they stop for it.

No test looks at the machine's clock: one that stands still says how much is left, and jumps ahead
where a solver uses it up.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stackel
from problems import Duopoly, LogPricing
from stackel import Status
from stackel.followers import settle
from stackel.formulations.vehicular_twins import fig3
from stackel.run import RESERVE, Run, Stop, check_time, limit_for_solver, within

cp = pytest.importorskip("cvxpy")
casadi = pytest.importorskip("casadi")

from cvxpy.reductions.solvers.solving_chain import SolvingChain  # noqa: E402

from stackel.solvers.cvxpy_ import CVXPY  # noqa: E402
from stackel.solvers.cvxpy_.solving import TIME_LIMITS, SolverFailure, run_solver  # noqa: E402
from stackel.solvers.mpec import MPEC, build, ipopt  # noqa: E402


class Clock:
    """Stands still, unless it is moved [s]."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("stackel.run.time", clock)
    return clock


def test_what_is_left(clock: Clock) -> None:
    run = Run(time_limit=10.0)
    assert Run().left == limit_for_solver() == math.inf
    assert run.left == 10.0
    clock.now += 4.0
    with within(100.0):
        assert run.left == 6.0
        assert limit_for_solver() == 100.0
        assert limit_for_solver(3.0) == 3.0
        with within(5.0):
            assert run.left == 5.0
            run.check(reserve=5.0)
            with pytest.raises(Stop):
                check_time(reserve=5.1)
            clock.now += 5.0
            assert limit_for_solver() == RESERVE  # 0 means no limit to some solvers
            assert limit_for_solver(1e-9) == 1e-9
    clock.now += 2.0
    with pytest.raises(Stop):
        run.check()


# -- below CVXPY -----------------------------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings that solvers below CVXPY get."""
    seen: list[dict[str, Any]] = []
    real = SolvingChain.solve_via_data

    def watched(self: Any, problem: Any, data: Any, *_: Any, solver_opts: Any, **__: Any) -> Any:
        seen.append(dict(solver_opts))
        return real(self, problem, data, solver_opts=solver_opts)

    monkeypatch.setattr(SolvingChain, "solve_via_data", watched)
    return seen


def late(monkeypatch: pytest.MonkeyPatch, clock: Clock, since: Sequence[Any] = (1,)) -> None:
    """Once there is anything in ``since``, solvers find that their time is up, and it is."""
    real = SolvingChain.solve_via_data

    def stopped(self: Any, problem: Any, data: Any, *_: Any, solver_opts: Any, **__: Any) -> Any:
        if since:
            (name,) = set(solver_opts) & set(TIME_LIMITS.values())
            clock.now += solver_opts[name]
            solver_opts = {**solver_opts, name: 1e-9}
        return real(self, problem, data, solver_opts=solver_opts)

    monkeypatch.setattr(SolvingChain, "solve_via_data", stopped)


def small() -> Any:
    """A quadratic program."""
    x = cp.Variable(3)
    return cp.Problem(cp.Minimize(cp.sum_squares(x - np.arange(3.0))), [cp.sum(x) <= 1, x >= 0])


here = [name for name in TIME_LIMITS if name in cp.installed_solvers()]


@pytest.mark.parametrize("solver", here)
def test_solvers_get_what_is_left(solver: str, clock: Clock, handed: list[dict[str, Any]]) -> None:
    name = TIME_LIMITS[solver]
    run_solver(small(), [solver], {}, exact=False)
    with within(7.0):
        run_solver(small(), [solver], {}, exact=False)
        clock.now += 2.0
        run_solver(small(), [solver], {}, exact=False)
        run_solver(small(), [solver], {name: 3.0}, exact=False)
        run_solver(small(), [solver], {name: 60.0}, exact=False)
    assert [settings.get(name) for settings in handed] == [None, 7.0, 5.0, 3.0, 5.0]


@pytest.mark.parametrize("solver", here)
def test_a_solver_that_stops_for_the_time_ends_the_solve(
    solver: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(monkeypatch, clock)
    with within(7.0), pytest.raises(Stop) as stopped:
        run_solver(small(), [solver, solver], {}, exact=True)
    assert stopped.value.status is Status.TIME_LIMIT


def test_no_solver_is_begun_after_a_long_compilation(
    clock: Clock, handed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cp.Problem.get_problem_data

    def slow(self: Any, *arguments: Any, **options: Any) -> Any:
        clock.now += 8.0
        return real(self, *arguments, **options)

    monkeypatch.setattr(cp.Problem, "get_problem_data", slow)
    with within(7.0), pytest.raises(Stop):
        run_solver(small(), ["CLARABEL"], {}, exact=False)
    assert not handed
    with within(9.0):
        run_solver(small(), ["CLARABEL"], {}, exact=False)
    assert [s["time_limit"] for s in handed] == [1.0]


def test_a_limit_of_the_users_own_is_a_failure_of_the_solver(clock: Clock) -> None:
    with within(7.0), pytest.raises(SolverFailure, match="user_limit"):
        run_solver(small(), ["CLARABEL"], {"time_limit": 1e-9}, exact=False)


@pytest.mark.parametrize("game", [fig3(), fig3(delay=True), LogPricing([3.0, 2.0], [0.5, 0.6])])
def test_cvxpy_keeps_its_point(game: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    late(monkeypatch, clock, since=steps)
    eq = stackel.solve(
        game, CVXPY(), time_limit=50.0, throw=False, callback=lambda k, row: steps.append(k)
    )
    assert eq.status is Status.TIME_LIMIT
    assert len(eq.records) == len(steps) == 1
    np.testing.assert_array_equal(eq.leader_actions.ravel(), eq.records[0]["price"])
    settled = settle(game, eq.leader_actions).y
    np.testing.assert_allclose(eq.follower_actions, settled, rtol=1e-6, atol=1e-6)


def test_cvxpy_without_a_point(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch, clock)
    eq = stackel.solve(fig3(), CVXPY(), time_limit=50.0, throw=False)
    assert eq.status is Status.TIME_LIMIT
    assert "before the first point" in eq.detail


# -- IPOPT -----------------------------------------------------------------------------------------


def watch(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, since: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """The options that the IPOPT inside casadi gets; once there is anything in ``since`` its time
    is up."""
    seen: list[dict[str, Any]] = []
    real = casadi.nlpsol

    class Solver:
        def __init__(self, name: str, kind: str, problem: Any, options: dict[str, Any]) -> None:
            seen.append(options)
            self.usual = self.last = real(name, kind, problem, options)
            self.late = real(name, kind, problem, {**options, "ipopt.max_wall_time": 1e-6})

        def __call__(self, **arguments: Any) -> Any:
            if since:
                self.last = self.late
                clock.now += seen[-1]["ipopt.max_wall_time"]
            return self.last(**arguments)

        def stats(self) -> Any:
            return self.last.stats()

    monkeypatch.setattr(casadi, "nlpsol", Solver)
    return seen


def test_ipopt_inside_casadi_gets_what_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(monkeypatch, clock)
    model = build(Duopoly(), 0)
    program = ipopt.Program(model, ipopt.Ipopt("casadi"))
    assert program.solve().solved
    with within(10.0):
        program.solve()
        clock.now += 0.5  # so little less that it is not compiled anew
        program.solve()
        clock.now += 4.5
        program.solve()
        ipopt.Program(model, ipopt.Ipopt("casadi"), {"max_wall_time": 3.0}).solve()
        ipopt.Program(model, ipopt.Ipopt("casadi"), {"max_wall_time": 60.0}).solve()
    assert [options.get("ipopt.max_wall_time") for options in seen] == [None, 10.0, 5.0, 3.0, 5.0]


def test_an_executable_gets_what_is_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float | None]] = []

    def run(command: list[str], timeout: float | None, **_: Any) -> Any:
        file = Path(command[-1].removeprefix("option_file_name="))
        limits = [line for line in file.read_text().splitlines() if "time" in line]
        seen.append((" ".join(limits), timeout))
        raise subprocess.TimeoutExpired(command, timeout or 0.0)

    monkeypatch.setattr(subprocess, "run", run)
    program = ipopt.Program(build(Duopoly(), 0), ipopt.Ipopt("path", Path("ipopt")))
    program.solve()
    with within(7.0):
        assert "stopped" in program.solve().message
    assert seen == [("", None), ("max_wall_time 7.0", 7.0 + ipopt.GRACE)]


@pytest.mark.parametrize("strategy", ["diagonalisation", "all-at-once"])
@pytest.mark.parametrize("soon", [True, False])
def test_mpec_keeps_its_point(
    strategy: str, soon: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one that it took a step to; before the first one, what IPOPT had reached."""
    steps: list[int] = [0] if soon else []
    watch(monkeypatch, clock, since=steps)
    backend = MPEC(strategy=strategy)
    eq = stackel.solve(
        fig3(), backend, time_limit=50.0, throw=False, callback=lambda k, row: steps.append(k)
    )
    assert eq.status is Status.TIME_LIMIT
    assert "before the first point" not in eq.detail
    assert len(eq.records) == (0 if soon else 1)
    assert (eq.follower_actions > 0).all()


def test_ipopts_own_limit_is_a_failure_in_its_words(clock: Clock) -> None:
    backend = MPEC(ipopt_options={"max_wall_time": 1e-6})
    eq = stackel.solve(fig3(), backend, time_limit=50.0, throw=False)
    assert eq.status is Status.FAILED
    assert "Maximum WallTime Exceeded" in eq.detail
