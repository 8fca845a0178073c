"""Leaders with several decisions each: lines through the point, then ascents from many starts.

What this finds is a lower bound on a leader's gap, never a proof that there is none. An ascent
climbs from one profile of one market: of a batch each element has its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from stackel.calculus.calculus import Calculus
from stackel.followers.response import Response
from stackel.leaders.anticipation import Anticipation, Lost, Trials
from stackel.leaders.climb import ascend, one_market, own_moves, own_range
from stackel.leaders.deviations import Oracle, Search, payoffs_alone
from stackel.leaders.lines import search_lines
from stackel.types import Array

SAMPLE = 128
"""Actions of each leader looked at over its whole box, times its decisions."""

ASCENTS = 8
"""The most of them from which it climbs."""

LOOKED = 512
"""The best of them among which it looks for peaks."""

DISTINCT = 0.05
"""How far apart these are at least, as a share of the range of some decision."""

PURSUED = 3
"""Ascents whose ends are followed along kinks, and the fewest that there are."""

SAME = 1e-4
"""Share of every decision's range within which ends of ascents are one."""

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
    candidates: Array | None = None,
    lost: Lost | None = None,
) -> Search:
    """The best that each leader finds over all its decisions together, the other leaders held.

    Args:
        calculus: the market, or a batch of B.
        x: the profiles to deviate from (B, d, J).
        at: the followers' responses there.
        anticipation: what leaders foresee.
        points: grid along each decision.
        candidates: further profiles (B, K, d, J), of which each leader tries its own part.
        lost: gets the trials at which the followers were not settled.
    """
    found = []
    for k in range(len(x)):
        one = calculus.at([k])
        oracle = Trials(one, x[k : k + 1], at[[k]], anticipation)
        exact = at[[k]] if anticipation == "equilibrium" else None
        further = [] if candidates is None else list(candidates[k])
        found.append(_search(one, x[k : k + 1], oracle, exact, points, further))
        if lost is not None:
            lost += [(k, profile) for _, profile in oracle.lost]
    return Search(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _search(
    calculus: Calculus,
    x: Array,
    oracle: Oracle,
    at: Response | None,
    points: int,
    candidates: Sequence[Array],
) -> tuple[Array, ...]:
    """A :class:`Search`'s entries for one profile (1, d, J)."""
    d, J = calculus.leader_shape
    lines = [
        search_lines(calculus, x, oracle, points=points, rounds=2, decision=row) for row in range(d)
    ]
    action, payoff = np.array(x, dtype=float), np.full((1, J), -np.inf)
    tried = np.sum([s.tried for s in lines], axis=0)
    for j in range(J):
        each = np.array([s.action[0, row, j] for row, s in enumerate(lines)])
        best = max(lines, key=lambda s: s.payoff[0, j])
        starts = [each, best.action[0, :, j], *(one[:, j] for one in candidates)]
        found = _ascend_many(calculus, x[0], j, starts, oracle, at, SAMPLE * 2 ** (d - 1))
        tried = tried + found[2]
        if found[1] > payoff[0, j]:
            action[0, :, j], payoff[0, j] = found[:2]
    return action, payoff, np.max([s.resolution for s in lines], axis=0), tried


def _ascend_many(
    calculus: Calculus,
    x: Array,
    j: int,
    starts: Sequence[Array],
    oracle: Oracle,
    at: Response | None,
    sample: int,
) -> tuple[Array, float, int]:
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
        its best decisions (d,), their payoff and the number of trials.
    """
    low, high = own_range(calculus, x, j)
    spread = qmc.Sobol(len(low), rng=0).random(sample) if sample else np.zeros((0, len(low)))
    drawn = low + (high - low) * spread
    candidates = np.array([x[:, j], *starts, (low + high) / 2, low, high, *drawn])
    count = len(candidates)
    profiles = own_moves(x, j, candidates)
    found = payoffs_alone(calculus, profiles, np.full(count, j), oracle, one_market(count))
    tried = count
    # Those that meet the limits first, then those that break them least.
    order = np.lexsort((np.where(np.isfinite(found.broken), found.broken, np.inf), -found.payoff))
    tops = [(candidates[order[0]], float(found.payoff[order[0]]))]
    limited = bool(calculus.leader_limit_names)
    for start in _starts(candidates[order], high - low):
        if limited or np.isfinite(found.payoff[order[start]]):
            action, payoff, steps = ascend(calculus, x, j, candidates[order[start]], oracle, at)
            tried += steps
            tops.append((action, payoff))
    tops.sort(key=lambda top: -top[1])
    pursued: list[Array] = []
    for action, payoff in tops[: PURSUED if sample else 0]:
        apart = [(np.abs(action - other) > SAME * (high - low)).any() for other in pursued]
        if np.isfinite(payoff) and all(apart):
            pursued.append(action)
            action, payoff, steps = _pursue(calculus, x, j, action, payoff, oracle)
            tried += steps
            tops.append((action, payoff))
    action, payoff = max(tops, key=lambda top: top[1])
    return action, payoff, tried


def _starts(candidates: Array, width: Array) -> list[int]:
    """Which of some actions (N, d), the best first, to climb from: those that no better one is
    near, as in multi level single linkage (Rinnooy Kan and Timmer, Mathematical Programming 39,
    1987), and the best few that lie apart."""
    count, d = candidates.shape
    unit = candidates[:LOOKED] / np.where(width > 0, width, 1.0)
    ball = math.gamma(1 + d / 2) * 4 * math.log(count) / count
    near = cdist(unit, unit, "sqeuclidean") < ball ** (2 / d) / math.pi
    peaks = np.flatnonzero(~np.tril(near, -1).any(-1))
    out: list[int] = []
    for k in range(len(unit)):
        if len(out) == PURSUED:
            break
        if (np.abs(unit[k] - unit[out]).max(-1) > DISTINCT).all():
            out.append(k)
    return [*out, *(int(k) for k in peaks if k not in out)][:ASCENTS]


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
    low, high = own_range(calculus, x, j)
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
        profiles, leader = own_moves(x, j, trials), np.full(len(trials), j)
        worth = payoffs_alone(calculus, profiles, leader, oracle, one_market(len(trials))).payoff
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
    now = payoffs_alone(calculus, x[None], np.array([j]), oracle, one_market(1)).payoff[0]
    if calculus.leader_shape[0] > 1 and calculus.leader_limit_names:
        action, payoff, _ = _ascend_many(calculus, x, j, [], oracle, at, sample=0)
    else:
        action, payoff, _ = ascend(calculus, x, j, x[:, j], oracle, at)
    stays = np.isfinite(now) and payoff <= now + 1e-12 * abs(now)
    if stays or not np.isfinite(payoff):
        return x
    moved = np.array(x)
    moved[:, j] = action
    return moved
