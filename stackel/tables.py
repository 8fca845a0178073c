"""How answers look: the same tables in a terminal, as plain text and in a notebook.

What is shown states its content once, as tables of plain values; here they become cells, and the
cells a view. Nothing in a name or a message is taken as markup: rich is given Text, and HTML is
escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType

ROWS = 24
"""Rows of a table where somebody looks at it."""

ENDLESS = 10_000
"""Width where nobody looks at the lines' ends."""

COLOURS = {
    "proved": ("green", "seagreen"),
    "searched": ("green", "seagreen"),
    "agrees": ("green", "seagreen"),
    "yes": ("green", "seagreen"),
    "local": ("yellow", "darkgoldenrod"),
    "unknown": ("yellow", "darkgoldenrod"),
    "not certified": ("yellow", "darkgoldenrod"),
    "refuted": ("red", "crimson"),
    "disagrees": ("red", "crimson"),
    "no": ("red", "crimson"),
}
"""Words that a cell begins with, alone or before a colon: the colour of a terminal's palette, and
one that is legible on a page, light or dark."""


class Shown:
    """What looks the same wherever it is shown; a subclass says what its tables are."""

    def _tables(self) -> Iterable[Table]:
        raise NotImplementedError

    def summary(self, rows: int | None = ROWS) -> str:
        """Everything as text, for a terminal.

        Args:
            rows: the most rows of a table, from its beginning and its end; None: all.
        """
        from rich.console import Console, Group  # slow to import, and few calls need it

        console = Console(width=ENDLESS, color_system=None, force_jupyter=False)
        with console.capture() as captured:
            console.print(Group(*_rendered(self._tables(), rows, ENDLESS)))
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def __str__(self) -> str:
        return self.summary()

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        return _rendered(self._tables(), ROWS, options.max_width)

    def _repr_html_(self) -> str:
        # Dollars in units are no formulas, whatever notebooks think.
        style = 'class="tex2jax_ignore mathjax_ignore" style="overflow-x: auto"'
        return f"<div {style}>\n{''.join(map(_html, self._tables()))}</div>"


class Column(NamedTuple):
    """A heading over values; ``digits`` are those of floats."""

    heading: str
    values: Sequence[Any] | np.ndarray
    digits: int = 6

    @property
    def side(self) -> Literal["left", "right"]:
        """Where its cells stand: texts at the left, numbers at the right."""
        return "left" if isinstance(next(iter(self.values), None), str) else "right"


@dataclass(frozen=True, eq=False)
class Table(Shown):
    """A title over columns, the first of which names the rows; without columns, a headline.

    Attributes:
        title: what they are; may be empty.
        columns: all of one length.
    """

    title: str
    columns: Sequence[Column] = ()

    @classmethod
    def of(cls, title: str, heading: str, frame: pd.DataFrame, **digits: int) -> Table:
        """A frame as a table; what it calls NaN is missing.

        Args:
            title: of the table.
            heading: of the frame's index.
            frame: the rest of the columns.
            **digits: of columns that have another number of them.
        """
        known = frame.astype(object).where(frame.notna(), None)
        columns = (
            Column(str(name), values.tolist(), digits.get(str(name), 6))
            for name, values in known.items()
        )
        return cls(title, (Column(heading, frame.index.tolist()), *columns))

    @classmethod
    def statements(cls, pairs: Iterable[tuple[str, str]]) -> Table:
        """Texts, each beside its label."""
        return cls("", [Column("", texts) for texts in zip(*pairs, strict=True)])

    def _tables(self) -> Iterable[Table]:
        return (self,)

    @property
    def prose(self) -> bool:
        """Whether all are texts: these are shown whole, folded where a line is full. Numbers are
        cut between rows where there are many, between columns where a line is full."""
        return all(column.side == "left" for column in self.columns)

    def cells(self, rows: int | None) -> tuple[str, list[list[str]]]:
        """The title, with what is left out, and the texts of each column."""
        count = len(self.columns[0].values) if self.columns else 0
        title, picked = self.title, list[int | None](range(count))
        if not self.prose and rows is not None and count > rows:
            head = rows // 2
            picked[head : count - (rows - head - 1)] = [None]
            title += f", {len(picked) - 1} of {count} shown"
        return title, [
            ["…" if k is None else _cell(column.values[k], column.digits) for k in picked]
            for column in self.columns
        ]


def _cell(value: object, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float | np.floating) else str(value)


def _coloured(cell: str) -> tuple[tuple[str, str] | None, str, str]:
    """The colours of a cell's first words, if they have any; these words; the rest."""
    words, colon, rest = cell.partition(":")
    return COLOURS.get(words), words, colon + rest


def _rendered(tables: Iterable[Table], rows: int | None, width: int) -> Iterator[RenderableType]:
    """Tables as rich takes them.

    Yields:
        titles and grids, an empty line between two tables.
    """
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    def text(cell: str) -> Text:
        colours, words, rest = _coloured(cell)
        return Text.assemble((words, f"bold {colours[0]}"), rest) if colours else Text(cell)

    for k, table in enumerate(tables):
        if k:
            yield Text()
        title, cells = table.cells(rows)
        if title:  # not in its table: there it would be no wider than the table
            yield Text(title, style="bold")
        if not cells:
            continue
        headings = [column.heading for column in table.columns]
        headed = any(headings)
        whole = [list(range(len(cells)))]
        for j, block in enumerate(whole if table.prose else _blocks(headings, cells, width)):
            if j:
                yield Text()
            look = box.SIMPLE_HEAD if headed else None
            grid = Grid(box=look, show_header=headed, pad_edge=False, show_edge=False)
            for c in block:
                grid.add_column(
                    Text(headings[c]),
                    justify=table.columns[c].side,
                    overflow="fold",
                    style="" if headed or c else "bold",
                )
            for row in zip(*(cells[c] for c in block), strict=True):
                grid.add_row(*map(text, row))
            yield grid


def _blocks(headings: list[str], cells: list[list[str]], width: int) -> Iterator[list[int]]:
    """Which columns stand side by side.

    Yields:
        the first one, and as many as fit beside it, until all have stood somewhere.
    """
    from rich.cells import cell_len

    space = 3
    wide = [max(map(cell_len, (h, *own))) for h, own in zip(headings, cells, strict=True)]
    block = [0]
    for c, own in enumerate(wide[1:], start=1):
        if len(block) > 1 and sum(wide[b] + space for b in block) + own > width:
            yield block
            block = [0]
        block.append(c)
    yield block


def _html(table: Table) -> str:
    title, cells = table.cells(ROWS)

    def text(cell: str) -> str:
        colours, words, rest = _coloured(cell)
        if colours is None:
            return escape(cell)
        return f'<b style="color: {colours[1]}">{escape(words)}</b>{escape(rest)}'

    def line(texts: Iterable[str], tag: str = "td") -> str:
        out = ""
        for column, cell in zip(table.columns, texts, strict=True):
            kind = tag if out else "th"
            out += f'<{kind} style="text-align: {column.side}">{text(cell)}</{kind}>'
        return f"<tr>{out}</tr>\n"

    headings = [column.heading for column in table.columns]
    caption = f"<p><b>{escape(title)}</b></p>\n" if title else ""
    head = f"<thead>{line(headings, 'th')}</thead>\n" if any(headings) else ""
    body = "".join(map(line, zip(*cells, strict=True)))
    return caption + (f"<table>\n{head}<tbody>\n{body}</tbody>\n</table>\n" if cells else "")
