"""Pictures: every mark stands for a number of the answer, and nothing of pyplot is touched."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import stackel
from stackel import Action, Equilibrium, Follower, Game, GameError, Leader, Peers, Status, plots
from stackel.followers.response import settle
from stackel.formulations.vehicular_twins import fig3, on_graph
from stackel.functions import log, over_followers, over_leaders

mpl = pytest.importorskip("matplotlib")

FIG3 = np.array([[0.95618652, 0.81081216]])
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Fares(Game):
    """Personal prices: a leader has a decision for each follower."""

    value: Follower
    unit_cost: Leader

    @property
    def leader_action(self) -> Action:
        return Action("fare", unit="$/$", low=0.0, high=4.0, size=self.n_followers)

    @property
    def follower_action(self) -> Action:
        return Action("rides", low=-1.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(2 + y) - y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


@dataclass(frozen=True)
class Efforts(Fares):
    """One action a follower, whatever the number of leaders; one-sided and absent ties."""

    habits: Peers | None = None
    ties: Peers = 0.0

    @property
    def leader_action(self) -> Action:
        return Action("bonus")

    @property
    def follower_action(self) -> Action:
        return Action("effort", unit="h", size=1)


def answer(game: Game, x: np.ndarray = FIG3, **more: Any) -> Equilibrium:
    return Equilibrium(game, "test", x, settle(game, x).y, Status.CONVERGED, **more)


def at(game: Game, x: Any, y: Any) -> Equilibrium:
    return Equilibrium(game, "test", np.array(x), np.array(y), Status.CONVERGED)


def panels(figure: Any) -> list[Any]:
    """The axes, colour bars left out."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def panel(figure: Any, xlabel: str) -> Any:
    (found,) = [ax for ax in panels(figure) if ax.get_xlabel() == xlabel]
    return found


def bars(ax: Any) -> np.ndarray:
    """The heights of bars, (series, players)."""
    return np.array([[bar.get_height() for bar in group] for group in ax.containers])


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def colourbar(figure: Any) -> Any:
    (found,) = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    return found


def dots(figure: Any) -> Any:
    (found,) = [c for ax in figure.axes for c in ax.collections if c.get_offsets().size > 2]
    return found


def edges(figure: Any) -> int:
    from matplotlib.collections import LineCollection

    found = [c for ax in panels(figure) for c in ax.collections if isinstance(c, LineCollection)]
    return sum(len(c.get_segments()) for c in found)


# -- equilibrium -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [False, True])
def test_prices_and_purchases(delay: bool) -> None:
    eq = answer(fig3(delay=delay))
    figure = eq.plot()
    prices = panel(figure, "leader")
    assert prices.get_ylabel() == "price [$ per 1e7 Hz]"
    np.testing.assert_array_equal(bars(prices), eq.leader_actions)
    purchases = panel(figure, "follower")
    assert purchases.get_ylabel() == "bandwidth [1e7 Hz]"
    np.testing.assert_allclose(bars(purchases), eq.follower_actions.T, rtol=1e-12)
    assert legend(purchases) == ["leader 0", "leader 1"]
    assert list(purchases.get_xticks()) == [0, 1, 2]


def test_purchases_are_stacked_in_the_leaders_colours() -> None:
    eq = answer(fig3())
    figure = plots.equilibrium(eq)
    first, second = panel(figure, "follower").containers
    np.testing.assert_array_equal([b.get_y() for b in second], eq.follower_actions[:, 0])
    (prices,) = panel(figure, "leader").containers
    for price, purchases in zip(prices, (first, second), strict=True):
        assert {b.get_facecolor() for b in purchases} == {price.get_facecolor()}


def test_the_graph_is_coloured_by_total_purchase() -> None:
    eq = answer(on_graph(nx.karate_club_graph()))
    figure = plots.equilibrium(eq)
    total = eq.follower_actions.sum(1)
    assert colourbar(figure).get_ylabel() == "total bandwidth [1e7 Hz]"
    np.testing.assert_array_equal(np.sort(dots(figure).get_array()), np.sort(total))
    assert edges(figure) == 78
    shown = dots(figure)
    value = {tuple(p): v for p, v in zip(shown.get_offsets(), shown.get_array(), strict=True)}
    numbers = {int(t.get_text()): value[t.get_position()] for t in shown.axes.texts}
    assert numbers == dict(enumerate(total))


def test_the_layout_is_the_same_every_time() -> None:
    eq = answer(on_graph(nx.karate_club_graph()))
    first, second = (dots(plots.social_graph(eq)).get_offsets() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_many_followers_are_one_outline_without_numbers() -> None:
    eq = answer(on_graph(nx.barabasi_albert_graph(350, 2, seed=0)))
    figure = plots.equilibrium(eq)
    assert edges(figure) == 696
    assert not dots(figure).axes.texts
    first, second = (p.get_data() for p in panel(figure, "follower").patches)
    np.testing.assert_array_equal(first.values, eq.follower_actions[:, 0])
    np.testing.assert_array_equal(second.values, eq.follower_actions.sum(1))
    np.testing.assert_array_equal(second.baseline, first.values)


def test_thousands_of_followers_are_a_distribution() -> None:
    game = on_graph(nx.cycle_graph(2500), satisfaction=np.linspace(25, 35, 2500))
    eq = answer(game)
    figure = plots.equilibrium(eq)
    assert len(figure.axes) == 2
    ax = panel(figure, "bandwidth [1e7 Hz]")
    assert ax.get_ylabel() == "followers"
    for patch, own in zip(ax.patches, eq.follower_actions.T, strict=True):
        counts, places, _ = patch.get_data()
        assert counts.sum() == 2500
        np.testing.assert_array_equal(counts, np.histogram(own, places)[0])
    with pytest.raises(GameError, match="at most 2000 followers"):
        plots.social_graph(eq)


def test_no_ties_no_graph() -> None:
    eq = answer(replace(fig3(), ties=0.0))
    assert len(plots.equilibrium(eq).axes) == 2
    with pytest.raises(GameError, match=r"no ties to draw; expected .* Peers"):
        plots.social_graph(eq)


def test_leaders_with_several_decisions() -> None:
    x, y = np.arange(6.0).reshape(3, 2), np.array([[1.0, -0.5], [0.2, 0.3], [0.0, -1.0]])
    figure = plots.equilibrium(at(Fares(value=[1.0, 2.0, 3.0], unit_cost=[0.1, 0.2]), x, y))
    prices = panel(figure, "decision")
    assert prices.get_ylabel() == "fare [$/$]"
    np.testing.assert_array_equal(bars(prices), x.T)
    assert legend(prices) == ["leader 0", "leader 1"]
    purchases = panel(figure, "follower")
    np.testing.assert_array_equal(bars(purchases), y.T)
    assert {b.get_y() for group in purchases.containers for b in group} == {0.0}  # not stacked


def test_many_decisions_are_a_heat_map() -> None:
    x, y = np.random.default_rng(0).random((2, 40, 9))
    game = Fares(value=np.ones(40), unit_cost=np.ones(9))
    figure = plots.equilibrium(at(game, x, y))
    for name, values in (("decision", x), ("follower", y)):
        ax = panel(figure, name)
        np.testing.assert_array_equal(ax.images[0].get_array(), values.T)
        assert ax.get_ylabel() == "leader"
    bar_labels = {ax.get_ylabel() for ax in figure.axes if ax not in panels(figure)}
    assert bar_labels == {"fare [$/$]", "rides"}


def test_one_effort_a_follower() -> None:
    y = [[0.5], [1.5], [0.25]]
    ties = np.array([[0, 1, 0], [0, 0, 0], [0, 2, 0]])  # one-sided, either way
    game = Efforts(value=np.ones(3), unit_cost=[0.1, 0.2], ties=ties)
    figure = plots.equilibrium(at(game, [[1.0, 2.0]], y))
    np.testing.assert_array_equal(bars(panel(figure, "follower")), [[0.5, 1.5, 0.25]])
    assert panel(figure, "follower").get_legend() is None
    assert edges(figure) == 2
    game = replace(game, habits=np.ones((3, 3)), ties=0.0)  # the first field with entries counts
    assert edges(plots.social_graph(at(game, [[1.0, 2.0]], y))) == 3


def test_the_graph_goes_where_it_is_told() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    _, ax = figure.subplots(1, 2)
    assert plots.social_graph(answer(fig3()), ax) is figure
    assert dots(figure).axes is ax


# -- convergence -----------------------------------------------------------------------------------


def records(**columns: Any) -> tuple[dict[str, Any], ...]:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return tuple({"seconds": 0.1 * k, **row} for k, row in enumerate(rows))


def lines(ax: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {x.get_label(): (list(x.get_xdata()), list(x.get_ydata())) for x in ax.lines}


def test_residuals_and_prices() -> None:
    x = [np.array([1.0, 0.9]), np.array([0.96, 0.82])]
    gaps = [np.array([0.1, -0.3]), np.array([0.02, 0.01])]
    eq = answer(fig3(), records=records(residual=[1e-3, 0.0], leader_gap=gaps, x=x, note="ab"))
    small, prices = plots.convergence(eq).axes
    assert small.get_yscale() == "log"
    assert lines(small) == {"residual": ([1], [1e-3]), "leader_gap": ([1, 2], [0.3, 0.02])}
    assert prices.get_yscale() == "linear"
    assert prices.get_ylabel() == "price [$ per 1e7 Hz]"
    assert lines(prices) == {"leader 0": ([1, 2], [1.0, 0.96]), "leader 1": ([1, 2], [0.9, 0.82])}
    assert {small.get_xlabel(), prices.get_xlabel()} == {"iteration"}


def test_stages_have_panels_of_their_own() -> None:
    rows: list[dict[str, Any]] = []
    for k in range(3):
        rows += [{"stage": "inner", "primal": 0.1 / (i + 1), "penalty": 5.0} for i in range(4)]
        rows += [{"stage": "outer", "change": 0.5**k, "price": FIG3[0] + k, "payoff": FIG3[0]}]
    figure = plots.convergence(answer(fig3(), records=tuple(rows)))
    inner, outer, prices = figure.axes
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "inner iteration",
        "outer iteration",
        "outer iteration",
    ]
    counted = list(range(1, 13))
    primal = [0.1 / (i + 1) for _ in range(3) for i in range(4)]
    assert lines(inner) == {"primal": (counted, primal), "penalty": (counted, [5.0] * 12)}
    assert lines(outer) == {"change": ([1, 2, 3], [1.0, 0.5, 0.25])}
    assert lines(prices)["leader 1"] == ([1, 2, 3], [FIG3[0, 1] + k for k in range(3)])


def test_unknown_columns_are_shown_whole() -> None:
    eq = answer(fig3(), records=records(reward=[FIG3[0], 2 * FIG3[0]], loss=[None, -1.0]))
    figure = plots.convergence(eq)
    assert {ax.get_ylabel(): lines(ax) for ax in figure.axes} == {
        "reward": {
            "reward[0]": ([1, 2], [FIG3[0, 0], 2 * FIG3[0, 0]]),
            "reward[1]": ([1, 2], [FIG3[0, 1], 2 * FIG3[0, 1]]),
        },
        "loss": {"loss": ([2], [-1.0])},
    }


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_as_many_panels_as_quantities(count: int) -> None:
    columns = {f"quantity{k}": [1.0, 2.0] for k in range(count)}
    figure = plots.convergence(answer(fig3(), records=records(**columns)))
    assert len(figure.axes) == count


@pytest.mark.parametrize(
    ("rows", "held"),
    [((), "no rows"), (({"note": "a"}, {"residual": np.inf}), "2 rows without a number")],
)
def test_nothing_to_plot(rows: tuple[dict[str, Any], ...], held: str) -> None:
    with pytest.raises(GameError, match=rf"Vehicular.* by test holds {held}; expected .*run\.step"):
        plots.convergence(answer(fig3(), records=rows))


# -- manners ---------------------------------------------------------------------------------------


def figures() -> list[Any]:
    eq = answer(on_graph(nx.karate_club_graph()), records=records(residual=[0.1, 0.01]))
    return [plots.equilibrium(eq), plots.social_graph(eq), plots.convergence(eq)]


def test_global_state_is_left_alone() -> None:
    from matplotlib import pyplot as plt

    before = dict(mpl.rcParams)
    drawn = figures()
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before
    assert len({id(f) for f in drawn}) == 3


def test_a_users_style_does_not_break_labels() -> None:
    with mpl.rc_context({"axes.prop_cycle": mpl.cycler(color=["k"]), "image.cmap": "jet"}):
        figure = plots.equilibrium(answer(fig3()))
    assert dots(figure).get_cmap().name == "viridis"


@pytest.mark.parametrize("format", ["png", "pdf", "svg"])
def test_figures_can_be_written(tmp_path: Path, format: str) -> None:
    for k, figure in enumerate(figures()):
        figure.savefig(tmp_path / f"{k}.{format}")
        assert (tmp_path / f"{k}.{format}").stat().st_size > 2000


def test_legends_and_labels_cover_no_data() -> None:
    for figure in figures():
        figure.draw_without_rendering()
        for ax in panels(figure):
            if ax.get_legend() is not None:
                assert ax.get_legend().get_window_extent().y0 >= ax.bbox.y1


def test_dollar_signs_are_not_mathematics() -> None:
    figure = plots.equilibrium(at(Fares(value=1.0, unit_cost=0.1), [[1.0]], [[0.5]]))
    label = panel(figure, "leader").yaxis.label
    assert label.get_text() == "fare [$/$]"
    assert not label.get_parse_math()


def test_notebooks_can_show_the_figures() -> None:
    for figure in figures():
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
import stackel.plots, numpy as np
from stackel import Equilibrium, Status
from stackel.formulations.vehicular_twins import fig3
eq = Equilibrium(fig3(), "test", np.ones((1, 2)), np.ones((3, 2)), Status.CONVERGED)
try:
    eq.plot()
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == 'plots need matplotlib: pip install "stackel[plot]"\n', done.stderr


# -- deviations ------------------------------------------------------------------------------------


def _line(ax: Any, name: str) -> Any:
    (found,) = [line for line in ax.lines if line.get_label() == name]
    return found


@pytest.mark.proofs
def test_payoffs_along_own_ranges_stay_below_what_is_proved() -> None:
    eq = stackel.solve(fig3(delay=True))
    figure = eq.plot("deviations")
    assert len(panels(figure)) == 2
    for j, ax in enumerate(panels(figure)):
        assert ax.get_xlabel() == "price [$ per 1e7 Hz]"
        assert ax.get_ylabel() == f"payoff of leader {j}"
        (price,), (payoff,) = _line(ax, "where it stands").get_data()
        assert (price, payoff) == (eq.leader_actions[0, j], pytest.approx(eq.leader_payoffs[j]))
        prices, payoffs = _line(ax, "payoff, followers answering").get_data()
        assert (prices[0], prices[-1]) == tuple(b[0, j] for b in eq.game.leader_bounds)
        assert payoffs.max() <= payoff * (1 + 1e-6)
        (bounds,) = ax.collections
        ends = np.array([[*left, *right] for left, right in bounds.get_segments()])
        for first, upper, last, _ in ends:  # no trial inside a box is above its bar
            inside = (first <= prices) & (prices <= last)
            assert (payoffs[inside] <= upper + 1e-9).all()
        covered = ((ends[:, :1] <= prices) & (prices <= ends[:, 2:3])).any(0)
        assert covered.all()


def test_the_picture_says_what_leaders_foresee() -> None:
    figure = stackel.solve(fig3(), anticipation="none", throw=False).plot("deviations")
    assert len(_line(panels(figure)[0], "payoff, followers staying").get_xdata()) > 10


def test_a_move_that_gains_is_marked_and_what_is_closed_is_shaded() -> None:
    game = fig3()
    x = stackel.solve(game).leader_actions * np.array([[1.5, 1.0]])
    eq = answer(game, x).certify()
    first, second = panels(eq.plot("deviations"))
    (better,) = _line(first, "a move that gains").get_ydata()
    assert better == pytest.approx(eq.certificate.deviation.reached)
    assert "a move that gains" not in [line.get_label() for line in second.lines]
    capped = Capped([[3.0], [4.0]], [0.5])
    (ax,) = panels(answer(capped, np.array([[2.0]])).plot("deviations"))
    prices, payoffs = _line(ax, "payoff, followers answering").get_data()
    closed = np.isnan(payoffs)
    assert closed.any()
    assert np.array_equal(closed, (7.0 / prices - 2 > 2.0))
    assert [patch.get_label() for patch in ax.patches] == ["own limit broken"]


@dataclass(frozen=True)
class Capped(Game):
    """A seller that must not sell more than two units."""

    value: Follower
    cost: Leader

    leader_action = Action("price", low=1.0, high=3.0)
    follower_action = Action("units")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.cost) * y)

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {"capacity": over_followers(y) - 2.0}


def test_another_kind_of_picture_is_named() -> None:
    with pytest.raises(stackel.OptionError, match="'deviations'"):
        answer(fig3()).plot("devations")  # type: ignore[arg-type]
