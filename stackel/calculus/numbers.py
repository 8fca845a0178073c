"""What constants stand for: their values may be rounded, what they were computed from is not."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

EXACT: dict[str, Callable[..., Fraction]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "expand": lambda value: value,
}
"""Operations whose results are known as fractions."""


def number(node: Any) -> Fraction | None:
    """What a single number stands for, before it was rounded; None if that is not known.

    Args:
        node: a node of a formula.
    """
    if not (node.is_constant and isinstance(node.param, np.ndarray) and node.param.size == 1):
        return None
    if node.made_of is None:
        value = node.param.item()
        return Fraction(value) if math.isfinite(value) else None
    op, args, _ = node.made_of
    if op not in EXACT:
        return None
    values = [number(a) for a in args]
    if any(v is None for v in values) or (op == "div" and not values[1]):
        return None
    return EXACT[op](*values)


def exact(node: Any) -> bool:
    """Whether a constant is no rounded value: given, or computed from such without rounding.

    Args:
        node: a constant node.
    """
    if node.made_of is None:
        return True
    op, args, _ = node.made_of
    if op not in ("add", "sub", "neg", "expand") or not all(map(exact, args)):
        return False
    if op in ("neg", "expand"):
        return True
    shape = node.param.shape
    first, second = (np.broadcast_to(a.param, shape).ravel().tolist() for a in args)
    sign = 1 if op == "add" else -1
    return bool(np.isfinite([*first, *second]).all()) and all(
        Fraction(a) + sign * Fraction(b) == Fraction(c)
        for a, b, c in zip(first, second, node.param.ravel().tolist(), strict=True)
    )
