"""a + b = sqrt(a^2 + b^2 + 2 e^2) with e driven down: then a, b > 0 and a b = e^2.

The smoothed function of Fischer (Optimization 24, 1992) and Burmeister, as in Facchinei, Jiang and
Qi, Math. Program. 85 (1999), doi 10.1007/s10107990015a.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyomo.environ as pyo

from stackel.solvers.mpec.model import Pair
from stackel.solvers.mpec.reformulations.base import geometric


def write(block: Any, pairs: Sequence[Pair]) -> Any:
    """The smoothed function as an equation; its knob is e."""

    def smoothed(b: Any, k: int) -> Any:
        first, second = pairs[k].a, pairs[k].dual
        return first + second - pyo.sqrt(first**2 + second**2 + 2 * b.knob**2) == 0

    block.smoothed = pyo.Constraint(range(len(pairs)), rule=smoothed)
    return 0.0


def schedule(tolerance: float) -> list[float]:
    """Down to a b = e^2 of the tolerance's size."""
    return geometric(3e-1, tolerance**0.5, 6)
