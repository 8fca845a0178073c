"""The kind of stationarity of a point of a leader's problem.

A point is *weakly* stationary if the ordinary first-order conditions hold with multipliers gamma
of a = 0 and nu of b = 0 of any sign (zero where a > 0 or b > 0). At pairs where a = b = 0 their
signs grade it (Scheel and Scholtes, Math. Oper. Res. 25, 2000, doi 10.1287/moor.25.1.1.15213):
*C* where gamma nu >= 0, *M* where moreover both are positive or one is zero, *strong* where both
are non-negative; a strongly stationary point has no direction of descent to first order.
Multipliers need not be unique: the strongest kind that some multipliers show is reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.calculus.derivatives import Modes, differentiate
from pyomo.core.expr.visitor import identify_variables
from scipy.optimize import linprog

from stackel.solvers.mpec.model import Pair
from stackel.types import Array

NEGLIGIBLE = 1e-7
"""Size of a, b, a limit or a distance to a bound that counts as zero."""

RESIDUAL = 1e-5
"""What may be left of the loss's gradient, relative to its largest entry."""

LARGEST = 1e7
"""Largest multiplier, relative to the loss's gradient."""

MOST_COMBINATIONS = 4096
"""Sign patterns tried for a kind before it is left undecided."""

_Range = tuple[float, float]
_FREE, _UP, _DOWN, _ZERO = (-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0), (0.0, 0.0)
_KINDS = {
    "strong": [(_UP, _UP)],
    "M": [(_UP, _UP), (_ZERO, _FREE), (_FREE, _ZERO)],
    "C": [(_UP, _UP), (_DOWN, _DOWN)],
    "weak": [(_FREE, _FREE)],
}
"""For each kind, the ranges that (gamma, nu) of a doubly active pair may lie in."""


def kind(model: Any, pairs: Sequence[Pair]) -> str:
    """The kind of stationarity where the model of one leader stands, in words.

    Args:
        model: as :func:`stackel.solvers.mpec.build` makes it.
        pairs: its complementarity.
    """
    doubly = [k for k, p in enumerate(pairs) if max(map(abs, p.values)) <= NEGLIGIBLE]
    if not doubly:
        return "strong (no pair is doubly active)"
    count = f"{len(doubly)} pair{'s' if len(doubly) > 1 else ''} doubly active"
    slope, columns, signs = _system(model, pairs)
    first = len(signs) - 2 * len(pairs)
    for name, choices in _KINDS.items():
        if len(choices) ** len(doubly) > MOST_COMBINATIONS:
            continue
        for choice in itertools.product(choices, repeat=len(doubly)):
            ranges = list(signs)
            for k, both in zip(doubly, choice, strict=True):
                ranges[first + 2 * k : first + 2 * k + 2] = both
            if _holds(slope, columns, ranges):
                return f"{name} ({count})"
    return f"not shown ({count}, and no multipliers were found)"


def _system(model: Any, pairs: Sequence[Pair]) -> tuple[Array, Array, Sequence[_Range]]:
    """The loss's gradient, the gradients that must compose it (one column each) and the signs of
    their multipliers; last those of the pairs, each one's gamma and nu."""
    free = [v for v in model.component_data_objects(pyo.Var) if not v.fixed]
    row = {id(v): k for k, v in enumerate(free)}

    def gradient(expression: Any) -> Array:
        out = np.zeros(len(free))
        inside = list(identify_variables(expression, include_fixed=False))
        slopes = differentiate(expression, wrt_list=inside, mode=Modes.reverse_numeric)
        for v, slope in zip(inside, slopes, strict=True):
            out[row[id(v)]] = slope
        return out

    rows: list[tuple[Array, _Range]] = []
    for constraint in model.component_data_objects(pyo.Constraint):
        if constraint.parent_block() is model.complementarity:
            continue
        if constraint.equality:
            rows.append((gradient(constraint.body), _FREE))
        elif pyo.value(constraint.body) >= -NEGLIGIBLE:  # a leader's limit, <= 0
            rows.append((-gradient(constraint.body), _UP))
    unit = np.eye(len(free))
    for v in model.x.values():
        for bound, sign in ((v.lb, 1.0), (v.ub, -1.0)):
            if not v.fixed and bound is not None and abs(v.value - bound) <= NEGLIGIBLE:
                rows.append((sign * unit[row[id(v)]], _UP))
    for pair in pairs:
        gamma, nu = (_FREE if abs(value) <= NEGLIGIBLE else _ZERO for value in pair.values)
        rows.append((pair.sign * unit[row[id(pair.variable)]], gamma))
        rows.append((unit[row[id(pair.dual)]], nu))
    columns, signs = zip(*rows, strict=True)
    return gradient(-model.payoff), np.array(columns).T, signs


def _holds(slope: Array, columns: Array, ranges: list[_Range]) -> bool:
    """Whether multipliers in their ranges compose the gradient: the least largest residual."""
    size = 1.0 + float(np.abs(slope).max())
    cost = np.append(np.zeros(columns.shape[1]), 1.0)
    slack = np.ones((len(slope), 1))
    matrix = np.block([[columns, -slack], [-columns, -slack]])
    bounds = [(low * LARGEST, high * LARGEST) for low, high in ranges]
    found = linprog(
        cost,
        A_ub=matrix,
        b_ub=np.concatenate([slope, -slope]) / size,
        bounds=[*bounds, (0.0, None)],
        method="highs",
    )
    return bool(found.success and found.fun is not None and found.fun <= RESIDUAL)
