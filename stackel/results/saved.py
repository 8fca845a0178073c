"""An equilibrium as a JSON file, read back exactly.

Numbers, texts, lists, true, false and null stand as they are; floats are written by Python's
``repr``, which reads back as the same float. Whatever JSON has no word for is an object whose first
key begins with a dollar sign::

    {"$float": "inf"}                                       inf, -inf, nan
    {"$tuple": [...]}
    {"$dict": [[key, value], ...]}                          where a key is not a plain text
    {"$array": [...], "dtype": "float64", "shape": [3, 1]}  row after row
    {"$sparse": {"data": ..., "indices": ..., "indptr": ...}, "shape": [200, 200]}
    {"$enum": "module:Name", "member": "..."}
    {"$dataclass": "module:Name", "fields": {...}}

A sparse matrix is kept by its CSR arrays, not as triplets, because their order is the one in which
a product adds up: it decides the last bit of a payoff.

Reading runs nothing that the file says, but imports the module that it names for its market, as
``import`` would. The market's constructor checks the market. Beside it, only dataclasses and enums
of stackel and of the modules that the market's class and its bases come from are built.
"""

from __future__ import annotations

import importlib
import json
import math
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from operator import attrgetter
from os import fsync
from pathlib import Path
from shutil import copymode
from typing import Any

import numpy as np
import scipy.sparse as sp

from stackel import version
from stackel.errors import GameError
from stackel.game.game import Game
from stackel.game.grids import SparseOperator

FORMAT = 2
"""Raised whenever an older stackel would misread the file."""

CSR = ("data", "indices", "indptr")
"""A sparse matrix's arrays, as scipy calls them."""

FORMER = {
    "stackel.certificate:Certificate": "stackel.certificate.certificate:Certificate",
    "stackel.deviations:Deviation": "stackel.leaders.deviations:Deviation",
    "stackel.equilibrium:Equilibrium": "stackel.results.equilibrium:Equilibrium",
    "stackel.existence:Uniqueness": "stackel.followers.existence:Uniqueness",
}
"""Classes that files written before name by the module that they stood in then."""


def document(eq: Any) -> dict[str, Any]:
    """An equilibrium as plain dictionaries, lists, numbers and strings: what :func:`save` writes.

    Args:
        eq: a :class:`stackel.Equilibrium`.

    Raises:
        GameError: the format has no word for a value, or loading could not find its class.
    """
    head = {"format": FORMAT, "version": version.__version__}
    return {"stackel": head, "equilibrium": _encode(eq, "equilibrium", type(eq.game))}


def save(eq: Any, path: str | Path) -> Path:
    """Write everything about an equilibrium to a JSON file, and return the path.

    The file appears whole or not at all: it is written beside its place, then moved there.

    Raises:
        FileNotFoundError: there is no such folder.
        GameError: the format has no word for a value, or loading could not find its class.
    """
    path = Path(path)
    with replacing(path) as part:
        text = json.dumps(document(eq), allow_nan=False) + "\n"
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            fsync(file.fileno())
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file that appears whole or not at all.

    Args:
        path: where it goes.

    Yields:
        a path beside it to write to, moved there at the end unless something went wrong.

    Raises:
        FileNotFoundError: there is no such folder.
        FileExistsError: what is there is a folder or a device.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; create it first")
    target = path.resolve()  # a link stays a link
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{path} is there and is no file that can be replaced")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        if target.exists():
            copymode(target, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | Path) -> Any:
    """Read what :func:`save` wrote.

    Raises:
        GameError: the file is not a saved equilibrium, is damaged or too new, or the class of its
            market cannot be imported or no longer takes its data.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise GameError(
            f"{path} is not JSON ({error}); expected a file that Equilibrium.save wrote: it was "
            "cut short, or something else made it"
        ) from error
    try:
        return _equilibrium(document)
    except GameError as error:
        raise GameError(f"{path}: {error}") from error
    except Exception as error:  # whatever misplaced data makes of a constructor
        raise GameError(
            f"{path} is damaged ({type(error).__name__}: {error}); expected a file as "
            "Equilibrium.save wrote it: save the equilibrium again"
        ) from error


def _equilibrium(document: Any) -> Any:
    match document:
        case {"stackel": {"format": int(number)} as head} if number > FORMAT:
            raise GameError(
                f"written in format {number} by stackel {head.get('version')}; stackel "
                f"{version.__version__} reads formats up to {FORMAT}: upgrade stackel"
            )
        case {"stackel": {"format": int()}, "equilibrium": {"fields": body}}:
            market = _find(body["game"]["$dataclass"])
        case _:
            keys = list(document) if isinstance(document, dict) else "none"
            raise GameError(
                f"no saved equilibrium (keys: {keys}); expected a file that Equilibrium.save wrote"
            )
    if not issubclass(market, Game):
        raise GameError(f"its market is a {market.__name__}; expected a subclass of stackel.Game")
    eq = _decode(document["equilibrium"], market)
    found = eq.leader_actions.shape, eq.follower_actions.shape
    expected = eq.game.leader_shape, eq.game.follower_shape
    if found != expected:
        raise GameError(f"actions of shapes {found}; {eq.game} expects {expected}")
    return eq


def _name(kind: type, where: str, market: type) -> str:
    """A class's name in the file, sure to be found again.

    Raises:
        GameError: it would not be.
    """
    name = f"{kind.__module__}:{kind.__qualname__}"
    if "<locals>" in name:
        raise GameError(
            f"{where} cannot be saved: its class {kind.__name__} is defined inside a function, "
            "where loading cannot find it; define it at the top level of a module"
        )
    try:
        _find(name, market)
    except GameError as error:
        raise GameError(f"{where} cannot be saved: {error}") from error
    return name


def _find(name: str, market: type | None = None) -> type:
    """The class of that name, imported; beside a market, only from where its class comes from.

    Raises:
        GameError: there is none, or it is not to be built.
    """
    name = FORMER.get(name, name)
    module, _, path = name.partition(":")
    if market is not None and module.partition(".")[0] != "stackel":
        homes = {base.__module__ for base in market.__mro__} - {"builtins"}
        if module not in homes:
            raise GameError(
                f"{name} is neither of stackel nor of the market's own modules "
                f"({', '.join(sorted(homes))}); define it there"
            )
    try:
        found: Any = attrgetter(path)(importlib.import_module(module))
    except Exception as error:  # whatever the module's own lines raise
        session = " of the script or notebook that saved it" if module == "__main__" else ""
        raise GameError(
            f"the class {name}{session} cannot be imported ({error}); define or import it as "
            f"{name} before loading"
        ) from error
    known = isinstance(found, type) and f"{found.__module__}:{found.__qualname__}" == name
    if not (known and (is_dataclass(found) or issubclass(found, Enum))):
        raise GameError(f"{name} is not a dataclass or an enum of that name")
    return found


def _encode(value: Any, where: str, market: type) -> Any:
    """A value in JSON's words; ``where`` names it in errors.

    Raises:
        GameError: it has none.
    """

    def inner(child: Any, name: object) -> Any:
        return _encode(child, f"{where}.{name}", market)

    value = value.item() if isinstance(value, np.generic) else value
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind in (list, tuple):
        items = [inner(v, k) for k, v in enumerate(value)]
        return items if kind is list else {"$tuple": items}
    if isinstance(value, Mapping):
        if all(type(k) is str and not k.startswith("$") for k in value):
            return {k: inner(v, k) for k, v in value.items()}
        return {"$dict": [[inner(k, "key"), inner(v, k)] for k, v in value.items()]}
    if kind is np.ndarray and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return _encode_array(value)
    if kind is SparseOperator:
        parts = {k: inner(getattr(value.matrix, k), k) for k in CSR}
        return {"$sparse": parts, "shape": list(value.shape)}
    if isinstance(value, Enum):
        return {"$enum": _name(kind, where, market), "member": value.name}
    if is_dataclass(kind):
        own = {f.name: inner(getattr(value, f.name), f.name) for f in fields(kind) if f.init}
        return {"$dataclass": _name(kind, where, market), "fields": own}
    raise GameError(
        f"{where} cannot be saved: it is a {kind.__module__}.{kind.__qualname__}; expected "
        "numbers, texts, arrays of numbers, lists, tuples, mappings, enums or dataclasses: put one "
        "in its place with dataclasses.replace"
    )


def _decode(value: Any, market: type) -> Any:
    inner = partial(_decode, market=market)
    match value:
        case list():
            return list(map(inner, value))
        case {"$float": text}:
            return float(text)
        case {"$tuple": items}:
            return tuple(map(inner, items))
        case {"$dict": pairs}:
            return {inner(k): inner(v) for k, v in pairs}
        case {"$array": data, "dtype": dtype, "shape": shape}:
            numbers = list(map(float, data)) if dtype.startswith("float") else data
            return np.array(np.array(numbers, dtype).reshape(shape), order=value.get("order", "C"))
        case {"$sparse": parts, "shape": shape}:
            arrays = tuple(inner(parts[k]) for k in CSR)
            matrix = sp.csr_array(arrays, shape=tuple(shape))
            matrix.check_format(full_check=True)  # a wrong index would crash a product
            return SparseOperator(matrix)
        case {"$enum": name, "member": member}:
            return getattr(_find(name, market), member)
        case {"$dataclass": name, "fields": data}:
            values = {k: inner(v) for k, v in data.items()}
            if "follower_scale" in values and name.endswith(":Certificate"):
                values = _certificate_of_before(values)
            try:
                return _find(name, market)(**values)
            except TypeError as error:
                raise GameError(
                    f"{name} does not take the saved fields {', '.join(data)} ({error}): it has "
                    "changed since; load with the version that saved it"
                ) from error
        case dict():
            return {k: inner(v) for k, v in value.items()}
    return value


def _certificate_of_before(values: dict[str, Any]) -> dict[str, Any]:
    """A certificate of format 1 in today's fields. It measured all players of a side by one scale,
    and its "certified" stood for less than today's words: it is not a verdict any more."""
    out = dict(values)
    for side in ("follower", "leader"):
        gaps = np.asarray(out[f"{side}_gaps"])
        out[f"{side}_scales"] = np.full(gaps.shape, out.pop(f"{side}_scale"))
    out["drifts"] = np.full(np.shape(out["leader_gaps"]), np.nan)
    out["reasons"] = (f"{out['verdict']} by 0.1, not re-checked",)
    return out | {"verdict": "unknown"}


def _encode_array(array: np.ndarray) -> dict[str, Any]:
    data = array.ravel().tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        data = [v if math.isfinite(v) else repr(v) for v in data]
    out = {"$array": data, "dtype": array.dtype.name, "shape": list(array.shape)}
    columns_first = array.flags.f_contiguous and not array.flags.c_contiguous
    return {**out, "order": "F"} if columns_first else out  # products add up in this order
