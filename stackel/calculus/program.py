"""Compiles array expressions to one straight-line NumPy function.

Equal subexpressions are computed once, and a temporary's name is reused as soon as its last
reader has run, so that a million followers need a handful of arrays rather than one per node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from stackel.calculus.expression import Expression, ordered
from stackel.calculus.operations import CALLS, INFIX

Program = Callable[..., tuple[Any, ...]]
"""Arrays of the inputs to arrays of the outputs."""


class Target(NamedTuple):
    """What a program runs on.

    Attributes:
        calls: its operations, by name.
        constant: what it makes of a constant's node.
        powers: whether some powers are written as products.
        plain: whether a constant is just its number.
    """

    calls: Mapping[str, Callable[..., Any]]
    constant: Callable[[Expression], Any]
    powers: bool
    plain: Callable[[Expression], bool]


NUMPY = Target(CALLS, lambda node: node.param, True, lambda node: True)


def _identity(node: Expression, number: dict[int, int], rounded: bool) -> tuple[Any, ...]:
    """What makes two nodes equal: the same operation of the same arguments; of constants the same
    numbers, if it does not matter what they are rounded from."""
    if node.op == "const" and (rounded or node.made_of is None):
        value = node.param
        small = isinstance(value, np.ndarray) and value.size <= 64
        return ("const", value.shape, value.tobytes()) if small else ("const", id(value))
    if node.op == "const":
        return ("const", "made", id(node))
    if node.op == "input":
        return ("input", node.param)
    return (node.op, tuple(number[id(a)] for a in node.args), node.param)


def _statement(node: Expression, names: list[str], exponent: Any, powers: bool) -> str:
    op = node.op
    if op in INFIX:
        return f"{names[0]} {INFIX[op]} {names[1]}"
    if op == "neg":
        return f"-{names[0]}"
    if op == "pow" and exponent is not None and not powers:
        return f"pow({names[0]}, {exponent!r})"
    if op == "pow" and exponent is not None:
        special = {2.0: "square({})", -1.0: "reciprocal({})", 0.5: "sqrt({})"}
        special[3.0] = "{0} * square({0})"
        special[-2.0] = "reciprocal(square({}))"
        special[-3.0] = "reciprocal({0} * square({0}))"
        return special.get(exponent, f"pow({{}}, {exponent!r})").format(names[0])
    if op == "concat":
        return f"concat(({', '.join(names)},), {node.param!r})"
    extra = "" if node.param is None else f", {node.param!r}"
    return f"{op}({', '.join(names)}{extra})"


_ELEMENTWISE = {
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "pow",
    "exp",
    "log",
    "sqrt",
    "tanh",
    "abs",
    "max",
}


@lru_cache(maxsize=256)
def _code(source: str) -> Any:
    return compile(source, "<stackel formula>", "exec")


def _relaxed(outputs: Sequence[Expression]) -> list[Expression]:
    """The same values with arrays broadcast only where an operation needs their whole shape."""
    new: dict[int, Expression] = {}

    def whole(node: Expression) -> Expression:
        small = new[id(node)]
        if small.shape == node.shape:
            return small
        return Expression("expand", (small,), node.shape, node.shape)

    for node in ordered(outputs):
        if not node.args:
            new[id(node)] = node
        elif node.op == "expand":
            new[id(node)] = new[id(node.args[0])]
        elif node.op in _ELEMENTWISE:
            args = tuple(new[id(a)] for a in node.args)
            rows, columns = np.broadcast_shapes(*(a.shape for a in args))
            new[id(node)] = Expression(node.op, args, (rows, columns), node.param)
        else:
            args = tuple(whole(a) for a in node.args)
            new[id(node)] = Expression(node.op, args, node.shape, node.param)
    return [whole(o) for o in outputs]


def compile_program(
    inputs: Sequence[Expression], outputs: Sequence[Expression], target: Target = NUMPY
) -> Program:
    """A function of the inputs' arrays (batch axes in front) that returns the outputs' arrays.

    The values of outputs that do not depend on batched inputs come without batch axes; they
    broadcast against the rest.

    Args:
        inputs: the inputs, in the order of the function's arguments.
        outputs: what it returns.
        target: what it runs on.
    """
    outputs = _relaxed(outputs)
    order = ordered(outputs)
    number: dict[int, int] = {}  # node id -> index of its equivalence class
    classes: dict[tuple[Any, ...], int] = {}
    nodes: list[Expression] = []
    for node in order:
        index = classes.setdefault(_identity(node, number, target is NUMPY), len(nodes))
        if index == len(nodes):
            nodes.append(node)
        number[id(node)] = index

    last_use = {number[id(a)]: i for i, node in enumerate(nodes) for a in node.args}
    kept = {number[id(o)] for o in outputs}
    namespace: dict[str, Any] = dict(target.calls)
    name: dict[int, str] = {}
    free: list[str] = []
    registers = 0
    lines: list[str] = []
    input_names = {s.param: f"in_{k}" for k, s in enumerate(inputs)}
    for i, node in enumerate(nodes):
        if node.op == "input":
            name[i] = input_names[node.param]
            continue
        if node.op == "const":
            name[i] = f"c{i}"
            namespace[name[i]] = target.constant(node)
            continue
        arguments = [number[id(a)] for a in node.args]
        exponent = None
        if node.op == "pow" and node.args[1].param.size == 1 and target.plain(node.args[1]):
            exponent = float(node.args[1].param.item())
        statement = _statement(node, [name[a] for a in arguments], exponent, target.powers)
        free.extend(
            name[a]
            for a in set(arguments)
            if last_use.get(a) == i and a not in kept and name[a].startswith("t")
        )
        if free:
            name[i] = free.pop()
        else:
            name[i] = f"t{registers}"
            registers += 1
        lines.append(f"    {name[i]} = {statement}")
    results = "".join(f"{name[number[id(o)]]}, " for o in outputs)
    header = f"def program({', '.join(input_names[s.param] for s in inputs)}):"
    source = "\n".join([header, *lines, f"    return ({results})"])
    exec(_code(source), namespace)
    return namespace["program"]


def at_elements(program: Program, index: Any, known: dict[int, Any]) -> Program:
    """A compiled program whose constants, arrays or intervals, have a batch axis, at some elements
    of that axis.

    Args:
        program: what :func:`compile_program` returned.
        index: the elements, in any order, repeated or not.
        known: constants already taken at ``index``, by id, each with the constant itself: an id
            is good for as long as what it names lives. One market's programs share them.
    """
    assert isinstance(program, FunctionType)
    namespace = dict(program.__globals__)
    for name, value in program.__globals__.items():
        if getattr(value, "ndim", 0) > 2:
            if id(value) not in known:
                known[id(value)] = value, value[index]
            namespace[name] = known[id(value)][1]
    return FunctionType(program.__code__, namespace)
