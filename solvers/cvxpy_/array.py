"""CVXPY expressions that a market's own formulas run on, elementwise, as they run on NumPy arrays.

CVXPY's ``*`` is a matrix product, its ``/`` divides by constants only and its sums lose axes;
:class:`Elementwise` gives its expressions the conventions of :mod:`stackel.game` instead: two core
axes, elementwise operators that broadcast, ``.sum(axis, keepdims=True)``. What CVXPY cannot know
the curvature of stays an expression whose curvature is unknown: :func:`why_not_concave` quotes
CVXPY's reason for it, by the rules of disciplined convex programming (Grant, Boyd and Ye,
"Disciplined convex programming", 2006).

CVXPY itself is imported when the first expression is made, not with this module.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from stackel.calculus.calculus import trace
from stackel.errors import GameError
from stackel.game.game import Game
from stackel.types import Array

QUOTE = 160
"""Longest expression that a reason quotes, in characters."""

SAFE_ORDERS = {-1.0, 0.5, 1.0, 2.0}
"""Exponents that second-order cones express exactly; others go to the power cone."""


class NotConvexError(GameError):
    """An operation that disciplined convex programming has no rule for."""


def _cp() -> Any:
    import cvxpy

    return cvxpy


def power(base: Any, exponent: Any) -> Any:
    """``base ** exponent`` elementwise, for a number or an array of numbers as the exponent.

    Args:
        base: a CVXPY expression (r, c).
        exponent: a number, or numbers that broadcast to (r, c).
    """
    cp = _cp()
    wide = np.broadcast_to(np.asarray(exponent, dtype=float), base.shape)
    orders = np.unique(wide)
    if len(orders) > 1:  # one power cone at a time, each where its exponent stands
        parts = [cp.multiply((wide == order).astype(float), power(base, order)) for order in orders]
        return sum(parts[1:], parts[0])
    order = float(orders[0])
    if order in SAFE_ORDERS or (order.is_integer() and 0 <= order <= 4):
        return cp.power(base, order)
    try:  # exactly; by default CVXPY puts the nearest fraction in the exponent's place
        return cp.power(base, order, approx=False)
    except TypeError:  # CVXPY before 1.7 knows no other way
        return cp.power(base, order)


class Elementwise(NDArrayOperatorsMixin):
    """A CVXPY expression of two axes with NumPy's elementwise conventions.

    Attributes:
        expression: the CVXPY expression, (r, c).

    Raises:
        NotConvexError: an operation that disciplined convex programming has no rule for.
        GameError: indices or sums that do not keep both axes.
    """

    __slots__ = ("expression",)
    ndim = 2

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.expression.shape
        return rows, columns

    def __repr__(self) -> str:
        return f"<{self.expression}>"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Every operator and every NumPy function comes here.

        Raises:
            NotConvexError: there is no rule for it.
        """
        kwargs.pop("out", None)  # of y += 1, which gives the name y to a new expression
        rule = RULES.get(ufunc.__name__)
        if method != "__call__" or kwargs or rule is None:
            raise NotConvexError(f"CVXPY has no rule for numpy.{ufunc.__name__} here")
        return Elementwise(rule(*(_lift(value) for value in inputs)))

    def __matmul__(self, other: Any) -> Elementwise:
        return Elementwise(self.expression @ _matrix(other))

    def __rmatmul__(self, other: Any) -> Elementwise:
        return Elementwise(_matrix(other) @ self.expression)

    def __getitem__(self, key: Any) -> Elementwise:
        parts = key if isinstance(key, tuple) else (key,)
        parts = parts[1:] if parts[0] is Ellipsis else parts
        parts = (slice(None), *parts) if len(parts) == 1 else parts
        if len(parts) != 2 or not all(isinstance(p, slice) for p in parts):
            raise GameError(f"a formula indexes with {key!r}; use slices that keep both axes")
        return Elementwise(self.expression[parts])

    @property
    def mT(self) -> Elementwise:
        """The transpose (c, r)."""
        return Elementwise(self.expression.T)

    def swapaxes(self, first: int, second: int) -> Elementwise:
        return self.mT if (first - second) % 2 else self

    def sum(self, axis: Any = None, keepdims: bool = False) -> Elementwise:
        """Sum over core axes, which are kept.

        Args:
            axis: -1, -2 or both.
            keepdims: True.

        Raises:
            GameError: other axes, or axes that are not kept.
        """
        axes = (axis,) if isinstance(axis, int) else axis
        if axes is None or not keepdims or any(a not in (-1, -2) for a in axes):
            raise GameError(f"a formula calls .sum(axis={axis}, keepdims={keepdims})")
        value = self.expression
        for a in set(axes):
            if value.shape[a] != 1:
                value = _cp().sum(value, axis=a % 2, keepdims=True)
        return Elementwise(value)

    # -- what stackel.functions asks for ---------------------------------------------------------

    def exp(self) -> Any:
        return np.exp(self)

    def log(self) -> Any:
        return np.log(self)

    def sqrt(self) -> Any:
        return np.sqrt(self)

    def tanh(self) -> Any:
        return np.tanh(self)

    @staticmethod
    def __stackel_concat__(parts: Sequence[Any], axis: int) -> Elementwise:
        """Expressions and arrays, joined.

        Args:
            parts: expressions and arrays.
            axis: -1 or -2.
        """
        joined = [_lift(p) for p in parts]
        return Elementwise((_cp().hstack if axis == -1 else _cp().vstack)(joined))


def _add(a: Any, b: Any) -> Any:
    first, second = _numbers_last(*_pair(a, b))
    return first + second


def _multiply(a: Any, b: Any) -> Any:
    return _cp().multiply(*_numbers_last(*_pair(a, b)))


def _reciprocal(a: Any) -> Any:
    return 1.0 / a if isinstance(a, np.ndarray) else power(a, -1.0)


def _power(base: Any, exponent: Any) -> Any:
    """One of the two an expression, the other an array.

    Raises:
        NotConvexError: both are expressions, or the base has no real power.
    """
    if isinstance(exponent, np.ndarray):
        return power(_spread(base, np.broadcast_shapes(base.shape, exponent.shape)), exponent)
    if not isinstance(base, np.ndarray):
        raise NotConvexError(f"the exponent {exponent} depends on the action")
    if (base <= 0).any():
        raise NotConvexError(f"{base.min():g} ** ({exponent}) has no real value")
    return _cp().exp(_multiply(exponent, np.log(base)))


def _tanh(a: Any) -> Any:
    raise NotConvexError(f"tanh({a}) is neither convex nor concave")


RULES: Mapping[str, Callable[..., Any]] = {
    "add": _add,
    "subtract": lambda a, b: operator.sub(*_pair(a, b)),
    "multiply": _multiply,
    "divide": lambda a, b: _multiply(a, _reciprocal(b)),
    "power": _power,
    "matmul": operator.matmul,
    "negative": operator.neg,
    "positive": lambda a: a,
    "exp": lambda a: _cp().exp(a),
    "log": lambda a: _cp().log(a),
    "sqrt": lambda a: _cp().sqrt(a),
    "tanh": _tanh,
    "square": lambda a: power(a, 2.0),
    "reciprocal": _reciprocal,
    "log1p": lambda a: _cp().log(_add(a, _lift(1.0))),
}
"""What NumPy's functions, by name, make of CVXPY expressions and arrays of two axes."""


def _lift(value: Any) -> Any:
    """A CVXPY expression or an array, with two axes."""
    if isinstance(value, Elementwise):
        return value.expression
    array = np.asarray(value, dtype=float)
    return array.reshape((1,) * (2 - array.ndim) + array.shape)


def _matrix(value: Any) -> Any:
    """A factor of a matrix product: an expression, an array, or sparse ties as SciPy has them."""
    if hasattr(value, "__stackel_operator__"):
        return value.matrix
    return _lift(value)


def expression_of(value: Any) -> Any:
    """A formula's value as a CVXPY expression, which plain numbers are not yet."""
    lifted = _lift(value)
    return _cp().Constant(lifted) if isinstance(lifted, np.ndarray) else lifted


def _spread(value: Any, shape: tuple[int, ...]) -> Any:
    """Broadcast the two axes, by products with ones where it is an expression."""
    if isinstance(value, np.ndarray):
        return np.broadcast_to(value, shape)
    rows, columns = value.shape
    if rows != shape[0]:
        value = np.ones((shape[0], 1)) @ value
    return value @ np.ones((1, shape[1])) if columns != shape[1] else value


def _pair(a: Any, b: Any) -> tuple[Any, Any]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return _spread(a, shape), _spread(b, shape)


def _numbers_last(a: Any, b: Any) -> tuple[Any, Any]:
    """Two factors or summands in the order in which reasons quote them."""
    return (b, a) if isinstance(a, np.ndarray) else (a, b)


def why_not_concave(game: Game, rivals: Array, x: Array) -> list[str]:
    """Why CVXPY cannot take the followers' formulas as they are written, in its own words.

    Args:
        game: the market.
        rivals: everybody's actions (I, n).
        x: leader actions (d, J).

    Returns:
        one sentence for each formula that breaks the rules at these numbers; empty if none does.
    """
    cp = _cp()
    y = cp.Variable(game.follower_shape, name=game.follower_action.name)
    own = Elementwise(y)
    formulas: dict[str, Callable[..., Any]] = {
        "follower_payoff": lambda r, p: game.follower_payoff(own, r, p)
    }
    for key in trace(game).formulas.own_limits:
        formulas[f"limit {key!r}"] = lambda r, p, key=key: game.follower_limits(own, r, p)[key]
    for key in trace(game).formulas.shared_limits:
        formulas[f"shared limit {key!r}"] = lambda r, p, key=key: game.shared_limits(own, p)[key]
    names = (
        Elementwise(cp.Parameter(rivals.shape, name="rivals")),
        Elementwise(cp.Parameter(x.shape, name=game.leader_action.name)),
    )
    reasons = []
    for what, formula in formulas.items():
        wanted = "concave" if what == "follower_payoff" else "convex"
        start = f"{what} is not {wanted} by DCP rules: "
        try:
            value = expression_of(formula(rivals, x))
            if value.is_concave() if wanted == "concave" else value.is_convex():
                continue
        except GameError as error:
            reasons.append(f"{start}{error}")
            continue
        with suppress(GameError):  # the numbers' names in place of the numbers, for people
            value = expression_of(formula(*names))
        reasons.append(start + _culprit(value))
    return reasons


def _culprit(value: Any) -> str:
    """The innermost subexpression that has no curvature although its arguments do."""
    while not value.is_dcp():
        broken = [a for a in value.args if not a.is_dcp()]
        if not broken:
            text = re.sub(r"\s+", " ", str(value))
            return text if len(text) <= QUOTE else text[: QUOTE - 3] + "..."
        value = broken[0]
    return f"its curvature is {value.curvature.lower()}"
