"""The operations that expressions are made of, on numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@"}
"""Operations that Python has a sign for."""


def _sum(a: Any, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(a, axis=axes if len(axes) > 1 else axes[0], keepdims=True)


def _expand(a: Any, shape: tuple[int, int]) -> Any:
    return a if a.shape[-2:] == shape else np.broadcast_to(a, a.shape[:-2] + shape)


def _slice(a: Any, window: tuple[int, int, int, int]) -> Any:
    r0, r1, c0, c1 = window
    return a[..., r0:r1, c0:c1]


def _pad(a: Any, param: tuple[tuple[int, int, int, int], tuple[int, int]]) -> Any:
    (r0, r1, c0, c1), shape = param
    out = np.zeros(a.shape[:-2] + shape)
    out[..., r0:r1, c0:c1] = a
    return out


def _concat(parts: Sequence[Any], axis: int) -> Any:
    """Join along a core axis; the other axes broadcast (a direction may have a single row)."""
    if len(parts) == 1:
        return parts[0]
    batch = np.broadcast_shapes(*(p.shape[:-2] for p in parts))
    other = max(p.shape[-3 - axis] for p in parts)
    cores = [(other, p.shape[-1]) if axis == -1 else (p.shape[-2], other) for p in parts]
    wide = [np.broadcast_to(p, batch + core) for p, core in zip(parts, cores, strict=True)]
    return np.concatenate(wide, axis=axis)


CALLS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "matmul": np.matmul,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "neg": np.negative,
    "pow": np.power,
    "sum": _sum,
    "expand": _expand,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "transpose": lambda a: a.swapaxes(-1, -2),
    "abs": np.abs,
    "max": np.maximum,
    "square": np.square,
    "reciprocal": np.reciprocal,
}


def evaluate(op: str, values: Sequence[Any], param: Any) -> Any:
    """One operation on numbers.

    Args:
        op: its name.
        values: its arguments.
        param: what else it needs, or None.
    """
    if op == "concat":
        return _concat(values, param)
    return CALLS[op](*values) if param is None else CALLS[op](*values, param)
