"""What identifies a value: for a stored sweep's fingerprint, and as the label of a coordinate."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

WIDTH = 48
"""Characters of the longest label."""

PLAIN = (bool, int, float, complex, str, bytes, type(None))


def describe(value: Any) -> Any:
    """A value as plain JSON data that is the same in every process and differs if the value does.

    Functions and classes are known by their name, their source, and the constants, functions and
    markets that they use; arrays and graphs by their content. Anything else by its ``repr``.
    """
    return _describe(value, frozenset())


def _describe(value: Any, above: frozenset[int]) -> Any:
    """``above`` are the functions being described, for those that call each other."""
    value = scalar(value)
    if isinstance(value, (complex, bytes)):
        return repr(value)
    if isinstance(value, PLAIN):
        return value
    if inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, functools.partial):
        return _code(value, above)
    if is_dataclass(value):
        own = [f.name for f in fields(value) if f.compare]
        named = {name: _describe(getattr(value, name), above) for name in own}
        return {"class": _code(type(value), above), **named}
    if isinstance(value, Mapping):
        return {"keys": [[_describe(k, above), _describe(v, above)] for k, v in value.items()]}
    if isinstance(value, Set):
        return sorted(repr(_describe(v, above)) for v in value)
    if hasattr(value, "edges") and hasattr(value, "nodes"):  # a graph
        return {"graph": [repr(list(value.nodes(data=True))), repr(list(value.edges(data=True)))]}
    if hasattr(value, "tocoo"):  # a sparse matrix
        entries = value.tocoo()
        parts = (entries.row, entries.col, entries.data)
        return {"sparse": [list(value.shape), *(_array(np.asarray(p)) for p in parts)]}
    if isinstance(value, np.ndarray) or hasattr(value, "to_numpy"):
        return _array(np.asarray(value))
    if isinstance(value, Sequence):
        return [_describe(v, above) for v in value]
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _array(array: np.ndarray) -> Any:
    if array.dtype == object:
        return [describe(v) for v in array.ravel()]
    if array.size <= 16:
        return {"array": array.tolist()}
    return {"array": digest(np.ascontiguousarray(array).tobytes()), "shape": list(array.shape)}


def _code(thing: Any, above: frozenset[int]) -> dict[str, Any]:
    if isinstance(thing, functools.partial):
        bound = {"args": list(thing.args), "keywords": thing.keywords}
        return {"partial": _describe(thing.func, above), **_each(bound, above)}
    out: dict[str, Any] = {"name": getattr(thing, "__qualname__", repr(thing))}
    if id(thing) in above:
        return out
    above = above | {id(thing)}
    if inspect.ismethod(thing):
        return out | {"of": _describe(thing.__self__, above), **_code(thing.__func__, above)}
    try:
        out["source"] = digest(inspect.getsource(thing).encode())
    except (OSError, TypeError):  # typed at a prompt, or compiled
        out["source"] = getattr(getattr(thing, "__code__", None), "co_code", b"").hex()
    if inspect.isfunction(thing):
        used = {
            name: value
            for name, value in _used(thing).items()
            if isinstance(value, (*PLAIN, tuple, np.ndarray))
            or getattr(value, "__module__", None) == thing.__module__
            or hasattr(value, "follower_payoff")  # a market, or its class
        }
        defaults = {"defaults": thing.__defaults__, "keyword": thing.__kwdefaults__}
        out |= {"uses": _each(used, above), **_each(defaults, above)}
    return out


def _used(function: Any) -> dict[str, Any]:
    """The outer variables that a function reads."""
    try:
        found = inspect.getclosurevars(function)
    except ValueError:  # a variable of the enclosing function that is not set yet
        return {}
    return {**found.globals, **found.nonlocals}


def _each(values: Mapping[str, Any], above: frozenset[int]) -> dict[str, Any]:
    return {name: _describe(value, above) for name, value in sorted(values.items())}


def digest(data: bytes) -> str:
    """A checksum of 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def scalar(value: Any) -> Any:
    """NumPy's and xarray's single numbers as Python's; anything else as it is."""
    if isinstance(value, np.generic) or (getattr(value, "ndim", None) == 0):
        return value.item()
    return value


def labels(values: Sequence[Any]) -> np.ndarray:
    """A coordinate for these values: themselves if they are numbers, texts or booleans.

    Of anything else the labels, made distinct by their place.
    """
    for kinds in ((bool,), (int, float), (str,)):
        if all(isinstance(v, kinds) and (bool in kinds or type(v) is not bool) for v in values):
            return np.array(values)
    said = [label(v) for v in values]
    return np.array([s if said.count(s) == 1 else f"{s} ({k})" for k, s in enumerate(said)])


def label(value: Any) -> str:
    """A text of at most :data:`WIDTH` characters for a value, for people."""
    if isinstance(value, functools.partial):
        return label(value.func)
    if callable(value):
        text = getattr(value, "__qualname__", type(value).__qualname__)
    elif isinstance(value, (np.ndarray, tuple, list)):
        text = str(value.tolist() if isinstance(value, np.ndarray) else [*map(scalar, value)])
    else:
        text = " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", str(value)).split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
