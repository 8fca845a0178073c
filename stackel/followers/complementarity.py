"""Semismooth Newton for complementarity systems, many at once.

A system asks for y within bounds and multipliers lam >= 0 with

    0 = mid(y - high, F(y, lam) / h, y - low),    0 = min(lam, -c(y) / s),

where h > 0 are curvatures and s the limits' squared gradients in that metric, so that every
residual is a length in the units of y; it is measured against a length of the same unknown
(``System.lengths``), so that no unit, and no other unknown's size, enters. (The same as y -
mid(low, y - F / h, high) and lam - max(0, lam + c / s), which lose a broken limit beside a large
multiplier and a slope beside a large action to rounding: a runaway multiplier then passes for an
answer.) Newton's method on these
equations is the primal-dual active-set method (Hintermueller, Ito, Kunisch, SIAM J. Optim. 13,
2003): locally superlinear, and finite for the diagonally dominant quadratic games that many markets
are. The line search holds h and s fixed within a step: only then is the Newton direction one of
descent, which is what makes limits such as a delay, with 1/y in them, converge from anywhere.

Where active sets contradict each other on the way (every action of a follower at a bound, and a
limit that asks them to move), the kinks are smoothed, min(a, b) ~ (a + b - sqrt((a - b)^2 + 4
tau^2)) / 2, and tau is driven to zero (Chen, Harker, Kanzow, Smale: e.g. Kanzow, SIAM J. Matrix
Anal. Appl. 17, 1996). Both are the same code: tau = 0 is the active-set method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from stackel.calculus.yardsticks import moved
from stackel.followers.kinks import least, least_slope, most
from stackel.run import check_time
from stackel.types import Array

HALVINGS = 12

FAR = 1e6
"""Times the usual size up to which lengths that residuals are measured against may grow: an iterate
that runs away must not bring its own yardstick along."""

AWAY = 100.0
"""Times the length that its residual is measured against from which on an unknown has run away: as
these are at least as long as it is up to :data:`FAR` times its usual size, that is far beyond."""

TO_THE_EDGE = 0.9
"""How far a step may go towards a bound at which the formulas blow up."""


SMOOTHING = (1.0, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
"""Values of tau, as shares of each unknown's length at the start, when kinks are smoothed."""

Pair = tuple[Array, Array]
"""Of y (*groups, p) and of lam (*groups, q)."""

Scales = tuple[Array, Array, Array]


class Rows(NamedTuple):
    """How the linearised system's rows are made: weight times the row of dF or dc, plus a
    diagonal entry."""

    weight_y: Array
    diagonal_y: Array
    weight_lam: Array
    diagonal_lam: Array

    @staticmethod
    def units(fixed: Array, off: Array) -> Rows:
        """Unit rows where ``fixed`` (of y) and ``off`` (of lam), full rows elsewhere."""
        return Rows(1.0 - fixed, 1.0 * fixed, 1.0 - off, 1.0 * off)


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

    def lengths(self, y: Array, lam: Array, scales: Scales) -> tuple[Array, Array]:
        """Lengths in the units of y that residuals are measured against, (*groups, p) and
        (*groups, q): how large an unknown is, or would be if one term of its F were not there; at
        most :data:`FAR` times its usual size."""

    def step(
        self, y: Array, lam: Array, rows: Rows, right_y: Array, right_lam: Array
    ) -> tuple[Array, Array]:
        """Solve the linearised system, its rows made as ``rows`` says; right sides come last."""


@dataclass
class Solution:
    """Where Newton's method ended.

    Attributes:
        y, lam: (*groups, p), (*groups, q).
        residual: largest residual of each group, relative to its unknown's own length.
        converged: whether it is small, (*groups,).
        iterations: Newton steps of each batch element (B,).
        away: whether some y ran away, (*groups,).
    """

    y: Array
    lam: Array
    residual: Array
    converged: Array
    iterations: Array
    away: Array


def _smoothing(tau: Pair | None, w: Array) -> tuple[Array | None, Array | None]:
    """The smoothing of kinks in y, and of limits' kinks: lengths of y, in units of multipliers."""
    return (None, None) if tau is None else (tau[0], tau[1] / np.where(w > 0, w, 1.0))


def _residuals(
    y: Array, lam: Array, values: Pair, scales: Scales, bounds: Pair, units: Pair, tau: Pair | None
) -> tuple[Array, Array, Array, Array]:
    """Residuals of y and lam, lengths of y; the largest and the squared one of each group, each
    relative to its own unit."""
    (F, c), (h, s, w), (low, high) = values, scales, bounds
    bent, kinked = _smoothing(tau, w)
    along = least(y - low, most(y - high, F / h, bent), bent)
    across = least(lam, -c / s, kinked)
    shares = _share(along, units[0]), _share(across * w, units[1])
    largest = np.maximum(*(np.abs(v).max(-1, initial=0.0) for v in shares))
    squared = (shares[0] ** 2).sum(-1) + (shares[1] ** 2).sum(-1)
    bad = ~np.isfinite(squared)
    return along, across, np.where(bad, np.inf, largest), np.where(bad, np.inf, squared)


def _share(length: Array, unit: Array) -> Array:
    return np.where(length == 0, 0.0, length / unit)


def solve(
    system: System,
    y: Array,
    lam: Array,
    *,
    tolerance: float = 1e-12,
    acceptable: float = 1e-9,
    max_iterations: int = 60,
    patience: int = 10,
    smooth: bool = False,
) -> Solution:
    """Newton's method from a start, for every group of every batch element.

    Args:
        system: what to solve.
        y, lam: the start, (*groups, p) and (*groups, q); inside the formulas' domain.
        tolerance: residual to aim for, relative to each unknown's own length.
        acceptable: residual that still counts as converged where rounding stops Newton earlier.
        max_iterations: most Newton steps.
        patience: Newton steps without a new best residual after which to give up.
        smooth: try elements that fail once more with smoothed kinks.
    """
    if not y.size:
        nothing = np.zeros(y.shape[:-1])
        return Solution(y, lam, nothing, nothing == 0, np.zeros(len(y), dtype=int), nothing > 0)
    out = _iterate(system, y, lam, tolerance, acceptable, max_iterations, patience, None)
    # Smoothed kinks bring nobody back who wants more without end.
    failed = np.flatnonzero(~(out.converged | out.away).reshape(len(out.y), -1).all(-1))
    if not smooth or not len(failed):
        return out
    part = system.at(failed)
    y, lam = np.array(y)[failed], np.array(lam)[failed]
    with np.errstate(all="ignore"):
        units = part.lengths(y, lam, part.scales(y, lam))
    first, second = (np.where(unit > 0, unit, 1.0) for unit in units)
    for share in (*SMOOTHING, 0.0):
        goal = 0.1 * share or tolerance
        tau = (share * first, share * second) if share else None
        retry = _iterate(part, y, lam, goal, acceptable, 20, patience, tau)
        y, lam = retry.y, retry.lam
    better = retry.residual < out.residual[failed]
    for name in ("y", "lam", "residual", "converged"):
        new, old = getattr(retry, name), getattr(out, name)
        wide = better[..., None] if new.ndim > better.ndim else better
        old[failed] = np.where(wide, new, old[failed])
    return out


def _iterate(
    system: System,
    y: Array,
    lam: Array,
    tolerance: float,
    acceptable: float,
    max_iterations: int,
    patience: int,
    tau: Pair | None,
) -> Solution:
    y, lam = np.array(y, dtype=float), np.array(lam, dtype=float)
    groups = y.shape[:-1]
    residual, away, placed = np.full(groups, np.inf), *np.zeros((2, *groups), dtype=bool)
    live = np.arange(groups[0])
    best = np.full(groups[0], np.inf)
    stalled, iterations = np.zeros(groups[0], dtype=int), np.zeros(groups[0], dtype=int)
    with np.errstate(all="ignore"):
        for iteration in range(max_iterations + 1):
            check_time()
            part = system if len(live) == groups[0] else system.at(live)
            yl, ll, smooth = y[live], lam[live], _at(tau, live)
            values, scales, units, state = _measured(part, yl, ll, smooth)
            passing = (state[2] <= tolerance) & ~placed[live]
            there = _on_bounds(part, yl, state[0], passing) if tau is None else yl
            if there is not yl:
                placed[live] |= passing
                y[live] = yl = there
                values, scales, units, state = _measured(part, yl, ll, smooth)
            largest = state[2]
            residual[live] = largest
            far = moved(yl, (part.low, part.high))
            away[live] = (far > AWAY * units[0]).any(-1)
            open_groups = ~(largest <= tolerance) & ~away[live]
            worst = _worst(largest)
            gained = worst < 0.9 * best[live]
            best[live] = np.minimum(best[live], worst)
            stalled[live] = np.where(gained, 0, stalled[live] + 1)
            near = worst <= acceptable
            give_up = stalled[live] >= np.where(near, 2, patience)
            lost = np.flatnonzero(give_up & (worst > tolerance)) if tau is None else live[:0]
            landed = np.zeros(len(live), dtype=bool)
            if len(lost):
                creeps = np.where(np.abs(state[0]) > acceptable * units[0], state[0], 0.0)
                some, room = part.at(lost), values[1][lost] < 0
                *there, landed[lost] = _landed(some, yl[lost], ll[lost], creeps[lost], room)
                stalled[live[landed]] = 0
            go = open_groups.reshape(len(live), -1).any(-1) & ~give_up
            if not (go | landed).any() or iteration == max_iterations:
                break
            if landed.any():
                y[live[landed]], lam[live[landed]] = (v[landed[lost]] for v in there)
            stepping, live = live[go], live[go | landed]
            if not len(stepping):
                continue
            if not go.all():
                part, yl, ll = part.at(np.flatnonzero(go)), yl[go], ll[go]
                values, scales, units, state = (
                    cast(Any, tuple(array[go] for array in arrays))
                    for arrays in (values, scales, units, state)
                )
                open_groups = open_groups[go]
            iterations[stepping] += 1
            y[stepping], lam[stepping] = _newton_step(
                part, yl, ll, values, scales, units, state, open_groups, _at(tau, stepping)
            )
    return Solution(y, lam, residual, residual <= acceptable, iterations, away)


def _measured(system: System, y: Array, lam: Array, tau: Pair | None) -> Any:
    """Values, scales and lengths at a point, and its residuals."""
    scales, values = system.scales(y, lam), system.values(y, lam)
    units = system.lengths(y, lam, scales)
    bounds = system.low, system.high
    return values, scales, units, _residuals(y, lam, values, scales, bounds, units, tau)


def _on_bounds(system: System, y: Array, along: Array, passing: Array) -> Array:
    """Points that would pass, with what is taken to sit at a bound put there, once: where a length
    is far too large (a term that pulls towards the bound counts too), what is nowhere near passes.
    """
    off = passing[..., None] & (along != 0)
    if not off.any():
        return y
    down, up = (along == y - system.low) & ~system.open_low, (along == y - system.high)
    down, up = off & down, off & up & ~system.open_high
    if not (down | up).any():
        return y
    return np.where(down, system.low, np.where(up, system.high, y))


def _landed(system: System, y: Array, lam: Array, creeps: Array, room: Array) -> Any:
    """Points at which Newton stalls, moved where that is an answer to more, and which moved (B,).

    What creeps towards a bound is put on it: where F and its slope vanish there, Newton only ever
    goes a part of the way, and each length shrinks with y. A limit with room gets no multiplier:
    where all that it holds back sits at bounds, no step brings down what an earlier one gave it.
    """
    to = np.where(creeps > 0, system.low, system.high)
    on_bounds = np.where((creeps != 0) & np.isfinite(to), to, y)
    free = np.where(room, 0.0, lam)
    lowest, moved = _measured(system, y, lam, None)[-1][2], np.zeros(len(y), dtype=bool)
    for trial in ((on_bounds, lam), (y, free), (on_bounds, free)):
        found = _measured(system, *trial, None)[-1][2]
        better = found < 0.5 * lowest
        y = np.where(better[..., None], trial[0], y)
        lam = np.where(better[..., None], trial[1], lam)
        lowest, moved = np.where(better, found, lowest), moved | better.reshape(len(y), -1).any(-1)
    return y, lam, moved


def _at(tau: Pair | None, batch: Array) -> Pair | None:
    """The smoothing of some batch elements."""
    return None if tau is None else (tau[0][batch], tau[1][batch])


def _worst(values: Array) -> Array:
    """The largest of each batch element's groups."""
    return values.reshape(len(values), -1).max(-1)


def active(
    y: Array, lam: Array, values: Pair, scales: Scales, bounds: Pair
) -> tuple[Array, Array, Array]:
    """Which y sit at their low and high bounds, and which limits do not bind.

    Args:
        y, lam: the point, (*groups, p) and (*groups, q).
        values, scales: what a :class:`System` says of it.
        bounds: lowest and highest y.
    """
    (F, c), (h, s, _), (low, high) = values, scales, bounds
    return F / h >= y - low, F / h <= y - high, ~(lam > -c / s)


def _newton_step(
    system: System,
    y: Array,
    lam: Array,
    values: Pair,
    scales: Scales,
    units: Pair,
    state: tuple[Array, Array, Array, Array],
    moving: Array,
    tau: Pair | None,
) -> Pair:
    (F, c), (h, s, w), bounds = values, scales, (system.low, system.high)
    along, across, _, merit = state
    low, high = bounds
    bent, kinked = _smoothing(tau, w)
    upper = most(y - high, F / h, bent)
    slope = least_slope(y - low, upper, bent) * least_slope(high - y, -F / h, bent)
    bend = least_slope(lam, -c / s, kinked)
    # Rows of the residuals' derivatives, times h and -s: (1 - slope) h dy + slope dF = -h along.
    rows = Rows(slope, (1 - slope) * h, bend, -(1 - bend) * s)
    dy, dlam = system.step(y, lam, rows, -h * along, s * across)
    room = np.full(y.shape, np.inf)
    room = np.where(system.open_low & (dy < 0), TO_THE_EDGE * (system.low - y) / dy, room)
    room = np.where(system.open_high & (dy > 0), TO_THE_EDGE * (system.high - y) / dy, room)
    step = np.where(moving, np.minimum(1.0, room.min(-1, initial=np.inf)), 0.0)
    best_y, best_lam = y.copy(), lam.copy()
    pending = moving.copy()
    live: Array | slice = slice(None)  # batch elements that are still looked at
    for halving in range(HALVINGS):
        trial_y = np.clip(y + step[..., None] * dy, system.low, system.high)
        trial_lam = lam + step[..., None] * dlam
        trial = system.values(trial_y, trial_lam)
        *_, squared = _residuals(trial_y, trial_lam, trial, scales, bounds, units, tau)
        # The last halving is taken anyway: a short step off a kink of the merit.
        good = squared <= merit * (1 - 1e-4 * step)
        if halving == HALVINGS - 1:
            good |= np.isfinite(squared)
        accept = (pending & good)[..., None]
        best_y[live] = np.where(accept, trial_y, best_y[live])
        best_lam[live] = np.where(accept, trial_lam, best_lam[live])
        pending &= ~good
        if not pending.any():
            break
        step = np.where(pending, step / 2, step)
        short = np.flatnonzero(pending.reshape(len(pending), -1).any(-1))
        if 2 * len(short) <= len(pending):  # the others are done: their values are not needed
            live = short if isinstance(live, slice) else live[short]
            system, y, lam = system.at(short), y[short], lam[short]
            dy, dlam = dy[short], dlam[short]
            step, merit, pending = step[short], merit[short], pending[short]
            tau = _at(tau, short)
            scales = scales[0][short], scales[1][short], scales[2][short]
            units = units[0][short], units[1][short]
            bounds = (system.low, system.high)
    return best_y, best_lam
