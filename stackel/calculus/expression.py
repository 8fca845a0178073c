"""Array expressions: what a formula becomes when it runs on symbols instead of numbers.

A market's formulas are plain array code. Run on :class:`Expression` objects they leave behind a
graph of array operations, which is differentiated (:mod:`stackel.calculus.derivatives`), compiled
to NumPy (:mod:`stackel.calculus.program`) and inspected (:mod:`stackel.calculus.structure`).

Only the last two axes ("core" axes: rows, columns) are symbolic. Batch axes go in front and are
not part of an expression: a compiled expression takes any number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stackel.calculus.numbers import number
from stackel.calculus.operations import evaluate
from stackel.errors import GameError

Shape = tuple[int, int]

UNARY = ("neg", "exp", "log", "sqrt", "tanh")
BINARY = ("add", "sub", "mul", "div", "pow")


class Expression:
    """A node of the graph, which formulas take for an array.

    Args:
        op: the operation's name, see :mod:`stackel.calculus.operations`; ``"input"``, ``"const"``.
        args: what it is applied to.
        shape: the core shape of its value.
        param: what else the operation needs: an input's name, a constant's value, axes.

    Attributes:
        made_of: of a constant that was computed from others, by what operation, of which and with
            what else: its value is rounded, what it stands for is not.
    """

    __slots__ = ("args", "made_of", "op", "param", "shape")

    def __init__(self, op: str, args: tuple[Expression, ...], shape: Shape, param: Any = None):
        self.op = op
        self.args = args
        self.shape = shape
        self.param = param
        self.made_of: tuple[str, tuple[Expression, ...], Any] | None = None

    ndim = 2

    @property
    def is_constant(self) -> bool:
        return self.op == "const"

    def __repr__(self) -> str:
        return f"<{self.op} {self.shape[0]}x{self.shape[1]}>"

    def __add__(self, other: Any) -> Expression:
        return binary("add", self, other)

    def __radd__(self, other: Any) -> Expression:
        return binary("add", other, self)

    def __sub__(self, other: Any) -> Expression:
        return binary("sub", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return binary("sub", other, self)

    def __mul__(self, other: Any) -> Expression:
        return binary("mul", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return binary("mul", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return binary("div", other, self)

    def __pow__(self, other: Any) -> Expression:
        return power(self, other)

    def __rpow__(self, other: Any) -> Expression:
        return power(other, self)

    def __neg__(self) -> Expression:
        return unary("neg", self)

    def __pos__(self) -> Expression:
        return self

    def __matmul__(self, other: Any) -> Expression:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Expression:
        return matmul(other, self)

    @property
    def mT(self) -> Expression:
        return transpose(self)

    def swapaxes(self, first: int, second: int) -> Expression:
        """The transpose, as NumPy spells it.

        Raises:
            GameError: other axes than the last two.
        """
        if {first % 2, second % 2} != {0, 1}:
            raise GameError("formulas may swap only the last two axes: use swapaxes(-1, -2)")
        return transpose(self)

    def sum(self, axis: Any = None, keepdims: bool = False, **_: Any) -> Expression:
        return reduce_sum(self, axis, keepdims)

    def __getitem__(self, key: Any) -> Expression:
        return take(self, key)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = _UFUNCS.get(ufunc.__name__)
        if method != "__call__" or kwargs or handler is None:
            raise GameError(
                f"a formula uses numpy.{ufunc.__name__}, which stackel cannot differentiate; use "
                "+ - * / ** @, .sum(axis, keepdims=True) and stackel.functions (exp, log, ...)"
            )
        return handler(*inputs)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise GameError(
            "a formula turns its arguments into a plain NumPy array, which loses the formula; "
            "use + - * / ** @, .sum(axis, keepdims=True) and stackel.functions"
        )

    def _no_value(self, *_: Any) -> Any:
        raise GameError(
            "a formula branches on or compares a value (if, <, >, abs, max, float(...)); such a "
            "formula has no derivative there. State kinks as limits or bounds instead"
        )

    __bool__ = __float__ = __int__ = __abs__ = __iter__ = _no_value
    __lt__ = __le__ = __gt__ = __ge__ = _no_value


def symbol(name: str, shape: Shape) -> Expression:
    """An input of the graph."""
    return Expression("input", (), shape, name)


def constant(value: Any) -> Expression:
    """Numbers as a node; an array's last two axes are its core shape."""
    if hasattr(value, "__stackel_operator__"):  # a sparse matrix of ties
        return Expression("const", (), value.shape, value)
    array = np.asarray(value, dtype=float)
    while array.ndim < 2:
        array = array[None]
    return Expression("const", (), array.shape[-2:], array)


def lift(value: Any) -> Expression:
    """A formula's operand as a node: numbers become a constant."""
    return value if isinstance(value, Expression) else constant(value)


def is_number(node: Expression, value: float) -> bool:
    """Whether the node is this one number everywhere, not only rounded to it (cheap: only single
    numbers are looked at)."""
    if not (node.is_constant and isinstance(node.param, np.ndarray) and node.param.size == 1):
        return False
    return node.param.item() == value and (node.made_of is None or number(node) == value)


def _broadcast(first: Shape, second: Shape, what: str) -> Shape:
    try:
        rows, columns = np.broadcast_shapes(first, second)
    except ValueError:
        raise GameError(
            f"a formula combines ({what}) arrays of shapes {first} and {second}, which do not "
            "broadcast: leaders run along the last axis, followers along the second to last"
        ) from None
    return rows, columns


def _fold(op: str, args: tuple[Expression, ...], shape: Shape, param: Any = None) -> Expression:
    """Make a node; of constants only, compute it now."""
    if args and all(a.is_constant and isinstance(a.param, np.ndarray) for a in args):
        with np.errstate(all="ignore"):
            folded = constant(evaluate(op, [a.param for a in args], param))
        folded.made_of = op, args, param
        return folded
    return Expression(op, args, shape, param)


def unary(op: str, value: Any) -> Expression:
    """A node of one argument, :data:`UNARY`."""
    node = lift(value)
    if op == "neg" and node.op in ("neg", "expand"):
        (inner,) = node.args
        return inner if node.op == "neg" else expand(unary(op, inner), node.shape)
    return _fold(op, (node,), node.shape)


def binary(op: str, left: Any, right: Any) -> Expression:
    """A node of two arguments, or of one where the other changes at most the sign (x + 0, -1 x).

    Args:
        op: one of :data:`BINARY`, powers aside.
        left, right: nodes or numbers, which broadcast.

    Raises:
        GameError: they do not.
    """
    a, b = lift(left), lift(right)
    shape = _broadcast(a.shape, b.shape, op)
    a = _narrow(a, b, shape)
    b = _narrow(b, a, shape)
    if op in ("add", "sub") and is_number(b, 0.0):
        return expand(a, shape)
    if op == "add" and is_number(a, 0.0):
        return expand(b, shape)
    if op == "sub" and is_number(a, 0.0):
        return expand(unary("neg", b), shape)
    factor, other = (a, b) if op == "mul" and a.is_constant else (b, a)
    if op in ("mul", "div") and is_number(factor, 1.0):
        return expand(other, shape)
    if op in ("mul", "div") and is_number(factor, -1.0):
        return expand(unary("neg", other), shape)
    return _fold(op, (a, b), shape)


def _narrow(node: Expression, other: Expression, shape: Shape) -> Expression:
    """What was expanded need not be where the operation broadcasts anyway."""
    if node.op == "expand":
        inner = node.args[0]
        if np.broadcast_shapes(inner.shape, other.shape) == shape:
            return inner
    return node


def power(base: Any, exponent: Any) -> Expression:
    """``base ** exponent``; where the exponent varies, by exponential and logarithm."""
    a, e = lift(base), lift(exponent)
    if not e.is_constant:  # a**e = exp(e log a)
        return unary("exp", binary("mul", e, unary("log", a)))
    shape = _broadcast(a.shape, e.shape, "**")
    if is_number(e, 1.0):
        return expand(a, shape)
    if is_number(e, 0.0):
        return expand(constant(1.0), shape)
    return _fold("pow", (a, e), shape)


def matmul(left: Any, right: Any) -> Expression:
    """``left @ right``.

    Raises:
        GameError: their shapes do not fit.
    """
    a, b = lift(left), lift(right)
    if a.shape[1] != b.shape[0]:
        raise GameError(f"a formula multiplies matrices of shapes {a.shape} and {b.shape}")
    return _fold("matmul", (a, b), (a.shape[0], b.shape[1]))


def transpose(value: Any) -> Expression:
    """The last two axes exchanged."""
    node = lift(value)
    if node.op == "transpose":
        return node.args[0]
    if node.is_constant:
        dense = isinstance(node.param, np.ndarray)
        turned = constant(node.param.swapaxes(-1, -2) if dense else node.param.T)
        if dense and node.made_of is not None:
            turned.made_of = "transpose", (node,), None
        return turned
    return Expression("transpose", (node,), node.shape[::-1])


def reduce_sum(value: Expression, axis: Any, keepdims: bool) -> Expression:
    """``value.sum(axis, keepdims)``.

    Args:
        value: what is summed.
        axis: -1, -2 or both.
        keepdims: True.

    Raises:
        GameError: another axis, or one that is not kept.
    """
    axes = (axis,) if isinstance(axis, int) else axis
    if axes is None or not keepdims or any(a not in (-1, -2) for a in axes):
        raise GameError(
            f"a formula calls .sum(axis={axis}, keepdims={keepdims}); sum over leaders with "
            "axis=-1 or over followers with axis=-2, and keepdims=True, so that batch axes can "
            "go in front (stackel.functions.over_leaders and over_followers do that)"
        )
    axes = tuple(sorted(a for a in set(axes) if value.shape[a] != 1))
    if not axes:
        return value
    shape = (1 if -2 in axes else value.shape[0], 1 if -1 in axes else value.shape[1])
    return _fold("sum", (value,), shape, axes)


def expand(value: Expression, shape: Shape) -> Expression:
    """Broadcast the core axes to a shape."""
    if value.shape == shape:
        return value
    return Expression("expand", (value,), shape, shape)


def unbroadcast(value: Expression, shape: Shape) -> Expression:
    """The transpose of :func:`expand`: sum over the core axes that were broadcast."""
    axes = tuple(a for a in (-2, -1) if shape[a] == 1 and value.shape[a] != 1)
    return reduce_sum(value, axes, True) if axes else value


def take(value: Expression, key: Any) -> Expression:
    """Basic slicing of the core axes; both axes are kept.

    Raises:
        GameError: a key that drops an axis, skips, or picks entries.
    """
    key = key if isinstance(key, tuple) else (key,)
    parts = key[1:] if key and key[0] is Ellipsis else key
    if key and key[0] is Ellipsis and len(parts) == 1:
        parts = (slice(None), *parts)
    bad = len(parts) != 2 or not all(isinstance(p, slice) and p.step in (None, 1) for p in parts)
    if bad or (len(key) < 3 and key[0] is not Ellipsis):
        raise GameError(
            f"a formula indexes with {key!r}; use slices that keep both axes, such as "
            "y[..., :1] (first column) or y[..., 2:3, :] (third row)"
        )
    rows, columns = (range(*p.indices(n)) for p, n in zip(parts, value.shape, strict=True))
    window = (rows.start, rows.stop, columns.start, columns.stop)
    return _fold("slice", (value,), (len(rows), len(columns)), window)


def pad(value: Expression, window: tuple[int, int, int, int], shape: Shape) -> Expression:
    """The transpose of :func:`take`.

    Args:
        value: what stands in the window.
        window: first and last row, first and last column, the last ones excluded.
        shape: of the result, which is zero elsewhere.
    """
    return Expression("pad", (value,), shape, (window, shape))


def concat(parts: Sequence[Any], axis: int = -1) -> Expression:
    """Nodes or numbers joined along a core axis.

    Raises:
        GameError: their shapes do not fit.
    """
    nodes = tuple(lift(p) for p in parts)
    if len(nodes) == 1:
        return nodes[0]
    other = -2 if axis == -1 else -1
    if axis not in (-1, -2) or len({n.shape[other] for n in nodes}) != 1:
        raise GameError(f"cannot concatenate shapes {[n.shape for n in nodes]} along axis {axis}")
    length = sum(n.shape[axis] for n in nodes)
    shape = (nodes[0].shape[0], length) if axis == -1 else (length, nodes[0].shape[1])
    return _fold("concat", nodes, shape, axis)


def ordered(outputs: Sequence[Expression]) -> list[Expression]:
    """Every node that the outputs need, arguments before their users."""
    order: list[Expression] = []
    seen: set[int] = set()
    stack = [(node, False) for node in reversed(outputs)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
    return order


_UFUNCS: dict[str, Callable[..., Expression]] = {
    "add": lambda a, b: binary("add", a, b),
    "subtract": lambda a, b: binary("sub", a, b),
    "multiply": lambda a, b: binary("mul", a, b),
    "divide": lambda a, b: binary("div", a, b),
    "power": power,
    "matmul": matmul,
    "negative": lambda a: unary("neg", a),
    "positive": lift,
    "exp": lambda a: unary("exp", a),
    "log": lambda a: unary("log", a),
    "sqrt": lambda a: unary("sqrt", a),
    "tanh": lambda a: unary("tanh", a),
    "square": lambda a: power(a, 2.0),
    "reciprocal": lambda a: power(a, -1.0),
    "log1p": lambda a: unary("log", binary("add", a, 1.0)),
}
