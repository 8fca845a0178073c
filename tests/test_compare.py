"""Several backends on one game; several starts of one backend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import stackel
from problems import DropOut, LogPricing, PangFukushima
from stackel import Action, Game, plots
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import over_leaders
from test_solve import Guess

CORE = ["closed-form", "newton", "admm"]


@dataclass(frozen=True)
class Coordination(Game):
    """Two leaders who both gain from doing as much as the other: (0, 0) and (1, 1)."""

    leaders: int = 2

    @property
    def leader_action(self) -> Action:
        return Action("effort", high=1.0)

    @property
    def follower_action(self) -> Action:
        return Action("answer", high=9.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(x) * y - y**2 / 2  # answers with the sum of the efforts

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return x * (y - x - 0.5)  # y - x: the effort of the other


def test_all_that_accept_agree() -> None:
    found = stackel.compare(fig3(), CORE)
    assert found.agree
    assert found.groups == [CORE]
    assert found.verdict.startswith("closed-form, newton, admm agree within")
    assert (found.distances.to_numpy() < 1e-6).all()
    assert list(found.table.index) == CORE
    assert found.table.verdict.isin(["proved", "searched"]).all()


def test_who_declines_is_listed_and_costs_nothing() -> None:
    found = stackel.compare(fig3(delay=True), CORE)
    assert found.agree
    assert list(found.declined) == ["closed-form"]
    assert "delay" in found.declined["closed-form"][0]
    assert found.table.loc["closed-form", "verdict"] == "declined"


def test_who_deviates_is_named_with_the_reason() -> None:
    game = LogPricing([3.0], [0.5])
    found = stackel.compare(game, ["newton", Guess(price=2.0), "admm"])
    assert not found.agree
    assert found.groups == [["newton", "admm"]]
    assert "guess is" in found.verdict
    assert "away and refuted: leader 0 gains" in found.verdict


def test_one_failure_never_loses_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from stackel.solvers.newton import Newton

    def broken(self: Newton, game: Game, run: stackel.Run) -> stackel.Point:
        raise ValueError("out of cheese")

    monkeypatch.setattr(Newton, "solve", broken)
    found = stackel.compare(fig3(), ["newton", "admm", "closed-form"])
    assert found.failed == {"newton": "ValueError: out of cheese"}
    assert list(found.answers) == ["admm", "closed-form"]
    assert found.groups == [["admm", "closed-form"]]


def test_no_equilibrium_is_said() -> None:
    found = stackel.compare(PangFukushima(), ["newton", "admm"])
    assert not found.holding
    assert found.verdict.startswith("no backend finds an equilibrium")
    assert "refuted" in found.verdict


def test_options_and_common_settings_reach_the_backends() -> None:
    found = stackel.compare(
        fig3(delay=True), ["newton", "admm"], options={"admm": {"penalty": 3.0}}, seed=1
    )
    assert found.answers["admm"].stats["options"]["penalty"] == 3.0
    twice = stackel.compare(fig3(), ["admm", "admm"])
    assert list(twice.answers) == ["admm", "admm #2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backends": ["newtn"]}, "did you mean 'newton'"),
        ({"backends": []}, "empty"),
        ({"backends": ["newton"], "options": {"admm": {}}}, "options for admm"),
        ({"backends": ["admm"], "options": {"admm": {"penalti": 1}}}, "'penalti'"),
        ({"throw": True}, "never throws"),
    ],
)
def test_bad_questions(arguments: dict, words: str) -> None:
    with pytest.raises(stackel.OptionError, match=words):
        stackel.compare(fig3(), **arguments)


def test_a_comparison_is_json_and_a_picture(tmp_path) -> None:
    found = stackel.compare(LogPricing([3.0], [0.5]), ["newton", Guess(price=2.0), "closed-form"])
    path = found.save(tmp_path / "comparison.json")
    read = json.loads(path.read_text())
    assert read["agree"] is False
    assert read["verdict"] == found.verdict
    assert set(read["answers"]) == {"newton", "guess"}
    assert read["distances"]["newton"]["newton"] == 0
    figure = plots.comparison(found)
    bars = figure.axes[0].patches
    np.testing.assert_allclose(sorted(b.get_height() for b in bars), [np.sqrt(1.5), 2.0])
    assert "newton" in found._repr_html_()
    assert "refuted" in found.summary()
    nobody = stackel.compare(fig3(delay=True), ["closed-form"])
    with pytest.raises(stackel.GameError, match="nothing to draw"):
        nobody.plot()


@pytest.mark.parametrize("backend", ["newton", "admm"])
def test_several_starts_list_several_equilibria(backend: str) -> None:
    """x_j's payoff is x_j (x_k - 1/2): nobody moves alone from (0, 0) nor from (1, 1)."""
    eq = stackel.solve(Coordination(), backend, starts=8, seed=0)
    found = [eq, *eq.others]
    corners = {tuple(e.leader_actions.ravel().round(6)) for e in found}
    assert {(0.0, 0.0), (1.0, 1.0)} <= corners
    assert all(e.certificate.verdict in ("proved", "searched") for e in found)
    assert f"{len(found)} equilibria from 8 starts" in eq.detail
    assert eq.stats["starts"] == 8


def test_several_starts_of_one_equilibrium_and_of_none(tmp_path) -> None:
    eq = stackel.solve(draw(2, 3, 2), "newton", starts=4, seed=3)
    assert eq.others == ()
    assert eq.detail == "one equilibrium from 4 starts"
    none = stackel.solve(PangFukushima(), "newton", starts=3, throw=False)
    assert none.status is stackel.Status.CYCLE
    assert none.detail.startswith("no equilibrium from 3 starts")
    with pytest.raises(stackel.OptionError, match="starts = 0"):
        stackel.solve(fig3(), starts=0)
    several = stackel.solve(Coordination(), "newton", starts=8, seed=0)
    assert several.others
    with pytest.raises(stackel.GameError, match="test_compare"):
        stackel.Equilibrium.load(_written(several, tmp_path, {"test_compare": "gone"}))


def _written(eq: stackel.Equilibrium, folder, rename: dict[str, str]):
    path = eq.save(folder / "several.json")
    again = stackel.Equilibrium.load(path)
    assert len(again.others) == len(eq.others)
    np.testing.assert_array_equal(again.others[0].leader_actions, eq.others[0].leader_actions)
    text = path.read_text()
    for old, new in rename.items():
        text = text.replace(f'"{old}:', f'"{old}_{new}:')
    path.write_text(text)
    return path


def test_backends_end_at_the_global_optimum() -> None:
    found = stackel.compare(DropOut([20.0, 6.0, 3.0]), ["newton", "admm"])
    assert found.agree
    assert found.answers["newton"].leader_actions[0, 0] == pytest.approx(np.sqrt(13.0))
