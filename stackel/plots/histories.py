"""How a method got there: what should vanish, and where the leaders went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stackel.errors import GameError
from stackel.plots.protocols import Answer
from stackel.plots.style import COLOURS, GREY, WIDTH, axis_label, colour, legend, panels, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What a column's name contains if it should fall by orders of magnitude, and columns that count.
RESIDUALS = ("residual", "primal", "dual", "gap", "change", "violation", "error", "penalty")
CLOCKS = ["seconds", "iteration", "episode", "step"]


def convergence(eq: Answer) -> Figure:
    """How the method got there: what should vanish on a log axis, and the leaders' actions.

    Of a residual of every player, the largest is shown. A history in stages (a column ``stage``)
    is counted and shown stage by stage. One with neither residuals nor prices is shown whole.

    Args:
        eq: an answer with a history.

    Raises:
        GameError: the history is empty, or holds no numbers.
        ImportError: matplotlib is missing.
    """
    history = eq.history
    stages = history.groupby("stage", sort=False) if "stage" in history else [("", history)]
    tables = {str(stage): _numbers(table) for stage, table in stages}
    shown = [
        *((s, "residual", _residuals(t), True) for s, t in tables.items()),
        *((s, axis_label(eq.game.leader_action), _prices(eq, t), False) for s, t in tables.items()),
    ]
    if all(table.empty for _, _, table, _ in shown):
        shown = [
            (s, family, t[columns], False)
            for s, t in tables.items()
            for family, columns in _families(t).items()
        ]
    shown = [panel for panel in shown if not panel[2].empty]
    if not shown:
        held = f"{len(history)} rows without a number" if len(history) else "no rows"
        raise GameError(
            f"the history of {eq.game} by {eq.backend} holds {held}; expected what the backend "
            "records with run.step once an iteration"
        )
    with style():
        figure, grid = panels(len(shown), 3, 0.36 * WIDTH)
        for ax, (stage, label, table, log) in zip(grid, shown, strict=False):
            _lines(ax, table, log)
            ax.set_xlabel(f"{stage} iteration".strip(), parse_math=False)
            ax.set_ylabel(label, parse_math=False)
        for ax in grid[len(shown) :]:
            ax.remove()
    return figure


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The columns with a finite number in them, the rows counted from 1."""
    import pandas as pd  # slow to import, and few calls need it

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
    import pandas as pd  # slow to import, and few calls need it

    named = {f: c for f, c in _families(table).items() if any(r in f.lower() for r in RESIDUALS)}
    out = pd.DataFrame({f: table[c].abs().max(axis=1) for f, c in named.items()})
    return out.where(out > 0).dropna(axis=1, how="all")


def _prices(eq: Answer, table: pd.DataFrame) -> pd.DataFrame:
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
        line.set_color(GREY if setting else colour(k))
        line.set_linestyle("--" if setting else "-")
        line.set_marker("o" if len(values) == 1 else "")
    if log:
        ax.set_yscale("log")
    if table.shape[1] <= len(COLOURS):
        legend(ax, 3)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
