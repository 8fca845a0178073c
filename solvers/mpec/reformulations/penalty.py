"""w sum(a b) in the objective, with the weight w driven up.

Exact for large enough w near strongly stationary points (Ralph and Wright, Optim. Methods Softw.
19, 2004, doi 10.1080/10556780410001709439; Leyffer, Lopez-Calva and Nocedal, SIAM J. Optim. 17,
2006, doi 10.1137/040621065).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyomo.environ as pyo

from stackel.solvers.mpec.model import Pair
from stackel.solvers.mpec.reformulations.base import geometric


def write(block: Any, pairs: Sequence[Pair]) -> Any:
    """The products in the objective; its knob is the weight w."""
    return block.knob * pyo.quicksum(pair.a * pair.dual for pair in pairs)


def schedule(tolerance: float) -> list[float]:
    """Up to a large weight, whatever the tolerance."""
    return geometric(1.0, 1e4, 5)
