"""Derivatives of array expressions, as array expressions.

:func:`gradient` is reverse mode: one pass gives the derivative of the *sum* of an expression's
entries. Since row i of a follower's payoff depends on the follower's own action only through row
i of ``y`` (the others' actions come through ``rivals``), that one pass is the pseudo-gradient of
the whole game. :func:`directional` is forward mode: one pass gives the derivative along a
direction, for any batch of directions.
"""

from __future__ import annotations

from collections.abc import Mapping

from stackel.calculus.expression import (
    Expression,
    binary,
    concat,
    constant,
    expand,
    matmul,
    ordered,
    pad,
    power,
    reduce_sum,
    take,
    transpose,
    unary,
    unbroadcast,
)


def _slope(node: Expression) -> Expression:
    """The derivative of a unary operation by its argument."""
    (a,) = node.args
    if node.op == "exp":
        return node
    if node.op == "log":
        return power(a, -1.0)
    if node.op == "sqrt":
        return binary("div", 0.5, node)
    return binary("sub", 1.0, power(node, 2.0))  # tanh


def _power_slope(node: Expression) -> Expression:
    base, exponent = node.args
    return binary("mul", exponent, power(base, binary("sub", exponent, 1.0)))


def _window(node: Expression, window: tuple[int, int, int, int]) -> Expression:
    r0, r1, c0, c1 = window
    return take(node, (Ellipsis, slice(r0, r1), slice(c0, c1)))


def _pull(node: Expression, g: Expression) -> list[Expression | None]:
    """Cotangents of a node's arguments, given the node's own."""
    op, args = node.op, node.args
    out: list[Expression | None]
    if op == "add":
        out = [g, g]
    elif op == "sub":
        out = [g, -g]
    elif op == "mul":
        out = [binary("mul", g, args[1]), binary("mul", g, args[0])]
    elif op == "div":
        quotient = binary("div", g, args[1])
        by_divisor = None if args[1].is_constant else -binary("mul", quotient, node)
        out = [quotient, by_divisor]
    elif op == "pow":
        out = [binary("mul", g, _power_slope(node)), None]
    elif op == "neg":
        out = [-g]
    elif op in ("exp", "log", "sqrt", "tanh"):
        out = [binary("mul", g, _slope(node))]
    elif op == "matmul":
        out = [
            None if args[0].is_constant else matmul(g, transpose(args[1])),
            None if args[1].is_constant else matmul(transpose(args[0]), g),
        ]
    elif op == "transpose":
        out = [transpose(g)]
    elif op == "sum":
        out = [expand(g, args[0].shape)]
    elif op == "expand":
        out = [g]
    elif op == "slice":
        out = [pad(g, node.param, args[0].shape)]
    elif op == "pad":
        out = [_window(g, node.param[0])]
    else:  # concat
        out, start = [], 0
        for a in args:
            stop = start + a.shape[node.param]
            if node.param == -1:
                out.append(_window(g, (0, node.shape[0], start, stop)))
            else:
                out.append(_window(g, (start, stop, 0, node.shape[1])))
            start = stop
    return [None if o is None else unbroadcast(o, a.shape) for o, a in zip(out, args, strict=True)]


def gradient(output: Expression, *wrt: Expression) -> list[Expression]:
    """Derivatives of the sum of ``output``'s entries by each input, in the input's core shape."""
    order = ordered([output])
    depends = _depending(order, wrt)
    cotangent: dict[int, Expression] = {id(output): expand(constant(1.0), output.shape)}
    for node in reversed(order):
        g = cotangent.get(id(node))
        if g is None or not node.args or id(node) not in depends:
            continue
        for argument, pulled in zip(node.args, _pull(node, g), strict=True):
            if pulled is None or id(argument) not in depends:
                continue
            before = cotangent.get(id(argument))
            cotangent[id(argument)] = pulled if before is None else before + pulled
    zero = constant(0.0)
    return [expand(cotangent.get(id(s), zero), s.shape) for s in wrt]


def _depending(order: list[Expression], wrt: tuple[Expression, ...]) -> set[int]:
    depends = {id(s) for s in wrt}
    for node in order:
        if any(id(a) in depends for a in node.args):
            depends.add(id(node))
    return depends


def _push(node: Expression, tangents: list[Expression | None]) -> Expression | None:
    """The tangent of a node, given its arguments' (None: zero)."""
    if all(t is None for t in tangents):
        return None
    op, args = node.op, node.args
    if op in ("add", "sub"):
        a, b = tangents
        if b is None:
            return None if a is None else expand(a, node.shape)
        if a is None:
            return expand(b if op == "add" else -b, node.shape)
        return binary(op, a, b)
    if op in ("mul", "matmul"):
        product = matmul if op == "matmul" else (lambda a, b: binary("mul", a, b))
        parts = [product(tangents[0], args[1])] if tangents[0] is not None else []
        parts += [product(args[0], tangents[1])] if tangents[1] is not None else []
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]
    if op == "div":
        a, b = tangents
        top = a if b is None else -binary("mul", node, b) if a is None else a - node * b
        return None if top is None else binary("div", top, args[1])
    t = tangents[0]
    if op == "concat":
        parts = [
            expand(constant(0.0), a.shape) if d is None else d
            for d, a in zip(tangents, args, strict=True)
        ]
        return concat(parts, node.param)
    assert t is not None  # the remaining operations have one variable argument
    if op == "pow":
        return binary("mul", _power_slope(node), t)
    if op == "neg":
        return unary("neg", t)
    if op == "sum":
        return reduce_sum(t, node.param, True)
    if op == "expand":
        return expand(t, node.shape)
    if op == "transpose":
        return transpose(t)
    if op == "slice":
        return _window(t, node.param)
    if op == "pad":
        return pad(t, *node.param)
    return binary("mul", _slope(node), t)


def directional(
    outputs: list[Expression], along: Mapping[Expression, Expression]
) -> list[Expression]:
    """Derivatives of the outputs along a direction.

    Args:
        outputs: the expressions to differentiate.
        along: for each input that moves, the expression of its direction (same core shape).
    """
    tangent: dict[int, Expression | None] = {id(s): d for s, d in along.items()}
    for node in ordered(outputs):
        if id(node) not in tangent:
            tangent[id(node)] = _push(node, [tangent.get(id(a)) for a in node.args])
    still = constant(0.0)
    moved = [tangent[id(o)] for o in outputs]
    return [expand(still if m is None else m, o.shape) for m, o in zip(moved, outputs, strict=True)]
