"""Leaders with several decisions each: lines through the point, then ascents from many starts.

What this finds is a lower bound on a leader's gap, never a proof that there is none. An ascent
climbs from one profile of one market: of a batch each element has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import qmc

from stackel.calculus.calculus import Calculus
from stackel.followers.response import Response, settle
from stackel.leaders.anticipation import Anticipation, Trials
from stackel.leaders.deviations import (
    FEASIBLE,
    Oracle,
    Search,
    payoffs_alone,
    search_range,
)
from stackel.leaders.lines import search_lines
from stackel.leaders.slopes import own_slopes
from stackel.types import Array

SAMPLE = 128
"""Actions of each leader looked at over its whole box, times its decisions."""

ASCENTS = 8
"""The best of them from which it climbs."""

DISTINCT = 0.05
"""How far apart these are at least, as a share of the range of some decision."""

PURSUED = 3
"""Ascents whose ends are followed along kinks."""

DIRECTIONS = 12
"""Random directions of a step."""

CLOSEST = 1e-8
"""Shortest step, as a share of the range."""

MOST = 8_000
"""Most trials of one pursuit."""


def search_jointly(
    calculus: Calculus,
    x: Array,
    at: Response,
    anticipation: Anticipation,
    *,
    points: int = 33,
    unavailable: list[tuple[int, Array]] | None = None,
) -> Search:
    """The best that each leader finds over all its decisions together, the other leaders held.

    Args:
        calculus: the market, or a batch of B.
        x: the profiles to deviate from (B, d, J).
        at: the followers' responses there.
        anticipation: what leaders foresee.
        points: grid along each decision.
        unavailable: gets the trials at which followers cannot meet their limits, with the element
            of each.
    """
    found = []
    for k in range(len(x)):
        one = calculus.at([k])
        oracle = Trials(one, x[k : k + 1], at[[k]], anticipation)
        exact = at[[k]] if anticipation == "equilibrium" else None
        found.append(_search(one, x[k : k + 1], oracle, exact, points))
        if unavailable is not None:
            unavailable += [(k, profile) for _, profile in oracle.unavailable]
    return Search(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _search(
    calculus: Calculus, x: Array, oracle: Oracle, at: Response | None, points: int
) -> tuple[Array, ...]:
    """A :class:`Search`'s entries for one profile (1, d, J)."""
    d, J = calculus.leader_shape
    lines = [
        search_lines(calculus, x, oracle, points=points, rounds=2, decision=row) for row in range(d)
    ]
    action, payoff = np.array(x, dtype=float), np.full((1, J), -np.inf)
    tried = np.sum([s.tried for s in lines], axis=0)
    unsettled = np.sum([s.unsettled for s in lines], axis=0)
    for j in range(J):
        each = np.array([s.action[0, row, j] for row, s in enumerate(lines)])
        best = max(lines, key=lambda s: s.payoff[0, j])
        starts = [each, best.action[0, :, j]]
        found = _ascend_many(calculus, x[0], j, starts, oracle, at, SAMPLE * 2 ** (d - 1))
        tried, unsettled = tried + found[2], unsettled + found[3]
        if found[1] > payoff[0, j]:
            action[0, :, j], payoff[0, j] = found[:2]
    return action, payoff, np.max([s.resolution for s in lines], axis=0), tried, unsettled


def _ascend_many(
    calculus: Calculus,
    x: Array,
    j: int,
    starts: Sequence[Array],
    oracle: Oracle,
    at: Response | None,
    sample: int,
) -> tuple[Array, float, int, int]:
    """Ascents of leader j from where it is, the starts given, the box's middle and ends, and the
    best of a sample that lie apart; the highest are then followed along their kinks.

    Args:
        calculus: one market.
        x: the profile (d, J).
        j: the leader.
        starts: decisions to start from, each (d,).
        oracle: the followers' answers.
        at: the response that exact derivatives start from; None for differences.
        sample: how many actions are looked at over the whole box.

    Returns:
        its best decisions (d,), their payoff, the number of trials and of those not settled.
    """
    low, high = _range(calculus, x, j)
    spread = qmc.Sobol(len(low), rng=0).random(sample) if sample else np.zeros((0, len(low)))
    drawn = low + (high - low) * spread
    candidates = np.array([x[:, j], *starts, (low + high) / 2, low, high, *drawn])
    count = len(candidates)
    profiles = _profiles(x, j, candidates)
    found = payoffs_alone(calculus, profiles, np.full(count, j), oracle, _one(count))
    tried, unsettled = count, int((~found.settled).sum())
    # Those that meet the limits first, then those that break them least.
    order = np.lexsort((np.where(np.isfinite(found.broken), found.broken, np.inf), -found.payoff))
    tops = [(candidates[order[0]], float(found.payoff[order[0]]))]
    limited = bool(calculus.leader_limit_names)
    for start in _distinct(candidates[order], high - low):
        if limited or np.isfinite(found.payoff[order[start]]):
            action, payoff, steps = ascend(calculus, x, j, candidates[order[start]], oracle, at)
            tried += steps
            tops.append((action, payoff))
    tops.sort(key=lambda top: -top[1])
    for k, (action, payoff) in enumerate(tops[: PURSUED if sample else 0]):
        if np.isfinite(payoff) and (k == 0 or abs(action - tops[0][0]).max() > 0):
            action, payoff, steps = _pursue(calculus, x, j, action, payoff, oracle)
            tried += steps
            tops.append((action, payoff))
    action, payoff = max(tops, key=lambda top: top[1])
    return action, payoff, tried, unsettled


def _distinct(candidates: Array, width: Array) -> list[int]:
    """The first few of some actions (N, d) that lie apart."""
    out: list[int] = []
    width = np.where(width > 0, width, 1.0)
    for k, one in enumerate(candidates):
        far = [np.abs((one - candidates[other]) / width).max() > DISTINCT for other in out]
        if all(far):
            out.append(k)
        if len(out) == ASCENTS:
            break
    return out


def _pursue(
    calculus: Calculus, x: Array, j: int, start: Array, payoff: float, oracle: Oracle
) -> tuple[Array, float, int]:
    """Steps in random directions and those that led up before: along the kink of a payoff, where
    neither its slope nor a single decision leads on.

    Args:
        calculus, x, j, oracle: as for :func:`ascend`.
        start: decisions to start from (d,).
        payoff: what they are worth.

    Returns:
        what :func:`ascend` does.
    """
    low, high = _range(calculus, x, j)
    width, d, rng = high - low, len(low), np.random.default_rng(0)
    action, reach, tried = np.array(start), 0.1, 0
    trail: list[Array] = []
    while reach > CLOSEST:
        random = rng.normal(size=(DIRECTIONS, d))
        ways = np.concatenate([random, np.eye(d), *(t[None] for t in trail[-3:])])
        ways = np.concatenate([ways, -ways])
        ways /= np.maximum(np.abs(ways).max(-1, keepdims=True), 1e-300)
        steps = (ways[None] * np.array([1.0, 0.3, 0.1])[:, None, None]).reshape(-1, d)
        trials = np.clip(action + reach * steps * width, low, high)
        tried += len(trials)
        profiles, leader = _profiles(x, j, trials), np.full(len(trials), j)
        worth = payoffs_alone(calculus, profiles, leader, oracle, _one(len(trials))).payoff
        k = int(worth.argmax())
        if worth[k] > payoff + 1e-15 * abs(payoff):
            trail.append((trials[k] - action) / np.where(width > 0, width, 1.0))
            action, payoff = trials[k], float(worth[k])
            reach = min(2 * reach, 0.2)
        else:
            reach /= 4
        if tried > MOST:
            break
    return action, payoff, tried


def move_on(calculus: Calculus, x: Array, j: int, oracle: Oracle, at: Response | None) -> Array:
    """A leader moved on from where it is, all its decisions at once and within its limits.

    Args:
        calculus: one market.
        x: the profile (d, J).
        j: the leader.
        oracle: the followers' answers.
        at: the response (a batch of one) that exact derivatives start from; None for differences.

    Returns:
        the profile with its move (d, J); the same one if that gains nothing.
    """
    now = payoffs_alone(calculus, x[None], np.array([j]), oracle, _one(1)).payoff[0]
    if calculus.leader_shape[0] > 1 and calculus.leader_limit_names:
        action, payoff, *_ = _ascend_many(calculus, x, j, [], oracle, at, sample=0)
    else:
        action, payoff, _ = ascend(calculus, x, j, x[:, j], oracle, at)
    stays = np.isfinite(now) and payoff <= now + 1e-12 * abs(now)
    if stays or not np.isfinite(payoff):
        return x
    moved = np.array(x)
    moved[:, j] = action
    return moved


def _one(count: int) -> Array:
    """The only element of a batch of one, so many times."""
    return np.zeros(count, dtype=int)


def _range(calculus: Calculus, x: Array, j: int) -> list[Array]:
    """Where leader j's decisions are searched, lowest and highest, each (d,)."""
    return [b.reshape(x.shape)[:, j] for b in search_range(calculus, x)]


def _profiles(x: Array, j: int, decisions: Array) -> Array:
    out = np.broadcast_to(x, (len(decisions), *x.shape)).copy()
    out[:, :, j] = decisions
    return out


class _Climb:
    """One leader's payoff and limits by its own decisions, the followers answering; remembers the
    last point, and the best one that meets the limits.

    Args:
        at: the response that exact derivatives start from; None for central differences.
    """

    def __init__(
        self, calculus: Calculus, x: Array, j: int, oracle: Oracle, at: Response | None
    ) -> None:
        self.calculus, self.x, self.j, self.oracle, self.at = calculus, x, j, oracle, at
        self.low, self.high = _range(calculus, x, j)
        self.action, self.payoff = np.array(x[:, j], dtype=float), -np.inf
        self.calls = 0
        self._last: tuple[bytes, Any] = (b"", None)

    def values(self, decisions: Array) -> tuple[Array, Array]:
        """Payoffs (N,) and limits (N, m) at decisions (N, d); NaN where nobody settles."""
        profiles = _profiles(self.x, self.j, decisions)
        y, good = self.oracle(profiles, _one(len(profiles)))
        self.calls += len(decisions)
        return self._own(profiles, y, good)

    def _own(self, profiles: Array, y: Array, good: Array) -> tuple[Array, Array]:
        payoff, limits = (v[..., self.j] for v in self.calculus.leader_values(profiles, y))
        return np.where(good, payoff, np.nan), np.where(good[:, None], limits, np.nan)

    def at_point(self, decision: Array) -> tuple[float, Array, Array, Array]:
        """Payoff, limits (m,) and their derivatives (d,), (m, d) at one point."""
        key = decision.tobytes()
        if self._last[0] != key:
            if self.at is None:
                payoff, limits = (v[0] for v in self.values(decision[None]))
                by_payoff, by_limits = self._differences(decision)
            else:
                payoff, limits, by_payoff, by_limits = self._exact(decision, self.at)
            met = np.isfinite(payoff) and bool((limits <= FEASIBLE).all())
            if met and payoff > self.payoff:
                self.action, self.payoff = np.array(decision), float(payoff)
            self._last = key, (float(payoff), limits, by_payoff, by_limits)
        return self._last[1]

    def _exact(self, decision: Array, at: Response) -> tuple[Any, Array, Array, Array]:
        profile = _profiles(self.x, self.j, decision[None])
        here = settle(self.calculus, profile, at)
        self.calls += 1
        payoff, limits = self._own(profile, here.y, here.converged)
        slopes = own_slopes(self.calculus, profile, here, np.array([self.j]))
        return payoff[0], limits[0], slopes.payoffs[0, :, 0], slopes.limits[0, :, :, 0].T

    def _differences(self, decision: Array) -> tuple[Array, Array]:
        step = 1e-6 * (self.high - self.low)
        moves = np.clip(
            np.concatenate([decision + np.diag(step), decision - np.diag(step)]),
            self.low,
            self.high,
        )
        payoff, limits = self.values(moves)
        d = len(decision)
        width = np.diagonal(moves[:d] - moves[d:])
        width = np.where(width > 0, width, 1.0)
        by_payoff = (payoff[:d] - payoff[d:]) / width
        by_limits = (limits[:d] - limits[d:]) / width[:, None]
        return np.nan_to_num(by_payoff, posinf=0.0, neginf=0.0), np.nan_to_num(by_limits).T


def ascend(
    calculus: Calculus, x: Array, j: int, start: Array, oracle: Oracle, at: Response | None
) -> tuple[Array, float, int]:
    """An ascent in all of leader j's decisions within its limits, from anywhere in its bounds.

    Quasi-Newton within bounds (L-BFGS-B); with limits sequential quadratic programming (SLSQP),
    since along single decisions a limit that binds stops every move that does not break it.

    Args:
        calculus: one market.
        x: the profile (d, J) whose other leaders stay.
        j: the leader.
        start: its decisions to start from (d,).
        oracle: the followers' answers.
        at: the response (a batch of one) that exact derivatives start from; None for differences
            of the oracle's.

    Returns:
        the best decisions that it saw and that meet the limits (d,), their payoff (minus infinity
        if there are none), and how many trials it took.
    """
    from scipy.optimize import minimize

    climb = _Climb(calculus, x, j, oracle, at)
    free = climb.high > climb.low
    width = (climb.high - climb.low)[free]
    first = climb.at_point(np.array(start, dtype=float))
    if not free.any():
        return climb.action, climb.payoff, climb.calls
    scale = abs(first[0]) if np.isfinite(first[0]) and first[0] else 1.0

    def decision(unit: Array) -> Array:
        out = np.array(start, dtype=float)
        out[free] = np.clip(climb.low[free] + unit * width, climb.low[free], climb.high[free])
        return out

    def loss(unit: Array) -> tuple[float, Array]:
        payoff, _, slope, _ = climb.at_point(decision(unit))
        if not np.isfinite(payoff):
            return 1e30, np.zeros_like(unit)
        return -payoff / scale, -slope[free] * width / scale

    options: Any = {"jac": True, "bounds": [(0.0, 1.0)] * int(free.sum())}
    begin: Any = (np.asarray(start)[free] - climb.low[free]) / width
    if not calculus.leader_limit_names:
        minimize(loss, begin, method="L-BFGS-B", options={"maxiter": 60}, **options)
        return climb.action, climb.payoff, climb.calls
    limits: Any = {
        "type": "ineq",
        "fun": lambda unit: -np.nan_to_num(climb.at_point(decision(unit))[1], nan=1e30),
        "jac": lambda unit: -climb.at_point(decision(unit))[3][:, free] * width,
    }
    for _ in range(3):  # again from a kink: the curvature learnt on its other side misleads
        before = climb.payoff
        found = minimize(
            loss,
            begin,
            method="SLSQP",
            constraints=limits,
            options={"maxiter": 60, "ftol": 1e-14},
            **options,
        )
        _mend(climb, decision(found.x))
        if not climb.payoff > before + 1e-12 * abs(climb.payoff):
            break
        begin = (climb.action[free] - climb.low[free]) / width
    return climb.action, climb.payoff, climb.calls


def _mend(climb: _Climb, decision: Array) -> None:
    """Move a point that breaks limits by a little onto them."""
    for _ in range(4):
        _, limits, _, slopes = climb.at_point(decision)
        broken = limits > 0
        if not broken.any():
            return
        step = np.linalg.lstsq(slopes[broken], -limits[broken], rcond=None)[0]
        decision = np.clip(decision + step, climb.low, climb.high)
