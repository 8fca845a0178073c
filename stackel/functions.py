"""The few functions that formulas need beyond operators, for every kind of array.

A formula written with these runs unchanged on NumPy arrays, on stackel's own expressions, on
torch tensors, on arrays of Pyomo or CasADi symbols, and on any array type that brings methods of
these names (as stackel's CVXPY wrapper does).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from stackel.calculus import expression
from stackel.calculus.expression import Expression

__all__ = ["concat", "exp", "log", "over_followers", "over_leaders", "sqrt", "tanh"]


def _apply(name: str, value: Any) -> Any:
    if isinstance(value, Expression):
        return expression.unary(name, value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return _elementwise(name, value)
    if isinstance(value, (np.ndarray, np.generic, float, int)):
        return getattr(np, name)(value)
    method = getattr(value, name, None)
    if method is not None:  # torch tensors, CasADi matrices, the CVXPY wrapper
        return method()
    package = sys.modules.get(type(value).__module__.partition(".")[0])
    return getattr(package, name)(value)


def _elementwise(name: str, array: np.ndarray) -> np.ndarray:
    """Object arrays: NumPy asks each element for the method; Pyomo has functions instead."""
    out = np.empty_like(array)
    for index, item in np.ndenumerate(array):
        package = sys.modules.get(f"{type(item).__module__.partition('.')[0]}.environ")
        function = getattr(package, name, None)
        out[index] = function(item) if function is not None else _apply(name, item)
    return out


def exp(value: Any) -> Any:
    """Exponential, elementwise."""
    return _apply("exp", value)


def log(value: Any) -> Any:
    """Natural logarithm, elementwise."""
    return _apply("log", value)


def sqrt(value: Any) -> Any:
    """Square root, elementwise."""
    return _apply("sqrt", value)


def tanh(value: Any) -> Any:
    """Hyperbolic tangent, elementwise."""
    return _apply("tanh", value)


def concat(parts: Sequence[Any], axis: int = -1) -> Any:
    """Join arrays along the last (leaders) or second to last (followers) axis.

    Args:
        parts: arrays of one kind, alike in their other axes; among expressions, plain arrays too.
        axis: -1 or -2.

    Raises:
        GameError: expressions whose shapes do not fit.
    """
    if any(isinstance(p, Expression) for p in parts):
        return expression.concat(parts, axis)
    for part in parts:  # an array type that brings its own way, as stackel's CVXPY wrapper does
        if hasattr(part, "__stackel_concat__"):
            return part.__stackel_concat__(parts, axis)
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts, axis=axis)
    return sys.modules[type(first).__module__.partition(".")[0]].concat(parts, axis)


def over_leaders(value: Any) -> Any:
    """Sum over the last axis, kept: (..., I, J) to (..., I, 1)."""
    return value.sum(axis=-1, keepdims=True)


def over_followers(value: Any) -> Any:
    """Sum over the second to last axis, kept: (..., I, J) to (..., 1, J)."""
    return value.sum(axis=-2, keepdims=True)
