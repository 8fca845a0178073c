"""Formulas compiled to intervals: what they take over boxes of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stackel.calculus import intervals
from stackel.calculus.expression import Expression
from stackel.calculus.intervals import Interval, lift
from stackel.calculus.numbers import exact
from stackel.calculus.program import Program, Target, compile_program
from stackel.calculus.rewriting import tightened

Boxes = Callable[..., tuple[Interval, ...]]
"""Intervals of the inputs to intervals of the outputs."""

SMALL = 64
"""Entries up to which it is looked at whether a constant was rounded at all."""

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
    if node.param.size <= SMALL and exact(node):
        return lift(node.param)
    op, args, param = node.made_of
    with np.errstate(all="ignore"):
        values = [_constant(a) for a in args]
        if op == "concat":
            return _concat(values, param)
        return CALLS[op](*values) if param is None else CALLS[op](*values, param)


TARGET = Target(CALLS, _constant, False, exact)


def box_program(inputs: Sequence[Expression], outputs: Sequence[Expression]) -> Program:
    """A compiled program of intervals; of a batch of markets too.

    Args:
        inputs: the inputs, in the order of the function's arguments.
        outputs: what it returns.
    """
    return compile_program(inputs, tightened(outputs), TARGET)


def compile_boxes(inputs: Sequence[Expression], outputs: Sequence[Expression]) -> Boxes:
    """A function of the inputs' intervals that returns intervals of the outputs, which contain
    whatever the formulas take; batch axes in front, of one market.

    Args:
        inputs: the inputs, in the order of the function's arguments.
        outputs: what it returns.
    """
    program = box_program(inputs, outputs)

    def evaluate(*boxes: Interval) -> tuple[Interval, ...]:
        with np.errstate(all="ignore"):
            return program(*boxes)

    return evaluate
