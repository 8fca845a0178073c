"""One face for one answer: in a terminal, as text, in a notebook, on the command line."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import stackel
from problems import Budget, DropOut
from stackel import Action, Comparison, Equilibrium, Follower, Game, Leader, Status
from stackel.cli import app
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import over_followers, over_leaders
from stackel.tables import ROWS, Column, Shown, Table

pytestmark = pytest.mark.proofs

Rows = list[list[str]]


def on_terminal(shown: Shown, width: int, color: bool = False) -> list[str]:
    file = io.StringIO()
    system: Any = "standard" if color else None
    Console(width=width, file=file, force_terminal=True, color_system=system).print(shown)
    return [line.rstrip() for line in file.getvalue().splitlines()]


class Page(HTMLParser):
    """The cells of a page, row by row; a title is a row of one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: Rows = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag in ("tr", "p"):
            self.rows.append([])
        if tag in ("td", "th", "p"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th", "p")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def cells(lines: list[str]) -> Rows:
    """The cells of a text; between any two are two spaces or more."""
    return [re.split(r"\s{2,}", line.strip()) for line in lines if line.strip("─ ")]


def filled(rows: Rows) -> Rows:
    return [[cell for cell in row if cell] for row in rows]


def refuted() -> Equilibrium:
    """A point that breaks limits and where nobody is content."""
    game = fig3(delay=True)
    point = np.full(game.leader_shape, 1.0), np.full(game.follower_shape, 0.2)
    return Equilibrium(game, "nobody", *point, Status.ITERATION_LIMIT, detail="a guess").certify()


def bare() -> Equilibrium:
    return stackel.solve(fig3(), "newton", certificate=False)


def compared() -> Comparison:
    """One answer that holds, one that does not, one backend that declines and one that fails."""
    eq = stackel.solve(fig3(delay=True), "newton")
    answers = {"newton": eq, "nobody": refuted(), "late": replace(eq, certificate=None)}
    return Comparison(eq.game, answers, {"closed-form": ["has a limit"]}, {"admm": "KeyError: 'x'"})


def local() -> Equilibrium:
    return stackel.solve(DropOut([20.0, 6.0, 3.0]), "newton", anticipation="none", throw=False)


SHOWN: list[Callable[[], Shown]] = [
    lambda: stackel.solve(fig3(delay=True)),
    lambda: stackel.solve(fig3(delay=True), "newton").certificate,
    lambda: refuted().certificate,
    refuted,
    bare,
    local,
    compared,
]


# -- the same everywhere -----------------------------------------------------------------------


@pytest.mark.parametrize("make", SHOWN)
def test_terminal_text_and_notebook_have_the_same_cells(make: Callable[[], Shown]) -> None:
    shown = make()
    text = shown.summary()
    assert on_terminal(shown, 1000) == text.splitlines()
    assert filled(Page(shown._repr_html_()).rows) == cells(text.splitlines())


@pytest.mark.parametrize("make", [refuted, bare])
def test_the_command_line_prints_the_same(
    make: Callable[[], Equilibrium], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eq = make()
    out = CliRunner().invoke(app, ["show", str(eq.save(tmp_path / "eq.json"))]).stdout
    print(eq)
    assert capsys.readouterr().out == f"{eq.summary()}\n"
    assert out.startswith(f"{eq.summary()}\n\ncertificate  ")


def test_the_command_line_compares_with_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared()
    monkeypatch.setattr("stackel.cli.compare.compare_backends", lambda *_, **__: found)
    assert CliRunner().invoke(app, ["compare", "fig3"]).stdout == f"{found}\n"


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("make", SHOWN)
def test_nothing_is_lost_on_a_narrow_terminal(make: Callable[[], Shown], width: int) -> None:
    shown = make()
    lines = on_terminal(shown, width)
    assert all(len(line) <= width for line in lines)
    words = set(" ".join(lines).split())
    assert words >= set(shown.summary().replace("─", " ").split())


def test_a_terminal_shows_colours_and_text_does_not() -> None:
    eq = refuted()
    assert "\x1b[1;31mrefuted\x1b[0m: " in "\n".join(on_terminal(eq, 120, color=True))
    assert "\x1b" not in eq.summary()
    assert '<b style="color: crimson">refuted</b>: ' in eq._repr_html_()


def test_one_line_stays_one_line() -> None:
    eq, found = refuted(), compared()
    assert str(eq.certificate).startswith("refuted: follower 2 gains 0.833333 ")
    assert "\n" not in str(eq.certificate)
    expected = "<Equilibrium of VehicularTwins (3 followers, 2 leaders) by nobody: refuted: "
    assert repr(eq).startswith(expected)
    assert repr(found) == f"<Comparison of {found.game}: {found.verdict}>"
    assert str(found) == found.summary() != repr(found)


# -- what is said ------------------------------------------------------------------------------


def said(shown: Shown) -> list[tuple[str, ...]]:
    return [tuple(row) for row in Page(shown._repr_html_()).rows]


def test_an_answer_says_everything() -> None:
    eq = stackel.solve(fig3(delay=True))
    rows = dict(row for row in said(eq) if len(row) == 2)
    headline = said(eq)[0][0]
    assert headline == (
        f"VehicularTwins (3 followers, 2 leaders) by newton: converged in "
        f"{eq.stats['seconds']:.3g} s, {len(eq.history)} iterations"
    )
    c = eq.certificate
    assert rows["verdict"] == str(c)
    assert rows["status"] == eq.status.message
    assert (
        rows["leader gap"]
        == f"{c.leader_gap:.3g} ({c.relative_leader_gap:.3g} of what is at stake; up to 1e-06 "
        "counts as none)"
    )
    assert rows["limits broken"] == "none"
    assert rows["would stay out"] == "nobody"
    assert rows["uniqueness"] == str(c.uniqueness)
    assert rows["search"].startswith(f"each leader's whole range: {c.trials} trial moves, spacing")
    assert rows["welfare"] == f"{eq.welfare:.6g}, the sum of all payoffs"
    assert [row[1] for row in said(eq) if row[0] == "tried"] == list(eq.stats["tried"])
    assert "anticipation" not in rows


def test_the_table_has_the_numbers_of_the_frame() -> None:
    eq = stackel.solve(fig3(delay=True), "newton")
    for player, title in (
        ("leader", "Leaders: price [$ per 1e7 Hz]"),
        ("follower", "Followers: bandwidth [1e7 Hz]"),
    ):
        frame = eq.to_frame().loc[player].dropna(axis=1)
        start = said(eq).index((title,)) + 1
        first, *headings = said(eq)[start]
        assert first == player
        assert sorted(headings) == sorted(frame.columns)
        for k, row in frame.iterrows():
            numbers = (f"{row[name]:.{2 if name == 'gap' else 6}g}" for name in headings)
            assert said(eq)[start + 1 + int(str(k))] == (str(k), *numbers)


def test_a_bad_point_says_what_is_wrong() -> None:
    eq = refuted()
    text = eq.summary()
    c = eq.certificate
    assert "by nobody: iteration limit\n" in text, "nobody took the time"
    assert f"verdict         refuted: {c.deviation}\n" in text
    assert "status          stopped at the iteration limit before the method's stopping" in text
    assert "test was met (a guess)\n" in text
    relative = f"(relative {c.violation:.3g}; up to 1e-06 counts as none)"
    assert f"limits broken   delay by {c.violations['delay']:.3g} {relative}\n" in text
    assert [row[1] for row in said(eq) if row[0] == "note"] == list(c.notes) != []


def test_who_would_stay_out_is_named_up_to_a_point() -> None:
    certificate = replace(bare().certify().certificate, losers=(("leader", 1), ("follower", 0)))
    assert "would stay out  leader 1, follower 0\n" in certificate.summary()
    many = replace(certificate, losers=tuple(("follower", k) for k in range(300)))
    assert "follower 7, 292 more\n" in many.summary()


def test_an_answer_without_a_certificate_says_so() -> None:
    eq = bare()
    text = eq.summary()
    assert "\nverdict  not certified\n" in text
    assert "gap" not in text
    for word in (*(f"{v:.6g}" for v in eq.follower_payoffs), "price", "bandwidth[1]", "welfare"):
        assert word in text


def test_what_leaders_foresee_is_said_of_the_solve_and_of_the_certificate() -> None:
    blind = stackel.solve(fig3(), "newton", anticipation="none")
    told = {
        "own": [row[1] for row in said(blind) if row[0] == "anticipation"],
        "seen": [
            row[1]
            for row in said(blind.certify(anticipation="equilibrium"))
            if row[0] == "anticipation"
        ],
        "unseen": [
            row[1] for row in said(replace(blind, certificate=None)) if row[0] == "anticipation"
        ],
    }
    solved = "none in the solve"
    assert told == {"own": ["none"], "seen": [solved], "unseen": [solved]}


def test_multipliers_of_limits_with_several_rows() -> None:
    eq = stackel.solve(Budget([6.0, 6.0], [3.0, 100.0], [1.0]), "newton")
    several = replace(eq, multipliers={"cap": np.array([[1.5, 2.5], [3.5, 4.5]])})
    assert "cap multiplier[0]   cap multiplier[1]" in several.summary()
    assert several.to_frame().loc[("follower", 1), "cap multiplier[1]"] == 4.5
    assert "budget multiplier\n" in eq.summary()


def test_a_comparison_says_who_declined_failed_and_why() -> None:
    found = compared()
    assert said(found)[0] == (str(found.game),)
    rows = {row[0]: dict(zip(said(found)[1], row, strict=True)) for row in said(found)[2:7]}
    assert list(rows) == ["newton", "nobody", "late", "closed-form", "admm"]
    assert [row["verdict"] for row in rows.values()] == [
        *("proved", "refuted", "", "declined", "failed")
    ]
    for name in ("closed-form", "admm"):
        assert set(rows[name].values()) == {name, rows[name]["verdict"], ""}
    assert rows["newton"]["price[0]"] == f"{found.answers['newton'].leader_actions[0, 0]:.6g}"
    assert said(found)[7:] == [
        ("verdict", found.verdict),
        ("agree", "no: up to 0.0001 apart counts as the same"),
        ("nobody", str(found.answers["nobody"].certificate)),
        ("late", "not certified"),
        ("closed-form", "has a limit"),
        ("admm", "KeyError: 'x'"),
    ]


def test_a_comparison_without_answers() -> None:
    nobody = Comparison(fig3(), {}, {"closed-form": ["is tired"]})
    assert "closed-form   declined" in nobody.summary()
    assert "verdict      no backend gives an answer\nclosed-form  is tired" in nobody.summary()


# -- large, odd and hostile --------------------------------------------------------------------


def guessed(leaders: int, followers: int) -> Equilibrium:
    game = draw(1, followers, leaders, delay=False)
    x = np.linspace(0.5, 1.0, leaders)[None]
    y = np.arange(followers * leaders).reshape(followers, leaders) / 8
    return Equilibrium(game, "none", x, y, Status.CONVERGED)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_wide_tables_come_in_blocks(width: int) -> None:
    lines = on_terminal(guessed(leaders=12, followers=4), width)
    text = "\n".join(lines)
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    assert all(f"bandwidth[{j}]" in text for j in range(12))
    words = set(text.split())
    assert all(f"{k / 8:.6g}" in words for k in range(48))


def test_long_tables_are_cut_in_the_middle_and_say_so() -> None:
    eq = guessed(leaders=2, followers=100)
    text = "\n".join(on_terminal(eq, 80))
    assert "Followers: bandwidth [1e7 Hz], 23 of 100 shown" in text
    assert "…" in text
    first = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert "99" in first
    assert "50" not in first
    assert "…" not in eq.summary(rows=None)


def test_a_market_of_500_followers(tmp_path: Path) -> None:
    eq = guessed(leaders=2, followers=500)
    for text in (eq.summary(), str(eq), "\n".join(on_terminal(eq, 120)), eq._repr_html_()):
        assert "Followers: bandwidth [1e7 Hz], 23 of 500 shown" in text
        assert "124.75" in text, "the last one's"
        assert text.count("\n") < ROWS + 30
    shown = [row[0] for row in said(eq)]
    assert shown[shown.index("11") :][:3] == ["11", "…", "489"]
    whole = eq.summary(rows=None)
    assert "shown" not in whole
    assert whole.count("\n") == len(eq.summary().splitlines()) - 1 + 500 - ROWS
    out = CliRunner().invoke(app, ["show", str(eq.save(tmp_path / "eq.json"))]).stdout
    assert out.startswith(f"{whole}\n"), "another program gets all of them"


@pytest.mark.parametrize(("rows", "left"), [(3, ["0", "…", "9"]), (2, ["0", "…"]), (1, ["…"])])
def test_few_rows(rows: int, left: list[str]) -> None:
    title, (index,) = Table("Ten", [Column("k", range(10))]).cells(rows)
    assert index == left
    assert title == f"Ten, {len(left) - 1} of 10 shown"


def test_missing_values_are_blank_and_nan_is_nan() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None]}, index=["one", "two"])
    table = Table.of("Both", "name", frame)
    assert table.cells(None)[1] == [["one", "two"], ["1", ""], ["x", ""]]
    odd = Table("", [Column("v", [None, np.nan, np.float32(0.25), -np.inf, np.int64(3), True])])
    assert odd.cells(None)[1] == [["", "nan", "0.25", "-inf", "3", "True"]]
    with np.errstate(all="ignore"):
        lost = replace(bare(), leader_actions=np.full((1, 2), np.nan))
        assert cells(lost.summary().splitlines())[3][:2] == ["0", "nan"]
        assert "nan, the sum of all payoffs" in lost.summary()


@dataclass(frozen=True)
class Hostile(Game):
    """Names that a terminal or a browser would take for its own."""

    value: Follower
    unit_cost: Leader

    @property
    def leader_action(self) -> Action:
        return Action("[red]<b>price", unit="$</td>[/]", low=self.unit_cost, high=4.0)

    @property
    def follower_action(self) -> Action:
        return Action("<script>buy & sell:")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * y - y**2 / 2 - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


def test_names_and_messages_are_not_markup() -> None:
    solved = stackel.solve(Hostile([3.0, 2.0], [0.5, 0.8]), "newton")
    notes = ("refuted:</td><i>", ":smile: [link=x]y[/link]")
    eq = replace(
        solved,
        backend="[red]x[/red]",
        detail="a [/b] c &amp; <d>",
        certificate=replace(solved.certificate, notes=notes),
    )
    found = Comparison(eq.game, {"<u>me": eq}, failed={"[b]you": "<s>[/s] & none"})
    for shown in (eq, eq.certificate, found):
        text = shown.summary()
        assert on_terminal(shown, 1000) == text.splitlines()
        page = Page(shown._repr_html_())
        assert filled(page.rows) == cells(text.splitlines())
        assert page.tags <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    for word in (
        "[red]<b>price",
        "[$</td>[/]]",
        "<script>buy & sell:[0]",
        "by [red]x[/red]: ",
        "(a [/b] c &amp; <d>)",
        *notes,
    ):
        assert word in eq.summary()
    assert "mathjax_ignore" in eq._repr_html_(), "two dollars are no formula"
    assert "<u>me" in found.summary()
    assert "[b]you   <s>[/s] & none" in found.summary()


def test_where_a_line_cannot_be_drawn_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    eq = bare()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    eq.summary().encode("cp1252")
