"""Several backends' answers to one game, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stackel.errors import GameError
from stackel.plots.protocols import Answers
from stackel.plots.style import GREY, WIDTH, axis_label, colour, figure_of, legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def comparison(found: Answers) -> Figure:
    """The leaders' actions by backend, and how far each answer is from the first that holds.

    A backend whose point is refuted is drawn in grey; left of the dashed line answers are the same.
    Distances are relative, those of :meth:`stackel.Equilibrium.distance`.

    Args:
        found: what :func:`stackel.compare` returns.

    Raises:
        GameError: no backend has an answer.
        ImportError: matplotlib is missing.
    """
    if not found.answers:
        raise GameError(f"{found.game}: {found.verdict}; there is nothing to draw")
    with style():
        figure = figure_of(0.36 * WIDTH)
        actions, apart = figure.subplots(1, 2, width_ratios=[1.6, 1])
        answers = found.answers.values()
        colours = [colour(k) if eq.is_equilibrium else GREY for k, eq in enumerate(answers)]
        _actions(actions, found, colours)
        _distances(apart, found, colours)
    return figure


def _actions(ax: Axes, found: Answers, colours: Sequence[str]) -> None:
    width = 0.75 / len(colours)
    for k, (name, eq) in enumerate(found.answers.items()):
        values = eq.leader_actions.ravel()
        at = np.arange(values.size) + (k + 0.5) * width - 0.375
        shown = name if eq.is_equilibrium else f"{name} (refuted)"
        ax.bar(at, values, 0.9 * width, color=colours[k], label=shown)
    action, (d, J) = found.game.leader_action, found.game.leader_shape
    ticks = [str(j) if d == 1 else f"{j}.{row}" for row in range(d) for j in range(J)]
    if len(ticks) <= 24:
        ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlabel("leader" if d == 1 else "leader.decision")
    ax.set_ylabel(axis_label(action), parse_math=False)
    legend(ax, columns=3)


def _distances(ax: Axes, found: Answers, colours: Sequence[str]) -> None:
    """Relative distances to the first answer that holds, on a log axis; exact zeros at its foot."""
    names = list(found.answers)
    reference = (found.holding or names)[0]
    floor = 1e-16
    values = np.maximum(found.distances[reference].to_numpy(dtype=float), floor)
    rows = np.arange(len(names))
    ax.scatter(values, rows, color=colours, zorder=3)
    ax.hlines(rows, floor, values, color=colours, linewidth=1.0)
    ax.axvline(found.tolerance, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    ax.set_xscale("log")
    ax.set_xlim(floor / 3, max(1.0, 3 * float(values.max())))
    ax.set_yticks(rows, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(f"relative distance to {reference}")
