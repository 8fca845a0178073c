"""`stackel certify`: kept answers and stated points, measured anew."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stackel
from commands import complaint, run
from stackel import Equilibrium, Status
from stackel.files import read_point
from stackel.followers import settle
from stackel.formulations.vehicular_twins import VehicularTwins, fig3
from stackel.tasks.progress import progress

pytestmark = [pytest.mark.usefixtures("plain"), pytest.mark.proofs]

POINT = Path(__file__).parents[1] / "examples" / "markets" / "point.toml"


@pytest.fixture(scope="module")
def answer() -> Equilibrium:
    return stackel.solve(fig3(), "newton")


@pytest.fixture
def kept(answer: Equilibrium, tmp_path: Path) -> Path:
    return answer.save(tmp_path / "eq.json")


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the fields of a kept answer, as somebody with an editor would."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document["equilibrium"]["fields"])
    path.write_text(json.dumps(document), encoding="utf-8")


def dearer(fields: dict[str, Any]) -> None:
    fields["leader_actions"]["$array"][0] *= 1.05


# -- kept answers ------------------------------------------------------------------------------


def test_a_kept_answer_is_measured_anew(kept: Path) -> None:
    out = run("certify", kept).stdout
    assert "verdict         proved: no player gains" in out
    assert "Leaders: price" in out
    assert "agrees: it says proved too" in out


def test_an_edited_action_is_refuted_with_a_witness(kept: Path) -> None:
    edit(kept, dearer)
    assert "verdict         proved" in run("show", kept).stdout, "as saved"
    result = run("certify", kept, code=3)
    assert "verdict         refuted: " in result.stdout
    assert "disagrees: it says proved; measured anew, refuted" in result.stdout
    assert result.stderr.startswith(
        "stackel: VehicularTwins (3 followers, 2 leaders): the point is refuted: "
    )


def test_the_witness_is_one_that_anybody_can_check(kept: Path) -> None:
    edit(kept, dearer)
    document = json.loads(run("certify", kept, "--json", code=3).stdout)
    witness = document["witness"]
    game, x = fig3(), np.array(document["summary"]["leader_actions"])
    y = np.array(document["summary"]["follower_actions"])
    after = np.array(witness["answer"])
    player, index = witness["player"], witness["index"]
    if player == "leader":
        moved = x.copy()
        moved[:, index] = witness["action"]
        before, reached = game.leader_payoff(x, y)[0], game.leader_payoff(moved, after)[0]
    else:
        before = game.follower_payoff(y, y, x)[:, 0]
        reached = game.follower_payoff(after, y, x)[:, 0]
    assert before[index] == pytest.approx(witness["payoff"])
    assert reached[index] == pytest.approx(witness["reached"])
    assert witness["reached"] > witness["payoff"]
    assert document["recheck"] == {"file": str(kept), "says": "proved", "agrees": False}
    text = run("certify", kept, code=3).stdout
    assert f"has {witness['reached']:.9g}, here it has {witness['payoff']:.9g}" in text


def test_edited_followers_are_refuted(kept: Path) -> None:
    edit(kept, lambda fields: fields["follower_actions"]["$array"].__setitem__(0, 0.5))
    assert "refuted" in run("certify", kept, code=3).stdout


def test_an_edited_verdict_is_found_out(answer: Equilibrium, tmp_path: Path) -> None:
    x = answer.leader_actions * 1.05
    wrong = replace(answer, leader_actions=x, follower_actions=settle(fig3(), x).y).certify()
    path = wrong.save(tmp_path / "eq.json")
    assert "agrees: it says refuted too" in run("certify", path, code=3).stdout
    edit(path, lambda fields: fields["certificate"]["fields"].update(verdict="searched"))
    assert (
        "disagrees: it says searched; measured anew, refuted" in run("certify", path, code=3).stdout
    )


def test_an_edited_refutation_too(kept: Path) -> None:
    edit(kept, lambda fields: fields["certificate"]["fields"].update(verdict="refuted"))
    out = run("certify", kept).stdout
    assert "disagrees: it says refuted; measured anew, proved" in out


def test_less_than_a_proof_does_not_contradict_one(kept: Path) -> None:
    document = json.loads(run("certify", kept, "--proof", "no", "--json").stdout)
    assert document["summary"]["verdict"] == "searched"
    assert document["recheck"]["agrees"] is None
    assert "witness" not in document
    assert (
        "says proved, which was not confirmed; measured anew, searched"
        in run("certify", kept, "--proof", "no").stdout
    )


def test_what_cannot_be_judged_in_time(kept: Path) -> None:
    result = run("certify", kept, "--seconds", "1e-9", code=6)
    assert "says proved, which could not be confirmed" in result.stdout
    assert "the time limit came before the point was judged" in result.stderr


def test_an_answer_without_a_certificate(answer: Equilibrium, tmp_path: Path) -> None:
    path = replace(answer, certificate=None).save(tmp_path / "eq.json")
    assert f"none; `stackel certify {path}` makes one" in run("show", path).stdout
    assert "has no certificate to compare with" in run("certify", path).stdout
    document = json.loads(run("certify", path, "--json").stdout)
    assert document["recheck"] == {"file": str(path), "says": None, "agrees": None}


def test_the_point_decides_not_why_the_method_stopped(answer: Equilibrium, tmp_path: Path) -> None:
    path = replace(answer, status=Status.TIME_LIMIT).save(tmp_path / "eq.json")
    run("certify", path)
    edit(path, dearer)
    run("certify", path, code=3)


def test_the_file_s_own_terms_hold_and_are_named(answer: Equilibrium, tmp_path: Path) -> None:
    x = answer.leader_actions * 1.01  # off by what is second order to the leaders
    near = replace(answer, leader_actions=x, follower_actions=settle(fig3(), x).y)
    path = near.certify(tolerance=1e-2).save(tmp_path / "eq.json")
    assert "0.01, as in the file" in run("certify", path).stdout
    assert "as in the file" not in run("certify", path, "--tolerance", "1e-6", code=3).stdout
    blind = stackel.solve(fig3(), anticipation="none").save(tmp_path / "blind.json")
    assert "anticipation    none" in run("certify", blind).stdout
    run("certify", blind, "--anticipation", "equilibrium", code=3)
    out = run("certify", blind, "--proof", "yes").stdout
    assert "of the followers' new equilibrium only, not of anticipation 'none'" in out


def test_what_is_not_measured_anew_is_named(kept: Path) -> None:
    assert "history and multipliers: not re-checked" in run("certify", kept).stdout


def test_what_a_kept_answer_claims_of_others_is_not_repeated(tmp_path: Path) -> None:
    path = stackel.solve(fig3(delay=True)).save(tmp_path / "eq.json")
    edit(path, dearer)
    assert "newton: proved" in run("show", path).stdout
    assert "newton: proved" not in run("certify", path, code=3).stdout


def test_output_keeps_the_new_certificate(kept: Path, tmp_path: Path) -> None:
    edit(kept, dearer)
    again = tmp_path / "again.json"
    run("certify", kept, "--output", again, code=3)
    eq = Equilibrium.load(again)
    assert eq.certificate is not None
    assert eq.certificate.verdict == "refuted"
    assert "agrees: it says refuted too" in run("certify", again, code=3).stdout


def test_quiet(kept: Path) -> None:
    assert run("certify", kept, "-q").output == ""


def test_options_reach_certify(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def certify(*_: object, **options: object) -> stackel.Certificate:
        seen.update(options)
        return stackel.certify(*_, proof=False)

    monkeypatch.setattr("stackel.results.equilibrium.certify", certify)
    flags = ["--proof", "yes", "--boxes", "70", "--seconds", "9", "--tolerance", "1e-4"]
    run("certify", kept, *flags)
    assert seen == {
        "anticipation": "equilibrium",
        "tolerance": 1e-4,
        "proof": True,
        "boxes": 70,
        "seconds": 9.0,
        "progress": None,
    }


# -- stated points -----------------------------------------------------------------------------


Stated = Callable[..., Path]


@pytest.fixture
def stated(tmp_path: Path) -> Stated:
    def write(point: str, more: str = "", **files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        path = tmp_path / "point.toml"
        path.write_text(f'preset = "fig3"\n{more}\n[point]\n{point}\n', encoding="utf-8")
        return path

    return write


def test_leaders_alone(answer: Equilibrium, stated: Stated) -> None:
    prices = answer.leader_actions[0].tolist()
    result = run("certify", stated(f"leaders = {prices}"), "--json")
    summary = json.loads(result.stdout)["summary"]
    assert summary["verdict"] == "proved"
    assert summary["status"] == "given"
    np.testing.assert_allclose(summary["follower_actions"], answer.follower_actions)
    out = run("certify", stated(f"leaders = {prices}")).stdout
    assert not out.endswith("\n\n")
    assert "by hand: given" in out
    assert "followers: their settled answer" in out


def test_the_example() -> None:
    assert "proved: no player gains" in run("certify", POINT).stdout


def test_leaders_and_followers(answer: Equilibrium, stated: Stated) -> None:
    x, y = answer.leader_actions.tolist(), answer.follower_actions.tolist()
    run("certify", stated(f"leaders = {x}\nfollowers = {y}"))
    y[0][0] += 0.1
    out = run("certify", stated(f"leaders = {x}\nfollowers = {y}"), code=3).stdout
    assert "refuted: " in out


def test_a_point_that_is_none(stated: Stated) -> None:
    out = run("certify", stated("leaders = [1.0, 0.8]"), code=3).stdout
    assert "refuted: leader 0 gains" in out
    assert "witness" in out


def test_a_point_outside_its_bounds(stated: Stated) -> None:
    assert "refuted" in run("certify", stated("leaders = [1.6, 0.8]"), code=3).stdout


def test_a_point_off_a_payoff_s_domain_is_json_all_the_same(stated: Stated) -> None:
    path = stated("leaders = [1, 1]\nfollowers = [[-3, -3], [-1, -1], [-1, -1]]")
    document = json.loads(run("certify", path, "--json", code=3).stdout)
    assert document["summary"]["verdict"] == "refuted"


def test_the_market_file_s_terms(stated: Stated) -> None:
    path = stated("leaders = [0.96, 0.81]", more="[solve]\ntolerance = 1e-2")
    run("certify", path)
    run("certify", path, "--tolerance", "1e-6", code=3)
    path = stated("leaders = [1.5, 1.5]", more='[solve]\nanticipation = "none"')
    assert "anticipation    none" in run("certify", path).stdout


def test_actions_from_files(answer: Equilibrium, stated: Stated) -> None:
    rows = "\n".join(",".join(map(repr, row)) for row in answer.follower_actions.tolist())
    path = stated(
        f'leaders = {answer.leader_actions.tolist()}\nfollowers = {{ csv = "y.csv" }}', y=rows
    )
    point = read_point(path)
    np.testing.assert_array_equal(point.followers, answer.follower_actions)
    run("certify", path)


def test_a_point_does_not_disturb_solve(stated: Stated) -> None:
    run("solve", stated("leaders = [1, 1]"), "-b", "newton", "-q")


def test_a_stated_point_is_kept_and_measured_again(stated: Stated, tmp_path: Path) -> None:
    saved = tmp_path / "eq.json"
    run("certify", stated("leaders = [1.0, 0.8]"), "--output", saved, code=3)
    assert Equilibrium.load(saved).status is Status.GIVEN
    run("certify", saved, code=3)


ONE_LEADER = """
market = "vehicular-twins"
[data]
satisfaction = 30
sensitivity = 30
ties = 0
unit_cost = 0.1
payment_scale = 15
[point]
"""


def test_flat_lists_where_there_is_one_row_or_column(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    for leaders, followers in ((0.9, 0.3), ([0.9], [0.3]), ([[0.9]], [[0.3]])):
        text = f"{ONE_LEADER}leaders = {leaders}\nfollowers = {followers}"
        path.write_text(text, encoding="utf-8")
        point = read_point(path)
        np.testing.assert_array_equal(point.leaders, [[0.9]])
        np.testing.assert_array_equal(point.followers, [[0.3]])
        assert isinstance(point.game, VehicularTwins)


# -- what mistakes are told --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ("", "[point] has no leaders; expected leaders = "),
        ("leaders = 'high'", "[point] leaders = 'high'; expected a number, a list of numbers"),
        ("leaders = [1.0, true]", "[point] leaders[1] = True; expected a number"),
        ("leaders = [1.0]", "[point] leaders has shape (1,); expected (1, 2), a row of "),
        ("leaders = 1.0", "[point] leaders has shape (); expected (1, 2)"),
        ("leaders = [[1.0], [0.8]]", "[point] leaders has shape (2, 1); expected (1, 2)"),
        ("leaders = [nan, 0.8]", "[point] leaders[0, 0] = nan; expected finite numbers"),
        ("leaders = [1.0, 0.8]\nfollowers = [1, 1, 1]", "[point] followers has shape (3,)"),
        ("leaders = [1.0, 0.8]\nfollowers = [[1, inf], [1, 1], [1, 1]]", "followers[0, 1] = inf"),
        ("leaders = [1, 1]\nfollower = 1", "unknown entry 'follower'; did you mean 'followers'?"),
        ('leaders = { csv = "x.csv" }', "there is no file"),
    ],
)
def test_2_a_bad_point(point: str, told: str, stated: Stated) -> None:
    path = stated(point)
    said = complaint("certify", path, code=2)
    assert said.startswith(f"stackel: {path}: ")
    assert told in said


def test_2_no_point(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text('preset = "fig3"\n', encoding="utf-8")
    said = complaint("certify", path, code=2)
    assert "there is no [point]; expected leaders = " in said
    assert f"`stackel solve {path}`" in said
    path.write_text('point = 3\npreset = "fig3"\n', encoding="utf-8")
    assert "point = 3; expected a table, [point]" in complaint("certify", path, code=2)


@dataclass(frozen=True)
class Impossible(VehicularTwins):
    """The first follower must buy more the cheaper it is, and at a price of 1 more than it may."""

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        total = y.sum(axis=-1, keepdims=True)
        price = x.sum(axis=-1, keepdims=True)
        return {"least": 0.1 - total, "most": total - 1.2 + price}


def test_2_followers_that_cannot_be_settled(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    text = ONE_LEADER.replace("vehicular-twins", f"{__name__}:Impossible")
    path.write_text(text + "leaders = 0.6", encoding="utf-8")
    run("certify", path, "-q", code=3)
    path.write_text(text + "leaders = 1.4", encoding="utf-8")
    said = complaint("certify", path, code=2)
    assert "[point] leaders = [[1.4]]: the followers could not be settled there" in said
    assert "state followers = " in said


def test_2_no_file(tmp_path: Path) -> None:
    said = complaint("certify", tmp_path / "nix.json", code=2)
    assert "there is no file" in said
    assert "stackel solve --save" in said
    (tmp_path / "cut.json").write_text('{"stackel"', encoding="utf-8")
    assert "is not JSON" in complaint("certify", tmp_path / "cut.json", code=2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda f: f["leader_actions"]["$array"].__setitem__(0, "nan"),
            "leader_actions[0, 0] = nan; expected finite numbers",
        ),
        (lambda f: f["leader_actions"].update(shape=[2, 1]), "actions of shapes ((2, 1), (3, 2))"),
        (
            lambda f: f["certificate"]["fields"].update(tolerance=7),
            "tolerance = 7; expected a number between 0 and 1; --tolerance states another",
        ),
        (
            lambda f: f["certificate"]["fields"].update(anticipation="some"),
            "anticipation = 'some'; expected one of",
        ),
    ],
)
def test_2_a_file_edited_to_nonsense(
    change: Callable[[dict[str, Any]], object], told: str, kept: Path
) -> None:
    edit(kept, change)
    said = complaint("certify", kept, code=2)
    assert said.startswith(f"stackel: {kept}: ")
    assert told in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--proof", "maybe"], "--proof maybe; expected auto, yes or no"),
        (["--boxes", "0"], "--boxes 0; expected a whole number of at least 1"),
        (["--seconds", "-1"], "--seconds -1.0; expected a positive number of seconds"),
        (["--tolerance", "2"], "tolerance = 2.0; expected a number between 0 and 1"),
        (["--anticipation", "some"], "anticipation = 'some'; expected one of"),
        (["--output", "no/such/folder/eq.json"], "there is no folder no/such/folder"),
    ],
)
def test_2_a_bad_option(arguments: list[str], told: str, kept: Path) -> None:
    assert told in complaint("certify", kept, *arguments, code=2)


# -- progress ----------------------------------------------------------------------------------


@pytest.fixture
def terminal(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress lines are drawn as where somebody looks, 200 columns wide."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("terminal")
def test_a_proof_s_progress(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("the market", time_limit=60.0) as line:
        line.proving(1_234, "leader 1")
    told = capfd.readouterr()
    assert told.out == ""
    assert "proof: 1,234 boxes, leader 1" in told.err


@pytest.mark.usefixtures("terminal")
def test_solve_shows_its_proof_s_progress(capfd: pytest.CaptureFixture[str]) -> None:
    stackel.solve(fig3(), "newton", progress=True)
    told = capfd.readouterr()
    assert told.out == ""
    assert "boxes, leader 1" in told.err


def test_a_leader_s_boxes_are_reported_on_the_way() -> None:
    seen: list[tuple[int, str]] = []
    eq = stackel.solve(fig3(), "newton", proof=False)
    found = eq.certify(progress=lambda *told: seen.append(told)).certificate
    assert found is not None
    assert found.proof is not None
    boxes = [count for count, _ in seen]
    assert boxes == sorted(boxes)
    assert 0 < boxes[-1] <= found.proof.boxes
    assert len([player for _, player in seen if player == "leader 0"]) > 2


def test_certify_draws_a_line_on_a_terminal_only(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def line(title: str, *_: object, **__: object) -> Any:
        drawn.append(title)
        return progress(title)

    monkeypatch.setattr("stackel.cli.certify.progress", line)
    run("certify", kept)
    assert drawn == []
    monkeypatch.setattr("stackel.cli.console.watched", lambda: True)
    run("certify", kept)
    assert drawn == ["VehicularTwins (3 followers, 2 leaders)"]
