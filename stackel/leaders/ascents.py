"""Leaders with several decisions each: lines through the point, then ascents from many starts.

What this finds is a lower bound on a leader's gap, never a proof that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers import response
from stackel.followers.response import Response
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation
from stackel.leaders.deviations import (
    FEASIBLE,
    Oracle,
    Search,
    payoffs_alone,
    search_lines,
    search_range,
)
from stackel.leaders.slopes import slopes_and_limits
from stackel.types import Array

STARTS = 6
"""Random starts for each leader, beside the point itself, the best line and the box's middle."""


def search_many(
    game: Game,
    x: Array,
    at: Response,
    oracle: Oracle,
    anticipation: Anticipation,
    *,
    points: int = 33,
    starts: int = STARTS,
) -> Search:
    """The best that each leader finds over all its decisions, the other leaders held.

    Args:
        game: the market.
        x: the profile to deviate from (d, J).
        at: the followers' response there.
        oracle: the followers' answers.
        anticipation: what leaders foresee.
        points: grid along each decision.
        starts: random starts for each leader.
    """
    d, J = game.leader_shape
    lines = [
        search_lines(game, x, oracle, points=points, rounds=2, decision=row) for row in range(d)
    ]
    exact = at if anticipation == "equilibrium" else None
    action, payoff = np.array(x, dtype=float), np.full(J, -np.inf)
    tried, unsettled = sum(s.tried for s in lines), sum(s.unsettled for s in lines)
    for j in range(J):
        together = np.array([s.action[row, j] for row, s in enumerate(lines)])
        best = max(lines, key=lambda s: s.payoff[j])
        found = ascend_many(game, x, j, [together, best.action[:, j]], oracle, exact, starts)
        tried, unsettled = tried + found[2], unsettled + found[3]
        if found[1] > payoff[j]:
            action[:, j], payoff[j] = found[:2]
    resolution = np.max([s.resolution for s in lines], axis=0)
    return Search(action, payoff, resolution, tried, unsettled)


def ascend_many(
    game: Game,
    x: Array,
    j: int,
    starts: Sequence[Array],
    oracle: Oracle,
    at: Response | None,
    random: int,
) -> tuple[Array, float, int, int]:
    """Ascents of leader j from where it is, the box's middle and ends, the starts given and random
    ones: from the best half where nothing limits it, else from all (most may break the limits).

    Returns:
        its best decisions (d,), their payoff, the number of trials and of those not settled.
    """
    low, high = (b[:, j] for b in search_range(game, x))
    rng = np.random.default_rng(0)
    drawn = rng.uniform(low, high, (random, len(low)))
    candidates = [x[:, j], *starts, (low + high) / 2, low, high, *drawn]
    value, good = payoffs_alone(
        game, _profiles(x, j, np.array(candidates)), np.full(len(candidates), j), oracle
    )
    tried, unsettled = len(candidates), int((~good).sum())
    order = np.argsort(-value, kind="stable")
    action, payoff = candidates[order[0]], float(value[order[0]])
    limited = bool(trace(game).formulas.leader_limits)
    for start in order if limited else order[: 1 + len(order) // 3]:
        if limited or np.isfinite(value[start]):
            reached, gain, count = ascend(game, x, j, candidates[start], oracle, at)
            tried += count
            if gain > payoff:
                action, payoff = reached, gain
    return action, payoff, tried, unsettled


def together(game: Game, x: Array, j: int, oracle: Oracle, at: Response | None) -> Array:
    """The profile with leader j moved on from where it is, all its decisions at once and within
    its limits; the same profile if that gains nothing."""
    now = payoffs_alone(game, x[None], np.array([j]), oracle)[0][0]
    if game.leader_shape[0] > 1 and trace(game).formulas.leader_limits:
        action, payoff, *_ = ascend_many(game, x, j, [], oracle, at, random=0)
    else:
        action, payoff, _ = ascend(game, x, j, x[:, j], oracle, at)
    stays = np.isfinite(now) and payoff <= now + 1e-12 * abs(now)
    if stays or not np.isfinite(payoff):
        return x
    moved = np.array(x)
    moved[:, j] = action
    return moved


def _profiles(x: Array, j: int, decisions: Array) -> Array:
    out = np.broadcast_to(x, (len(decisions), *x.shape)).copy()
    out[:, :, j] = decisions
    return out


class _Alone:
    """One leader's payoff and limits by its own decisions, the followers answering; remembers the
    last point, and the best one that meets the limits.

    Args:
        at: the response that exact derivatives start from; None for central differences.
    """

    def __init__(self, game: Game, x: Array, j: int, oracle: Oracle, at: Response | None) -> None:
        self.game, self.x, self.j, self.oracle, self.at = game, x, j, oracle, at
        self.low, self.high = (b[:, j] for b in search_range(game, x))
        self.action, self.payoff = np.array(x[:, j], dtype=float), -np.inf
        self.calls = 0
        self._last: tuple[bytes, Any] = (b"", None)

    def values(self, decisions: Array) -> tuple[Array, Array]:
        """Payoffs (B,) and limits (B, m) at decisions (B, d); NaN where nobody settles."""
        profiles = _profiles(self.x, self.j, decisions)
        y, good = self.oracle(profiles)
        payoff, limits = trace(self.game).leader_values(profiles, y)
        self.calls += len(decisions)
        own = limits[..., self.j]
        return np.where(good, payoff[:, self.j], np.nan), np.where(good[:, None], own, np.nan)

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
        profile = _profiles(self.x, self.j, decision[None])[0]
        here = response.settle(self.game, profile, at)
        self.calls += 1
        value, limit = trace(self.game).leader_values(profile, here.y)
        payoff, limits = (
            (value[self.j], limit[:, self.j])
            if here.converged
            else (np.nan, limit[:, self.j] * np.nan)
        )
        by_payoff, by_limits = slopes_and_limits(self.game, profile, here, np.array([self.j]))
        return payoff, limits, by_payoff[:, 0], by_limits[:, :, 0].T

    def _differences(self, decision: Array) -> tuple[Array, Array]:
        step = 1e-6 * (1 + np.abs(decision))
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
    game: Game, x: Array, j: int, start: Array, oracle: Oracle, at: Response | None
) -> tuple[Array, float, int]:
    """An ascent in all of leader j's decisions within its limits, from anywhere in its bounds.

    Quasi-Newton within bounds (L-BFGS-B); with limits sequential quadratic programming (SLSQP),
    since along single decisions a limit that binds stops every move that does not break it.

    Args:
        game: the market.
        x: the profile (d, J) whose other leaders stay.
        j: the leader.
        start: its decisions to start from (d,).
        oracle: the followers' answers.
        at: the response that exact derivatives start from; None for differences of the oracle's.

    Returns:
        the best decisions that it saw and that meet the limits (d,), their payoff (minus infinity
        if there are none), and how many trials it took.
    """
    from scipy.optimize import minimize

    alone = _Alone(game, x, j, oracle, at)
    free = alone.high > alone.low
    width = (alone.high - alone.low)[free]
    first = alone.at_point(np.array(start, dtype=float))
    if not free.any():
        return alone.action, alone.payoff, alone.calls
    scale = abs(first[0]) if np.isfinite(first[0]) and first[0] else 1.0

    def decision(unit: Array) -> Array:
        out = np.array(start, dtype=float)
        out[free] = np.clip(alone.low[free] + unit * width, alone.low[free], alone.high[free])
        return out

    def loss(unit: Array) -> tuple[float, Array]:
        payoff, _, slope, _ = alone.at_point(decision(unit))
        if not np.isfinite(payoff):
            return 1e30, np.zeros_like(unit)
        return -payoff / scale, -slope[free] * width / scale

    options: Any = {"jac": True, "bounds": [(0.0, 1.0)] * int(free.sum())}
    begin: Any = (np.asarray(start)[free] - alone.low[free]) / width
    if not trace(game).formulas.leader_limits:
        minimize(loss, begin, method="L-BFGS-B", options={"maxiter": 60}, **options)
        return alone.action, alone.payoff, alone.calls
    limits: Any = {
        "type": "ineq",
        "fun": lambda unit: -np.nan_to_num(alone.at_point(decision(unit))[1], nan=1e30),
        "jac": lambda unit: -alone.at_point(decision(unit))[3][:, free] * width,
    }
    for _ in range(3):  # again from a kink: the curvature learnt on its other side misleads
        before = alone.payoff
        found = minimize(
            loss,
            begin,
            method="SLSQP",
            constraints=limits,
            options={"maxiter": 60, "ftol": 1e-14},
            **options,
        )
        _mend(alone, decision(found.x))
        if not alone.payoff > before + 1e-12 * abs(alone.payoff):
            break
        begin = (alone.action[free] - alone.low[free]) / width
    return alone.action, alone.payoff, alone.calls


def _mend(alone: _Alone, decision: Array) -> None:
    """Move a point that breaks limits by a little onto them."""
    for _ in range(4):
        _, limits, _, slopes = alone.at_point(decision)
        broken = limits > 0
        if not broken.any():
            return
        step = np.linalg.lstsq(slopes[broken], -limits[broken], rcond=None)[0]
        decision = np.clip(decision + step, alone.low, alone.high)
