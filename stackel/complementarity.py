"""Semismooth Newton for complementarity systems, many at once.

A system asks for y within bounds and multipliers lam >= 0 with

    0 = y - mid(low, y - F(y, lam) / h, high),    0 = lam - max(0, lam + c(y) / s),

where h > 0 are curvatures and s the limits' squared gradients in that metric, so that every
residual is a length in the units of y. Newton's method on these equations is the primal-dual
active-set method (Hintermueller, Ito, Kunisch, SIAM J. Optim. 13, 2003): locally superlinear, and
finite for the diagonally dominant quadratic games that many markets are. The line search holds
h and s fixed within a step: only then is the Newton direction one of descent, which is what makes
limits such as a delay, with 1/y in them, converge from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Array = np.ndarray

HALVINGS = 12
TO_THE_EDGE = 0.9
"""How far a step may go towards a bound at which the formulas blow up."""


class System(Protocol):
    """A batch of complementarity systems, on flat arrays: (*groups, p) and (*groups, q).

    The first axis of ``groups`` is the batch; systems share no unknowns across groups.
    """

    low: Array
    high: Array
    open_low: Array
    open_high: Array

    def at(self, batch: Array) -> System:
        """The same systems, of some batch elements only."""

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        """F (*groups, p) and c (*groups, q)."""

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        """h (*groups, p); s (*groups, q), the squared length of each limit's gradient in the
        metric 1/h; w (*groups, q), how far y moves for a unit of each multiplier."""

    def step(
        self, y: Array, lam: Array, fixed: Array, off: Array, right_y: Array, right_lam: Array
    ) -> tuple[Array, Array]:
        """Solve the linearised system: rows of y where ``fixed`` and of lam where ``off`` are
        unit rows; elsewhere rows of dF and of dc. The right sides come last."""


@dataclass
class Solution:
    """Where Newton's method ended.

    Attributes:
        y, lam: (*groups, p), (*groups, q).
        residual: largest residual of each group, a length in the units of y.
        converged: whether it is small, (*groups,).
        iterations: Newton steps of the slowest.
    """

    y: Array
    lam: Array
    residual: Array
    converged: Array
    iterations: int


def _residuals(
    y: Array, lam: Array, values: tuple[Array, Array], scales: tuple[Array, Array, Array], bounds
) -> tuple[Array, Array]:
    """Largest residual and squared residual of each group; infinite outside the domain."""
    (F, c), (h, s, w), (low, high) = values, scales, bounds
    along = y - np.clip(y - F / h, low, high)
    across = (lam - np.maximum(0.0, lam + c / s)) * w
    largest = np.maximum(
        np.abs(along).max(-1, initial=0.0), np.abs(across).max(-1, initial=0.0)
    )
    squared = (along**2).sum(-1) + (across**2).sum(-1)
    bad = ~np.isfinite(squared)
    return np.where(bad, np.inf, largest), np.where(bad, np.inf, squared)


def solve(
    system: System,
    y: Array,
    lam: Array,
    *,
    tolerance: float = 1e-12,
    acceptable: float = 1e-9,
    max_iterations: int = 60,
    patience: int = 10,
) -> Solution:
    """Newton's method from a start, for every group of every batch element.

    Args:
        system: what to solve.
        y, lam: the start, (*groups, p) and (*groups, q); inside the formulas' domain.
        tolerance: residual to aim for, relative to 1 + max |y|.
        acceptable: residual that still counts as converged where rounding stops Newton earlier.
        max_iterations: most Newton steps.
        patience: Newton steps without a new best residual after which to give up.
    """
    y, lam = np.array(y, dtype=float), np.array(lam, dtype=float)
    groups = y.shape[:-1]
    residual = np.full(groups, np.inf)
    live = np.arange(groups[0])
    best = np.full(groups[0], np.inf)
    stalled = np.zeros(groups[0], dtype=int)
    iteration = 0
    with np.errstate(all="ignore"):
        for iteration in range(max_iterations + 1):  # noqa: B007 - reported below
            part = system.at(live)
            yl, ll = y[live], lam[live]
            scales, values = part.scales(yl, ll), part.values(yl, ll)
            largest, squared = _residuals(yl, ll, values, scales, (part.low, part.high))
            aim = 1.0 + np.abs(yl).max(-1, initial=0.0)
            open_groups = ~(largest <= tolerance * aim)
            residual[live] = largest
            gained = _worst(largest) < 0.9 * best[live]
            best[live] = np.minimum(best[live], _worst(largest))
            stalled[live] = np.where(gained, 0, stalled[live] + 1)
            near = _worst(largest / aim) <= acceptable
            give_up = stalled[live] >= np.where(near, 2, patience)
            go = open_groups.reshape(len(live), -1).any(-1) & ~give_up
            if not go.any() or iteration == max_iterations:
                break
            if not go.all():
                part, yl, ll = part.at(np.flatnonzero(go)), yl[go], ll[go]
                values = (values[0][go], values[1][go])
                scales = (scales[0][go], scales[1][go], scales[2][go])
                squared, open_groups, live = squared[go], open_groups[go], live[go]
            y[live], lam[live] = _newton_step(part, yl, ll, values, scales, squared, open_groups)
    aim = 1.0 + np.abs(y).max(-1, initial=0.0)
    return Solution(y, lam, residual, residual <= acceptable * aim, iteration)


def _worst(values: Array) -> Array:
    """The largest of each batch element's groups."""
    return values.reshape(len(values), -1).max(-1)


def active(
    y: Array, lam: Array, values: tuple[Array, Array], scales: tuple[Array, Array, Array], bounds
) -> tuple[Array, Array, Array]:
    """Which y sit at their low and high bounds, and which limits do not bind."""
    (F, c), (h, s, _), (low, high) = values, scales, bounds
    target = y - F / h
    return target <= low, target >= high, ~(lam + c / s > 0)


def _newton_step(
    system: System,
    y: Array,
    lam: Array,
    values: tuple[Array, Array],
    scales: tuple[Array, Array, Array],
    merit: Array,
    moving: Array,
) -> tuple[Array, Array]:
    bounds = (system.low, system.high)
    at_low, at_high, off = active(y, lam, values, scales, bounds)
    F, c = values
    to_bound = np.where(at_low, system.low - y, np.where(at_high, system.high - y, 0.0))
    fixed = at_low | at_high
    dy, dlam = system.step(
        y, lam, fixed, off, np.where(fixed, to_bound, -F), np.where(off, -lam, -c)
    )
    room = np.full(y.shape, np.inf)
    room = np.where(system.open_low & (dy < 0), TO_THE_EDGE * (system.low - y) / dy, room)
    room = np.where(system.open_high & (dy > 0), TO_THE_EDGE * (system.high - y) / dy, room)
    step = np.where(moving, np.minimum(1.0, room.min(-1, initial=np.inf)), 0.0)
    best_y, best_lam = y.copy(), lam.copy()
    pending = moving.copy()
    for halving in range(HALVINGS):
        trial_y = np.clip(y + step[..., None] * dy, system.low, system.high)
        trial_lam = lam + step[..., None] * dlam
        trial = system.values(trial_y, trial_lam)
        _, squared = _residuals(trial_y, trial_lam, trial, scales, bounds)
        # The last halving is taken anyway: a short step off a kink of the merit.
        good = squared <= merit * (1 - 1e-4 * step)
        if halving == HALVINGS - 1:
            good |= np.isfinite(squared)
        accept = (pending & good)[..., None]
        best_y, best_lam = (
            np.where(accept, trial_y, best_y),
            np.where(accept, trial_lam, best_lam),
        )
        pending &= ~good
        if not pending.any():
            break
        step = np.where(pending, step / 2, step)
    return best_y, best_lam


def solve_dense(matrix: Array, right: Array) -> Array:
    """Solve batches of small linear systems (..., z, z) x = (..., z, r); singular ones nearly."""
    try:
        out = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        out = np.full(right.shape, np.nan)
    bad = ~np.isfinite(out).all((-1, -2))
    if bad.any():
        some = np.nan_to_num(matrix[bad])
        size = np.abs(some).max((-1, -2), keepdims=True)
        shifted = some + 1e-9 * (size + 1e-300) * np.eye(matrix.shape[-1])
        try:
            out[bad] = np.linalg.solve(shifted, np.nan_to_num(right[bad]))
        except np.linalg.LinAlgError:
            out[bad] = 0.0
    return out
