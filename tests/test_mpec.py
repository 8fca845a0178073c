"""The mpec backend: agreement with newton, its modes and strategies, its models, finding IPOPT."""

from __future__ import annotations

import os
import signal
import stat
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

import stackel
from problems import PROBLEMS, DropOut, Duopoly, LogPricing, PangFukushima, Problem, SharedCapacity
from stackel import Action, Game, Status
from stackel.formulations import vehicular_twins
from stackel.functions import over_followers, over_leaders, tanh
from stackel.run import Run, Stop, within
from stackel.testing import check_backend

pyo = pytest.importorskip("pyomo.environ")
pytest.importorskip("casadi")

from stackel.solvers.mpec import MPEC, build, ipopt  # noqa: E402
from stackel.solvers.mpec.model import Pair, Ties  # noqa: E402
from stackel.solvers.mpec.reformulations import names  # noqa: E402
from stackel.solvers.mpec.stationarity import kind  # noqa: E402

MODES = ["fischer-burmeister", "penalty", "product"]
SOME = ["fig3", "fig3-delay", "cournot-3x4", "shared-capacity", "drop-out"]


def problem(name: str) -> Problem:
    (found,) = (p for p in PROBLEMS if p.name == name)
    return found


def assert_same(eq: stackel.Equilibrium, other: stackel.Equilibrium, close: float = 1e-7) -> None:
    for first, second in (
        (eq.leader_actions, other.leader_actions),
        (eq.follower_actions, other.follower_actions),
    ):
        np.testing.assert_allclose(first, second, rtol=close, atol=close)


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [p.name for p in PROBLEMS])
def test_agrees_with_newton(name: str) -> None:
    game = problem(name).make()
    eq = stackel.solve(game, MPEC())
    assert eq.status is Status.CONVERGED
    assert_same(eq, stackel.solve(game, "newton"))
    assert eq.stats["complementarity"] < 1e-12
    assert all(k.startswith("strong") for k in eq.stats["stationarity"])


@pytest.mark.parametrize("name", [*SOME, "personal-prices"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_agree(mode: str, name: str) -> None:
    game = problem(name).make()
    assert_same(stackel.solve(game, MPEC(mode=mode)), stackel.solve(game, "newton"))


def test_modes_are_the_files_of_their_folder() -> None:
    assert names() == MODES


@pytest.mark.parametrize("name", SOME)
def test_all_at_once_agrees(name: str) -> None:
    game = problem(name).make()
    eq = stackel.solve(game, MPEC(strategy="all-at-once"))
    assert eq.stats["all_at_once"] >= 1
    assert eq.detail == ""
    assert_same(eq, stackel.solve(game, "newton"))


def check_draw(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = vehicular_twins.draw(rng, int(rng.integers(1, 5)), int(rng.integers(1, 4)))
    eq = stackel.solve(game, MPEC())
    assert eq.certificate is not None
    assert eq.certificate.verdict in ("proved", "searched")
    assert_same(eq, stackel.solve(game, "newton"), 1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_random_markets(seed: int) -> None:
    check_draw(seed)


def test_multipliers_by_limit() -> None:
    game = vehicular_twins.fig3(delay=True)
    eq = stackel.solve(game, MPEC())
    np.testing.assert_allclose(eq.multipliers["delay"], [[3.020732], [0], [0]], atol=2e-6)
    shared = stackel.solve(SharedCapacity([3.0, 2.5]), MPEC(), start=[1.0], throw=False)
    assert shared.multipliers["capacity"].shape == (1, 1)


def test_no_equilibrium_is_a_cycle() -> None:
    point = MPEC().solve(PangFukushima(), Run(seed=0))
    assert point.status is Status.CYCLE
    assert "->" in point.detail
    eq = stackel.solve(PangFukushima(), MPEC(strategy="all-at-once"), throw=False)
    assert eq.status is Status.CYCLE
    assert not eq.is_equilibrium


@pytest.mark.parametrize("values", [[20.0, 6.0, 3.0], [9.0, 4.0, 3.5, 1.2], [30.0, 2.0, 1.5]])
def test_global_among_the_customers_that_stay(values: list[float]) -> None:
    eq = stackel.solve(DropOut(values), MPEC())
    assert eq.certificate is not None
    assert eq.certificate.verdict in ("proved", "searched")


def test_sparse_ties() -> None:
    graph = nx.random_regular_graph(4, 70, seed=1)
    game = vehicular_twins.on_graph(graph, unit_cost=[0.2])
    assert not isinstance(game.ties, np.ndarray)
    assert_same(stackel.solve(game, MPEC(starts=1)), stackel.solve(game, "newton"))


def test_ties_multiply_symbols_from_both_sides() -> None:
    matrix = sparse.random_array((6, 6), density=0.4, rng=np.random.default_rng(0), format="csr")
    numbers = np.arange(12.0).reshape(6, 2)
    ties = Ties(matrix)
    np.testing.assert_allclose((ties @ numbers).astype(float), matrix @ numbers)
    np.testing.assert_allclose((numbers.T @ ties).astype(float), numbers.T @ matrix)


@dataclass(frozen=True)
class Regulated(LogPricing):
    """A leader that must sell at least one unit to everybody."""

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {"service": 1.5 - over_followers(y)}


def test_leader_limits() -> None:
    game = Regulated([3.0], [0.5])
    eq = stackel.solve(game, MPEC())
    np.testing.assert_allclose(eq.leader_actions, [[3.0 / 2.5]], rtol=1e-7)  # y = a / p - 1 = 1.5
    model = build(game, 0)
    assert len(model.leader_limit) == 1


@dataclass(frozen=True)
class Forbidden(LogPricing):
    """Whatever the leader does breaks its limit."""

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {"never": 0 * x + 1.0}


def test_a_limit_that_nothing_meets_is_an_answer_and_no_crash() -> None:
    eq = stackel.solve(Forbidden([3.0], [0.5]), MPEC(), throw=False)
    assert eq.certificate is not None
    assert eq.certificate.verdict == "refuted"
    assert not eq.is_equilibrium


@dataclass(frozen=True)
class Decided(Game):
    """The second follower's action is decided: both its bounds are 1/2."""

    followers: int = 2

    @property
    def leader_action(self) -> Action:
        return Action("price", high=2.0)

    @property
    def follower_action(self) -> Action:
        return Action("y", low=[[0.0], [0.5]], high=[[3.0], [0.5]], size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return (2 - over_leaders(x) + 0.1 * over_followers(rivals)) * y - y**2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * over_followers(y)


def test_a_decided_action() -> None:
    assert_same(stackel.solve(Decided(), MPEC()), stackel.solve(Decided(), "newton"))


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fig3-delay", "shared-capacity", "drop-out"])
def test_keeps_its_contract(name: str) -> None:
    check_backend(MPEC(), problem(name).make())


def test_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    stackel.solve(vehicular_twins.fig3(delay=True), MPEC())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "produkt"}, "did you mean 'product'"),
        ({"strategy": "both"}, "all-at-once"),
        ({"starts": 0}, "at least 1"),
        ({"tolerance": -1.0}, "positive"),
        ({"complementarity": 1.0}, "between"),
        ({"max_sweeps": 0}, "at least 1"),
    ],
)
def test_bad_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(stackel.OptionError, match=match):
        MPEC(**options)


@pytest.mark.parametrize("anticipation", ["own_response", "none"])
def test_other_anticipations_are_refused(anticipation: Any) -> None:
    with pytest.raises(stackel.Refusal, match="foresee the followers' equilibrium"):
        stackel.solve(vehicular_twins.fig3(), MPEC(), anticipation=anticipation)


def test_too_many_followers_are_refused() -> None:
    graph = nx.random_regular_graph(4, 300, seed=1)
    (reason,) = MPEC().accepts(vehicular_twins.on_graph(graph))
    assert "600" in reason
    assert "400" in reason


class Fussy(Duopoly):
    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        if isinstance(y, np.ndarray) and y.dtype == object:
            raise TypeError("no symbols here")
        return super().follower_payoff(y, rivals, x)


def test_formulas_that_pyomo_cannot_run_are_refused() -> None:
    with pytest.raises(stackel.Refusal, match=r"Pyomo's symbols: TypeError: no symbols here"):
        stackel.solve(Fussy(), MPEC())


@pytest.mark.parametrize("options", [{"foo": 1}, {"max_iter": "many"}, {"linear_solver": "ma57"}])
def test_options_that_ipopt_does_not_know(options: dict[str, Any]) -> None:
    with pytest.raises(stackel.OptionError, match=f"IPOPT does not take.*{next(iter(options))}"):
        stackel.solve(Duopoly(), MPEC(ipopt_options=options))


def test_iteration_limit_of_ipopt_is_a_failure_with_its_words() -> None:
    backend = MPEC(ipopt_options={"max_iter": 1})
    eq = stackel.solve(vehicular_twins.fig3(), backend, throw=False, certificate=False)
    assert eq.status is Status.FAILED
    assert "Maximum Iterations Exceeded" in eq.detail


def test_sweep_limit() -> None:
    eq = stackel.solve(vehicular_twins.fig3(), MPEC(max_sweeps=2), throw=False, restarts=0)
    assert eq.status is Status.ITERATION_LIMIT
    assert np.abs(eq.leader_actions - [[0.956, 0.811]]).max() < 0.05


def test_time_limit_keeps_the_point() -> None:
    run = Run(seed=0, time_limit=2.0)  # the first solve fits in, on a busy machine too
    with pytest.raises(Stop):
        MPEC(starts=5000).solve(vehicular_twins.fig3(delay=True), run)
    assert run.best is not None
    assert run.elapsed < 20


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interruption_keeps_the_point() -> None:
    """Ctrl-C while IPOPT runs: held until the solve ends, not lost, not printed."""
    game = vehicular_twins.on_graph(nx.random_regular_graph(4, 40, seed=1))
    timers = []

    def soon(iteration: int, row: Any) -> None:
        if not timers:
            timers.append(threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)))
            timers[0].start()

    usual = signal.getsignal(signal.SIGINT)
    eq = stackel.solve(game, MPEC(starts=6), callback=soon, throw=False)
    timers[0].join()
    assert eq.status is Status.INTERRUPTED
    assert np.isfinite(eq.follower_actions).all()
    assert signal.getsignal(signal.SIGINT) is usual


# -- the kind of stationarity ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "nu", "expected"),
    [(1, 2, "strong"), (0, 1, "strong"), (-1, 0, "M"), (-1, -2, "C"), (-1, 2, "weak")],
)
def test_kind_of_stationarity(gamma: float, nu: float, expected: str) -> None:
    """min gamma a + nu b, 0 <= a, b, a b = 0 at the origin."""
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(2), bounds=(None, None), initialize=0.0)
    model.payoff = pyo.Expression(expr=-gamma * model.x[0] - nu * model.x[1])
    model.complementarity = pyo.Block()
    pair = Pair("pair", model.x[0], 0.0, 1, model.x[1])
    assert kind(model, [pair]) == f"{expected} (1 pair doubly active)"


# -- finding and running IPOPT --------------------------------------------------------------------

EXECUTABLE = """\
#!{python}
import sys
if sys.argv[1:] == ["-v"]:
    print("Ipopt 3.14.16 (fake)")
    sys.exit()
import casadi, numpy as np
file = next(a for a in sys.argv[1:] if a.endswith(".nl"))
settings = [a.partition("=")[2] for a in sys.argv if a.startswith("option_file_name=")]
options = {{"print_time": False, "ipopt.print_level": 0, "ipopt.sb": "yes"}}
for line in (open(settings[0]) if settings else ()):
    if len(line.split()) == 2:
        key, value = line.split()
        number = value.lstrip("-").replace(".", "").replace("e-", "").replace("e+", "")
        value = (int(value) if value.isdigit() else float(value)) if number.isdigit() else value
        options["ipopt." + key] = value
print("a solver that talks", file=sys.stderr)
b = casadi.NlpBuilder()
b.import_nl(file, {{"verbose": False}})
p = {{"x": casadi.vcat(b.x), "f": b.f, "g": casadi.vcat(b.g)}}
solver = casadi.nlpsol("s", "ipopt", p, options)
r = solver(x0=b.x_init, lbx=b.x_lb, ubx=b.x_ub, lbg=b.g_lb, ubg=b.g_ub)
x, dual, rc = (np.array(r[k]).ravel() for k in ("x", "lam_g", "lam_x"))
n, m = len(x), len(dual)
good = solver.stats()["return_status"] == "Solve_Succeeded"
out = ["", "Ipopt 3.14.16: " + solver.stats()["return_status"], "", "Options", 3, 1, 1, 0]
out += [m, m, n, n, *(-dual), *x, "objno 0 %d" % (0 if good else 400)]
for name, part in (("ipopt_zL_out", np.maximum(-rc, 0)), ("ipopt_zU_out", np.minimum(-rc, 0))):
    out += ["suffix 4 %d 13 0 0" % n, name, *("%d %r" % (k, float(v)) for k, v in enumerate(part))]
open(file[:-3] + ".sol", "w").write("\\n".join(map(str, out)) + "\\n")
"""


def install(folder: Path, script: str = EXECUTABLE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ipopt"
    file.write_text(textwrap.dedent(script).format(python=sys.executable), encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    return file


unix = pytest.mark.skipif(os.name == "nt", reason="scripts as executables")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No IPOPT in idaes' folder nor on the PATH."""
    monkeypatch.setenv("IDAES_DATA", str(tmp_path / "idaes"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


@unix
def test_order_of_search(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ipopt.locate() == ipopt.Ipopt("casadi")
    on_path = install(nowhere / "path")
    assert ipopt.locate() == ipopt.Ipopt("path", on_path)
    of_idaes = install(nowhere / "idaes" / "bin")
    assert ipopt.locate() == ipopt.Ipopt("idaes", of_idaes)
    monkeypatch.delenv("IDAES_DATA")
    monkeypatch.setenv("HOME", str(nowhere))
    assert ipopt.idaes_folder() == nowhere / ".idaes" / "bin"
    monkeypatch.delenv("HOME")
    assert ipopt.idaes_folder() is None


def test_no_ipopt_at_all(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipopt, "find_spec", lambda name: None)
    with pytest.raises(stackel.Refusal, match=r'pip install "stackel\[mpec\]"'):
        stackel.solve(vehicular_twins.fig3(), MPEC())


def test_pyomo_is_asked_for_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackel.plugins.find_spec", lambda name: None)
    assert MPEC().missing() == ['needs the package pyomo: pip install "stackel[mpec]"']


@unix
@pytest.mark.slow
def test_an_executable_solves_the_market(nowhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    game = SharedCapacity([3.0, 2.5])
    here = stackel.solve(game, MPEC(starts=1))
    assert here.stats["ipopt"].startswith("casadi ")
    file = install(nowhere / "path")
    there = stackel.solve(game, MPEC(starts=1))
    assert there.stats["ipopt"] == f"path: {file}"
    assert_same(here, there)
    assert here.stats["stationarity"] == there.stats["stationarity"]
    assert capfd.readouterr() == ("", "")


@unix
def test_both_ways_give_the_same_values_and_duals(nowhere: Path) -> None:
    answers = []
    for found in (ipopt.Ipopt("casadi"), ipopt.Ipopt("path", install(nowhere))):
        model = build(vehicular_twins.fig3(delay=True), 1, [[0.9, 0.8]])
        with within(60.0):
            outcome = ipopt.Program(model, found).solve()
        assert outcome.solved
        variables = [v.value for v in model.component_data_objects(pyo.Var)]
        duals = [model.dual[c] for c in model.component_data_objects(pyo.Constraint, active=True)]
        costs = [model.rc.get(v, 0.0) for v in model.component_data_objects(pyo.Var)]
        answers.append(np.array([*variables, *duals, *costs]))
    np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-6)


@unix
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho out of licences >&2\nexit 3\n", "no solution .exit 3.: out of licences"),
        ("#!/bin/sh\necho nonsense > ${{1%.nl}}.sol\n", "cannot be read"),
        ("#!/no/such/interpreter\n", "does not run"),
    ],
)
def test_a_broken_executable(nowhere: Path, script: str, words: str) -> None:
    file = install(nowhere / "here", script)
    model = build(Duopoly(), 0)
    with pytest.raises(RuntimeError, match=words):
        ipopt.Program(model, ipopt.Ipopt("path", file)).solve()


@unix
def test_a_broken_executable_fails_in_words(nowhere: Path) -> None:
    install(nowhere / "path", "#!/bin/sh\nexit 3\n")
    eq = stackel.solve(Duopoly(), MPEC(), throw=False)
    assert eq.status is Status.FAILED
    assert "no solution (exit 3)" in eq.detail


@unix
def test_a_hanging_executable_is_stopped(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = install(nowhere, "#!{python}\nimport time\ntime.sleep(60)\n")
    monkeypatch.setattr(ipopt, "GRACE", 0.2)
    with within(0.2):
        outcome = ipopt.Program(build(Duopoly(), 0), ipopt.Ipopt("path", file)).solve()
    assert not outcome.solved
    assert "stopped" in outcome.message


def test_reads_solutions_with_many_options() -> None:
    text = "\nsaid\n\nOptions\n5\n1\n1\n0\n1\n1\n2\n2\n1e-9\n0.5\n3\n4\nobjno 0 200\n"
    solution = ipopt.read_solution(text)
    assert (solution.message, solution.code) == ("said", 200)
    np.testing.assert_array_equal(solution.values, [3, 4])
    np.testing.assert_array_equal(solution.dual, [0.5])
    with pytest.raises(RuntimeError, match="cannot be read"):
        ipopt.read_solution(text[:-30])


def test_time_limits_reach_ipopt() -> None:
    model = build(vehicular_twins.on_graph(nx.random_regular_graph(4, 30, seed=1)), 0)
    with within(1e-3):
        outcome = ipopt.Program(model, ipopt.Ipopt("casadi")).solve()
    assert not outcome.solved
    assert outcome.message == "Maximum WallTime Exceeded"


# -- models for users -----------------------------------------------------------------------------


@unix
@pytest.mark.parametrize(("mode", "knob"), [("product", 1e-8), ("fischer-burmeister", 1e-4)])
def test_build_is_a_model_for_any_solver(tmp_path: Path, mode: str, knob: float) -> None:
    game = vehicular_twins.fig3(delay=True)
    eq = stackel.solve(game, "newton")
    model = build(game, 0, eq.leader_actions, mode=mode, knob=knob)
    assert model.x[0, 1].fixed
    solver = pyo.SolverFactory("ipopt", executable=str(install(tmp_path)))
    result = solver.solve(model)
    assert pyo.check_optimal_termination(result)
    assert model.x[0, 0].value == pytest.approx(eq.leader_actions[0, 0], abs=1e-4)
    assert pyo.value(model.payoff) == pytest.approx(eq.leader_payoffs[0], rel=1e-4)


def test_build_checks_its_arguments() -> None:
    game = vehicular_twins.fig3()
    with pytest.raises(stackel.OptionError, match="expected 0 to 1"):
        build(game, 2)
    with pytest.raises(stackel.OptionError, match=r"expected \(1, 2\)"):
        build(game, 0, [1.0])
    with pytest.raises(stackel.OptionError, match="unknown mode"):
        build(game, 0, mode="sos1")


def test_a_formula_that_pyomo_cannot_differentiate_is_a_reason() -> None:
    @dataclass(frozen=True)
    class Saturating(LogPricing):
        def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
            return over_leaders(self.value * tanh(1 + y) - x * y)

    (reason,) = MPEC().accepts(Saturating([3.0], [0.5]))
    assert "DifferentiationException" in reason
    with pytest.raises(stackel.Refusal, match="newton"):
        stackel.solve(Saturating([3.0], [0.5]), "closed-form")
