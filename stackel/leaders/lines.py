"""A global search along each leader's own decision.

A grid over the whole range, finer towards where the leader stands; then, round after round, the
intervals that could hold something better are divided: those beside the best most, and with them
where a parabola through the best has its top and where straight lines from either side meet. How
high an interval could reach is bounded by the slopes seen beside it, so that no peak is dropped for
looking low on a coarse grid: a kink, or a second peak within one step, keeps its interval until
that bound falls below the best. Where a leader's limits are broken at both ends of an interval,
their own slopes tell whether they might be met between: narrow windows are looked for on purpose.
At last the best alone is narrowed down. Who asks only for gains that are worth something gets an
answer as soon as no interval could hold one.

A look at many trial actions costs little more than at few: there are few looks, of many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import half_moves
from stackel.leaders.deviations import Oracle, Search, payoffs_alone, search_range
from stackel.types import Array

NEAR = 3.0 ** -np.arange(1.0, 9.0)
"""Trial decisions on either side of where a leader stands, in steps of the grid."""

NEARER = 3 * 1.6 ** -np.arange(26.0)
"""The same where the search may end early: so close that where a leader stands on top of a parabola
the slopes beside each interval rule it out, and so near that but rounding is left within."""


LOW = 4.0 ** -np.arange(4.0, 21.0)
"""Shares of the range, above its lower end, that are tried: a range that was made wide to be no
bound, up to 1e12 times what anybody would choose, is searched too."""


class _Plan(NamedTuple):
    """How often intervals that could reach highest are divided, how many of them, and into how many
    parts."""

    rounds: int
    open: int
    parts: int


FREE = _Plan(2, 4, 6)

LIMITED = _Plan(6, 4, 4)
"""Where leaders have limits: how far these are broken says only nearby where they might be met, and
trials at which the followers cannot settle cost most."""

ENOUGH = 1e-10
"""Share of what half a decision more or less costs a leader up to which a certificate looks for no
gain: far less than any tolerance, and than a scale is smaller than that cost."""

FINE = 16
"""Parts into which the intervals beside the best are divided."""

WINDOWS = 2
"""Intervals between infeasible ends that are then divided besides in a round."""


class _Seen(NamedTuple):
    """Trial decisions, each array (G, B, J).

    Attributes:
        at: the decisions.
        payoff: what they are worth; minus infinity where they are not feasible.
        broken: the leader's largest limit, see :class:`stackel.leaders.deviations.Worth`.
    """

    at: Array
    payoff: Array
    broken: Array

    def plus(self, more: _Seen) -> _Seen:
        return _Seen(*(np.concatenate(pair) for pair in zip(self, more, strict=True))).ordered()

    def of(self, elements: Array) -> _Seen:
        return _Seen(*(array[:, elements] for array in self))

    def ordered(self) -> _Seen:
        """Sorted by decision: intervals lie between neighbours."""
        order = np.argsort(self.at, axis=0, kind="stable")
        return _Seen(*(_take(array, order) for array in self))


def search_lines(
    calculus: Calculus,
    x: Array,
    oracle: Oracle,
    *,
    points: int = 97,
    rounds: int | None = None,
    finish: int = 1,
    enough: float = 0.0,
    decision: int = 0,
    leaders: Array | None = None,
    candidates: Array | None = None,
) -> Search:
    """Each leader's best value of one decision, its whole range searched.

    Args:
        calculus: the market, or a batch of B.
        x: the profiles to deviate from (B, d, J).
        oracle: the followers' answers.
        points: size of the first grid, ends included.
        rounds: rounds in which intervals are divided; 0: the grid alone. Default: as :data:`FREE`
            or :data:`LIMITED` says.
        finish: rounds after these in which the best alone is narrowed down: what is gained is known
            long before where.
        enough: no gain up to this share of what a move by half of its decision costs a leader is
            looked for; 0: all is. Where leaders have limits, all is anyway.
        decision: which of a leader's d decisions moves.
        leaders: which leaders search (default all); the others' entries stay as they are.
        candidates: further profiles (B, K, d, J) whose entries are tried.
    """
    limited = bool(calculus.leader_limit_names)
    enough = 0.0 if limited else enough
    plan = LIMITED if limited else FREE
    rounds = plan.rounds if rounds is None else rounds
    line = _Line(calculus, x, oracle, decision, leaders)
    low, high = line.low, line.high
    now = x[:, decision, line.own]
    grid = low + (high - low) * np.linspace(0.0, 1.0, points).reshape(-1, 1, 1)
    halves = np.stack(half_moves(x, calculus.leader_bounds))[:, :, decision, line.own]
    trials = [halves] if enough else []
    trials += [grid, now[None]]
    if rounds:
        near = (high - low) / (points - 1) * (NEARER if enough else NEAR).reshape(-1, 1, 1)
        trials += [now - near, now + near, low + (high - low) * LOW.reshape(-1, 1, 1)]
    trials = [np.clip(np.concatenate(trials), low, high)]
    if candidates is not None:
        trials.append(np.moveaxis(candidates[:, :, decision, line.own], 1, 0))
    live = np.arange(len(x))
    seen = line.look(np.concatenate(trials), live)
    beaten = np.where(halves == now, -np.inf, seen.payoff[:2]).max(0)
    seen, best = seen.ordered(), _Best(x, calculus.n_leaders)
    for done in range(rounds + finish if rounds else 0):
        if enough:
            on = _could_gain(seen, beaten[live], enough)
            best.put(live[~on], seen.of(~on), decision, line.own)
            seen, live = seen.of(on), live[on]
            if not len(live):
                break
        beside = _beside_best(seen)
        more = [_divided(seen, beside, FINE), _tops(seen)]
        if done < rounds:
            more.append(_divided(seen, _promising(seen, beside, plan.open), plan.parts))
            if limited:
                more.append(_divided(seen, _windows(seen), plan.parts))
        seen = seen.plus(line.look(np.concatenate(more), live))
    best.put(live, seen, decision, line.own)
    spacing = np.zeros((len(x), calculus.n_leaders))
    spacing[:, line.own] = (high - low) / (points - 1)
    return Search(best.action, best.payoff, spacing, best.tried)


class _Best:
    """The best of what was seen, element by element as their searches end."""

    def __init__(self, x: Array, leaders: int) -> None:
        self.action = np.array(x, dtype=float)
        self.payoff = np.full((len(x), leaders), -np.inf)
        self.tried = np.zeros(len(x), dtype=int)

    def put(self, elements: Array, seen: _Seen, decision: int, leaders: Array) -> None:
        best = seen.payoff.argmax(0)
        which = elements[:, None], leaders
        self.action[which[0], decision, which[1]] = _take(seen.at, best)
        self.payoff[which] = _take(seen.payoff, best)
        self.tried[elements] = seen.at.shape[0] * seen.at.shape[2]


class _Line:
    """The leaders' own lines, and what is asked about them.

    Args:
        calculus, x, oracle, decision, leaders: as for :func:`search_lines`.
    """

    def __init__(
        self,
        calculus: Calculus,
        x: Array,
        oracle: Oracle,
        decision: int,
        leaders: Array | None,
    ) -> None:
        self.calculus, self.x, self.oracle, self.decision = calculus, x, oracle, decision
        self.own = np.arange(calculus.n_leaders) if leaders is None else leaders
        self.low, self.high = (b[:, decision, self.own] for b in search_range(calculus, x))

    def look(self, trial: Array, elements: Array) -> _Seen:
        """What it is worth to leader own[j] of each of some elements to move alone to
        trial[:, b, j]."""
        x, J = self.x[elements], len(self.own)
        profiles = np.broadcast_to(x[:, None], (*trial.shape, *x.shape[1:])).copy()
        profiles[..., np.arange(J), self.decision, self.own] = trial
        leader = np.broadcast_to(self.own, trial.shape).ravel()
        element = np.broadcast_to(elements[:, None], trial.shape).ravel()
        flat = profiles.reshape(-1, *x.shape[1:])
        worth = payoffs_alone(self.calculus, flat, leader, self.oracle, element)
        return _Seen(trial, *(a.reshape(trial.shape) for a in (worth.payoff, worth.broken)))


def _steepest(values: Array, at: Array) -> Array:
    """The largest slope (G - 1, B, J) seen in each interval or in one beside it."""
    with np.errstate(all="ignore"):
        slope = np.abs(np.diff(values, axis=0)) / np.diff(at, axis=0)
    slope = np.where(np.isfinite(slope), slope, 0.0)
    steepest = np.array(slope)
    steepest[1:] = np.maximum(steepest[1:], slope[:-1])
    steepest[:-1] = np.maximum(steepest[:-1], slope[1:])
    return steepest


def _reach(seen: _Seen) -> Array:
    """How high each interval could reach as far as the slopes beside it tell (G - 1, B, J)."""
    left, right = seen.payoff[:-1], seen.payoff[1:]
    width = np.diff(seen.at, axis=0)
    rise = _steepest(seen.payoff, seen.at) * width
    with np.errstate(invalid="ignore"):
        top = np.where(
            np.isfinite(left) & np.isfinite(right),
            (left + right + rise) / 2,
            np.maximum(left, right) + rise,
        )
    return np.where(np.isnan(top) | (width <= 0), -np.inf, top)


def _could_gain(seen: _Seen, beaten: Array, enough: float) -> Array:
    """Elements (B,) in which an interval could hold a gain of more than a share of what moves by
    half cost, which are worth ``beaten`` (B, J); all where that is not known."""
    best = seen.payoff.max(0)
    with np.errstate(invalid="ignore"):
        cost = np.where(np.isfinite(beaten), best - beaten, 0.0)
    return (~(_reach(seen) <= best + enough * cost) | ~np.isfinite(best)).any((0, 2))


def _promising(seen: _Seen, beside: Array, count: int) -> Array:
    """Indices (count, B, J) of the intervals, but those beside the best decision, that could reach
    highest."""
    top = _reach(seen)
    np.put_along_axis(top, beside, -np.inf, 0)
    return np.argsort(-top, axis=0, kind="stable")[:count]


def _beside_best(seen: _Seen) -> Array:
    """Indices (2, B, J) of the intervals beside the best decision; where it was tried more than
    once, beside them all."""
    first = seen.payoff.argmax(0)
    same = seen.at == _take(seen.at, first)
    last = len(same) - 1 - same[::-1].argmax(0)
    first = same.argmax(0)
    return np.stack([np.maximum(first - 1, 0), np.minimum(last, len(seen.at) - 2)])


def _tops(seen: _Seen) -> Array:
    """Decisions (2, B, J) where the best may lie as far as what is beside it tells: the top of the
    parabola through it and its neighbours, and where the lines through the two on either side meet.
    """
    best = seen.payoff.argmax(0)
    near = np.clip(best + np.arange(-2, 3).reshape(-1, 1, 1), 0, len(seen.at) - 1)
    at, payoff = (_take(a, near) for a in (seen.at, seen.payoff))
    with np.errstate(all="ignore"):
        slope = np.diff(payoff, axis=0) / np.diff(at, axis=0)
        middle = (at[1:] + at[:-1]) / 2
        bend = (slope[2] - slope[1]) / (middle[2] - middle[1])
        parabola = middle[1] - slope[1] / bend
        # Of the lines from the left and from the right that leave the best out.
        lines = (payoff[3] - payoff[1] + slope[0] * at[1] - slope[3] * at[3]) / (
            slope[0] - slope[3]
        )
    tops = np.stack([parabola, lines])
    inside = (tops > at[1]) & (tops < at[3])
    return np.where(inside, tops, at[2])


def _windows(seen: _Seen) -> Array:
    """Indices (WINDOWS, B, J) of intervals, infeasible at both ends, in which limits come nearest
    to being met as far as the slopes beside them tell."""
    broken = np.where(np.isfinite(seen.broken), seen.broken, np.inf)
    outside = ~np.isfinite(seen.payoff)
    both = outside[:-1] & outside[1:]
    width = np.diff(seen.at, axis=0)
    with np.errstate(invalid="ignore"):
        least = (broken[:-1] + broken[1:] - _steepest(broken, seen.at) * width) / 2
    least = np.where(both & (width > 0) & ~np.isnan(least), least, np.inf)
    return np.argsort(least, axis=0, kind="stable")[:WINDOWS]


def _divided(seen: _Seen, which: Array, parts: int) -> Array:
    """Decisions that divide intervals (k, B, J) evenly, (k (parts - 1), B, J)."""
    left = _take(seen.at, which)
    right = _take(seen.at, which + 1)
    inner = np.arange(1, parts).reshape(-1, 1, 1, 1) / parts
    return (left + (right - left) * inner).reshape(-1, *seen.at.shape[1:])


def _take(values: Array, which: Array) -> Array:
    """Entries (..., B, J) along the first axis of values (G, B, J); several times as fast as
    np.take_along_axis."""
    flat = values.reshape(len(values), -1)
    columns = flat.shape[1]
    rows = which.reshape(which.size // max(columns, 1), columns)
    return flat[rows, np.arange(columns)].reshape(which.shape)
