"""An ascent of one leader in all its decisions at once, within its limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import leader_sizes
from stackel.followers.response import Response, settle
from stackel.leaders.deviations import FEASIBLE, Oracle, payoffs_alone, search_range
from stackel.leaders.slopes import own_slopes
from stackel.types import Array


def one_market(count: int) -> Array:
    """The only element of a batch of one, so many times.

    Args:
        count: how many.
    """
    return np.zeros(count, dtype=int)


def own_range(calculus: Calculus, x: Array, j: int) -> list[Array]:
    """Where leader j's decisions are searched, lowest and highest, each (d,).

    Args:
        calculus: one market.
        x: the profile (d, J).
        j: the leader.
    """
    return [b.reshape(x.shape)[:, j] for b in search_range(calculus, x)]


def own_moves(x: Array, j: int, decisions: Array) -> Array:
    """Profiles (N, d, J) in which leader j alone has moved.

    Args:
        x: the profile (d, J).
        j: the leader.
        decisions: what it does in each (N, d).
    """
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
        self.low, self.high = own_range(calculus, x, j)
        self.action, self.payoff = np.array(x[:, j], dtype=float), -np.inf
        self.calls = 0
        self.size = np.ones(len(calculus.leader_limit_names))  # of each limit (m,)
        if len(self.size):
            answer = oracle(x[None], one_market(1))[0]
            size = leader_sizes(calculus, x[None], answer).limits[0, :, j]
            self.size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
        self._last: tuple[bytes, Any] = (b"", None)

    def values(self, decisions: Array) -> tuple[Array, Array]:
        """Payoffs (N,) and limits (N, m), as shares of their sizes, at decisions (N, d); NaN where
        nobody settles."""
        profiles = own_moves(self.x, self.j, decisions)
        y, good = self.oracle(profiles, one_market(len(profiles)))
        self.calls += len(decisions)
        return self._own(profiles, y, good)

    def _own(self, profiles: Array, y: Array, good: Array) -> tuple[Array, Array]:
        payoff, limits = (v[..., self.j] for v in self.calculus.leader_values(profiles, y))
        return np.where(good, payoff, np.nan), np.where(good[:, None], limits / self.size, np.nan)

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
        profile = own_moves(self.x, self.j, decision[None])
        here = settle(self.calculus, profile, at)
        self.calls += 1
        payoff, limits = self._own(profile, here.y, here.converged)
        slopes = own_slopes(self.calculus, profile, here, np.array([self.j]))
        by_limits = slopes.limits[0, :, :, 0].T / self.size[:, None]
        return payoff[0], limits[0], slopes.payoffs[0, :, 0], by_limits

    def best(self) -> tuple[Array, float, int]:
        """The best decisions seen, what the oracle says that they are worth, and the calls."""
        profile = own_moves(self.x, self.j, self.action[None])
        worth = payoffs_alone(
            self.calculus, profile, np.array([self.j]), self.oracle, one_market(1)
        )
        return self.action, float(worth.payoff[0]), self.calls + 1

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
        return climb.best()
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
        return climb.best()
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
    return climb.best()


def _mend(climb: _Climb, decision: Array) -> None:
    """Move a point that breaks limits by a little onto them."""
    for _ in range(4):
        _, limits, _, slopes = climb.at_point(decision)
        broken = limits > 0
        if not broken.any():
            return
        step = np.linalg.lstsq(slopes[broken], -limits[broken], rcond=None)[0]
        decision = np.clip(decision + step, climb.low, climb.high)
