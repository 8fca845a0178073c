"""a b <= t with t driven down (Scholtes, SIAM J. Optim. 11, 2001, doi 10.1137/S1052623499361233).

Each relaxed problem has an interior and satisfies a constraint qualification where the exact one
has none. Limits of its stationary points are C-stationary under MPEC-LICQ, in practice mostly
strongly stationary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyomo.environ as pyo

from stackel.solvers.mpec.model import Pair
from stackel.solvers.mpec.reformulations.base import geometric


def write(block: Any, pairs: Sequence[Pair]) -> Any:
    """The products under a bound; its knob is t."""
    block.product = pyo.Constraint(
        range(len(pairs)), rule=lambda b, k: pairs[k].a * pairs[k].dual - b.knob <= 0
    )
    return 0.0


def schedule(tolerance: float) -> list[float]:
    """Down to the tolerance."""
    return geometric(1e-1, tolerance, 4)
