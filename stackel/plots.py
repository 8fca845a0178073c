"""Pictures of an answer, for papers and notebooks: needs ``pip install "stackel[plot]"``.

Every function returns a Matplotlib figure, shows nothing and leaves pyplot alone. Leaders and
followers are numbered from 0. A leader has one colour everywhere, of Okabe and Ito's palette, which
colour-blind readers tell apart; amounts run through viridis.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, get_type_hints

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp

from stackel.equilibrium import Equilibrium
from stackel.errors import GameError
from stackel.game import Action, Game
from stackel.grids import SparseOperator, grid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Array = np.ndarray
Colours = Sequence[str | Sequence[str]]  # of each series: one, or one for each of its bars

# Okabe and Ito's, black last; grey for what is no leader's.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
GREY = "#7F7F7F"

LABELLED = 100  # more numbers in a graph's nodes are not legible in print
SEPARATE = 60  # more bars are drawn as one outline
MANY = 2000  # of more players, only the distribution

# What a column's name contains if it should fall by orders of magnitude, and columns that count.
RESIDUALS = ("residual", "primal", "dual", "gap", "change", "violation", "error", "penalty")
CLOCKS = ["seconds", "iteration", "episode", "step"]

WIDTH = 7.2  # [inch], a journal's two columns
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 7.5,
    "image.cmap": "viridis",
    "legend.borderaxespad": 0.2,
    "legend.columnspacing": 1.2,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "text.usetex": False,  # labels are plain text: a unit may hold a dollar sign
}


def equilibrium(eq: Equilibrium) -> Figure:
    """The leaders' prices, the followers' purchases and, where there are ties, their graph.

    Beyond :data:`MANY` followers their distribution is shown, and no graph.

    Raises:
        ImportError: matplotlib is missing.
    """
    game = eq.game
    with _style():
        if game.n_followers <= MANY and _ties(game) is not None:
            figure = _figure(0.55 * WIDTH)
            panels = figure.subplot_mosaic("LG;FG", width_ratios=[1, 1.1])
            social_graph(eq, panels["G"])
        else:
            figure = _figure(0.36 * WIDTH)
            panels = figure.subplot_mosaic("LF", width_ratios=[1, 1.6])
        _leaders(panels["L"], eq)
        _followers(panels["F"], eq)
    return figure


def social_graph(eq: Equilibrium, ax: Axes | None = None) -> Figure:
    """Who is tied to whom, coloured by each follower's total purchase.

    Args:
        eq: an answer to a game with a field on the grid ``Peers``; the first with entries is drawn.
        ax: axes to draw in; a new figure's if None.

    Raises:
        GameError: there are no ties, or too many followers to tell apart.
        ImportError: matplotlib is missing.
    """
    ties = _ties(eq.game)
    if ties is None:
        raise GameError(f"{eq.game} has no ties to draw; expected a field on the grid Peers")
    if eq.game.n_followers > MANY:
        raise GameError(f"{eq.game}: expected at most {MANY} followers for a graph one can read")
    with _style():
        axes = _figure(0.6 * WIDTH, 0.7 * WIDTH).subplots() if ax is None else ax
        _draw_graph(axes, ties, eq.follower_actions.sum(1), eq.game.follower_action)
    return axes.figure.figure


def convergence(eq: Equilibrium) -> Figure:
    """How the method got there: what should vanish on a log axis, and the leaders' actions.

    Of a residual of every player, the largest is shown. A history in stages (a column ``stage``)
    is counted and shown stage by stage. One with neither residuals nor prices is shown whole.

    Raises:
        GameError: the history is empty, or holds no numbers.
        ImportError: matplotlib is missing.
    """
    history = eq.history
    stages = history["stage"] if "stage" in history else pd.Series("", history.index)
    tables = {str(s): _numbers(history[stages == s]) for s in stages.dropna().unique()}
    panels = [
        *((s, "residual", _residuals(t), True) for s, t in tables.items()),
        *((s, _label(eq.game.leader_action), _prices(eq, t), False) for s, t in tables.items()),
    ]
    if all(table.empty for _, _, table, _ in panels):
        panels = [
            (s, family, t[columns], False)
            for s, t in tables.items()
            for family, columns in _families(t).items()
        ]
    panels = [panel for panel in panels if not panel[2].empty]
    if not panels:
        held = f"{len(history)} rows without a number" if len(history) else "no rows"
        raise GameError(
            f"the history of {eq.game} by {eq.backend} holds {held}; expected what the backend "
            "records with run.step once an iteration"
        )
    rows, columns = -(-len(panels) // 3), min(len(panels), 3)
    with _style():
        figure = _figure(0.36 * WIDTH * rows, (0.5, 0.8, 1.0)[columns - 1] * WIDTH)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (stage, label, table, log) in zip(grid, panels, strict=False):
            _lines(ax, table, log)
            ax.set_xlabel(f"{stage} iteration".strip(), parse_math=False)
            ax.set_ylabel(label, parse_math=False)
        for ax in grid[len(panels) :]:
            ax.remove()
    return figure


# -- figures ---------------------------------------------------------------------------------------


def _style() -> AbstractContextManager[None]:
    """Matplotlib's settings for our figures, for as long as the context lasts."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "stackel[plot]"') from error
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]


def _figure(height: float, width: float = WIDTH) -> Figure:
    """A figure that pyplot knows nothing of, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=144, layout="constrained")
    # Notebooks show figures that pyplot made; this one says itself how it looks.
    figure.__dict__["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _label(action: Action, total: bool = False) -> str:
    name = f"total {action.name}" if total else action.name
    return f"{name} [{action.unit}]" if action.unit else name


def _legend(ax: Axes, columns: int = 4) -> None:
    """Above the axes, where it covers no data."""
    legend = ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _count_along(axis: Axis, count: int) -> None:
    """Ticks at whole numbers."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    axis.set_major_locator(FixedLocator(range(count)) if count <= 12 else MaxNLocator(integer=True))


# -- players' actions ------------------------------------------------------------------------------


def _leaders(ax: Axes, eq: Equilibrium) -> None:
    """Each leader's action; where it has several decisions, side by side for each of them."""
    action, (size, count) = eq.game.leader_action, eq.leader_actions.shape
    if size > 1:
        names = [f"leader {j}" for j in range(count)]
        _actions(ax, eq.leader_actions, action, "decision", names, COLOURS)
    else:
        colours = COLOURS[:count] if count <= len(COLOURS) else GREY
        _actions(ax, eq.leader_actions.T, action, "leader", [""], [colours])


def _followers(ax: Axes, eq: Equilibrium) -> None:
    """Each follower's action; purchases from several leaders are stacked."""
    action, size = eq.game.follower_action, eq.follower_actions.shape[1]
    leaders = size == eq.game.n_leaders
    names = [f"leader {j}" if leaders else f"{action.name}[{j}]" for j in range(size)]
    stacked = leaders and bool((eq.follower_actions >= 0).all())
    colours = COLOURS if leaders or size > 1 else [GREY]
    _actions(ax, eq.follower_actions, action, "follower", names, colours, stacked)


def _actions(
    ax: Axes,
    values: Array,
    action: Action,
    along: str,
    names: Sequence[str],
    colours: Colours,
    stacked: bool = False,
) -> None:
    """Values (rows, series), the rows along the axis: bars, a heat map, or a distribution."""
    count, size = values.shape
    if count > MANY:
        _distribution(ax, values, action, names)
        ax.set_ylabel(f"{along}s")
        return
    stacked = stacked or size == 1
    if size > len(COLOURS) or (count * size > SEPARATE and not stacked):
        image = ax.imshow(values.T, aspect="auto", origin="lower")
        _colourbar(ax, image, _label(action))
        _count_along(ax.yaxis, size)
        ax.set_ylabel(names[0].rstrip("[0] "), parse_math=False)
    else:
        _bars(ax, values, names, colours, stacked)
        ax.set_ylabel(_label(action), parse_math=False)
    _count_along(ax.xaxis, count)
    ax.set_xlabel(along)


def _bars(ax: Axes, values: Array, names: Sequence[str], colours: Colours, stacked: bool) -> None:
    count, size = values.shape
    width = 0.7 if stacked else 0.7 / size
    base = np.zeros(count)
    for j, name in enumerate(names):
        own, colour = values[:, j], colours[j]
        if stacked and count > SEPARATE:
            edges = np.arange(count + 1) - 0.5
            ax.stairs(base + own, edges, baseline=base, fill=True, color=colour, label=name)
        else:
            at = np.arange(count) + (0 if stacked else (j + 0.5) * width - 0.35)
            ax.bar(at, own, width, base, color=colour, label=name)
        base = base + own if stacked else base
    if (values < 0).any():
        ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlim(-0.6, count - 0.4)
    if size > 1:
        _legend(ax)


def _distribution(ax: Axes, values: Array, action: Action, names: Sequence[str]) -> None:
    if total := values.shape[1] > len(COLOURS):
        values, names = values.sum(1, keepdims=True), [""]
    edges = np.histogram_bin_edges(values[np.isfinite(values)], bins=40)
    for j, name in enumerate(names):
        counts = np.histogram(values[:, j], edges)[0]
        ax.stairs(counts, edges, color=COLOURS[j], linewidth=1.2, label=name)
    ax.set_yscale("log")  # of thousands, a few large ones are to be seen too
    ax.set_ylim(bottom=0.7)
    if len(names) > 1:
        _legend(ax)
    ax.set_xlabel(_label(action, total), parse_math=False)


# -- the social graph ------------------------------------------------------------------------------


def _ties(game: Game) -> sp.coo_array | None:
    """The first field on the grid of peers that has entries, as a symmetric matrix's upper half."""
    hints = get_type_hints(type(game), include_extras=True)
    for f in fields(game):
        grid, value = grid_of(hints[f.name]), getattr(game, f.name)
        if value is None or grid is None or grid.name != "peers":
            continue
        matrix = abs(value.matrix if isinstance(value, SparseOperator) else sp.csr_array(value))
        ties = sp.coo_array(sp.triu(matrix + matrix.T, 1))
        ties.eliminate_zeros()
        if ties.nnz:
            return ties
    return None


def _draw_graph(ax: Axes, ties: sp.coo_array, values: Array, action: Action) -> None:
    from matplotlib.collections import LineCollection

    count, labelled = len(values), len(values) <= LABELLED
    rows, columns = ties.row, ties.col
    weights = ties.data / ties.data.mean()
    graph = nx.empty_graph(count)
    graph.add_weighted_edges_from(zip(rows, columns, weights, strict=True))
    steps = min(100, 30_000 // count)  # a second or so for the layout
    places = nx.spring_layout(graph, iterations=steps, seed=0)
    at = np.array([places[i] for i in range(count)])
    lines = LineCollection(
        list(np.stack([at[rows], at[columns]], axis=1)),
        linewidths=np.clip(weights, 0.3, 3.0) * (0.8 if labelled else 0.4),
        colors="0.65",
        alpha=float(np.clip(min(4 * count, 20 * np.sqrt(len(rows))) / len(rows), 0.1, 1.0)),
        rasterized=len(rows) > 5000,  # else a PDF of megabytes
        zorder=0.5,
    )
    ax.add_collection(lines)
    size = float(np.clip(7000 / count, 8, 180))
    share = (values - values.min()) / (float(np.ptp(values)) or 1.0)
    sizes = np.full(count, size) if labelled else size * (0.6 + 3 * share)
    order = np.argsort(values, kind="stable")  # the largest on top
    across, up = at[order].T
    dots = ax.scatter(across, up, sizes[order], values[order], edgecolors="white", linewidths=0.3)
    dots.set_clip_on(False)
    if labelled:
        letters = float(np.clip(0.45 * np.sqrt(size), 3.5, 7.0))
        bright = dots.to_rgba(values)[:, :3] @ [0.299, 0.587, 0.114] > 0.5
        for i, (x, y) in enumerate(at):
            colour = "black" if bright[i] else "white"
            ax.text(x, y, str(i), ha="center", va="center", fontsize=letters, color=colour)
    ax.set_axis_off()
    ax.margins(0.05)
    _colourbar(ax, dots, _label(action, total=True))


def _colourbar(ax: Axes, shown: ScalarMappable, label: str) -> None:
    bar = ax.figure.colorbar(shown, ax=ax, aspect=30)
    bar.set_label(label, parse_math=False)
    bar.outline.set_visible(False)


# -- the history -----------------------------------------------------------------------------------


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The columns with a finite number in them, the rows counted from 1."""
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    numbers.index = pd.RangeIndex(1, len(numbers) + 1)
    return numbers.where(np.isfinite(numbers)).dropna(axis=1, how="all")


def _families(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns by what they are of: ``price[0]`` and ``price[1]`` are of ``price``."""
    out: dict[str, list[str]] = {}
    for column in table.columns.difference(CLOCKS, sort=False):
        out.setdefault(str(column).partition("[")[0], []).append(column)
    return out


def _residuals(table: pd.DataFrame) -> pd.DataFrame:
    """What should vanish, in size; of many, the largest. Zeros have no place on a log axis."""
    named = {f: c for f, c in _families(table).items() if any(r in f.lower() for r in RESIDUALS)}
    out = pd.DataFrame({f: table[c].abs().max(axis=1) for f, c in named.items()})
    return out.where(out > 0).dropna(axis=1, how="all")


def _prices(eq: Equilibrium, table: pd.DataFrame) -> pd.DataFrame:
    """The leaders' actions; a leader's name above its column if it has but one."""
    known = {"x", "price", "prices", eq.game.leader_action.name}
    columns = [c for f, found in _families(table).items() if f in known for c in found]
    out = table[columns]
    single = out.shape[1] == eq.game.n_leaders and eq.game.leader_shape[0] == 1
    return out.set_axis([f"leader {j}" for j in range(out.shape[1])], axis=1) if single else out


def _lines(ax: Axes, table: pd.DataFrame, log: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    for k, column in enumerate(table):
        values = table[column].dropna()
        setting = "penalty" in str(column)  # not a residual, but of use beside them
        (line,) = ax.plot(values.index, values, label=str(column))
        line.set_color(GREY if setting else COLOURS[k % len(COLOURS)])
        line.set_linestyle("--" if setting else "-")
        line.set_marker("o" if len(values) == 1 else "")
    if log:
        ax.set_yscale("log")
    if table.shape[1] <= len(COLOURS):
        _legend(ax, 3)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
