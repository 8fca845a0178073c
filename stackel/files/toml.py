"""TOML files: reading one, and whether its values are of the types that they should be."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from stackel.errors import GameError, unknown
from stackel.files.data import read_text

Types = Mapping[str, tuple[tuple[type, ...], str]]
"""Entries of a table: their types, and what errors say was expected."""


def read_toml(path: Path) -> dict[str, Any]:
    """A market file's tables.

    Args:
        path: the file.

    Raises:
        GameError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except GameError as error:
        raise GameError(f"{error}; expected a market file (TOML)") from None
    except tomllib.TOMLDecodeError as error:
        raise GameError(f"{path} is not TOML: {error}; expected a market file") from None


def check_names(
    where: str, kind: str, given: Iterable[str], known: Collection[str], hint: str = ""
) -> None:
    """Whether a table has only entries that there are.

    Args:
        where: begins the error.
        kind: what errors call an entry.
        given: the entries' names.
        known: those that there may be.
        hint: ends the error.

    Raises:
        GameError: it has another one.
    """
    for name in given:
        if name not in known:
            raise GameError(f"{where}{unknown(kind, name, list(known))}{hint}")


def check_types(where: str, given: Mapping[str, Any], types: Types) -> None:
    """Whether a table's entries, those that are there, have the types that they should.

    Args:
        where: begins the error.
        given: the table.
        types: by name; entries that are not in it may be anything.

    Raises:
        GameError: one has another type.
    """
    for name, (kinds, expected) in types.items():
        if name in given and type(given[name]) not in kinds:
            raise GameError(f"{where}{name} = {given[name]!r}; expected {expected}")


def check_numbers(where: str, value: Any) -> None:
    """A number, a list of numbers, or a list of equally long lists of numbers.

    Args:
        where: what errors call it.
        value: as TOML gives it.

    Raises:
        GameError: anything else; names the entry at fault.
    """
    if fits(value, (float,)):
        return
    if not isinstance(value, list):
        raise GameError(
            f"{where} = {value!r}; expected a number, a list of numbers or a file, e.g. "
            '{ csv = "data.csv", column = "..." }'
        )
    nested = bool(value) and isinstance(value[0], list)
    for k, item in enumerate(value):
        if nested and isinstance(item, list):
            if len(item) != len(value[0]):
                raise GameError(
                    f"{where} is ragged: row {k} has {len(item)} values, row 0 has {len(value[0])}"
                )
            for c, cell in enumerate(item):
                if not fits(cell, (float,)):
                    raise GameError(f"{where}[{k}, {c}] = {cell!r}; expected a number")
        elif nested or not fits(item, (float,)):
            expected = "a list of numbers, as in row 0" if nested else "a number"
            raise GameError(f"{where}[{k}] = {item!r}; expected {expected}")


def fits(value: Any, options: tuple[Any, ...]) -> bool:
    """Whether a TOML value has one of these types; a type that TOML cannot express fits all.

    Args:
        value: as TOML gives it.
        options: types and ``Literal``; a whole number is a ``float`` too, a boolean no number.
    """
    return any(_fits(value, option) for option in options)


def _fits(value: Any, option: Any) -> bool:
    if get_origin(option) is Literal:
        return value in get_args(option)
    if option is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if option in (int, str, bool):
        return type(value) is option
    return option is not NoneType


def expected_of(options: tuple[Any, ...]) -> str:
    """These types in words."""
    words = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    said = [
        " or ".join(map(repr, get_args(o))) if get_origin(o) is Literal else words.get(o, str(o))
        for o in options
        if o is not NoneType
    ]
    return " or ".join(said)
