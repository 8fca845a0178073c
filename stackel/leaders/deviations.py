"""What a leader could gain by moving alone: profiles, what they are worth, and what was found.

One batch holds the trial actions of all leaders, so that whoever answers them (the core's own
followers, or a backend's) does so at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import leader_sizes, moved
from stackel.types import Array

Oracle = Callable[[Array, Array], tuple[Array, Array]]
"""Leader actions (N, d, J), and which element of a batch each is of (N,), to follower actions
(N, I, n) and which of them are good (N,). Of every element there are as many."""

FEASIBLE = 1e-9
"""A leader limit counts as met up to this share of what its terms move by."""


@dataclass(frozen=True)
class Deviation:
    """A player's profitable move.

    Attributes:
        player: ``"leader"`` or ``"follower"``.
        index: which one, counted from 0.
        action: what it would do instead: a leader's decisions (d,), a follower's (n,).
        payoff: its payoff now.
        gain: how much more it would have.
        answer: everybody's actions (I, n) after the move: what the followers answer a leader, or a
            follower's own move beside the others' actions; None in files written before.
    """

    player: Literal["leader", "follower"]
    index: int
    action: Array
    payoff: float
    gain: float
    answer: Array | None = None

    @property
    def reached(self) -> float:
        """Its payoff after the move."""
        return self.payoff + self.gain

    def __str__(self) -> str:
        shown = np.array2string(np.asarray(self.action), precision=6, separator=", ", threshold=8)
        return (
            f"{self.player} {self.index} gains {self.gain:.6g} (has {self.payoff:.6g}) by moving "
            f"to {shown}"
        )


@dataclass(frozen=True)
class Search:
    """The best that each leader found, the others held; of every element of a batch.

    Attributes:
        action: the best decisions (B, d, J).
        payoff: their payoff (B, J); minus infinity where no trial was feasible.
        resolution: spacing of the first grid (B, J), in the units of the decision.
        tried: trial actions, all leaders together (B,).
    """

    action: Array
    payoff: Array
    resolution: Array
    tried: Array


def search_range(calculus: Calculus, x: Array) -> tuple[Array, Array]:
    """Finite bounds for a search around x (..., d, J): the action's own, or ten times as far as x
    has gone."""
    low, high = calculus.leader_bounds
    own = moved(x, calculus.leader_bounds)
    reach = 10.0 * np.where(own > 0, own, 1.0)
    return np.where(np.isfinite(low), low, x - reach), np.where(np.isfinite(high), high, x + reach)


class Worth(NamedTuple):
    """What leaders' trial actions are worth, of N of them.

    Attributes:
        payoff: of the leader that moved (N,); minus infinity where its limits are broken or the
            followers are not settled.
        settled: whether they are (N,).
        broken: its largest limit, as a share of what its terms move by (N,): negative where all are
            met, minus infinity where there are none, NaN where nobody is settled.
    """

    payoff: Array
    settled: Array
    broken: Array


def payoffs_alone(
    calculus: Calculus, trials: Array, leader: Array, oracle: Oracle, element: Array
) -> Worth:
    """What trial actions are worth to the leaders that moved.

    Args:
        calculus: the market, or a batch of B.
        trials: leader profiles (N, d, J).
        leader: which leader moved in each of them (N,).
        oracle: the followers.
        element: which element each profile is of (N,).
    """
    most = max(1, 2_000_000 // math.prod(calculus.follower_shape))  # only the payoffs are kept
    if len(trials) > most and not element.any():
        parts = [
            payoffs_alone(calculus, trials[part], leader[part], oracle, element[part])
            for part in (slice(k, k + most) for k in range(0, len(trials), most))
        ]
        return Worth(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    y, good = oracle(trials, element)
    many, rows = calculus.at(element), np.arange(len(trials))
    value, limits = many.leader_values(trials, y)
    payoff, broken = value[rows, leader], np.full(len(trials), -np.inf)
    if calculus.leader_limit_names:
        broken = _shares(limits, leader_sizes(many, trials, y).limits)[rows, :, leader].max(-1)
        broken = np.where(good, broken, np.nan)
    met = good & (broken <= FEASIBLE) & np.isfinite(payoff)
    return Worth(np.where(met, payoff, -np.inf), good, broken)


def each_alone(x: Array, moves: Array) -> tuple[Array, Array, Array]:
    """Profiles in which each leader in turn makes its own part of a move, the others held.

    Args:
        x: leader actions (B, d, J).
        moves: K of each element (B, K, d, J).

    Returns:
        the profiles (B K J, d, J), which leader moves in each and which element it is of.
    """
    B, K, d, J = moves.shape
    own = np.arange(J)
    profiles = np.broadcast_to(x[:, None, None], (B, K, J, d, J)).copy()
    profiles[:, :, own, :, own] = np.moveaxis(moves, -1, 0)
    return profiles.reshape(-1, d, J), np.tile(own, B * K), np.repeat(np.arange(B), K * J)


def search_candidates(calculus: Calculus, x: Array, oracle: Oracle, candidates: Array) -> Search:
    """Each leader's best move among some candidates, and nothing beside them.

    Args:
        calculus: the market, or a batch of B.
        x: the profiles to deviate from (B, d, J).
        oracle: the followers' answers.
        candidates: leader actions (B, K, d, J), K at least 1, of which every leader tries its own.
    """
    B, K, _, J = candidates.shape
    trials, leader, element = each_alone(x, candidates)
    worth = payoffs_alone(calculus, trials, leader, oracle, element)
    payoff = worth.payoff.reshape(B, K, J)
    best = payoff.argmax(1)[:, None, None]
    return Search(
        np.take_along_axis(candidates, best, 1)[:, 0],
        payoff.max(1),
        np.full((B, J), np.inf),
        np.full(B, K * J),
    )


def _shares(limits: Array, sizes: Array) -> Array:
    """Limits as shares of their own sizes."""
    with np.errstate(all="ignore"):
        return np.where(limits == 0, 0.0, limits / sizes)


def broken_limit(calculus: Calculus, x: Array, y: Array) -> str:
    """The leader limit that is broken most at a point, in words, or ''.

    Args:
        calculus: one market.
        x, y: leader actions (1, d, J) and follower actions (1, I, n).
    """
    if not calculus.leader_limit_names:
        return ""
    values = calculus.leader_values(x, y)[1][0]
    shares = _shares(values, leader_sizes(calculus, x, y).limits[0])
    row, j = np.unravel_index(int(shares.argmax()), shares.shape)
    if shares[row, j] <= FEASIBLE:
        return ""
    return (
        f"no {calculus.leader_name} of leader {j} was found that meets its limit "
        f"{calculus.leader_limit_names[row]!r}: at the last one tried it is broken by "
        f"{values[row, j]:.4g}"
    )
