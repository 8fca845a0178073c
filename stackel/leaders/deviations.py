"""What a leader could gain by moving alone: a global search along each leader's decision.

One batch holds the trial actions of all leaders, so that whoever answers them (the core's own
followers, or a backend's) does so at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.types import Array

Oracle = Callable[[Array, Array], tuple[Array, Array]]
"""Leader actions (N, d, J), and which element of a batch each is of (N,), to follower actions
(N, I, n) and which of them are good (N,). Of every element there are as many."""

PEAKS = 3
"""How many of a grid's local maxima are refined."""

FEASIBLE = 1e-9
"""A leader limit counts as met up to this."""


@dataclass(frozen=True)
class Deviation:
    """A player's profitable move.

    Attributes:
        player: ``"leader"`` or ``"follower"``.
        index: which one, counted from 0.
        action: what it would do instead: a leader's decisions (d,), a follower's (n,).
        payoff: its payoff now.
        gain: how much more it would have.
    """

    player: Literal["leader", "follower"]
    index: int
    action: Array
    payoff: float
    gain: float

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
        unsettled: how many of them the followers could not be settled at (B,).
    """

    action: Array
    payoff: Array
    resolution: Array
    tried: Array
    unsettled: Array


def search_range(calculus: Calculus, x: Array) -> tuple[Array, Array]:
    """Finite bounds for a search around x (..., d, J): the action's own, or ten times as far as x
    has gone."""
    low, high = calculus.leader_bounds
    reach = 10.0 * (np.abs(x) + 1.0)
    return np.where(np.isfinite(low), low, x - reach), np.where(np.isfinite(high), high, x + reach)


def payoffs_alone(
    calculus: Calculus, trials: Array, leader: Array, oracle: Oracle, element: Array
) -> tuple[Array, Array]:
    """Payoffs (N,) of the leaders that moved, at profiles (N, d, J), and which followers were
    settled (N,); infeasible payoffs are minus infinity.

    Args:
        calculus: the market, or a batch of B.
        trials: leader profiles.
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
        payoffs, goods = zip(*parts, strict=True)
        return np.concatenate(payoffs), np.concatenate(goods)
    y, good = oracle(trials, element)
    value, limits = calculus.at(element).leader_values(trials, y)
    rows = np.arange(len(trials))
    payoff = value[rows, leader]
    met = (limits[rows, :, leader] <= FEASIBLE).all(-1)
    return np.where(good & met & np.isfinite(payoff), payoff, -np.inf), good


def search_lines(
    calculus: Calculus,
    x: Array,
    oracle: Oracle,
    *,
    points: int = 129,
    rounds: int = 4,
    decision: int = 0,
    leaders: Array | None = None,
) -> Search:
    """Each leader's best value of one decision, searched globally: a grid, then its best peaks.

    Args:
        calculus: the market, or a batch of B.
        x: the profiles to deviate from (B, d, J).
        oracle: the followers' answers.
        points: size of the first grid, ends included.
        rounds: refinements; each divides the spacing by 8.
        decision: which of a leader's d decisions moves.
        leaders: which leaders search (default all); the others' entries stay as they are.
    """
    own = np.arange(calculus.n_leaders) if leaders is None else leaders
    B, J = len(x), len(own)
    low, high = (b[:, decision, own] for b in search_range(calculus, x))  # (B, J)

    def evaluate(trial: Array) -> tuple[Array, Array]:
        """Payoffs when leader own[j] alone moves to trial[..., b, j], and where none is known."""
        profiles = np.broadcast_to(x[:, None], (*trial.shape, *x.shape[1:])).copy()
        profiles[..., np.arange(J), decision, own] = trial
        leader = np.broadcast_to(own, trial.shape).ravel()
        element = np.broadcast_to(np.arange(B)[:, None], trial.shape).ravel()
        flat = profiles.reshape(-1, *x.shape[1:])
        payoff, good = payoffs_alone(calculus, flat, leader, oracle, element)
        return payoff.reshape(trial.shape), ~good.reshape(trial.shape)

    grid = low + (high - low) * np.linspace(0.0, 1.0, points).reshape(-1, 1, 1)
    grid = np.sort(np.concatenate([grid, x[:, decision, own][None]]), axis=0)
    values, bad = evaluate(grid)  # (points + 1, B, J)
    unsettled, tried = bad.sum((0, 2)), np.full(B, J * len(grid))
    best = values.argmax(0)
    action, payoff = _take(grid, best), _take(values, best)
    centres = _peaks(values)  # (peaks, B, J) indices
    left = np.take_along_axis(grid, np.maximum(centres - 1, 0), 0)
    right = np.take_along_axis(grid, np.minimum(centres + 1, len(grid) - 1), 0)
    # All elements have as many peaks refined as the one with most; only its own count for each.
    counts = np.concatenate([np.ones((1, B), bool), (centres[1:] != centres[:1]).any(-1)])
    inner = np.linspace(0.0, 1.0, 17).reshape(-1, 1, 1, 1)
    for _ in range(rounds):
        fine = left + (right - left) * inner  # (17, peaks, B, J)
        values, bad = evaluate(fine)
        unsettled = unsettled + (bad & counts[..., None]).sum((0, 1, 3))
        tried = tried + J * len(inner) * counts.sum(0)
        top = values.argmax(0)
        at, reached = _take(fine, top), _take(values, top)
        spacing = (right - left) / 16
        left, right = np.maximum(at - spacing, left), np.minimum(at + spacing, right)
        which = reached.argmax(0)
        better = _take(reached, which) > payoff
        action = np.where(better, _take(at, which), action)
        payoff = np.where(better, _take(reached, which), payoff)
        # After the first look only the best peak is worth more.
        left, right = _take(left, which)[None], _take(right, which)[None]
        counts = counts[:1]
    moved = np.array(x, dtype=float)
    moved[:, decision, own] = action
    reached_all = np.full((B, calculus.n_leaders), -np.inf)
    reached_all[:, own] = payoff
    spacing_all = np.zeros((B, calculus.n_leaders))
    spacing_all[:, own] = (high - low) / (points - 1)
    return Search(moved, reached_all, spacing_all, tried, unsettled)


def _take(values: Array, which: Array) -> Array:
    """Entries along the first axis; several times as fast as np.take_along_axis."""
    flat = values.reshape(len(values), -1)
    return flat[which.ravel(), np.arange(flat.shape[1])].reshape(which.shape)


def _peaks(values: Array) -> Array:
    """Indices (<= PEAKS, B, J) of each column's highest local maxima, repeated where one has
    fewer."""
    padded = np.pad(values, [(1, 1), *[(0, 0)] * (values.ndim - 1)], constant_values=-np.inf)
    peak = (values >= padded[:-2]) & (values >= padded[2:])
    ranked = np.where(peak, values, -np.inf)
    order = np.argsort(-ranked, axis=0, kind="stable")[:PEAKS]
    good = np.take_along_axis(ranked, order, 0) > -np.inf
    # Most payoffs have one peak: no trial is spent on what is not there.
    used = np.array(good.any(tuple(range(1, values.ndim))))
    used[0] = True
    return np.where(good, order, order[:1])[used]


def broken_limit(calculus: Calculus, x: Array, y: Array) -> str:
    """The leader limit that is broken most at a point, in words, or ''.

    Args:
        calculus: one market.
        x, y: leader actions (1, d, J) and follower actions (1, I, n).
    """
    if not calculus.leader_limit_names:
        return ""
    values = calculus.leader_values(x, y)[1][0]
    row, j = np.unravel_index(int(values.argmax()), values.shape)
    if values[row, j] <= FEASIBLE:
        return ""
    return (
        f"no {calculus.leader_name} of leader {j} was found that meets its limit "
        f"{calculus.leader_limit_names[row]!r}: at the last one tried it is broken by "
        f"{values[row, j]:.4g}"
    )
