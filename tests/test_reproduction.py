"""The published figures: every stated trend at the equilibrium, every printed value, the report.

Trends and values are tested on the closed form, which costs milliseconds a market; that ADMM gives
the same is tested on a few markets of each figure.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stackel
from stackel.examples import reproduction
from stackel.examples.reproduction import PRINTED, TRENDS, Trend, check, compared, fit, scripts
from stackel.formulations.vehicular_twins import VehicularTwins, fig3

xr = pytest.importorskip("xarray")

DRAWS = 20
MODULES = {
    "fig3": "fig3_convergence",
    "fig5": "fig5_players",
    "fig6": "fig6_cost_and_satisfaction",
    "fig7": "fig7_social_ties",
    "fig8": "fig8_competition",
}
SOLVED: dict[str, Any] = {}


def script(figure: str) -> Any:
    return importlib.import_module(f"stackel.examples.{MODULES[figure]}")


def solved(figure: str) -> Any:
    """A figure's equilibria over its whole grid, in closed form."""
    if figure not in SOLVED:
        module = script(figure)
        grid = {**getattr(module, "GRID", {}), "scale": ["published", "literal"]}
        data = stackel.sweep(module.market, grid, backend="closed-form", seeds=DRAWS)
        assert (data["error"] == "").all()
        assert data["certified"].all()
        by_player = figure in ("fig3", "fig8")
        SOLVED[figure] = {
            name: reproduction.quantities(data.sel(scale=scale, drop=True), by_player)
            for name, scale in (("admm", "published"), ("literal", "literal"))
        }
    return SOLVED[figure]


@pytest.mark.parametrize("trend", TRENDS, ids=lambda t: f"{t.figure}: {t.claim}")
def test_stated_trend_holds(trend: Trend) -> None:
    checked = check(trend, solved(trend.figure)["admm"])
    assert checked.holds, f"{checked.least:.2%} at {checked.where}"


def test_published_values_of_figs_5_and_6() -> None:
    values = [c for figure in ("fig5", "fig6") for c in compared(figure, solved(figure))]
    assert len(values) == 14
    off = {f"{c.printed.quantity} {c.printed.setting}": c.error for c in values}
    assert np.mean(np.abs(list(off.values()))) <= 0.12, off


def test_published_values_of_fig_3() -> None:
    values = compared("fig3", solved("fig3"))
    assert len(values) == 10
    assert np.mean([abs(c.error) for c in values]) <= 0.12


def test_literal_equations_price_at_the_cap() -> None:
    for figure in MODULES:
        np.testing.assert_allclose(solved(figure)["literal"]["price"], 1.5, rtol=1e-9)


@pytest.mark.parametrize("figure", MODULES)
def test_admm_gives_the_same(figure: str) -> None:
    module = script(figure)
    ends = {k: [v[0], v[-1]] for k, v in getattr(module, "GRID", {}).items()}
    admm = stackel.sweep(
        module.market, {**ends, "scale": ["published"]}, backend="admm", seeds=1
    ).isel(scale=0, drop=True)
    assert admm["certified"].all()
    closed = solved(figure)["admm"].sel({**ends, "seed": [0]})
    for name in ("leader_actions", "follower_actions"):
        np.testing.assert_allclose(admm[name], closed[name].sel(admm[name].coords), atol=1e-5)


def test_fig5_markets_are_nested() -> None:
    market = script("fig5").market
    small, large = market(3, 2, seed=4), market(5, 4, seed=4)
    for name in ("satisfaction", "sensitivity"):
        np.testing.assert_array_equal(getattr(small, name), getattr(large, name)[:3])
    np.testing.assert_array_equal(small.ties, large.ties[:3, :3])
    np.testing.assert_array_equal(small.unit_cost, large.unit_cost[:, :2])
    limited = market(3, 2, seed=4, delay=True)
    assert limited.has_delay_limit
    np.testing.assert_array_equal(limited.satisfaction, small.satisfaction)


def test_fig8_has_no_corner_and_crosses_where_costs_meet() -> None:
    data = solved("fig8")["admm"]
    own = data["cost"].values
    costs = np.array([own, np.full_like(own, 0.1), np.full_like(own, 0.5)])
    price = data["price"].transpose("leader", "cost", "seed").values
    assert (price - costs[:, :, None]).min() > 0.3
    assert price.max() < 1.4
    for cost, twin in ((0.1, 1), (0.5, 2)):
        same = data.sel(cost=cost)
        for name in ("price", "sales", "leader_utility"):
            pair = same[name].transpose("leader", "seed").values
            np.testing.assert_allclose(pair[0], pair[twin], rtol=1e-8)


def test_equal_costs_near_zero_help_leaders() -> None:
    """What the report warns of: the trend of Fig. 6 holds on its grid and is no law."""

    def utility(cost: float) -> float:
        market = VehicularTwins(
            satisfaction=np.full(4, 30.0),
            sensitivity=30.0,
            ties=5.0,
            unit_cost=np.full(3, cost),
            payment_scale=15.0,
        )
        return float(stackel.solve(market, "closed-form").leader_payoffs[0])

    assert utility(1e-9) < utility(0.06) > utility(0.1)


def test_constants_are_near_the_best_ones() -> None:
    preset, best, literal = fit.at(*fit.PRESET), fit.free(), fit.at(1.0, 1.0)
    assert best.rms <= preset.rms <= best.rms + 0.005
    assert literal.rms > 1.0
    assert best.payment_scale == pytest.approx(15.6, abs=0.2)
    assert best.utility_scale == pytest.approx(108, abs=2)


# -- what checks the checks ------------------------------------------------------------------------


def curve(values: Any) -> Any:
    return xr.Dataset(
        {"demand": (("mean_tie", "seed"), np.array(values, dtype=float))},
        coords={"mean_tie": np.arange(len(values)), "seed": [0, 1]},
    )


@pytest.mark.parametrize(
    ("direction", "values", "holds", "draws"),
    [
        ("up", [[1, 1], [2, 2], [3, 3]], True, 1.0),
        ("up", [[1, 1], [2, 2], [2, 2]], False, 0.0),  # no step at the end
        ("up", [[1, 1], [3, 1], [4, 2]], True, 0.5),  # on average only
        ("down", [[1, 1], [2, 2], [3, 3]], False, 0.0),
        ("flat", [[100, 100], [104, 104], [101, 101]], True, 1.0),
        ("flat", [[100, 100], [106, 106], [101, 101]], False, 0.0),
    ],
)
def test_a_trend_that_fails_is_seen(direction: Any, values: Any, holds: bool, draws: float) -> None:
    checked = check(Trend("fig7", "demand", "mean_tie", direction, "VI-G"), curve(values))
    assert (checked.holds, checked.draws) == (holds, draws)


def test_printed_numbers() -> None:
    assert len(PRINTED) == 10 + 8 + 8 + 6
    by_text = {(p.figure, p.quantity, p.setting): p for p in PRINTED}
    assert len(by_text) == len(PRINTED)
    welfare = by_text["fig5", "welfare", "followers N = 3, leaders M = 4"]
    assert (welfare.value, welfare.half_digit) == (78.33, pytest.approx(0.005))
    lowest = by_text["fig3", "total_demand", "follower 1"]  # alpha = 25
    assert (lowest.text, lowest.half_digit) == ("0.60", pytest.approx(0.005))


def test_path_ends_at_the_answer() -> None:
    eq = stackel.solve(fig3(), "admm", start=[0.3, 0.1])
    path = reproduction.path(eq)
    np.testing.assert_allclose(path["price"][0], [0.3, 0.1])
    np.testing.assert_allclose(path["price"][-1], eq.leader_actions[0], atol=1e-5)
    bought = eq.follower_actions.sum(axis=1)
    np.testing.assert_allclose(path["total_demand"][-1], bought, atol=1e-4)


# -- scripts and the report ------------------------------------------------------------------------


def test_script_writes_picture_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("stackel.examples.reproduction.experiment.SEEDS", 2)
    module = script("fig7")
    arguments = ["--out", str(tmp_path), "--no-learner"]
    said = reproduction.script("fig7", module.run, module.draw, arguments)
    assert said.count("holds") == 4
    import pandas as pd

    table = pd.read_csv(tmp_path / "fig7.csv")
    assert set(table["source"]) == {"admm", "closed-form", "literal"}
    assert (table["draws"] == 2).all()
    mean = table.query("source == 'admm' and quantity == 'demand' and mean_tie == 5")["mean"].item()
    closed = solved("fig7")["admm"]["demand"].sel(mean_tie=5.0, seed=[0, 1]).mean()
    assert mean == pytest.approx(float(closed), rel=1e-4)
    assert (tmp_path / "fig7.png").stat().st_size > 10_000


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    from stackel.examples.reproduction.reproduce import reproduce

    monkeypatch.setattr("stackel.examples.reproduction.experiment.SEEDS", 2)
    figures = ["fig3", "fig4", "fig7"]
    report = reproduce(tmp_path, only=figures, command="some command", learner=False)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert report.certified == (12, 12)
    assert len(report.values) == 10
    for page in (html, text):
        for number in ("0.91", "45.12", "58.2", "some command", "Algorithm 1, line 1"):
            assert number in page
        assert page.count("holds") >= 4
    assert 'src="data:image/png;base64,' in html
    assert "http" not in html  # self-contained
    assert "](fig7.png)" in text


@pytest.mark.slow
def test_report_with_learners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "matplotlib", "jinja2"):
        pytest.importorskip(package)
    from stackel.examples.reproduction.reproduce import reproduce

    monkeypatch.setattr("stackel.examples.reproduction.experiment.SEEDS", 2)
    monkeypatch.setattr("stackel.examples.reproduction.experiment.EPISODES", 2)
    reproduce(tmp_path, only=["fig7"], learner=True)
    import pandas as pd

    table = pd.read_csv(tmp_path / "fig7.csv")
    learned = table.query("source == 'malppo' and quantity == 'price'")
    assert learned["mean"].between(0.1, 1.5).all()
    assert len(learned) > 0


def test_report_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    from stackel.examples.reproduction.reproduce import reproduce

    with pytest.raises(stackel.OptionError, match="did you mean 'fig5'"):
        reproduce(tmp_path, only=["fig55"])
    (tmp_path / "file").touch()
    with pytest.raises(stackel.OptionError, match="expected a folder"):
        reproduce(tmp_path / "file")


def test_a_script_refuses_a_file_for_a_folder_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.touch()

    def work(**_: Any) -> Any:
        raise AssertionError("it worked")

    with pytest.raises(SystemExit):
        scripts.script("fig5", work, work, ["--out", str(taken), "--no-learner"])
    assert "is a file; expected a folder" in capsys.readouterr().err
