"""An equilibrium: who asks and buys what, and who is tied to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, get_type_hints

import networkx as nx
import numpy as np
import scipy.sparse as sp

from stackel.errors import GameError
from stackel.game.game import Action, Game
from stackel.game.grids import SparseOperator, grid_of
from stackel.plots.protocols import Answer
from stackel.plots.style import (
    COLOURS,
    GREY,
    LABELLED,
    MANY,
    SEPARATE,
    WIDTH,
    axis_label,
    colourbar,
    count_along,
    figure_of,
    legend,
    style,
)
from stackel.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colours = Sequence[str | Sequence[str]]  # of each series: one, or one for each of its bars


def equilibrium(eq: Answer) -> Figure:
    """The leaders' prices, the followers' purchases and, where there are ties, their graph.

    Actions are drawn in their units. Beyond :data:`MANY` followers their distribution is shown, and
    no graph.

    Args:
        eq: an answer.

    Raises:
        ImportError: matplotlib is missing.
    """
    game = eq.game
    with style():
        if game.n_followers <= MANY and _ties(game) is not None:
            figure = figure_of(0.55 * WIDTH)
            panels = figure.subplot_mosaic("LG;FG", width_ratios=[1, 1.1])
            social_graph(eq, panels["G"])
        else:
            figure = figure_of(0.36 * WIDTH)
            panels = figure.subplot_mosaic("LF", width_ratios=[1, 1.6])
        _leaders(panels["L"], eq)
        _followers(panels["F"], eq)
    return figure


def social_graph(eq: Answer, ax: Axes | None = None) -> Figure:
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
    with style():
        axes = figure_of(0.6 * WIDTH, 0.7 * WIDTH).subplots() if ax is None else ax
        _draw_graph(axes, ties, eq.follower_actions.sum(1), eq.game.follower_action)
    return axes.figure.figure


def _leaders(ax: Axes, eq: Answer) -> None:
    """Each leader's action; where it has several decisions, side by side for each of them."""
    action, (size, count) = eq.game.leader_action, eq.leader_actions.shape
    if size > 1:
        names = [f"leader {j}" for j in range(count)]
        _actions(ax, eq.leader_actions, action, "decision", names, COLOURS)
    else:
        colours = COLOURS[:count] if count <= len(COLOURS) else GREY
        _actions(ax, eq.leader_actions.T, action, "leader", [""], [colours])


def _followers(ax: Axes, eq: Answer) -> None:
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
        colourbar(ax, image, axis_label(action))
        count_along(ax.yaxis, size)
        ax.set_ylabel(names[0].rstrip("[0] "), parse_math=False)
    else:
        _bars(ax, values, names, colours, stacked)
        ax.set_ylabel(axis_label(action), parse_math=False)
    count_along(ax.xaxis, count)
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
        legend(ax)


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
        legend(ax)
    ax.set_xlabel(axis_label(action, total), parse_math=False)


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
    at = np.array(list(nx.spring_layout(graph, iterations=steps, seed=0).values()))
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
    colourbar(ax, dots, axis_label(action, total=True))
