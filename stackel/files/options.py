"""Arguments of ``stackel.solve`` in a market file: the table ``[solve]``, and what wins over it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from stackel import backend as registry
from stackel.errors import GameError, StackelError
from stackel.files.toml import Types, check_names, check_types

SOLVE: Types = {
    "backend": ((str,), "a backend's name"),
    "anticipation": ((str,), "a name"),
    "start": ((list,), "a list of leader actions"),
    "seed": ((int,), "a whole number"),
    "time_limit": ((int, float), "a number of seconds"),
    "tolerance": ((int, float), "a number"),
    "restarts": ((int,), "a whole number"),
    "certificate": ((bool,), "true or false"),
}
"""Arguments of :func:`stackel.solve` that a market file may give, and their types."""


def solve_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """What [solve] says, checked as far as can be without the solver's library.

    Args:
        table: as it stands in the file.

    Raises:
        GameError: an unknown backend or entry, or a value of another type.
    """
    check_types("[solve] ", table, SOLVE)
    try:
        options = options_of_backend("[solve]", table)
    except ImportError:
        return dict(table)
    automatic = table.get("backend", "auto") == "auto"
    hint = "; a backend's own options need its name, backend = ..." if automatic else ""
    check_names("[solve] ", "entry", table, [*SOLVE, *options], hint)
    return dict(table)


def options_of_backend(at: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the backend that a table names, and their defaults.

    Args:
        at: the table's name, for errors.
        table: without ``backend``, or with ``"auto"``, there are none.

    Raises:
        GameError: there is no such backend.
        ImportError: its module does not import.
    """
    name = table.get("backend", "auto")
    try:
        return {} if name == "auto" else registry.options_of(registry.find(name))
    except StackelError as error:
        raise GameError(f"{at} {error}") from error


def merged(
    options: Mapping[str, Any], given: Mapping[str, Any], common: Collection[str] = SOLVE
) -> dict[str, Any]:
    """Options under others that win over them.

    Args:
        options: of a file. If the others name another backend, only the common ones hold.
        given: the others; None stands for what is not given.
        common: options that do not belong to one backend.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("backend", options.get("backend")) != options.get("backend"):
        options = {name: value for name, value in options.items() if name in common}
    return {**options, **given}
