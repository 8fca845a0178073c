"""How all figures look: palette, sizes, labels."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from stackel.game.game import Action

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

# Okabe and Ito's, black last; grey for what is no leader's.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
GREY = "#7F7F7F"

LABELLED = 100  # more numbers in a graph's nodes are not legible in print
SEPARATE = 60  # more bars are drawn as one outline
MANY = 2000  # of more players, only the distribution

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


def style() -> AbstractContextManager[None]:
    """Matplotlib's settings for our figures, for as long as the context lasts.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "stackel[plot]"') from error
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]


def figure_of(height: float, width: float = WIDTH) -> Figure:
    """A figure that pyplot knows nothing of.

    Args:
        height, width: its size [inch].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=144, layout="constrained")
    # Notebooks show figures that pyplot made; this one says itself how it looks.
    figure.__dict__["_repr_png_"] = partial(_png, figure)
    return figure


def panels(
    count: int, columns: int, height: float, above: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure with panels in rows, and their axes; those beyond the count are to spare.

    Args:
        count: how many panels.
        columns: most of them in a row; the figure is as wide as it has columns.
        height: of a row [inch].
        above: room for a legend above them [inch].
    """
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    width = (0.5, 0.8, 1.0)[min(columns, 3) - 1] * WIDTH
    figure = figure_of(height * rows + above, width)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def colour(k: int) -> str:
    """The k-th colour; there are more lines than colours at times."""
    return COLOURS[k % len(COLOURS)]


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def axis_label(action: Action, total: bool = False) -> str:
    """An action's name and unit, ``price [$]``; of a total, ``total price [$]``."""
    name = f"total {action.name}" if total else action.name
    return f"{name} [{action.unit}]" if action.unit else name


def legend(ax: Axes, columns: int = 4) -> None:
    """A legend above the axes, where it covers no data."""
    legend = ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)


def count_along(axis: Axis, count: int) -> None:
    """Ticks at whole numbers, at each of them if they are few.

    Args:
        axis: whose ticks.
        count: its numbers are 0 to count - 1.
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator

    axis.set_major_locator(FixedLocator(range(count)) if count <= 12 else MaxNLocator(integer=True))


def colourbar(ax: Axes, shown: ScalarMappable, label: str) -> None:
    """A bar of colours beside the axes.

    Args:
        ax: the axes, which give it some of their room.
        shown: what has the colours.
        label: what they mean.
    """
    bar = ax.figure.colorbar(shown, ax=ax, aspect=30)
    bar.set_label(label, parse_math=False)
    bar.outline.set_visible(False)
