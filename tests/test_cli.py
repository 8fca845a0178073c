"""The stackel command: what it prints, what it keeps, and the exit codes that scripts read."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

import stackel
from commands import complaint, run
from stackel import backend as registry
from stackel import catalogue
from stackel.cli import app, console, tables
from stackel.formulations.vehicular_twins import fig3

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("plain")


class _Fake(stackel.Backend):
    def accepts(self, game: stackel.Game) -> list[str]:
        return []

    def somewhere(self, game: stackel.Game) -> stackel.Point:
        """Everybody at the cap: an equilibrium of nothing in this file."""
        x = np.full(game.leader_shape, game.leader_bounds[1].max())
        return stackel.Point(x, np.full(game.follower_shape, 0.1))


@dataclass(frozen=True)
class Wrong(_Fake):
    name: ClassVar[str] = "wrong"

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        return self.somewhere(game)


@dataclass(frozen=True)
class Endless(_Fake):
    name: ClassVar[str] = "endless"

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        point = self.somewhere(game)
        while True:
            run.step(point.x, point.y, change=1.0)
            time.sleep(0.001)


@dataclass(frozen=True)
class Interrupted(_Fake):
    name: ClassVar[str] = "interrupted"

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        point = self.somewhere(game)
        run.step(point.x, point.y, change=1.0)
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Broken(_Fake):
    name: ClassVar[str] = "broken"

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        raise KeyError("lost")


@dataclass(frozen=True)
class Picky(_Fake):
    name: ClassVar[str] = "picky"

    def accepts(self, game: stackel.Game) -> list[str]:
        return ["dislikes [bold]price[0][/bold]"]

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        raise NotImplementedError


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Wrong, Endless, Interrupted, Broken, Picky):
        place = f"{__name__}:{kind.__name__}"
        monkeypatch.setitem(registry.REGISTER.built_in, kind.__name__.lower(), place)  # type: ignore[arg-type]


# -- solve and show ----------------------------------------------------------------------------


@pytest.mark.proofs
@pytest.mark.parametrize("backend", ["closed-form", "newton", "admm"])
def test_solve_prints_players_and_certificate(backend: str) -> None:
    out = run("solve", "fig3", "--backend", backend).stdout
    eq = stackel.solve(fig3(), backend)
    for number in (*eq.leader_actions.ravel(), *eq.leader_payoffs, *eq.follower_payoffs):
        assert f"{number:.6g}"[:6] in out
    assert f"VehicularTwins (3 followers, 2 leaders) by {backend}: converged" in out
    assert "Leaders: price [$ per 1e7 Hz]" in out
    assert "bandwidth[1]" in out, "no markup"
    assert "verdict         proved" in out
    assert all(line == line.rstrip() for line in out.splitlines())


@pytest.mark.proofs
def test_json_is_what_save_writes_and_a_summary(tmp_path: Path) -> None:
    result = run("solve", "fig3-delay", "-b", "newton", "--json")
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    eq = stackel.solve(fig3(delay=True), "newton")
    summary = document["summary"]
    np.testing.assert_allclose(summary["leader_actions"], eq.leader_actions)
    np.testing.assert_allclose(summary["follower_actions"], eq.follower_actions)
    np.testing.assert_allclose(summary["leader_payoffs"], eq.leader_payoffs)
    np.testing.assert_allclose(summary["follower_payoffs"], eq.follower_payoffs)
    assert summary["is_equilibrium"] is True
    assert (summary["verdict"], summary["status"]) == ("proved", "converged")
    (tmp_path / "eq.json").write_text(result.stdout, encoding="utf-8")
    again = stackel.Equilibrium.load(tmp_path / "eq.json")
    np.testing.assert_array_equal(again.leader_actions, summary["leader_actions"])


def test_a_kept_answer_shows_again(tmp_path: Path) -> None:
    path = tmp_path / "eq.json"
    out = run("solve", "fig3-delay", "-b", "newton", "--save", path).stdout
    assert "delay multiplier" in out
    shown_again = run("show", path).stdout
    assert shown_again.startswith(out)
    assert f"as saved, not re-checked; `stackel certify {path}` re-checks it" in shown_again
    shown = json.loads(run("show", path, "--json").stdout)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert {k: shown[k] for k in kept} == kept
    assert shown["rechecked"] is False


def test_show_history(tmp_path: Path) -> None:
    run("solve", "fig3", "-b", "newton", "-q", "--save", tmp_path / "eq.json")
    out = run("show", tmp_path / "eq.json", "--history").stdout
    history = stackel.Equilibrium.load(tmp_path / "eq.json").history
    assert all(str(column) in out for column in history.columns)
    assert len(out.rstrip().splitlines()) == len(history) + 3


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "eq.json"
    run("solve", "fig3", "-b", "newton", "-q", "--save", path, "--plot", tmp_path / "a.png")
    run("show", path, "--plot", tmp_path / "b.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "b.svg").read_text(encoding="utf-8")


def test_quiet_prints_nothing() -> None:
    result = run("solve", "fig3", "-b", "newton", "--quiet")
    assert result.output == ""


@pytest.mark.proofs
@pytest.mark.parametrize("name", ["fig3", "campus"])
def test_the_example_markets(name: str) -> None:
    out = run("solve", ROOT / "examples" / "markets" / f"{name}.toml").stdout
    assert "proved" in out


def test_the_file_s_options_and_the_command_line_s(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text(
        'preset = "fig3"\n[solve]\nbackend = "admm"\npenalty = 7.0\nseed = 1', encoding="utf-8"
    )

    def options(*arguments: str) -> tuple[str, dict]:
        document = json.loads(run("solve", path, "--json", *arguments).stdout)
        return document["summary"]["backend"], document["equilibrium"]["fields"]["stats"]["options"]

    backend, used = options()
    assert (backend, used["penalty"]) == ("admm", 7.0)
    backend, used = options("-o", "penalty=3")
    assert (backend, used["penalty"]) == ("admm", 3)
    backend, used = options("--backend", "newton")
    assert backend == "newton"
    assert "penalty" not in used


def test_options_reach_solve(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict = {}

    def solve(game: stackel.Game, **options: object) -> stackel.Equilibrium:
        seen.update(options)
        return stackel.solve(game, "newton")

    monkeypatch.setattr("stackel.cli.solve.solve_game", solve)
    flags = ["--seed", "3", "--time-limit", "9.5", "--tolerance", "1e-4", "-b", "admm"]
    values = {"a": "5", "b": "1e-6", "c": "True", "d": "None", "e": "false", "f": "a=b", "g": "[1]"}
    run(
        "solve",
        "fig3",
        *flags,
        "--anticipation=none",
        *(w for k, v in values.items() for w in ("-o", f"{k}={v}")),
    )
    assert seen.pop("progress") is False
    assert seen == {
        "seed": 3,
        "time_limit": 9.5,
        "tolerance": 1e-4,
        "anticipation": "none",
        "backend": "admm",
        "a": 5,
        "b": 1e-6,
        "c": True,
        "d": None,
        "e": False,
        "f": "a=b",
        "g": [1],
    }


# -- the other commands ------------------------------------------------------------------------


@pytest.mark.usefixtures("fakes")
def test_backends() -> None:
    out = run("backends", "fig3").stdout
    assert "dislikes [bold]price[0][/bold]" in out, "no markup, not cut"
    document = json.loads(run("backends", "fig3", "--json").stdout)
    assert document["game"] == "VehicularTwins (3 followers, 2 leaders)"
    rows = {row["backend"]: row for row in document["backends"]}
    assert rows["newton"]["can"] is True
    assert rows["picky"]["can"] is False
    assert rows["picky"]["reasons"] == "dislikes [bold]price[0][/bold]"


def test_presets() -> None:
    out = run("presets").stdout
    assert all(name in out for name in catalogue.names())
    assert "satisfaction, sensitivity, ties, unit_cost" in out


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two other packages: one whose market loads, one whose market does not."""
    found = {
        "theirs": "stackel.formulations.vehicular_twins:VehicularTwins",
        "broken": "no_such_module:Market",
        "odd": "json:dumps",
    }
    points = {k: metadata.EntryPoint(k, v, catalogue.GROUP) for k, v in found.items()}

    def entry_points(group: str) -> dict[str, metadata.EntryPoint]:
        return points if group == catalogue.GROUP else {}

    monkeypatch.setattr("stackel.plugins.entry_points", entry_points)


@pytest.mark.usefixtures("plugins")
def test_markets_of_other_packages() -> None:
    assert catalogue.markets() == [*catalogue.MARKETS, "theirs", "broken", "odd"]
    assert catalogue.market("theirs") is type(fig3())
    with pytest.raises(stackel.StackelError, match="registered by no_such_module:Market but does"):
        catalogue.market("broken")
    with pytest.raises(stackel.GameError, match=r"is not a subclass of stackel\.Game"):
        catalogue.market("odd")
    with pytest.raises(stackel.OptionError, match="did you mean 'theirs'"):
        catalogue.market("their")
    out = run("presets").stdout
    assert "theirs" in out
    assert "No module named 'no_such_module'" in out


@pytest.mark.parametrize("name", catalogue.PRESETS)
def test_every_preset_is_a_game(name: str) -> None:
    assert isinstance(catalogue.preset(name), stackel.Game)


def test_version() -> None:
    assert run("--version").stdout == f"stackel {stackel.__version__}\n"


@pytest.mark.parametrize(
    "command", [[], ["solve"], ["certify"], ["backends"], ["show"], ["presets"]]
)
def test_help_explains_the_exit_codes(command: list[str]) -> None:
    out = run(*command, "--help").stdout
    for code in console.Code:
        assert f"\n    {code.value}  " in out
    assert "Usage: " in out


# -- exit codes --------------------------------------------------------------------------------


@pytest.mark.usefixtures("fakes")
def test_1_an_unexpected_failure() -> None:
    told = complaint("solve", "fig3", "-b", "broken", code=1)
    assert told.startswith("stackel: unexpected KeyError: 'lost'")
    assert "STACKEL_TRACEBACK" in told


@pytest.mark.usefixtures("fakes")
def test_1_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKEL_TRACEBACK", "1")
    with pytest.raises(KeyError):
        CliRunner().invoke(app, ["solve", "fig3", "-b", "broken"], catch_exceptions=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sove", "fig3"],
        ["solve"],
        ["solve", "fig3", "--sed", "3"],
        ["solve", "fig3", "--seed", "x"],
    ],
)
def test_2_bad_usage(arguments: list[str]) -> None:
    assert "Error: " in complaint(*arguments, code=2)


def test_2_an_unknown_preset() -> None:
    told = complaint("solve", "fig4", code=2)
    assert told.startswith("stackel: unknown preset 'fig4'; did you mean 'fig3'?")
    assert "nor is there a file fig4" in told


def test_2_no_market_file(tmp_path: Path) -> None:
    told = complaint("solve", tmp_path / "nix.toml", code=2)
    assert "there is no file" in told
    assert "there is no file" in complaint("backends", tmp_path / "nix.toml", code=2)


def test_2_a_bad_market(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text('preset = "fig3"\n[data]\nunit_cost = [2.0, 0.1]\n', encoding="utf-8")
    told = complaint("solve", path, code=2)
    assert f"{path}: VehicularTwins.unit_cost = 2 at leader 0" in told


def test_2_a_market_without_equilibrium(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text('preset = "fig3"\n[data]\nties = 50\n', encoding="utf-8")
    assert "VehicularTwins (3 followers, 2 leaders)" in complaint("solve", path, code=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-b", "nwton"], "unknown backend 'nwton'; did you mean 'newton'?"),
        (["-b", "admm", "-o", "penalti=5"], "did you mean 'penalty'?"),
        (["-b", "admm", "-o", "penalty=-5"], "penalty = -5"),
        (["-b", "admm", "-o", "penalty"], "'penalty': expected KEY=VALUE"),
        (["-b", "admm", "-o", "throw=True"], "throw cannot be set from the command line"),
        (["-o", "penalty=5"], "name the backend"),
        (["--anticipation", "maybe"], "anticipation = 'maybe'; expected one of equilibrium"),
        (["--time-limit", "-1"], "time_limit = -1.0; expected a positive number of seconds"),
        (["--tolerance", "2"], "tolerance = 2.0; expected a number between 0 and 1"),
        (["--save", "no/such/folder/eq.json"], "there is no folder no/such/folder"),
        (["--save", "."], "is a folder; expected a file's name"),
        (["--plot", "eq.bmp"], "eq.bmp has the ending '.bmp'; expected .png, .pdf, .svg"),
    ],
)
def test_2_a_bad_option(arguments: list[str], told: str) -> None:
    assert told in complaint("solve", "fig3", *arguments, code=2)


def test_2_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "find_spec", lambda name: None)
    told = complaint("solve", "fig3", "--plot", "eq.png", code=2)
    assert 'pip install "stackel[plot]"' in told


def test_2_nothing_to_show(tmp_path: Path) -> None:
    assert "there is no file" in complaint("show", tmp_path / "nix.json", code=2)
    (tmp_path / "cut.json").write_text('{"stackel"', encoding="utf-8")
    assert "is not JSON" in complaint("show", tmp_path / "cut.json", code=2)


@pytest.mark.usefixtures("fakes")
def test_3_not_an_equilibrium(tmp_path: Path) -> None:
    result = run("solve", "fig3", "-b", "wrong", "--save", tmp_path / "eq.json", code=3)
    assert "refuted" in result.stdout
    assert "gains" in result.stdout
    assert result.stderr.startswith("stackel: VehicularTwins (3 followers, 2 leaders) by wrong: ")
    assert not stackel.Equilibrium.load(tmp_path / "eq.json").is_equilibrium
    run("show", tmp_path / "eq.json")


@pytest.mark.usefixtures("fakes")
def test_3_as_json() -> None:
    result = run("solve", "fig3", "-b", "wrong", "--json", code=3)
    summary = json.loads(result.stdout)["summary"]
    assert summary["is_equilibrium"] is False
    assert summary["verdict"] == "refuted"
    assert "gains" in summary["refuted_by"]


@pytest.mark.usefixtures("fakes")
def test_4_refused() -> None:
    told = complaint("solve", "fig3", "-b", "picky", code=4)
    assert "backend 'picky' cannot solve VehicularTwins (3 followers, 2 leaders):" in told
    assert "dislikes [bold]price[0][/bold]" in told
    assert "backends that can: closed-form, newton, admm" in told


@pytest.mark.usefixtures("fakes")
def test_5_out_of_time() -> None:
    result = run("solve", "fig3", "-b", "endless", "--time-limit", "0.05", code=5)
    assert "stopped at the time limit" in result.stdout
    assert "stopped at the time limit" in result.stderr


@pytest.mark.usefixtures("fakes")
def test_5_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "eq.json"
    result = run("solve", "fig3", "-b", "interrupted", "--save", path, code=5)
    assert "not certified" in result.stdout
    assert "1.5" in result.stdout, "the best point so far"
    assert "interrupted" in result.stderr
    kept = stackel.Equilibrium.load(path)
    assert kept.status is stackel.Status.INTERRUPTED
    np.testing.assert_array_equal(kept.leader_actions, [[1.5, 1.5]])


def test_5_interrupted_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def solve(game: stackel.Game, **options: object) -> stackel.Equilibrium:
        raise KeyboardInterrupt

    monkeypatch.setattr("stackel.cli.solve.solve_game", solve)
    assert "interrupted before" in complaint("solve", "fig3", code=5)


CTRL_C = """
import sys
from dataclasses import dataclass
from stackel import Backend, backend, cli
from stackel.followers import first_guess
from stackel.game import middle

@dataclass
class Endless(Backend):
    name = "endless"

    def accepts(self, game):
        return []

    def solve(self, game, run):
        x = middle(*game.leader_bounds)
        y = first_guess(game)
        run.step(x, y)
        sys.stderr.write("ready")
        sys.stderr.flush()
        while True:
            run.step(x, y)

backend.REGISTER.built_in["endless"] = "__main__:Endless"
sys.argv = ["stackel", "solve", "fig3", "-b", "endless", "--save", "eq.json"]
cli.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_keeps_and_prints_the_best_point(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.read(5) == "ready"
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 5, told
    assert "not certified" in out
    assert "interrupted" in told
    assert "Traceback" not in told
    assert (tmp_path / "eq.json").is_file()


def test_a_market_in_the_working_directory(tmp_path: Path) -> None:
    module = "from stackel.formulations.vehicular_twins import VehicularTwins as Mine\n"
    (tmp_path / "here.py").write_text(module, encoding="utf-8")
    (tmp_path / "sub").mkdir()
    text = 'market = "here:Mine"\n[data]\nsatisfaction = 30\nsensitivity = 30\nties = 0\n'
    (tmp_path / "sub" / "m.toml").write_text(text + "unit_cost = 0.1\n", encoding="utf-8")
    code = "import sys; sys.argv[0] = 'stackel'; from stackel.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "backends", "sub/m.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "VehicularTwins (1 follower, 1 leader)" in done.stdout


# -- tables ------------------------------------------------------------------------------------


def test_a_summary_is_json_whatever_the_numbers() -> None:
    eq = stackel.solve(fig3(), "newton")
    gone = replace(eq, follower_actions=eq.follower_actions * np.inf)
    with np.errstate(all="ignore"):
        json.dumps(tables.summary(gone), allow_nan=False)
