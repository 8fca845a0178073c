"""Markets written down as TOML files: data, and how to solve it.

::

    market = "vehicular-twins"        # a name, or "module:Class" of your own
    [data]
    satisfaction = [30, 25, 35]       # one value for each follower
    sensitivity = 30                  # the same for all
    ties = { edges = "ties.csv" }     # columns source, target and, if you like, weight
    unit_cost = { csv = "costs.csv", column = "unit_cost" }
    [data.radio]                      # a group of fields
    distance = 300
    [solve]                           # arguments of stackel.solve, and the backend's options
    backend = "admm"
    penalty = 5.0

Two further tables, ``[sweep]`` and ``[point]``, are what :mod:`stackel.files.sweep` and
:mod:`stackel.files.point` read.

``preset = "fig3"`` in place of ``market`` starts from a preset; ``[data]`` then holds only what
differs. Files are looked up beside the TOML file. Data may stand in

* ``{ csv = FILE, column = NAME }``, a column; without ``column``, all cells as a matrix;
* ``{ edges = FILE }``, a CSV file with columns source, target[, weight]; ``directed = true``
  where a tie goes one way only;
* ``{ graph = FILE }``, ending in .graphml, .gml, .gexf, .json (node-link), .edgelist or .txt;
* with both of these, ``nodes``: the followers' order, a list of names, a column of a CSV file or
  their number; ``weight``: of edges that state none (1 if left out).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from stackel import catalogue
from stackel.errors import GameError, StackelError
from stackel.files.data import Table, edge_list, graph_file, tie_matrix
from stackel.files.options import solve_options
from stackel.files.toml import (
    Types,
    check_names,
    check_numbers,
    check_types,
    expected_of,
    fits,
    read_toml,
)
from stackel.game.game import Game
from stackel.game.grids import Grid, grid_of

TOP: Types = {
    **dict.fromkeys(("market", "preset"), ((str,), "a name")),
    **{name: ((dict,), f"a table, [{name}]") for name in ("data", "solve", "sweep", "point")},
}

SOURCES: Mapping[str, tuple[str, ...]] = {
    "csv": ("column",),
    "edges": ("nodes", "weight", "directed"),
    "graph": ("nodes", "weight"),
}
"""What a file's table may say beside the file's name."""

IN_SOURCES: Types = {
    **dict.fromkeys(SOURCES, ((str,), "a file's name")),
    "column": ((str,), "a column's name"),
    "weight": ((int, float), "a number"),
    "directed": ((bool,), "true or false"),
}

EXPLANATION = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5}.*)*)", re.MULTILINE)
"""In a section Attributes: names, and a text that goes on where lines are indented further."""


@dataclass(frozen=True)
class MarketFile:
    """What a market file says.

    Attributes:
        game: the market.
        solve_options: for ``stackel.solve(game, **solve_options)``.
    """

    game: Game
    solve_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """What a market file says, the market not yet made of it.

    Attributes:
        kind: the market's class.
        base: the preset that the file starts from, or None.
        values: what the file states of the market's fields, files read.
        folder: where files are looked up.
        solve_options: as in :class:`MarketFile`.
        sweep, point: the tables [sweep] and [point] as they stand, or None.
    """

    kind: type[Game]
    base: Game | None
    values: Mapping[str, Any]
    folder: Path
    solve_options: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None
    point: Mapping[str, Any] | None = None

    def game(self) -> Game:
        """The market.

        Raises:
            GameError: these values make none.
        """
        return _make(self.kind, self.base, self.values)


def read_market(path: str | Path) -> MarketFile:
    """Read a market file.

    Args:
        path: the file (TOML).

    Raises:
        GameError: anything wrong with it, naming file and field.
    """
    parts = read_parts(path)
    with located(path):
        return MarketFile(parts.game(), dict(parts.solve_options))


@contextmanager
def located(place: str | Path) -> Iterator[None]:
    """Errors name the place they come from.

    Args:
        place: the file, or the entry in it.

    Raises:
        GameError: whatever error of this library was raised in the context.
    """
    try:
        yield
    except StackelError as error:
        raise GameError(f"{place}: {error}") from error


def read_parts(path: str | Path) -> Parts:
    """Read a market file without making the market.

    Raises:
        GameError: anything wrong with it that shows before.
    """
    path = Path(path)
    document = read_toml(path)
    with located(path):
        return _read(document, path.parent)


def required(kind: Any) -> list[str]:
    """The fields that a market, or a group of its fields, cannot do without.

    Args:
        kind: the dataclass.
    """
    return [
        f.name
        for f in fields(kind)
        if f.init and f.default is MISSING and f.default_factory is MISSING
    ]


def _read(document: Mapping[str, Any], folder: Path) -> Parts:
    check_names("", "entry", document, TOP, "; a market's fields stand under [data]")
    check_types("", document, TOP)
    if ("market" in document) == ("preset" in document):
        raise GameError(
            'expected either market = "..." or preset = "..." above [data]'
            f" (markets: {', '.join(catalogue.markets())}; presets: {', '.join(catalogue.PRESETS)})"
        )
    base: Game | None
    if "preset" in document:
        base = catalogue.preset(document["preset"])
        kind = type(base)
    else:
        base = None
        with importing_from(folder):
            kind = catalogue.market(document["market"])
    values = _values(kind, base, document.get("data", {}), folder, "data")
    options = solve_options(document.get("solve", {}))
    tables = document.get("sweep"), document.get("point")
    return Parts(kind, base, values, folder, options, *tables)


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Let ``module:Class`` name a module beside the market file.

    Args:
        folder: the market file's; last on Python's path for as long as the context lasts.
    """
    place = str(folder.resolve())
    sys.path.append(place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _values(kind: Any, base: Any, data: Mapping[str, Any], folder: Path, at: str) -> dict[str, Any]:
    """What a table of the file states of a market's fields, or of a group of them.

    Raises:
        GameError: an unknown field, or a value that does not fit.
    """
    hints = get_type_hints(kind, include_extras=True)
    known = [f.name for f in fields(kind) if f.init]
    check_names(f"[{at}] ", f"field of {kind.__name__}", data, known)
    return {
        name: read_value(f"[{at}] {name}", value, hints[name], getattr(base, name, None), folder)
        for name, value in data.items()
    }


def _make(kind: Any, base: Any, values: Mapping[str, Any], at: str = "data") -> Any:
    """A market, or a group of its fields.

    Raises:
        GameError: a field is missing, or the values make none.
        StackelError: of the market's own.
    """
    if base is not None:
        return replace(base, **values)
    lacking = [name for name in required(kind) if name not in values]
    if lacking:
        about = _explained(kind)
        listed = [f"  {n}: {about[n]}" if n in about else f"  {n}" for n in lacking]
        raise GameError("\n".join([f"[{at}] lacks what {kind.__name__} needs:", *listed]))
    try:
        return kind(**values)
    except StackelError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise GameError(f"{kind.__name__} cannot be made from [{at}]: {error}") from error


def read_value(where: str, value: Any, hint: Any, base: Any, folder: Path) -> Any:
    """One field's value: as it stands, from a file, or a group of fields.

    Args:
        where: what errors call it.
        value: as TOML gives it.
        hint: the field's annotation.
        base: its value in the preset, if there is one.
        folder: where files are looked up.

    Raises:
        GameError: it does not fit the field.
    """
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    group = next((h for h in options if isinstance(h, type) and is_dataclass(h)), None)
    if group is not None:
        at = where[1:].replace("] ", ".")
        if not isinstance(value, dict):
            raise GameError(f"{where} = {value!r}; expected a table, [{at}]")
        return _make(group, base, _values(group, base, value, folder, at), at)
    grid = grid_of(hint)
    if isinstance(value, dict) and grid is not None:
        with located(where):
            return _from_file(value, grid, folder)
    if grid is not None:
        check_numbers(where, value)
    elif not fits(value, options):
        raise GameError(f"{where} = {value!r}; expected {expected_of(options)}")
    return value


def _from_file(table: Mapping[str, Any], grid: Grid, folder: Path) -> Any:
    sources = [key for key in SOURCES if key in table]
    if len(sources) != 1:
        raise GameError(f"expected one of {', '.join(SOURCES)} in the table, found {table}")
    source = sources[0]
    beside = [key for key in table if key != source]
    check_names("", f"key beside {source}", beside, SOURCES[source])
    check_types("", table, IN_SOURCES)
    path = folder / table[source]
    if source == "csv":
        return _from_csv(Table(path), table.get("column"), grid)
    if grid.name != "peers":
        raise GameError(
            f"{source} states ties between followers, but this is {grid.name} data; expected "
            "numbers or { csv = ..., column = ... }"
        )
    if source == "edges":
        graph, listed = edge_list(path, table.get("directed", False)), False
    else:
        graph, listed = graph_file(path)
    nodes = _nodes(table["nodes"], folder) if "nodes" in table else None
    with located(path):
        return tie_matrix(graph, listed, nodes, table.get("weight", 1.0))


def _from_csv(table: Table, column: Any, grid: Grid) -> Any:
    if column is not None:
        return table.numbers(column)
    if grid.rows is not None and grid.columns is not None:
        return table.matrix()
    width = len(table.lines[0][1])
    if width > 1:
        columns = f" ({', '.join(table.header)})" if table.header else ""
        raise GameError(f'{table.path} has {width} columns{columns}; say which one: column = "..."')
    return table.matrix()[:, 0]


def _nodes(value: Any, folder: Path) -> Any:
    """The followers' order: a number of them, names, or a column of a CSV file.

    Raises:
        GameError: anything else.
    """
    if isinstance(value, dict) and set(value) == {"csv", "column"}:
        return Table(folder / value["csv"]).texts(value["column"])
    good = isinstance(value, list) and all(fits(n, (str, int)) for n in value)
    if not (good or (fits(value, (int,)) and value > 0)):
        raise GameError(
            f"nodes = {value!r}; expected the number of followers, a list of names or "
            "{ csv = ..., column = ... }"
        )
    return value


def _explained(kind: type) -> dict[str, str]:
    """Fields' explanations in the sections Attributes of a class's and its bases' docstrings."""
    out: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for names, text in EXPLANATION.findall(section.partition("\n\n")[0]):
            out |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return out
