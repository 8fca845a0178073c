"""A sweep as lines with a band: how outcomes move with a parameter, over random draws."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stackel.errors import OptionError
from stackel.plots.style import WIDTH, colour, panels, style
from stackel.types import Array

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Spread = Literal["std", "quantile"]

PLAYERS = ("leader", "follower", "leader_decision", "follower_decision")
QUANTILES = (0.1, 0.9)

# Lines and marks differ in shape too: a print without colours must do.
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
MARKS = ("o", "D", "s", "^")
PRINTED = "printed"


def sweep(
    data: xr.Dataset,
    x: str,
    y: str | Sequence[str],
    *,
    hue: str | Sequence[str] | None = None,
    panel: str | None = None,
    over: str = "seed",
    spread: Spread | None = "std",
    marks: Mapping[str, pd.DataFrame] | None = None,
    columns: int = 3,
) -> Figure:
    """Lines over one parameter of a sweep: the mean over draws, and a band of their spread.

    Labels come from the attributes ``long_name`` and ``units``. Players' dimensions that are
    neither ``x``, ``hue`` nor ``panel`` are averaged; the same holds for ``over``.

    Args:
        data: what :func:`stackel.sweep` returns, or variables computed from it.
        x: the dimension along the axis.
        y: a variable, or several: a panel each.
        hue: a dimension with a line for each of its values, e.g. ``"leader"``; of several, each
            variable's own.
        panel: a dimension with panels of its own for each of its values.
        over: the dimension of the random draws; without it in the data there is no band.
        spread: ``"std"``, one standard deviation to both sides; ``"quantile"``, from the 10 % to
            the 90 % quantile; None, no band.
        marks: points to set beside the lines, by the label that the legend gives them: tables with
            a column ``x``, optionally ``hue`` and ``panel``, and a column for each variable;
            bars reach as far as a column of its name and ``_spread`` says. Those labelled
            ``"printed"`` are filled crosses, others open shapes.
        columns: panels in a row.

    Raises:
        OptionError: a name is not in the data, a dimension is left over, or ``spread`` is unknown.
        ImportError: matplotlib is missing.
    """
    variables = [y] if isinstance(y, str) else list(y)
    hues = [] if hue is None else [hue] if isinstance(hue, str) else list(hue)
    picture = _Picture(data, x, hues, panel, over, spread, marks or {})
    picture.check(variables)
    cuts: Sequence[Any] = [None] if panel is None else list(data[panel].values)
    cells = list(product(cuts, variables))
    with style():
        figure, grid = panels(len(cells), columns, 0.31 * WIDTH, above=0.25)
        lines: dict[str, Any] = {}
        points: dict[str, Any] = {}
        for ax, (cut, name) in zip(grid, cells, strict=False):
            values = data[name] if panel is None else data[name].sel({panel: cut})
            own = next((h for h in hues if h in values.dims), None)
            lines |= picture.lines(ax, values, own)
            points |= picture.marked(ax, name, own, cut)
            ax.set_xlabel(label_of(data, x), parse_math=False)
            ax.set_ylabel(label_of(data, name), parse_math=False)
            if panel is not None:
                ax.set_title(_value(data[name], panel, cut), parse_math=False, fontsize=7.5)
            _ticks(ax, values, x)
        _legend(figure, lines | points, grid[len(cells) :])
    return figure


def label_of(data: xr.Dataset, name: Hashable) -> str:
    """A variable's or coordinate's label: its ``long_name`` (or its name) and ``units``.

    Args:
        data: a sweep's.
        name: of the variable or coordinate in it.
    """
    attributes = data[name].attrs
    text = str(attributes.get("long_name", name)).replace("_", " ")
    return f"{text} [{attributes['units']}]" if attributes.get("units") else text


@dataclass(frozen=True)
class _Picture:
    """What all panels show; see :func:`sweep` for the fields."""

    data: xr.Dataset
    x: str
    hues: Sequence[str]
    panel: str | None
    over: str
    spread: str | None
    marks: Mapping[str, pd.DataFrame]

    def check(self, variables: Sequence[str]) -> None:
        roles = [("x", self.x), *(("hue", hue) for hue in self.hues), ("panel", self.panel)]
        for role, name in roles:
            if name is not None and name not in self.data.dims:
                raise OptionError(
                    f"{role} = {name!r} is no dimension of the data; expected one of "
                    f"{', '.join(map(str, self.data.dims))}"
                )
        if self.spread not in (None, "std", "quantile"):
            raise OptionError(f"spread = {self.spread!r}; expected 'std', 'quantile' or None")
        known = (self.x, *self.hues, self.panel, self.over, *PLAYERS)
        for name in variables:
            if name not in self.data.data_vars:
                raise OptionError(
                    f"y = {name!r} is no variable of the data; expected one of "
                    f"{', '.join(map(str, self.data.data_vars))}"
                )
            left = [d for d in self.data[name].dims if d not in known]
            if left:
                raise OptionError(
                    f"{name} also depends on {', '.join(map(str, left))}; name it as hue or panel, "
                    f"or choose one value: data.sel({left[0]}=...)"
                )

    @cached_property
    def looks(self) -> dict[tuple[str | None, Any], int]:
        """The place in palette, dashes and markers of every value of every hue."""
        known = [(hue, value) for hue in self.hues for value in self.data[hue].values.tolist()]
        return {(None, None): 0} | {key: k for k, key in enumerate(known)}

    def statistics(self, values: xr.DataArray) -> tuple[xr.DataArray, list[xr.DataArray]]:
        """The mean over the draws, and where the band begins and ends if there is one."""
        if self.over not in values.dims:
            return values, []
        mean = values.mean(self.over)
        if self.spread is None:
            return mean, []
        if self.spread == "std":
            deviation = values.std(self.over)
            return mean, [mean - deviation, mean + deviation]
        return mean, [values.quantile(q, self.over) for q in QUANTILES]

    def lines(self, ax: Axes, values: xr.DataArray, hue: str | None) -> dict[str, Any]:
        """Draw the lines of one panel; the handles by label."""
        spare = [d for d in values.dims if d in PLAYERS and d not in (self.x, hue)]
        mean, band = self.statistics(values.mean(spare))
        along = _positions(values[self.x].values)
        lines: dict[str, Any] = {}
        for value in [None] if hue is None else mean[hue].values.tolist():
            cut = {} if hue is None else {hue: value}
            k = self.looks[hue, value]
            own = mean.sel(cut).values
            (line,) = ax.plot(
                along,
                own,
                color=colour(k),
                linestyle=DASHES[k % len(DASHES)],
                marker=MARKERS[k % len(MARKERS)],
                markevery=max(1, int(np.isfinite(own).sum()) // 8),
            )
            if band:
                low, high = (end.sel(cut).values for end in band)
                ax.fill_between(along, low, high, color=colour(k), alpha=0.16, linewidth=0)
            if hue is not None:
                lines[_value(values, hue, value)] = line
        return lines

    def marked(self, ax: Axes, name: str, hue: str | None, cut: Any) -> dict[str, Any]:
        """Points beside the lines, in the colour of the line that they belong to; the handles by
        label, which have each mark's shape in no line's colour."""
        from matplotlib.lines import Line2D

        handles: dict[str, Any] = {}
        along = self.data[self.x].values
        places = dict(zip(along.tolist(), _positions(along), strict=True))
        for k, (label, table) in enumerate(self.marks.items()):
            if name not in table:
                continue
            filled = label == PRINTED
            look: dict[str, Any] = {
                "linestyle": "",
                "marker": "X" if filled else MARKS[k % len(MARKS)],
                "markersize": 6.5 if filled else 5.5,
                "markeredgewidth": 0.6 if filled else 1.1,
            }
            rows = table.dropna(subset=[name])
            if self.panel is not None and self.panel in rows:
                rows = rows[rows[self.panel] == cut]
            for _, row in rows.iterrows():
                place = None if hue is None else self.looks.get((hue, row.get(hue)))
                own = "black" if place is None else colour(place)
                length = row.get(f"{name}_spread", math.nan)
                ax.errorbar(
                    places.get(row[self.x], row[self.x]),
                    row[name],
                    yerr=length if math.isfinite(length) else None,
                    markerfacecolor=own if filled else "none",
                    markeredgecolor="black" if filled else own,
                    ecolor=own,
                    elinewidth=0.9,
                    zorder=4,
                    **look,
                )
            if len(rows):
                face = "0.5" if filled else "none"
                handles[label] = Line2D(
                    [], [], markerfacecolor=face, markeredgecolor="black", **look
                )
        return handles


def _legend(figure: Figure, handles: Mapping[str, Any], spare: Sequence[Axes]) -> None:
    """In the first place that no panel needs, or above them all."""
    for ax in spare[1:] if handles else spare:
        ax.remove()
    if not handles:
        return
    given = list(handles.values()), list(handles)
    if spare:
        spare[0].set_axis_off()
        legend = spare[0].legend(*given, loc="center", handlelength=2.6, labelspacing=0.9)
    else:
        entry = 0.45 + 0.06 * max(map(len, handles))  # [inch], handle and letters
        columns = max(1, int(figure.get_figwidth() / entry))
        legend = figure.legend(*given, loc="outside upper left", ncols=columns, handlelength=2.6)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _ticks(ax: Axes, values: xr.DataArray, x: str) -> None:
    """At the grid's points if they are few, of those where this panel has any number."""
    along = values[x].values
    if not np.issubdtype(along.dtype, np.number):
        ax.set_xticks(range(len(along)), [str(v) for v in along])
        return
    here = along[values.notnull().any([d for d in values.dims if d != x]).values]
    if 0 < len(here) <= 8:
        ax.set_xticks(here)


def _value(values: xr.DataArray, dimension: str, value: Any) -> str:
    """One value of a dimension in words: ``leader 0``, ``mean cost = 0.1``, ``newton``."""
    if isinstance(value, str):
        return value
    text = f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
    name = values[dimension].attrs.get("long_name", dimension)
    return f"{name} {text}" if dimension in PLAYERS else f"{name} = {text}"


def _positions(values: Array) -> Array:
    """Where values lie along the axis: numbers where they are, anything else in turn."""
    return values if np.issubdtype(values.dtype, np.number) else np.arange(len(values))
