"""Formulas compiled to intervals: what they take over boxes of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stackel.calculus import intervals
from stackel.calculus.expression import Expression, constant, matmul, ordered
from stackel.calculus.intervals import Interval, lift
from stackel.calculus.program import Target, compile_program

Boxes = Callable[..., tuple[Interval, ...]]
"""Intervals of the inputs to intervals of the outputs."""

LARGEST = 2_000
"""Followers up to which a matrix of ties is made dense."""


def _window(a: Interval, window: tuple[int, int, int, int]) -> Interval:
    r0, r1, c0, c1 = window
    return a[..., r0:r1, c0:c1]


def _pad(a: Interval, param: tuple[tuple[int, int, int, int], tuple[int, int]]) -> Interval:
    (r0, r1, c0, c1), shape = param
    out = Interval(*(np.zeros(a.shape[:-2] + shape) for _ in range(2)))
    out.lo[..., r0:r1, c0:c1], out.hi[..., r0:r1, c0:c1] = a.lo, a.hi
    return out


def _concat(parts: Sequence[Interval], axis: int) -> Interval:
    if len(parts) == 1:
        return parts[0]
    batch = np.broadcast_shapes(*(p.shape[:-2] for p in parts))
    other = max(p.shape[-3 - axis] for p in parts)
    cores = [(other, p.shape[-1]) if axis == -1 else (p.shape[-2], other) for p in parts]
    wide = [p.wide(batch + core) for p, core in zip(parts, cores, strict=True)]
    return intervals.join(wide, axis)


def _expand(a: Interval, shape: tuple[int, int]) -> Interval:
    return a if a.shape[-2:] == shape else a.wide(a.shape[:-2] + shape)


CALLS: Mapping[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "matmul": lambda a, b: a @ b,
    "exp": intervals.exp,
    "log": intervals.log,
    "sqrt": intervals.sqrt,
    "tanh": intervals.tanh,
    "neg": lambda a: -a,
    "pow": intervals.power,
    "sum": intervals.total,
    "expand": _expand,
    "slice": _window,
    "pad": _pad,
    "concat": _concat,
    "transpose": lambda a: a.mT,
}


def _constant(node: Expression) -> Interval:
    """What a constant stands for: computed anew where it was rounded."""
    if node.made_of is None:
        value = node.param
        return lift(value.toarray() if hasattr(value, "__stackel_operator__") else value)
    op, args, param = node.made_of
    with np.errstate(all="ignore"):
        values = [_constant(a) for a in args]
        if op == "concat":
            return _concat(values, param)
        return CALLS[op](*values) if param is None else CALLS[op](*values, param)


TARGET = Target(CALLS, _constant, False)


def compile_boxes(inputs: Sequence[Expression], outputs: Sequence[Expression]) -> Boxes:
    """A function of the inputs' intervals that returns intervals of the outputs, which contain
    whatever the formulas take; batch axes in front, of one market.

    Args:
        inputs: the inputs, in the order of the function's arguments.
        outputs: what it returns.
    """
    program = compile_program(inputs, _tightened(outputs), TARGET)

    def evaluate(*boxes: Interval) -> tuple[Interval, ...]:
        with np.errstate(all="ignore"):
            return program(*boxes)

    return evaluate


def _tightened(outputs: Sequence[Expression]) -> list[Expression]:
    """The same formulas, ``sum(r) - r`` as the sum of the others: as intervals the two would not
    know that they contain the same r."""
    new: dict[int, Expression] = {}
    for node in ordered(outputs):
        args = tuple(new[id(a)] for a in node.args)
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        copy = node if same else Expression(node.op, args, node.shape, node.param)
        if node.op == "sub":
            whole, own = args
            while whole.op == "expand":
                whole = whole.args[0]
            if whole.op == "sum" and whole.param == (-2,) and whole.args[0] is own:
                I = own.shape[0]
                copy = matmul(constant(np.ones((I, I)) - np.eye(I)), own)
        new[id(node)] = copy
    return [new[id(o)] for o in outputs]
