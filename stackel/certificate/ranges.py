"""What a leader has along its own range, the others staying and the followers answering: the
numbers of the picture ``eq.plot("deviations")``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.certificate.certificate import Certificate
from stackel.certificate.sides import Side
from stackel.followers.replies import settle_best
from stackel.followers.response import Response
from stackel.leaders.anticipation import Anticipation, Trials
from stackel.leaders.deviations import payoffs_alone, search_range
from stackel.types import Array

POINTS = 241
"""Trial values along a range."""


@dataclass(frozen=True)
class Range:
    """One leader's payoff along one of its decisions, its other ones held.

    Attributes:
        leader, decision: which ones, counted from 0.
        value: what it tries (T,), in the decision's unit.
        payoff: what it then has (T,); NaN where that is not open to it or not known.
        settled: whether the followers answer (T,): where they do and there is no payoff, limits of
            the leader's own are broken.
        now: where it stands, and what it has there.
        better: the best move of its own that was found to gain, and what it then has.
        low, high, upper: boxes in which the payoff is proved to be at most ``upper`` (K,); empty if
            there is no proof.
    """

    leader: int
    decision: int
    value: Array
    payoff: Array
    settled: Array
    now: tuple[float, float]
    better: tuple[float, float] | None
    low: Array
    high: Array
    upper: Array


def along_ranges(
    calculus: Calculus,
    x: Array,
    y: Array,
    certificate: Certificate | None = None,
    anticipation: Anticipation = "equilibrium",
    points: int = POINTS,
) -> list[Range]:
    """Every leader's payoff along each of its decisions.

    Args:
        calculus: one market.
        x, y: leader actions (d, J) and follower actions (I, n).
        certificate: what is said of the point.
        anticipation: what leaders foresee.
        points: trial values along a range; where the leader stands is one more.
    """
    d, J = calculus.leader_shape
    lam, mu = calculus.zeros((1,))
    here = Response(y[None], lam, mu, np.full(1, np.inf), np.zeros(1, dtype=bool))
    oracle = Trials(calculus, x[None], settle_best(calculus, x[None], here), anticipation)
    low, high = search_range(calculus, x)
    now = calculus.leader_values(x, y)[0]
    share = np.linspace(0.0, 1.0, points)
    moved = None if certificate is None else certificate.deviation
    out = []
    for j in range(J):
        for k in range(d):
            value = np.append(low[k, j] + (high[k, j] - low[k, j]) * share, x[k, j])
            value.sort()
            trials = np.repeat(x[None], len(value), axis=0)
            trials[:, k, j] = value
            leader, element = np.full(len(value), j), np.zeros(len(value), dtype=int)
            found = payoffs_alone(calculus, trials, leader, oracle, element)
            payoff = np.where(np.isfinite(found.payoff), found.payoff, np.nan)
            better = None
            if moved is not None and (moved.player, moved.index) == ("leader", j):
                better = float(moved.action[k]), moved.reached
            at = float(x[k, j]), float(now[j])
            boxes = _upper(certificate, j, k, x[:, j])
            out.append(Range(j, k, value, payoff, found.settled, at, better, *boxes))
    return out


def _upper(
    certificate: Certificate | None, j: int, k: int, own: Array
) -> tuple[Array, Array, Array]:
    """The boxes along one decision that hold the leader's other ones where they are."""
    proof = None if certificate is None else certificate.proof
    sides: tuple[Side, ...] = () if proof is None else proof.sides
    for side in sides:
        if (side.player, side.index) != ("leader", j) or side.uppers is None:
            continue
        assert side.lows is not None
        assert side.highs is not None
        inside = (side.lows <= own) & (own <= side.highs)
        inside[:, k] = True
        rows = inside.all(1)
        return side.lows[rows, k], side.highs[rows, k], side.uppers[rows]
    return np.zeros(0), np.zeros(0), np.zeros(0)
