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

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

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


class Elementwise:
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

    # -- operators -----------------------------------------------------------------------------

    def __add__(self, other: Any) -> Elementwise:
        a, b = _pair(self, other)
        return Elementwise(a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Elementwise:
        a, b = _pair(self, other)
        return Elementwise(a - b)

    def __rsub__(self, other: Any) -> Elementwise:
        a, b = _pair(self, other)
        return Elementwise(b - a)

    def __mul__(self, other: Any) -> Elementwise:
        a, b = _pair(self, other)
        return Elementwise(_cp().multiply(a, b))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Elementwise:
        if isinstance(other, Elementwise):
            return self * other**-1
        return self * (1.0 / np.asarray(other, dtype=float))

    def __rtruediv__(self, other: Any) -> Elementwise:
        return self**-1 * other

    def __pow__(self, exponent: Any) -> Elementwise:
        if isinstance(exponent, Elementwise):
            raise NotConvexError(f"the exponent {exponent.expression} depends on the action")
        exponent = np.asarray(exponent, dtype=float)
        if exponent.ndim:
            rows, columns = np.broadcast_shapes(self.shape, exponent.shape)
            return Elementwise(power(_spread(self.expression, (rows, columns)), exponent))
        return Elementwise(power(self.expression, exponent))

    def __rpow__(self, base: Any) -> Elementwise:
        base = np.asarray(base, dtype=float)
        if (base <= 0).any():
            raise NotConvexError(f"{base.min():g} ** ({self.expression}) has no real value")
        return (self * np.log(base)).exp()

    def __neg__(self) -> Elementwise:
        return Elementwise(-self.expression)

    def __pos__(self) -> Elementwise:
        return self

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

    # -- functions -----------------------------------------------------------------------------

    def exp(self) -> Elementwise:
        return Elementwise(_cp().exp(self.expression))

    def log(self) -> Elementwise:
        return Elementwise(_cp().log(self.expression))

    def sqrt(self) -> Elementwise:
        return Elementwise(_cp().sqrt(self.expression))

    def tanh(self) -> Elementwise:
        """Hyperbolic tangent, which is neither convex nor concave.

        Raises:
            NotConvexError: always.
        """
        raise NotConvexError(f"tanh({self.expression}) is neither convex nor concave")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = _UFUNCS.get(ufunc.__name__)
        if method != "__call__" or kwargs or handler is None:
            raise NotConvexError(f"CVXPY has no rule for numpy.{ufunc.__name__} here")
        return handler(*inputs)

    @staticmethod
    def __stackel_concat__(parts: Sequence[Any], axis: int) -> Elementwise:
        """What :func:`stackel.functions.concat` asks for.

        Args:
            parts: expressions and arrays.
            axis: -1 or -2.
        """
        joined = [_lift(p) for p in parts]
        return Elementwise((_cp().hstack if axis == -1 else _cp().vstack)(joined))


_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: b + a if isinstance(b, Elementwise) else a + b,
    "subtract": lambda a, b: a - b if isinstance(a, Elementwise) else b.__rsub__(a),
    "multiply": lambda a, b: b * a if isinstance(b, Elementwise) else a * b,
    "divide": lambda a, b: a / b if isinstance(a, Elementwise) else b.__rtruediv__(a),
    "power": lambda a, b: a**b if isinstance(a, Elementwise) else b.__rpow__(a),
    "matmul": lambda a, b: a @ b if isinstance(a, Elementwise) else b.__rmatmul__(a),
    "negative": lambda a: -a,
    "positive": lambda a: a,
    "exp": lambda a: a.exp(),
    "log": lambda a: a.log(),
    "sqrt": lambda a: a.sqrt(),
    "tanh": lambda a: a.tanh(),
    "square": lambda a: a**2,
    "reciprocal": lambda a: a**-1,
    "log1p": lambda a: (a + 1.0).log(),
}


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


def _spread(value: Any, shape: tuple[int, int]) -> Any:
    """Broadcast the two axes, by products with ones where it is an expression."""
    if isinstance(value, np.ndarray):
        return np.broadcast_to(value, shape)
    rows, columns = value.shape
    if rows != shape[0]:
        value = np.ones((shape[0], 1)) @ value
    return value @ np.ones((1, shape[1])) if columns != shape[1] else value


def _pair(left: Any, right: Any) -> tuple[Any, Any]:
    a, b = _lift(left), _lift(right)
    rows, columns = np.broadcast_shapes(a.shape, b.shape)
    return _spread(a, (rows, columns)), _spread(b, (rows, columns))


def limits_of(game: Game, y: Elementwise, rivals: Any, x: Any) -> tuple[list[Any], list[Any]]:
    """The own limits and the shared ones, as CVXPY expressions, in the game's order.

    Args:
        game: the market.
        y: the followers' actions (I, n).
        rivals: everybody's actions (I, n).
        x: leader actions (d, J).
    """
    own, shared = game.follower_limits(y, rivals, x), game.shared_limits(y, x)
    constant = _cp().Constant
    as_constants = ([_lift(e) for e in group.values()] for group in (own, shared))
    own_, shared_ = (
        [constant(e) if isinstance(e, np.ndarray) else e for e in group] for group in as_constants
    )
    return own_, shared_


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
    formulas: dict[str, Callable[[Any, Any], Any]] = {
        "follower_payoff": lambda r, p: game.follower_payoff(own, r, p),
    }
    for key in trace(game).formulas.own_limits:
        formulas[f"limit {key!r}"] = _own_limit(game, own, key)
    for key in trace(game).formulas.shared_limits:
        formulas[f"shared limit {key!r}"] = _shared_limit(game, own, key)
    names = (
        Elementwise(cp.Parameter(rivals.shape, name="rivals")),
        Elementwise(cp.Parameter(x.shape, name=game.leader_action.name)),
    )
    reasons = []
    for what, formula in formulas.items():
        wanted = "concave" if what == "follower_payoff" else "convex"
        start = f"{what} is not {wanted} by DCP rules: "
        try:
            value = _lift(formula(rivals, x))
            if isinstance(value, np.ndarray) or getattr(value, f"is_{wanted}")():
                continue
        except GameError as error:
            reasons.append(f"{start}{error}")
            continue
        with suppress(GameError):  # the numbers' names in place of the numbers, for people
            value = _lift(formula(*names))
        reasons.append(start + _culprit(value))
    return reasons


def _own_limit(game: Game, y: Elementwise, key: str) -> Callable[[Any, Any], Any]:
    return lambda rivals, x: game.follower_limits(y, rivals, x)[key]


def _shared_limit(game: Game, y: Elementwise, key: str) -> Callable[[Any, Any], Any]:
    return lambda rivals, x: game.shared_limits(y, x)[key]


def _culprit(value: Any) -> str:
    """The innermost subexpression that has no curvature although its arguments do."""
    while not value.is_dcp():
        broken = [a for a in value.args if not a.is_dcp()]
        if not broken:
            text = re.sub(r"\s+", " ", str(value))
            return text if len(text) <= QUOTE else text[: QUOTE - 3] + "..."
        value = broken[0]
    return f"its curvature is {value.curvature.lower()}"
