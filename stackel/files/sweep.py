"""Sweeps written down in a market file: the table ``[sweep]``.

::

    [sweep]
    seeds = 5                               # how many, or a list of them
    backend = "newton"                      # in place of [solve]'s
    executor = "process"                    # "serial", "process" or "ray"
    workers = 2
    resume = "runs/costs"                   # every finished cell is kept there at once
    out = "costs.nc"                        # or .parquet, or .csv
    [sweep.grid]
    satisfaction = [[30, 25, 35], [40, 25, 35]]  # a field: its values, one a cell
    "unit_cost.0" = [0.0, 0.2, 0.4, 0.6]    # one entry of a field: the first leader's cost
    "radio.distance" = [300, 500]           # a field of a group

Players and entries are counted from 0. ``resume`` and ``out`` are looked up in the working
directory, not beside the file. What ``[solve]`` says holds for every cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from stackel.errors import GameError, unknown
from stackel.files.market import Parts, located, read_parts, read_value
from stackel.files.options import merged, options_of_backend
from stackel.files.toml import Types, check_names, check_types
from stackel.game.game import Game

SWEEP: Types = {
    "grid": ((dict,), "a table, [sweep.grid]"),
    "seeds": ((int, list), "a whole number, or a list of them"),
    "backend": ((str,), "a backend's name"),
    "executor": ((str,), "a name"),
    "workers": ((int,), "a whole number"),
    "resume": ((str,), "a directory's name"),
    "out": ((str,), "a file's name"),
}
"""What the table may hold."""

AT = "[sweep.grid]"


@dataclass(frozen=True)
class SweepFile:
    """What a market file says of a sweep.

    Attributes:
        make_game: gives a cell's market.
        grid: values by field.
        options: for ``stackel.sweep(make_game, grid, **options)``.
        out: where the result goes, or None.
        folder: where modules that the file names are looked up.
    """

    make_game: MarketMaker
    grid: dict[str, list[Any]]
    options: dict[str, Any]
    out: Path | None
    folder: Path


@dataclass(frozen=True)
class MarketMaker:
    """A market file's market with some fields changed: ``make(unit_cost=[0.1, 0.2])``.

    Attributes:
        kind: the market's class.
        base: the preset that the file starts from, or None.
        values: what the file states of the fields.
        folder: where the file's own files are looked up.
    """

    kind: type[Game]
    base: Game | None
    values: Mapping[str, Any]
    folder: Path = field(compare=False)  # a sweep goes on wherever its file has been moved

    def __call__(self, **changes: Any) -> Game:
        """The market.

        Raises:
            GameError: it cannot be.
        """
        return Parts(self.kind, self.base, self.changed(changes), self.folder).game()

    def changed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The fields' values, some of them changed.

        Args:
            changes: new values by field (``"unit_cost"``), field of a group (``"radio.distance"``)
                or entry of an array (``"unit_cost.0"``, ``"ties.0.1"``).

        Raises:
            GameError: an unknown field or entry, or a value that does not fit.
        """
        values = dict(self.values)
        for name, new in changes.items():
            head, _, rest = name.partition(".")
            known = [f.name for f in fields(self.kind) if f.init]
            if head not in known:
                raise GameError(f"{AT} {unknown(f'field of {self.kind.__name__}', head, known)}")
            values[head] = self._value(name, head, rest, values.get(head), new)
        return values

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.kind, include_extras=True)

    def _value(self, name: str, head: str, rest: str, stated: Any, new: Any) -> Any:
        where = f"{AT} {name}"
        before = getattr(self.base, head, None) if stated is None else stated
        if not rest:
            return read_value(where, new, self._hints[head], before, self.folder)
        if is_dataclass(before) and not isinstance(before, type):
            hints = get_type_hints(type(before), include_extras=True)
            if rest not in hints:
                raise GameError(f"{AT} {unknown(f'field of {head}', rest, hints)}")
            return replace(before, **{rest: read_value(where, new, hints[rest], None, self.folder)})
        return _with_entry(where, head, before, rest.split("."), new)


def read_sweep(path: str | Path) -> SweepFile:
    """Read the sweep of a market file.

    Args:
        path: the file (TOML), with a table ``[sweep]``.

    Raises:
        GameError: anything wrong with the file that shows before the first market is made.
    """
    parts = read_parts(path)
    with located(path):
        return _read(parts)


def _read(parts: Parts) -> SweepFile:
    table = dict(parts.sweep or {})
    check_names("[sweep] ", "entry", table, SWEEP)
    check_types("[sweep] ", table, SWEEP)
    if "grid" not in table:
        raise GameError(
            "there is no [sweep.grid]; expected a list of values for each field to vary, e.g. "
            '"unit_cost.0" = [0.1, 0.2]'
        )
    groups = _groups(parts.kind) if parts.base is None else {}
    make = MarketMaker(parts.kind, parts.base, {**groups, **parts.values}, parts.folder)
    grid = dict(_flat(table.pop("grid")))
    for name, options in grid.items():
        if not isinstance(options, list):
            raise GameError(f"{AT} {name} = {options!r}; expected a list of values, one a cell")
        for one in options:
            make.changed({name: one})
    out = Path(table.pop("out")) if "out" in table else None
    return SweepFile(make, grid, _options(parts, table), out, parts.folder)


def _groups(kind: type[Game]) -> dict[str, Any]:
    """A market's groups of fields that have a default."""
    out = {}
    for f in fields(kind):
        value = f.default if f.default_factory is MISSING else f.default_factory()
        if is_dataclass(value) and not isinstance(value, type):
            out[f.name] = value
    return out


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names: TOML reads ``unit_cost.0 = [...]`` without quotes as a table in a table.

    Yields:
        name and value.
    """
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _with_entry(where: str, field: str, before: Any, place: Sequence[str], new: Any) -> Any:
    """An array with one entry changed.

    Raises:
        GameError: there is no array, no such entry, or the new one is no number.
    """
    if before is None or np.ndim(before) == 0:
        stated = "is not stated" if before is None else "is one number for all"
        raise GameError(f"{where}: {field} {stated}; write it as a list to vary one entry of it")
    try:
        array = np.array(before, dtype=float)
    except (TypeError, ValueError):
        raise GameError(f"{where}: {field} is no array; vary it as a whole") from None
    if isinstance(new, bool) or not isinstance(new, (int, float)):
        raise GameError(f"{where} = {new!r}; expected a number")
    whole = array.ravel() if len(place) == 1 and max(array.shape) == array.size else array
    inside = all(k.isdecimal() for k in place) and len(place) == whole.ndim
    if not inside or any(int(k) >= n for k, n in zip(place, whole.shape, strict=True)):
        raise GameError(
            f"{where}: {field} has shape {whole.shape}; expected {whole.ndim} "
            f"{'number' if whole.ndim == 1 else 'numbers'} after its name, counted from 0"
        )
    whole[tuple(map(int, place))] = new  # a view of the array
    return array


def _options(parts: Parts, table: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``stackel.sweep``: [solve]'s, then [sweep]'s own.

    Raises:
        GameError: an unknown backend.
    """
    options = merged(parts.solve_options, table)
    seed = options.pop("seed", None)
    if seed is not None:
        options.setdefault("seeds", [seed])
    options_of_backend("[sweep]", table)  # for its errors
    return options
