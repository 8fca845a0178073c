"""Pictures of an answer, for papers and notebooks: needs ``pip install "stackel[plot]"``.

Every function returns a Matplotlib figure of its own, shows nothing and leaves pyplot alone. Leaders
and followers are numbered from 0. A leader has the same colour everywhere, of Okabe and Ito's
palette, which colour-blind readers tell apart; amounts run through viridis.
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
from stackel.grids import Grid, SparseOperator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Array = np.ndarray

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's, black last."""

LABELLED = 100
"""Up to so many followers, the graph's nodes carry their numbers: smaller print is not legible."""

SEPARATE = 60
"""Up to so many players, bars stand apart; more are drawn as one outline."""

MANY = 2000
"""Beyond so many players, distributions are shown in place of each."""

RESIDUALS = ("residual", "primal", "dual", "gap", "change", "violation", "error", "penalty")
"""A column whose name contains one of these falls (or should fall) by orders of magnitude."""

WIDTH = 7.2  # [inch], a journal's two columns

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "text.usetex": False,
    "xtick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7.0,
    "ytick.major.width": 0.6,
}


def equilibrium(eq: Equilibrium) -> Figure:
    """The leaders' prices, the followers' purchases and, where there are ties, their graph.

    Beyond :data:`MANY` followers their distribution is shown, and no graph.

    Raises:
        ImportError: matplotlib is missing.
    """
    game = eq.game
    drawn = _ties(game) is not None and game.n_followers <= MANY
    with _style():
        if drawn:
            figure = _figure(0.55 * WIDTH)
            panels = figure.subplot_mosaic(
                [["leaders", "graph"], ["followers", "graph"]], width_ratios=[1, 1.1]
            )
        else:
            figure = _figure(0.36 * WIDTH)
            panels = figure.subplot_mosaic([["leaders", "followers"]], width_ratios=[1, 1.6])
        _players(panels["leaders"], "leader", eq.leader_actions.T, game.leader_action)
        _players(panels["followers"], "follower", eq.follower_actions, game.follower_action)
        if drawn:
            social_graph(eq, panels["graph"])
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
        raise GameError(
            f"{eq.game}: a graph of more than {MANY} followers shows nothing; plots.equilibrium "
            "shows their distribution"
        )
    with _style():
        axes = _figure(0.6 * WIDTH, 0.7 * WIDTH).subplots() if ax is None else ax
        _draw_graph(axes, ties, eq.follower_actions.sum(1), eq.game.follower_action)
    figure: Any = axes.get_figure(root=True)
    return figure


def convergence(eq: Equilibrium) -> Figure:
    """How the method got there: what should vanish on a log axis, and the leaders' actions.

    Of a column for each player, the largest residual is shown, and every player's price. A history
    in stages (a column ``stage``) has a panel of residuals for each stage. A history with neither
    residuals nor prices shows all its columns.

    Raises:
        GameError: the history is empty, or holds no numbers.
        ImportError: matplotlib is missing.
    """
    history = eq.history
    if history.empty:
        raise GameError(
            f"{eq!r} has no history to plot: backend {eq.backend!r} recorded no iteration"
        )
    stages = history["stage"] if "stage" in history else pd.Series("", history.index)
    panels: list[tuple[str, str, pd.DataFrame, bool]] = []
    prices = {"x", "price", "prices", eq.game.leader_action.name}
    for stage in stages.dropna().unique():
        table = _numbers(history[stages == stage])
        families = _families(table)
        table.index = pd.RangeIndex(1, len(table) + 1)
        small = [f for f in families if any(r in f.lower() for r in RESIDUALS)]
        if small:
            largest = {f: table[families[f]].abs().max(axis=1) for f in small}
            panels.append((stage, "residual", pd.DataFrame(largest), True))
        found = [c for f in families if f in prices for c in families[f]]
        if found:
            panels.append((stage, _label(eq.game.leader_action), table[found], False))
    if not panels:
        rest = _numbers(history).drop(columns=["seconds", "iteration"], errors="ignore")
        if rest.empty:
            raise GameError(f"{eq!r} has a history without numbers to plot")
        panels.append(("", "value", rest, False))
    panels.sort(key=lambda panel: not panel[3])
    with _style():
        figure = _figure(0.36 * WIDTH, min(len(panels), 3) / 3 * WIDTH if len(panels) > 1 else 3.6)
        for ax, (stage, label, table, log) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _lines(ax, table, log, "leader" if table.shape[1] > 1 and not log else "")
            ax.set_xlabel(f"{stage} iteration".strip(), parse_math=False)
            ax.set_ylabel(label, parse_math=False)
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
    legend = ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _count_along(axis: Axis, count: int) -> None:
    """Ticks at players' numbers."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    axis.set_major_locator(FixedLocator(range(count)) if count <= 12 else MaxNLocator(integer=True))


# -- players' actions ------------------------------------------------------------------------------


def _players(ax: Axes, player: str, values: Array, action: Action) -> None:
    """Each player's action, (players, decisions): bars, a heat map, or a distribution."""
    count, size = values.shape
    pairs = player == "follower" and size > 1
    names = [f"leader {j}" if pairs else f"{action.name}[{j}]" for j in range(size)]
    if count > MANY:
        _distribution(ax, player, values, action, names)
        return
    ax.set_xlabel(player)
    if size > len(COLOURS):
        _heat(ax, values, action)
        ax.set_ylabel("leader" if pairs else "decision")
    else:
        own = player == "leader" and size == 1 and count <= len(COLOURS)
        _bars(ax, values, names, COLOURS[:count] if own else None)
        ax.set_ylabel(_label(action), parse_math=False)
    _count_along(ax.xaxis, count)


def _bars(
    ax: Axes, values: Array, names: Sequence[str], colours: Sequence[str] | None = None
) -> None:
    """One bar a player, or one for each of its decisions; purchases are stacked.

    Args:
        ax: where.
        values: (players, decisions).
        names: of the decisions.
        colours: of the players; by default, each decision has its own.
    """
    count, size = values.shape
    stacked = size == 1 or bool((values >= 0).all()) and names[0].startswith("leader")
    width = 0.7 if stacked else 0.7 / size
    base = np.zeros(count)
    for j, name in enumerate(names):
        own, colour = values[:, j], colours or COLOURS[j]
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


def _heat(ax: Axes, values: Array, action: Action) -> None:
    image = ax.imshow(values.T, aspect="auto", origin="lower", cmap="viridis")
    _count_along(ax.yaxis, values.shape[1])
    _colourbar(ax, image, _label(action))


def _distribution(
    ax: Axes, player: str, values: Array, action: Action, names: Sequence[str]
) -> None:
    if values.shape[1] > len(COLOURS):
        values, names = values.sum(1, keepdims=True), [""]
    edges = np.histogram_bin_edges(values[np.isfinite(values)], bins=40)
    for j, name in enumerate(names):
        counts = np.histogram(values[:, j], edges)[0]
        ax.stairs(counts, edges, color=COLOURS[j], linewidth=1.2, label=name)
    ax.set_yscale("log")  # followers by the thousand: a few large ones are to be seen too
    ax.set_ylim(bottom=0.7)
    if len(names) > 1:
        _legend(ax)
    ax.set_xlabel(_label(action, total=not names[0]), parse_math=False)
    ax.set_ylabel(f"{player}s")


# -- the social graph ------------------------------------------------------------------------------


def _ties(game: Game) -> sp.coo_array | None:
    """The first field on the grid of peers that has entries, as a symmetric matrix's upper half."""
    hints = get_type_hints(type(game), include_extras=True)
    for f in fields(game):
        parts = (hints[f.name], *getattr(hints[f.name], "__args__", ()))
        extras = [e for part in parts for e in getattr(part, "__metadata__", ())]
        value = getattr(game, f.name)
        if value is None or not any(isinstance(e, Grid) and e.name == "peers" for e in extras):
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
    rows, columns = ties.coords
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
        alpha=float(np.clip(4 * count / len(rows), 0.1, 1.0)),
        rasterized=len(rows) > 5000,  # else a PDF of megabytes
        clip_on=False,
        zorder=1,
    )
    ax.add_collection(lines)
    order = np.argsort(values, kind="stable")  # the largest on top
    size = float(np.clip(7000 / count, 8, 180))
    dots = ax.scatter(
        at[order, 0],
        at[order, 1],
        s=size if labelled else size * (0.6 + 3 * _share(values[order])),
        c=values[order],
        cmap="viridis",
        edgecolors="white",
        linewidths=0.4 if labelled else 0.2,
        clip_on=False,
        zorder=2,
    )
    if labelled:
        bright = dots.to_rgba(values)[:, :3] @ [0.299, 0.587, 0.114] > 0.5
        for i, (horizontal, vertical) in enumerate(at):
            ax.text(
                horizontal,
                vertical,
                str(i),
                ha="center",
                va="center",
                fontsize=float(np.clip(0.45 * np.sqrt(size), 3.5, 7.0)),
                color="black" if bright[i] else "white",
                zorder=3,
            )
    ax.set_axis_off()
    ax.margins(0.05)
    _colourbar(ax, dots, _label(action, total=True))


def _share(values: Array) -> Array:
    """Where each value lies between the smallest (0) and the largest (1)."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def _colourbar(ax: Axes, shown: ScalarMappable, label: str) -> None:
    bar = ax.figure.colorbar(shown, ax=ax, aspect=30)
    bar.set_label(label, parse_math=False)
    bar.outline.set_visible(False)  # type: ignore[operator]


# -- the history -----------------------------------------------------------------------------------


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The numeric columns with at least one finite entry."""
    out = table.apply(pd.to_numeric, errors="coerce").astype(float)
    out = out.where(np.isfinite(out))
    return out.dropna(axis=1, how="all")


def _families(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns by what they are of: ``price[0]`` and ``price[1]`` are of ``price``."""
    out: dict[str, list[str]] = {}
    for column in table.columns:
        out.setdefault(str(column).partition("[")[0], []).append(column)
    return out


def _lines(ax: Axes, table: pd.DataFrame, log: bool, player: str) -> None:
    from matplotlib.ticker import MaxNLocator

    shown = table.where(table > 0) if log else table
    many = shown.shape[1] > len(COLOURS)
    for k, column in enumerate(shown.columns):
        values = shown[column].dropna()
        ax.plot(
            values.index,
            values,
            color=COLOURS[k % len(COLOURS)],
            linewidth=0.6 if many else 1.2,
            marker="o" if len(values) == 1 else "",
            markersize=3,
            label=f"{player} {k}" if player else str(column),
        )
    if log and shown.notna().to_numpy().any():
        ax.set_yscale("log")
    if not many:
        _legend(ax, 3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
