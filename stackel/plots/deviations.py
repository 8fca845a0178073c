"""What leaders could do instead: each one's payoff along its own range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.plots.protocols import Answer, Range
from stackel.plots.style import GREY, axis_label, colour, panels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
"""Panels in a row."""

FORESEEN = {
    "equilibrium": "followers answering",
    "own_response": "each follower replying alone",
    "none": "followers staying",
}
"""What followers do at a leader's trials, by what leaders foresee."""

OFF_LIMITS = "0.92"
CAPTION = 0.3
"""Room for the legend [inch]."""


def deviations(eq: Answer, ranges: Sequence[Range], said: str, foreseen: str) -> Figure:
    """Each leader's payoff along its own range, the followers answering every trial; where it
    stands; the move that gains most, if one does; and what the payoff is proved to be at most.

    What is shaded is not open to the leader: the followers have no answer, or a limit of its own is
    broken.

    Args:
        eq: an answer.
        ranges: a panel for each.
        said: the verdict, in a line.
        foreseen: what leaders foresee, a key of :data:`FORESEEN`.

    Raises:
        ImportError: matplotlib is missing.
    """
    with style():
        decisions = eq.leader_actions.shape[0]  # a row for each leader that has several
        columns = decisions if 1 < decisions <= COLUMNS else COLUMNS
        figure, axes = panels(len(ranges), columns, 2.0, CAPTION)
        for ax, one in zip(axes, ranges, strict=False):
            _panel(ax, eq, one, FORESEEN[foreseen])
        for ax in axes[len(ranges) :]:
            ax.set_axis_off()
        shown: dict[str, Any] = {}
        for ax in axes:
            handles, names = ax.get_legend_handles_labels()
            shown |= dict(zip(names, handles, strict=True))
        place: Any = {"loc": "outside upper left", "ncols": len(shown), "title": said}
        legend = figure.legend(list(shown.values()), list(shown), **place)
        legend.get_title().set_parse_math(False)
    return figure


def _panel(ax: Axes, eq: Answer, one: Range, followers: str) -> None:
    action, own = eq.game.leader_action, colour(one.leader)
    known = np.isfinite(one.payoff)
    if len(one.upper):
        # Beyond what the payoff does, a bound that is only good enough says nothing.
        ax.hlines(one.upper, one.low, one.high, GREY, linewidth=0.9, label="proved to be at most")
    ax.plot(one.value, one.payoff, color=own, label=f"payoff, {followers}")
    _shade(ax, one, ~known & one.settled, OFF_LIMITS, "own limit broken")
    _shade(ax, one, ~known & ~one.settled, "0.82", "followers not settled")
    ax.axhline(one.now[1], color="black", linewidth=0.5, linestyle=":", zorder=0.6)
    ax.plot(*one.now, "o", color="black", markersize=4, label="where it stands")
    if one.better is not None:
        ax.plot(*one.better, "*", color="#D55E00", markersize=8, label="a move that gains")
        gain = one.better[1] - one.now[1]
        ax.annotate(f"+{gain:.3g}", one.better, (5, 4), textcoords="offset points", color="#D55E00")
    several = eq.leader_actions.shape[0] > 1
    name = axis_label(action)
    ax.set_xlabel(f"{name}, decision {one.decision}" if several else name, parse_math=False)
    ax.set_ylabel(f"payoff of leader {one.leader}")
    seen = one.payoff[known]
    if len(seen):
        top, bottom = max(seen.max(), one.now[1]), min(seen.min(), one.now[1])
        margin = 0.08 * (top - bottom or abs(top) or 1.0)
        ax.set_ylim(bottom - margin, top + 2 * margin)


def _shade(ax: Axes, one: Range, where: np.ndarray, grey: str, name: str) -> None:
    """Stretches of the range, half way to what is next to them."""
    if not where.any():
        return
    middles = (one.value[1:] + one.value[:-1]) / 2
    edges = np.concatenate([one.value[:1], middles, one.value[-1:]])
    change = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    for first, last in change.reshape(-1, 2):
        ax.axvspan(edges[first], edges[last], color=grey, linewidth=0, label=name, zorder=0.1)
