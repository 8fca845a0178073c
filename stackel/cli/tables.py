"""An answer as tables for a terminal, and as plain numbers for other programs.

Every text here is a rich Text, so nothing in a name or a message is taken as markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stackel.certificate.certificate import Certificate
from stackel.results.comparison import Comparison
from stackel.results.equilibrium import Equilibrium

COLOURS = {"certified": "bold green", "local": "bold yellow", "refuted": "bold red"}


def answer(eq: Equilibrium, width: int, rows: int | None = None) -> Group:
    """An equilibrium: what everybody does and gets, and what the point is worth.

    Args:
        eq: the answer.
        width: characters in a line; more columns than fit come in blocks, one below the other.
        rows: the most rows of a table, from its beginning and its end; None: all.
    """
    return Group(
        _headline(eq),
        Text(),
        *_players(eq, "leader", width, rows),
        Text(),
        *_players(eq, "follower", width, rows),
        Text(),
        _worth(eq),
    )


def history(eq: Equilibrium, width: int, rows: int | None = None) -> Group:
    """What the method reported, a row an iteration; arguments as in :func:`answer`."""
    frame = eq.history
    if frame.empty:
        return Group(Text("no history was recorded"))
    picked = _picked(len(frame), rows)
    columns = {str(c): _cells(frame[c].tolist(), picked) for c in frame.columns}
    index = _cells(frame.index.tolist(), picked)
    title = f"History{_share(picked, len(frame))}"
    return Group(*_blocks(title, "iteration", index, columns, width))


def cells(title: str, frame: pd.DataFrame, width: int, rows: int | None = None) -> Group:
    """A sweep, a row a cell; arguments as in :func:`answer`."""
    picked = _picked(len(frame), rows)
    columns = {str(c): _cells(frame[c].tolist(), picked) for c in frame.columns}
    index = _cells(frame.index.tolist(), picked)
    return Group(*_blocks(f"{title}{_share(picked, len(frame))}", "cell", index, columns, width))


def backends(title: str, frame: pd.DataFrame) -> Group:
    """The table of :func:`stackel.backends`."""
    table = _table()
    table.add_column(Text("backend"), no_wrap=True)
    table.add_column(Text("can"), no_wrap=True)
    table.add_column(Text("why not"), overflow="fold")
    for name, can, reasons in zip(frame.index, frame["can"], frame["reasons"], strict=True):
        word = Text("yes", style="green") if can else Text("no", style="red")
        table.add_row(Text(str(name)), word, Text(reasons))
    return Group(_title(title), table)


def comparison(found: Comparison) -> Group:
    """Several backends side by side, and whether they agree."""
    table = _table()
    headings = [str(c) for c in found.table.columns if c != "why"]
    table.add_column(Text("backend"), no_wrap=True)
    for heading in headings:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    remarks = []
    for name, row in found.table.iterrows():
        cells = [row[h] for h in headings]
        shown = [
            Text(c, style=COLOURS.get(c, "")) if isinstance(c, str) else Text(_cell(c, 6))
            for c in cells
        ]
        table.add_row(Text(str(name)), *shown)
        if isinstance(row.get("why"), str) and row["why"]:
            remarks.append(Text(f"{name}: {row['why']}"))
    style = "bold green" if found.agree else "bold yellow"
    verdict = Text(found.verdict, style=style)
    return Group(_title(str(found.game)), table, Text(), *remarks, verdict)


def listing(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Group:
    """Names and what they stand for."""
    table = _table()
    for k, heading in enumerate(headings):
        table.add_column(Text(heading), no_wrap=k == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return Group(_title(title), table)


def summary(eq: Equilibrium) -> dict[str, Any]:
    """The answer in numbers, texts and lists; infinity and NaN become None."""
    c = eq.certificate
    out: dict[str, Any] = {
        "game": str(eq.game),
        "backend": eq.backend,
        "status": eq.status.name.lower(),
        "seconds": eq.stats.get("seconds"),
        "is_equilibrium": eq.is_equilibrium,
        "verdict": None if c is None else c.verdict,
        "leader_gap": None if c is None else c.leader_gap,
        "follower_gap": None if c is None else c.follower_gap,
        "violation": None if c is None else c.violation,
        "refuted_by": str(c.deviation) if c is not None and c.deviation is not None else None,
        "leader_actions": eq.leader_actions.tolist(),
        "follower_actions": eq.follower_actions.tolist(),
        "leader_payoffs": eq.leader_payoffs.tolist(),
        "follower_payoffs": eq.follower_payoffs.tolist(),
        "welfare": eq.welfare,
    }
    return {name: _finite(value) for name, value in out.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _headline(eq: Equilibrium) -> Text:
    cost = ""
    if {"seconds", "iterations"} <= set(eq.stats):
        plural = "" if eq.stats["iterations"] == 1 else "s"
        cost = f" in {eq.stats['seconds']:.3g} s, {eq.stats['iterations']} iteration{plural}"
    status = eq.status.name.lower().replace("_", " ")
    return Text.assemble((str(eq.game), "bold"), f" by {eq.backend}: {status}{cost}")


def _players(eq: Equilibrium, player: str, width: int, rows: int | None) -> list[Text | Table]:
    leader = player == "leader"
    action = eq.game.leader_action if leader else eq.game.follower_action
    values = eq.leader_actions.T if leader else eq.follower_actions
    size = values.shape[1]
    names = [action.name] if size == 1 else [f"{action.name}[{k}]" for k in range(size)]
    data = dict(zip(names, values.T, strict=True))
    data["payoff"] = eq.leader_payoffs if leader else eq.follower_payoffs
    if eq.certificate is not None:
        data["gap"] = eq.certificate.leader_gaps if leader else eq.certificate.follower_gaps
    for name, value in eq.multipliers.items():
        own = np.asarray(value)
        if not leader and own.ndim == 2 and len(own) == len(values):
            single = own.shape[1] == 1
            for k, column in enumerate(own.T):
                data[f"{name} multiplier" if single else f"{name} multiplier[{k}]"] = column
    picked = _picked(len(values), rows)
    columns = {
        name: _cells(column, picked, digits=2 if name == "gap" else 6)
        for name, column in data.items()
    }
    unit = f" [{action.unit}]" if action.unit else ""
    title = f"{player.capitalize()}s: {action.name}{unit}{_share(picked, len(values))}"
    return _blocks(title, player, _cells(range(len(values)), picked), columns, width)


def _worth(eq: Equilibrium) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _statements(eq):
        grid.add_row(Text(name), value if isinstance(value, Text) else Text(value))
    return grid


def _statements(eq: Equilibrium) -> Iterator[tuple[str, str | Text]]:
    c = eq.certificate
    if c is None:
        yield "verdict", Text("not certified", style="bold yellow")
    else:
        word, _, rest = str(c).partition(":")
        yield "verdict", Text.assemble((word, COLOURS[c.verdict]), f":{rest}")
    yield "status", f"{eq.status.message}{f' ({eq.detail})' if eq.detail else ''}"
    if c is not None:
        yield from _evidence(c)
    yield "welfare", f"{eq.welfare:.6g}, the sum of all payoffs"
    tried = eq.stats.get("tried", ())
    if len(tried) > 1:
        yield from (("tried", str(one)) for one in tried)


def _evidence(c: Certificate) -> Iterator[tuple[str, str]]:
    for name, gap, scale in (
        ("leader gap", c.leader_gap, c.leader_scale),
        ("follower gap", c.follower_gap, c.follower_scale),
    ):
        yield name, f"{gap:.3g}; up to {c.tolerance * scale:.3g} counts as none"
    broken = [f"{name} by {value:.3g}" for name, value in c.violations.items() if value > 0]
    relative = f" (relative {c.violation:.3g}; up to {c.tolerance:.3g} counts as none)"
    yield "limits broken", ", ".join(broken) + relative if broken else "none"
    names = [f"{player} {k}" for player, k in c.losers]
    if len(names) > 8:
        names = [*names[:8], f"{len(names) - 8} more"]
    yield "would stay out", ", ".join(names) or "nobody"
    yield "uniqueness", str(c.uniqueness)
    kind = "each leader's whole range" if c.global_search else "an estimate"
    step = f", spacing {np.max(c.resolution):.2g}" if c.global_search else ""
    left_out = f", {c.unsettled} of them not settled" if c.unsettled else ""
    yield "search", f"{kind}: {c.trials} trial moves{step}{left_out}"
    if c.anticipation != "equilibrium":
        yield "anticipation", c.anticipation
    for note in c.notes:
        yield "note", note


def _picked(count: int, rows: int | None) -> list[int | None]:
    """Which rows to show; None stands for those left out."""
    if rows is None or count <= rows:
        return list(range(count))
    head = rows // 2
    return [*range(head), None, *range(count - (rows - head - 1), count)]


def _share(picked: list[int | None], count: int) -> str:
    return f", {len(picked) - 1} of {count} shown" if None in picked else ""


def _cells(values: Sequence | np.ndarray, picked: list[int | None], digits: int = 6) -> list[str]:
    return ["…" if k is None else _cell(values[k], digits) for k in picked]


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{digits}g}"
    return str(value)


def _title(text: str) -> Text:
    """Above its table, not in it: there it would be no wider than the table."""
    return Text(text, style="bold")


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _blocks(
    title: str, heading: str, index: list[str], columns: Mapping[str, list[str]], width: int
) -> list[Text | Table]:
    """A table of numbers, cut between columns wherever a line is full."""

    def wide(name: str, cells: list[str]) -> int:
        return max(map(len, [name, *cells])) + 3  # with the space between columns

    blocks: list[list[str]] = [[]]
    used = first = wide(heading, index)
    for name, cells in columns.items():
        if blocks[-1] and used + wide(name, cells) > width:
            blocks.append([])
            used = first
        blocks[-1].append(name)
        used += wide(name, cells)
    tables: list[Text | Table] = [_title(title)]
    for names in blocks:
        if len(tables) > 1:
            tables.append(Text())
        table = _table()
        for name in (heading, *names):
            table.add_column(Text(name), justify="right", no_wrap=True)
        for row in zip(index, *(columns[name] for name in names), strict=True):
            table.add_row(*map(Text, row))
        tables.append(table)
    return tables
