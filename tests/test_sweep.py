"""Sweeps: what the Dataset holds, that nothing finished is lost, that nothing stops the rest."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import stackel
from stackel import catalogue, sweeps
from stackel.cli import app
from stackel.formulations.vehicular_twins import VehicularTwins, draw, fig3
from stackel.sweeps import SweepInterrupted
from stackel.sweeps.queue import FIRST, MOST, Queue

xr = pytest.importorskip("xarray")

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "markets" / "cost_sweep.toml"
COSTS = [0.1, 0.2, 0.3]


def market(unit_cost: float, followers: int = 2, leaders: int = 2) -> VehicularTwins:
    return VehicularTwins(
        satisfaction=[30.0, 25.0, 35.0, 28.0][:followers],
        sensitivity=30.0,
        ties=4.0,
        unit_cost=[unit_cost, 0.1, 0.2][:leaders],
        payment_scale=15.0,
        utility_scale=100.0,
    )


def drawn(unit_cost: float, seed: int) -> VehicularTwins:
    return draw(seed, 3, 2, unit_cost=unit_cost, delay=False)


def sweep(make_game: Any = market, grid: Any = None, **options: Any) -> Any:
    grid = {"unit_cost": COSTS} if grid is None else grid
    return stackel.sweep(make_game, grid, **{"backend": "closed-form", **options})


def same(first: Any, second: Any) -> None:
    xr.testing.assert_identical(first.drop_vars("seconds"), second.drop_vars("seconds"))


def close(first: Any, second: Any) -> None:
    """The same to rounding: batches of other cells may round otherwise."""
    first, second = first.drop_vars("seconds"), second.drop_vars("seconds")
    xr.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12)
    assert first.attrs == second.attrs


class TestDataset:
    def test_holds_what_solve_gives(self) -> None:
        data = sweep(grid={"unit_cost": COSTS, "followers": range(2, 4)})
        at = data.sel(unit_cost=0.2, followers=3)
        eq = stackel.solve(market(0.2, 3), "closed-form", proof=False)
        for name in ("leader_payoffs", "follower_payoffs", "follower_actions", "welfare"):
            np.testing.assert_allclose(at[name], getattr(eq, name), rtol=1e-9)
        np.testing.assert_allclose(at.leader_actions, eq.leader_actions[0], rtol=1e-9)
        assert eq.certificate is not None
        assert at.verdict == eq.certificate.verdict in ("proved", "searched")
        assert at.status == "converged"
        assert at.violation == 0
        assert at.error == ""
        assert bool(at.certified)
        assert at.seconds > 0

    def test_dimensions_are_in_order(self) -> None:
        data = sweep(drawn, {"unit_cost": COSTS}, seeds=2)
        assert data.follower_actions.dims == ("unit_cost", "seed", "follower", "leader")
        assert data.leader_actions.dims == ("unit_cost", "seed", "leader")
        assert data.follower_payoffs.dims == ("unit_cost", "seed", "follower")
        for name in ("welfare", "certified", "verdict", "leader_gap", "status", "error", "seconds"):
            assert data[name].dims == ("unit_cost", "seed"), name
        assert list(data.data_vars) == list(sweeps.plan.VARIABLES)
        assert data.unit_cost.values.tolist() == COSTS
        assert data.follower.values.tolist() == [0, 1, 2]
        assert data.seed.values.tolist() == [0, 1]

    def test_seeds_reach_make_game_and_solve(self) -> None:
        seen = []

        @dataclass
        class Seeing(stackel.Backend):
            name: ClassVar[str] = "seeing"

            def accepts(self, game: stackel.Game) -> list[str]:
                return []

            def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
                seen.append(run.rng.integers(1 << 30))
                return stackel.Point(game.leader_bounds[1], np.full(game.follower_shape, 0.1))

        data = sweep(drawn, {"unit_cost": [0.1]}, seeds=[3, 5], backend=Seeing(), restarts=0)
        assert seen == [np.random.default_rng(s).integers(1 << 30) for s in (3, 5)]
        game = drawn(0.1, seed=5)
        expected = game.follower_payoff(
            np.full((3, 2), 0.1), np.full((3, 2), 0.1), np.full((1, 2), 1.5)
        )
        np.testing.assert_allclose(data.follower_payoffs.sel(unit_cost=0.1, seed=5), expected[:, 0])

    def test_smaller_markets_are_padded(self) -> None:
        data = sweep(grid={"unit_cost": [0.1], "followers": [1, 3], "leaders": [2, 3]})
        small = data.sel(unit_cost=0.1, followers=1, leaders=2)
        assert small.follower_actions.shape == (3, 3)
        assert np.isfinite(small.follower_actions).sum() == 2
        assert np.isfinite(small.leader_payoffs).sum() == 2
        assert np.isnan(small.leader_actions[2])
        assert small.welfare == pytest.approx(stackel.solve(market(0.1, 1, 2)).welfare)

    def test_several_decisions_have_dimensions_of_their_own(self) -> None:
        taxes = sweep(
            lambda k: catalogue.preset("c2f2"), {"k": [0]}, backend="newton", certificate=False
        )
        assert taxes.leader_actions.dims == ("k", "leader_decision", "leader")
        assert taxes.follower_actions.dims == ("k", "follower")
        two = sweep(
            lambda k: catalogue.market("outrata31")(),
            {"k": [0]},
            backend="newton",
            certificate=False,
        )
        assert two.follower_actions.dims == ("k", "follower", "follower_decision")

    def test_says_what_it_is(self) -> None:
        data = sweep(tolerance=1e-5, restarts=2)
        assert data.attrs["stackel"] == stackel.__version__
        assert data.attrs["market"] == "VehicularTwins"
        assert data.attrs["backend"] == "closed-form"
        assert data.attrs["tolerance"] == 1e-5
        assert json.loads(data.attrs["options"]) == {"restarts": 2}
        assert data.leader_actions.attrs == {"long_name": "price", "units": "$ per 1e7 Hz"}
        assert data.follower_actions.attrs["units"] == "1e7 Hz"

    def test_without_a_certificate(self) -> None:
        data = sweep(certificate=False)
        assert np.isnan(data.leader_gap).all()
        assert not data.certified.any()
        assert (data.verdict == "").all()
        assert np.isfinite(data.welfare).all()

    def test_values_that_are_no_numbers_get_labels(self) -> None:
        def made(costs: Any, name: str, on: bool) -> stackel.Game:
            return fig3() if name == "fig3" else market(costs[0])

        costs = [(0.1, 0.2), np.array([0.1, 0.2]), [0.3, 0.4]]
        data = sweep(made, {"costs": costs, "name": ["a", "b"], "on": [False, True]})
        assert data.costs.values.tolist() == ["[0.1, 0.2] (0)", "[0.1, 0.2] (1)", "[0.3, 0.4]"]
        assert data.name.values.tolist() == ["a", "b"]
        assert data.on.dtype == bool
        frame = data.to_dataframe()
        assert len(frame) == 3 * 2 * 2 * 2 * 2
        assert frame.welfare.notna().all()

    def test_measure_adds_variables(self) -> None:
        def measure(eq: stackel.Equilibrium) -> dict[str, Any]:
            return {"total": eq.follower_actions.sum(), "bought": eq.follower_actions.sum(1)}

        data = sweep(grid={"unit_cost": COSTS, "followers": [2, 3]}, measure=measure)
        assert data.total.dims == ("unit_cost", "followers")
        assert data.bought.dims == ("unit_cost", "followers", "bought_index")
        np.testing.assert_allclose(data.bought.sum("bought_index"), data.total)
        assert np.isnan(data.bought.sel(followers=2)).sum() == 3

    def test_measure_that_fails_leaves_the_answer(self) -> None:
        data = sweep(measure=lambda eq: {"welfare": 1.0})
        assert "welfare" in data.error.values[0]
        assert np.isfinite(data.welfare).all()

    def test_batches_give_what_single_solves_give(self) -> None:
        data = sweep(drawn, {"unit_cost": COSTS}, seeds=8)
        for cost in COSTS:
            for seed in range(8):
                eq = stackel.solve(drawn(cost, seed), "closed-form")
                at = data.sel(unit_cost=cost, seed=seed)
                np.testing.assert_allclose(at.leader_actions, eq.leader_actions[0], rtol=1e-9)
                np.testing.assert_allclose(at.follower_actions, eq.follower_actions, rtol=1e-9)
                np.testing.assert_allclose(at.leader_payoffs, eq.leader_payoffs, rtol=1e-9)

    @pytest.mark.slow
    @pytest.mark.parametrize("backend", ["closed-form", "newton"])
    def test_ten_thousand_markets(self, backend: str, tmp_path: Path) -> None:
        grid = {"unit_cost": np.linspace(0.05, 0.5, 100)}
        data = sweep(drawn, grid, seeds=100, backend=backend, certificate=False, resume=tmp_path)
        assert data.attrs["failed"] == 0
        for cell in np.random.default_rng(0).choice(10_000, 100, replace=False):
            at = data.isel(unit_cost=cell // 100, seed=cell % 100)
            game = drawn(float(at.unit_cost), int(at.seed))
            eq = stackel.solve(game, backend, certificate=False)
            np.testing.assert_allclose(at.leader_actions, eq.leader_actions[0], rtol=1e-9)
            np.testing.assert_allclose(
                at.follower_actions, eq.follower_actions, rtol=1e-9, atol=1e-9
            )
            np.testing.assert_allclose(at.leader_payoffs, eq.leader_payoffs, rtol=1e-9)


class TestFailure:
    @pytest.mark.parametrize("backend", ["closed-form", "admm"])  # in batches, and one by one
    def test_a_failed_cell_does_not_stop_the_rest(self, backend: str) -> None:
        def made(case: str) -> Any:
            if case == "crash":
                raise ZeroDivisionError("in my own code")
            return "no game" if case == "text" else market(-1.0 if case == "negative" else 0.3)

        cases = ["good", "crash", "text", "negative", "fine"]
        data = sweep(made, {"case": cases}, backend=backend)
        assert data.status.values.tolist() == ["converged", *["error"] * 3, "converged"]
        assert np.isnan(data.welfare.sel(case="crash"))
        errors = dict(zip(cases, data.error.values, strict=True))
        assert errors["good"] == errors["fine"] == ""
        assert "ZeroDivisionError: in my own code" in errors["crash"]
        assert "test_sweep.py" in errors["crash"], "says where it comes from"
        assert "expected a stackel.Game" in errors["text"]
        assert "unit_cost = -1" in errors["negative"]
        assert data.attrs["failed"] == 3

    def test_a_refusal_is_recorded(self) -> None:
        data = sweep(lambda delay: fig3(delay=delay), {"delay": [False, True]})
        assert data.error.values[0] == ""
        assert data.error.values[1].startswith("Refusal: ")

    def test_a_point_that_is_no_equilibrium_is_kept(self) -> None:
        data = sweep(backend="admm", max_sweeps=1, max_inner=1)
        assert data.error.values[0].startswith("NotConverged: ")
        assert np.isfinite(data.leader_actions).all()
        assert (data.verdict == "refuted").all()
        assert (data.leader_gap > 1e-6).all()

    def test_formulas_that_crash_a_batch_are_solved_alone(self) -> None:
        @dataclass(frozen=True)
        class Crashing(VehicularTwins):
            def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
                if self.unit_cost.max() > 0.25:
                    raise RuntimeError("a formula of my own")
                return super().follower_payoff(y, rivals, x)

        def made(unit_cost: float) -> stackel.Game:
            return Crashing([30.0, 25.0], 30.0, 4.0, [unit_cost, 0.1])

        data = sweep(made)
        assert [bool(e) for e in data.error.values] == [False, False, True]
        assert "a formula of my own" in data.error.values[2]

    def test_all_cells_failed(self, tmp_path: Path) -> None:
        data = sweep(grid={"unit_cost": [-1.0, -2.0]})
        assert data.sizes == {"unit_cost": 2, "leader": 0, "follower": 0}
        same(sweeps.load(sweeps.save(data, tmp_path / "x.nc")), data)
        same(sweeps.load(sweeps.save(data, tmp_path / "x.parquet")), data)


class TestResume:
    @pytest.fixture(scope="class")
    @classmethod
    def uninterrupted(cls) -> Any:
        return stackel.sweep(slow, KILLED, **OPTIONS)

    def test_goes_on_without_solving_again(self, tmp_path: Path) -> None:
        calls: list[float] = []

        def made(unit_cost: float) -> stackel.Game:
            calls.append(unit_cost)
            return market(unit_cost)

        first = sweep(made, resume=tmp_path / "new" / "run")
        again = sweep(made, resume=tmp_path / "new" / "run")
        assert calls == COSTS
        xr.testing.assert_identical(first, again)  # seconds too: they are read back

    @pytest.mark.parametrize("executor", ["serial", "process"])
    def test_a_killed_sweep_goes_on(
        self, executor: str, uninterrupted: Any, tmp_path: Path
    ) -> None:
        code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import stackel
from test_sweep import KILLED, slow
stackel.sweep(slow, KILLED, executor={executor!r}, workers=2, **{OPTIONS!r}, resume=sys.argv[1])
"""
        run = tmp_path / "run"
        child = subprocess.Popen([sys.executable, "-c", code, str(run)], cwd=ROOT)
        try:
            wait_for(lambda: (run / "cells.log").is_file() and len(records(run)) >= 5)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        before = records(run)
        assert 5 <= len(before) < 24
        resumed = stackel.sweep(slow, KILLED, **OPTIONS, resume=run)
        assert records(run)[: len(before)] == before, "what was finished is not solved again"
        same(resumed, uninterrupted)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda line: line.replace(b"searched", b"seaRched"),
            lambda line: line[: len(line) // 2],
            lambda line: line[:30] + b"\n" + line[30:],
            lambda line: b"\xff\x00" + line,
            lambda line: b"",
        ],
        ids=["flipped", "truncated", "split", "binary", "lost"],
    )
    @pytest.mark.parametrize("place", [0, 1, -1])
    def test_only_a_damaged_cell_is_solved_again(
        self,
        damage: Callable[[bytes], bytes],
        place: int,
        tmp_path: Path,
    ) -> None:
        calls: list[float] = []

        def made(unit_cost: float) -> stackel.Game:
            calls.append(unit_cost)
            return market(unit_cost)

        options = {"resume": tmp_path, "time_limit": 60}  # one by one
        whole = sweep(made, **options)
        lines = records(tmp_path)
        lines[place] = damage(lines[place])
        (tmp_path / "cells.log").write_bytes(b"".join(b"\n" + line + b"\n" for line in lines))
        calls.clear()
        same(sweep(made, **options), whole)
        assert calls == [COSTS[place]]
        calls.clear()
        same(sweep(made, **options), whole)
        assert calls == []

    @pytest.mark.parametrize("backend", ["closed-form", "newton"])
    def test_batches_cut_anywhere_give_the_same(self, backend: str, tmp_path: Path) -> None:
        options: dict[str, Any] = {"seeds": 10, "backend": backend, "resume": tmp_path}
        whole = sweep(drawn, **options)
        lines = records(tmp_path)
        rng = np.random.default_rng(0)
        for share in (0.1, 0.5, 0.95):
            kept = [line for line in lines if rng.random() < share]
            (tmp_path / "cells.log").write_bytes(b"\n".join([*kept, b""]))
            close(sweep(drawn, **options), whole)

    def test_a_damaged_log_is_reported(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        sweep(resume=tmp_path)
        log = tmp_path / "cells.log"
        log.write_bytes(log.read_bytes()[:-20])
        sweep(resume=tmp_path)
        assert "1 lines are damaged" in caplog.text

    def test_a_damaged_manifest_is_written_anew(self, tmp_path: Path) -> None:
        calls: list[float] = []

        def made(unit_cost: float) -> stackel.Game:
            calls.append(unit_cost)
            return market(unit_cost)

        sweep(made, resume=tmp_path)
        manifest = tmp_path / "sweep.json"
        text = manifest.read_text()
        for damaged in (text[:50], text.replace("0.2", "0.7"), "{}"):
            manifest.write_text(damaged)
            sweep(made, resume=tmp_path)
            assert manifest.read_text() == text
        assert calls == COSTS
        manifest.write_text(text[:50])
        other = sweep(made, {"unit_cost": [0.2, 0.3]}, resume=tmp_path)
        assert calls == [*COSTS, 0.2, 0.3], "lines of another sweep do not count"
        assert other.attrs["failed"] == 0

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"grid": {"unit_cost": [0.1, 0.2]}}, "grid.unit_cost was [0.1, 0.2, 0.3], is"),
            ({"grid": {"unit_cost": COSTS, "followers": [2]}}, "grid.followers was absent, is [2]"),
            ({"seeds": 2}, "seeds was null, is [0, 1]"),
            ({"backend": "newton"}, 'backend was "closed-form", is "newton"'),
            ({"tolerance": 1e-4}, "tolerance was 1e-06, is 0.0001"),
            ({"restarts": 1}, "restarts was absent, is 1"),
            ({"make_game": lambda unit_cost: market(unit_cost)}, "make_game: was market, is"),
            ({"measure": lambda eq: {}}, "measure was null"),
        ],
    )
    def test_a_directory_belongs_to_one_sweep(
        self, change: dict[str, Any], said: str, tmp_path: Path
    ) -> None:
        sweep(resume=tmp_path)
        kept = records(tmp_path)
        with pytest.raises(stackel.OptionError, match="holds another sweep") as caught:
            sweep(**change, resume=tmp_path)
        assert said in str(caught.value)
        assert str(caught.value).count("\n  ") == 1, "names what differs and nothing else"
        assert "another directory" in str(caught.value)
        assert records(tmp_path) == kept

    def test_a_changed_function_is_another_sweep(self, tmp_path: Path) -> None:
        def version(cost: float) -> Callable[[float], stackel.Game]:
            def made(unit_cost: float) -> stackel.Game:
                return market(unit_cost + cost)

            return made

        sweep(version(0.0), resume=tmp_path)
        sweep(version(0.0), resume=tmp_path)
        with pytest.raises(stackel.OptionError, match="its source, or what it uses, has changed"):
            sweep(version(0.1), resume=tmp_path)

    @pytest.mark.parametrize("name", ["grid", "measure", "make_game"])
    def test_parameters_may_be_called_as_parts_of_a_sweep_are(
        self, name: str, tmp_path: Path
    ) -> None:
        def make(**given: float) -> stackel.Game:
            return market(given[name])

        stackel.sweep(make, {name: [0.1, 0.2]}, backend="closed-form", resume=tmp_path)
        with pytest.raises(stackel.OptionError, match=rf"grid\.{name} was \[0\.1, 0\.2\], is"):
            stackel.sweep(make, {name: [0.1, 0.3]}, backend="closed-form", resume=tmp_path)

    def test_a_directory_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(stackel.OptionError, match=r"holds 'thesis\.tex' and no sweep"):
            sweep(resume=tmp_path)
        with pytest.raises(stackel.OptionError, match="is a file; expected a directory"):
            sweep(resume=tmp_path / "thesis.tex")
        assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


class TestInterrupt:
    def test_ctrl_c_keeps_what_is_finished(self, tmp_path: Path) -> None:
        pressed = [True]

        def made(unit_cost: float) -> stackel.Game:
            if unit_cost == 0.3 and pressed:
                raise KeyboardInterrupt
            return market(unit_cost)

        options = {"backend": "admm", "resume": tmp_path}
        with pytest.raises(SweepInterrupted) as caught:
            sweep(made, **options)
        part = caught.value.result
        assert np.isfinite(part.welfare).values.tolist() == [True, True, False]
        assert "interrupted" in part.error.values[2]
        assert isinstance(caught.value, KeyboardInterrupt)
        pressed.clear()
        whole = sweep(made, **options)
        same(whole.isel(unit_cost=[0, 1]), part.isel(unit_cost=[0, 1]).assign_attrs(whole.attrs))

    def test_the_point_of_the_cell_in_progress_is_kept_but_not_stored(self, tmp_path: Path) -> None:
        @dataclass
        class Pressed(stackel.Backend):
            name: ClassVar[str] = "pressed"

            def accepts(self, game: stackel.Game) -> list[str]:
                return []

            def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
                run.keep(game.leader_bounds[1], np.full(game.follower_shape, 0.1))
                raise KeyboardInterrupt

        with pytest.raises(SweepInterrupted) as caught:
            sweep(backend=Pressed(), resume=tmp_path)
        assert caught.value.result.status.values.tolist() == ["interrupted", "", ""]
        assert (caught.value.result.leader_actions[0] == 1.5).all()
        assert records(tmp_path) == []

    @pytest.mark.parametrize("executor", ["serial", "process"])
    def test_a_real_ctrl_c(self, executor: str, tmp_path: Path) -> None:
        code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import stackel
from stackel.sweeps import SweepInterrupted
from test_sweep import KILLED, slow
try:
    stackel.sweep(slow, KILLED, executor={executor!r}, workers=2, **{OPTIONS!r}, resume=sys.argv[1])
except SweepInterrupted as stopped:
    print(int((stopped.result.status == "converged").sum()))
"""
        run = tmp_path / "run"
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(run)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_for(lambda: (run / "cells.log").is_file() and len(records(run)) >= 3)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the workers too
        out, errors = child.communicate(timeout=30)
        assert child.returncode == 0, errors
        assert 3 <= int(out) == len(records(run)) < 24
        assert errors == ""


class TestExecutors:
    def test_processes_give_what_one_gives(self) -> None:
        grid = {"unit_cost": COSTS, "followers": [2, 3]}
        close(sweep(grid=grid, executor="process", workers=2), sweep(grid=grid))
        one_by_one = {"grid": grid, "time_limit": 60}
        same(sweep(**one_by_one, executor="process", workers=2), sweep(**one_by_one))

    def test_functions_without_a_module_travel(self) -> None:
        extra = 0.05
        data = sweep(
            lambda unit_cost: market(unit_cost + extra),
            measure=lambda eq: {"pid": os.getpid()},
            executor="process",
            workers=1,
            backend="admm",
        )
        assert data.attrs["failed"] == 0
        assert (data.pid != os.getpid()).all()

    @pytest.mark.parametrize("part", ["make_game", "measure"])
    def test_what_cannot_travel_is_refused_before_any_work(self, part: str) -> None:
        lock = threading.Lock()
        functions: dict[str, Any] = {
            "make_game": lambda unit_cost: (lock, market(unit_cost))[1],
            "measure": lambda eq: {"locked": lock.locked()},
        }
        with pytest.raises(stackel.OptionError, match=f"{part} cannot be sent to another process"):
            sweep(**{part: functions[part]}, executor="process")

    def test_a_killed_worker_is_survived(self, tmp_path: Path) -> None:
        def made(unit_cost: float) -> stackel.Game:
            flag = tmp_path / "killed"
            if unit_cost == 0.2 and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return market(unit_cost)

        data = sweep(made, executor="process", workers=2)
        assert (tmp_path / "killed").exists()
        close(data, sweep(made))

    def test_a_cell_that_always_kills_is_recorded(self, tmp_path: Path) -> None:
        def made(number: int) -> stackel.Game:
            if number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return market(0.1 + 0.01 * number)

        data = sweep(made, {"number": range(4)}, executor="process", workers=1)
        assert data.error.values[2].startswith("WorkerLost: ")
        assert data.attrs["failed"] == 1
        rest = sweep(made, {"number": [0, 1, 3]})
        close(data.drop_sel(number=2).drop_attrs(), rest.drop_attrs())

    def test_workers_go_when_the_sweep_is_killed(self, tmp_path: Path) -> None:
        code = f"""
import os, pathlib, time
import stackel
def made(number):
    (pathlib.Path({str(tmp_path)!r}) / str(os.getpid())).touch()
    time.sleep(60)
stackel.sweep(made, {{"number": range(4)}}, executor="process", workers=2)
"""
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        child.kill()
        child.wait()
        wait_for(lambda: not any(map(is_running, (int(p.name) for p in tmp_path.iterdir()))))

    def test_the_progress_bar_goes_to_stderr(self, capfd: pytest.CaptureFixture[str]) -> None:
        data = sweep(progress=True)
        assert data.attrs["failed"] == 0
        assert capfd.readouterr().out == ""

    def test_batches_grow_to_what_a_second_takes(self) -> None:
        queue = Queue(range(5000), 1, batched=True)
        assert len(queue.take().cells) == FIRST
        sizes = []
        for _ in range(6):
            queue.learn(100, 0.05)  # 2,000 a second
            sizes.append(len(queue.take().cells))
        assert max(sizes) == sizes[-1] == 400, "at most four times what was tried"
        queue.learn(400, 0.1)
        assert len(queue.take().cells) == MOST
        queue.learn(10, 20.0)  # slower than a second each
        assert len(queue.take().cells) == 1

    @pytest.mark.slow
    def test_ray_with_a_worker_killed(self, tmp_path: Path) -> None:
        ray = pytest.importorskip("ray")
        ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
        try:
            killed = threading.Event()

            def kill_one() -> None:
                wait_for(lambda: len(list(tmp_path.iterdir())) >= 3, 120)
                time.sleep(0.3)
                os.kill(int(min(p.name for p in tmp_path.iterdir())), signal.SIGKILL)
                killed.set()

            def made(unit_cost: float, followers: int) -> stackel.Game:
                (tmp_path / str(os.getpid())).touch()
                time.sleep(0.05)
                return market(unit_cost, followers)

            killer = threading.Thread(target=kill_one)
            killer.start()
            grid = {"unit_cost": np.linspace(0.1, 0.4, 20), "followers": [2, 3]}
            options = {"backend": "newton", "time_limit": 60}
            data = sweep(made, grid, executor="ray", **options)
            killer.join()
            assert killed.is_set()
            assert len(list(tmp_path.iterdir())) >= 4, "three workers, and one for the dead"
            assert ray.is_initialized(), "a cluster that was there before stays"
            same(data, sweep(made, grid, **options))
        finally:
            ray.shutdown()


class TestFiles:
    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> Any:
        def made(unit_cost: float, label: Any, followers: int, on: bool) -> stackel.Game:
            return market(-1.0 if label is None else unit_cost, followers)

        return sweep(
            made,
            {"unit_cost": COSTS, "label": ["é", None], "followers": [1, 2], "on": [True, False]},
            measure=lambda eq: {"bought": eq.follower_actions.sum(1), "first": 1.0},
        )

    @pytest.mark.parametrize("ending", [".nc", ".parquet"])
    def test_nothing_is_lost(self, data: Any, ending: str, tmp_path: Path) -> None:
        path = sweeps.save(data, tmp_path / f"x{ending}")
        loaded = sweeps.load(path)
        xr.testing.assert_identical(loaded, data)
        assert {n: v.dtype.kind for n, v in loaded.variables.items() if n != "error"} == {
            n: v.dtype.kind for n, v in data.variables.items() if n != "error"
        }
        assert [p.name for p in tmp_path.iterdir()] == [path.name]

    def test_xarray_saves_it_too(self, data: Any, tmp_path: Path) -> None:
        data.to_netcdf(tmp_path / "x.nc")
        xr.testing.assert_identical(xr.load_dataset(tmp_path / "x.nc"), data)

    def test_csv_has_a_row_for_each_cell(self, data: Any, tmp_path: Path) -> None:
        import pandas as pd

        frame = pd.read_csv(sweeps.save(data, tmp_path / "x.csv"))
        assert len(frame) == 24
        at = data.isel(unit_cost=1, label=0, followers=1, on=0)
        row = frame.iloc[np.ravel_multi_index((1, 0, 1, 0), (3, 2, 2, 2))]
        assert row["follower_actions[1, 0]"] == float(at.follower_actions[1, 0])
        assert row["unit_cost"] == 0.2
        assert row["leader_payoffs[1]"] == float(at.leader_payoffs[1])

    def test_bad_files(self, data: Any, tmp_path: Path) -> None:
        with pytest.raises(stackel.OptionError, match=r"expected \.nc, \.parquet, \.csv"):
            sweeps.save(data, tmp_path / "x.xls")
        with pytest.raises(stackel.OptionError, match=r"expected \.nc, \.parquet"):
            sweeps.load(tmp_path / "x.csv")
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            sweeps.save(data, tmp_path / "none" / "x.nc")
        with pytest.raises(stackel.GameError, match="there is no file"):
            sweeps.load(tmp_path / "x.nc")
        for name in ("x.nc", "x.parquet"):
            (tmp_path / name).write_bytes(b"nothing of the kind")
            with pytest.raises(stackel.GameError, match="is not a saved sweep, or is damaged"):
                sweeps.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"make_game": 3}, "make_game = 3; expected a function"),
        ({"grid": {}}, "grid = {}; expected values by parameter"),
        ({"grid": [1]}, r"grid = \[1\]; expected values by parameter"),
        ({"grid": {"unit_cost": []}}, r"grid\['unit_cost'\] is empty"),
        ({"grid": {"unit_cost": 0.1}}, "expected a list of values"),
        ({"grid": {"unit_cost": "0.1"}}, "expected a list of values"),
        ({"grid": {"unit_cost": [0.1, 0.1]}}, "has 0.1 more than once"),
        ({"grid": {"unit_cost": [0.1], "costs": [1]}}, "takes no 'costs'"),
        ({"grid": {"followers": [2]}}, "needs 'unit_cost', which the sweep does not give"),
        ({"grid": {"unit_cost": [0.1], "status": [1]}}, "'status' is the name of something"),
        ({"make_game": drawn}, "needs 'seed', .* give seeds="),
        ({"make_game": drawn, "grid": {"seed": [1]}, "seeds": 1}, "both grid and seeds"),
        ({"seeds": 0}, "seeds = 0; expected how many"),
        ({"seeds": True}, "seeds = True; expected how many"),
        ({"seeds": [1, 1]}, "expected how many .* distinct"),
        ({"seeds": [1.5]}, "seeds = .*; expected"),
        ({"seeds": []}, "seeds = .*; expected"),
        ({"executor": "threads"}, "unknown executor 'threads'"),
        ({"workers": 0}, "workers = 0; expected a whole number"),
        ({"backend": "simplex"}, "unknown backend 'simplex'"),
        ({"penalty": 3}, "unknown option of backend 'closed-form' 'penalty'"),
        ({"throw": True}, "unknown option of backend 'closed-form' 'throw'"),
        ({"backend": "auto", "penalty": 3}, "belong to one backend"),
        ({"anticipation": "all"}, "anticipation = 'all'"),
        ({"tolerance": 2}, "tolerance = 2"),
        ({"time_limit": 0}, "time_limit = 0"),
        ({"certificate": "no"}, "certificate = 'no'"),
        ({"starts": 0}, "starts = 0"),
        ({"measure": 3}, "measure = 3"),
    ],
)
def test_bad_input_is_refused_before_any_work(change: dict[str, Any], said: str) -> None:
    with pytest.raises(stackel.OptionError, match=said):
        sweep(**change)


class TestCommand:
    def run(self, *arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["sweep", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    def written(self, folder: Path, table: str, data: str = "") -> Path:
        path = folder / "market.toml"
        path.write_text(
            'market = "vehicular-twins"\n[data]\nsatisfaction = [30, 25]\nsensitivity = 30\n'
            f"ties = 4\nunit_cost = [0.3, 0.1]\n{data}\n"
            f'[solve]\nbackend = "closed-form"\n[sweep]\n{table}'
        )
        return path

    def test_the_example(self, tmp_path: Path) -> None:
        out = tmp_path / "costs.nc"
        result = self.run(EXAMPLE, "--out", out)
        assert "14 cells, 0 failed" in result.stdout
        assert "1.18214" in result.stdout
        data = sweeps.load(out)
        assert data["unit_cost.0"].values[-1] == 0.6
        prices = data.leader_actions.sel(leader=0, ties=4)
        assert (prices.diff("unit_cost.0") > 0).all()
        game = VehicularTwins(
            [30, 25, 35], 30, 4, [0.2, 0.1], 1.5, payment_scale=15, utility_scale=100
        )
        at = data.sel({"unit_cost.0": 0.2, "ties": 4})
        np.testing.assert_allclose(at.leader_actions, stackel.solve(game).leader_actions[0])

    def test_json(self, tmp_path: Path) -> None:
        path = self.written(
            tmp_path, 'seeds = [4]\n[sweep.grid]\n"unit_cost.1" = [0.2, -1]\nradio.distance = [300]'
        )
        result = self.run(path, "--json", code=3)
        document = json.loads(result.stdout)
        assert document["dimensions"]["unit_cost.1"] == 2
        assert document["sweep"]["failed"] == 1
        good, bad = document["cells"]
        assert good["certified"] is True
        assert good["seed"] == 4
        assert bad["welfare"] is None
        assert "unit_cost = -1" in bad["error"]
        assert "1 of 2 cells failed; the first: GameError" in result.stderr

    def test_options_of_the_command_line_win(self, tmp_path: Path) -> None:
        path = self.written(
            tmp_path, 'out = "no/x.nc"\n[sweep.grid]\nties = [4, 5]\nradio = [{ distance = 300 }]'
        )
        out, run = tmp_path / "x.parquet", tmp_path / "run"
        result = self.run(path, "-b", "newton", "-q", "--out", out, "--resume", run)
        assert result.output == ""
        assert len(records(run)) == 2
        assert sweeps.load(out).attrs["backend"] == "newton"
        assert "no folder no" in self.run(path, code=2).stderr

    def test_a_preset_and_whole_arrays(self, tmp_path: Path) -> None:
        path = tmp_path / "market.toml"
        path.write_text(
            'preset = "fig3"\n[sweep.grid]\nunit_cost = [[0.1, 0.2], [0.3, 0.2]]\n'
            "satisfaction.2 = [30, 35]\n"
        )
        out = tmp_path / "x.csv"
        assert "4 cells, 0 failed" in self.run(path, "--out", out).stdout
        assert "[0.1, 0.2]" in out.read_text()

    def test_a_market_beside_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "my_swept_market.py").write_text(
            "from stackel.formulations.vehicular_twins import VehicularTwins\n"
            "class Mine(VehicularTwins): pass\n"
        )
        path = tmp_path / "market.toml"
        path.write_text(
            'market = "my_swept_market:Mine"\n[data]\nsatisfaction = [30]\nsensitivity = 30\n'
            "unit_cost = 0.1\nties = 0\n[sweep.grid]\nsensitivity = [30, 40]\n"
        )
        assert "Mine: 2 cells, 0 failed" in self.run(path, "--executor", "process").stdout

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ("", "there is no [sweep.grid]"),
            ("grids = 1", "unknown entry 'grids'"),
            ("workers = 1.5\n[sweep.grid]\nties = [1]", "workers = 1.5; expected a whole number"),
            ("[sweep.grid]\nties = 4", "[sweep.grid] ties = 4; expected a list of values"),
            ("[sweep.grid]\nrent = [4]", "unknown field of VehicularTwins 'rent'"),
            ('[sweep.grid]\nties = ["x"]', "[sweep.grid] ties = 'x'; expected a number"),
            ("[sweep.grid]\nradio.colour = [4]", "unknown field of radio 'colour'"),
            ("[sweep.grid]\nunit_cost.2 = [4]", "unit_cost has shape (2,); expected 1 number"),
            ("[sweep.grid]\nsensitivity.0 = [4]", "write it as a list to vary one entry of it"),
            ("[sweep.grid]\nunit_cost.0 = [true]", "expected a number"),
            ('backend = "x"\n[sweep.grid]\nties = [1]', "unknown backend 'x'"),
            ('executor = "x"\n[sweep.grid]\nties = [1]', "unknown executor 'x'"),
            ('out = "x.xls"\n[sweep.grid]\nties = [1]', "expected .nc, .parquet, .csv"),
        ],
    )
    def test_bad_files(self, table: str, said: str, tmp_path: Path) -> None:
        result = self.run(self.written(tmp_path, table), code=2)
        assert said in result.stderr
        assert result.stdout == ""

    def test_other_commands_leave_the_table_alone(self) -> None:
        result = CliRunner().invoke(app, ["solve", str(EXAMPLE)])
        assert result.exit_code == 0, result.output


OPTIONS: dict[str, Any] = {
    "backend": "newton",
    "seeds": 2,
    "time_limit": 60.0,  # one by one, so that there is a middle
    "certificate": False,
}
KILLED: dict[str, Any] = {"unit_cost": [round(0.1 + 0.01 * k, 2) for k in range(12)]}


def slow(unit_cost: float, seed: int) -> VehicularTwins:
    time.sleep(0.03)
    return drawn(unit_cost, seed)


def records(folder: Path) -> list[bytes]:
    return [line for line in (folder / "cells.log").read_bytes().split(b"\n") if line]


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.is_file() and status.read_text().rpartition(") ")[2].startswith("Z"))
