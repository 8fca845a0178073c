"""What a leader could gain by moving alone: a global search along each leader's decision.

One batch holds the trial actions of all leaders, so that whoever answers them (the core's own
followers, or a backend's) does so at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stackel.calculus.calculus import trace
from stackel.game.game import Game
from stackel.types import Array

Oracle = Callable[..., tuple[Array, Array]]
"""Leader actions (B, d, J) to follower actions (B, I, n) and which of them are good (B,). For a
stack it is also given which of its games each profile is of (B,)."""

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
    """The best that each leader found, the others held.

    Attributes:
        action: the best decision (..., d, J).
        payoff: its payoff (..., J); minus infinity where no trial was feasible.
        resolution: spacing of the first grid, (..., J), in the units of the decision.
        tried: trial actions, all leaders together; of a stack, each game's.
        unsettled: how many of them the followers could not be settled at; of a stack, in all.
    """

    action: Array
    payoff: Array
    resolution: Array
    tried: Any
    unsettled: int


def search_range(game: Game, x: Array) -> tuple[Array, Array]:
    """Finite bounds for a search around x: the action's own, or ten times as far as x has gone."""
    low, high = game.leader_bounds
    reach = 10.0 * (np.abs(x) + 1.0)
    return np.where(np.isfinite(low), low, x - reach), np.where(np.isfinite(high), high, x + reach)


def payoffs_alone(
    game: Game, trials: Array, leader: Array, oracle: Oracle, element: Array | None = None
) -> tuple[Array, Array]:
    """Payoffs (B,) of the leaders that moved, at profiles (B, d, J); infeasible ones -inf.

    Args:
        game: the market, or a stack.
        trials: leader profiles.
        leader: which leader moved in each of them (B,).
        oracle: the followers.
        element: of a stack, which of its games each profile is of (B,).
    """
    most = max(1, 2_000_000 // math.prod(game.follower_shape))  # the payoffs are all that is kept
    if len(trials) > most:
        parts = [
            payoffs_alone(
                game,
                trials[k : k + most],
                leader[k : k + most],
                oracle,
                None if element is None else element[k : k + most],
            )
            for k in range(0, len(trials), most)
        ]
        payoffs, goods = zip(*parts, strict=True)
        return np.concatenate(payoffs), np.concatenate(goods)
    y, good = oracle(trials) if element is None else oracle(trials, element)
    calculus = trace(game) if element is None else trace(game).at(element)
    value, limits = calculus.leader_values(trials, y)
    rows = np.arange(len(trials))
    payoff = value[rows, leader]
    met = (limits[rows, :, leader] <= FEASIBLE).all(-1) if limits.shape[-2] else True
    return np.where(good & met & np.isfinite(payoff), payoff, -np.inf), good


def search_lines(
    game: Game,
    x: Array,
    oracle: Oracle,
    *,
    points: int = 129,
    rounds: int = 4,
    peaks: int = 3,
    decision: int = 0,
    leaders: Array | None = None,
) -> Search:
    """Each leader's best value of one decision, searched globally: a grid, then its best peaks.

    Args:
        game: the market, or a stack.
        x: the profile to deviate from (d, J), of a stack (B, d, J).
        oracle: the followers' answers.
        points: size of the first grid, ends included.
        rounds: refinements; each divides the spacing by 8.
        peaks: how many of the grid's local maxima are refined.
        decision: which of a leader's d decisions moves.
        leaders: which leaders search (default all); the others' entries stay as they are.
    """
    own = np.arange(game.n_leaders) if leaders is None else leaders
    J = len(own)
    low, high = (b[..., decision, own] for b in search_range(game, x))  # (..., J)
    batch = low.shape[:-1]
    grid = low + (high - low) * np.linspace(0.0, 1.0, points).reshape(-1, *(1,) * low.ndim)
    grid = np.sort(np.concatenate([grid, x[..., decision, own][None]]), axis=0)
    values, bad = _evaluate(game, x, grid, oracle, decision, own)  # (points, ..., J)
    unsettled = bad
    best = values.argmax(0)
    action, payoff = _take(grid, best), _take(values, best)
    centres = _peaks(values, peaks)  # (peaks, ..., J) indices
    left = np.take_along_axis(grid, np.maximum(centres - 1, 0), 0)
    right = np.take_along_axis(grid, np.minimum(centres + 1, len(grid) - 1), 0)
    inner = np.linspace(0.0, 1.0, 17).reshape(-1, *(1,) * left.ndim)
    for _ in range(rounds):
        fine = left + (right - left) * inner  # (17, peaks, ..., J)
        values, bad = _evaluate(game, x, fine.reshape(-1, *batch, J), oracle, decision, own)
        unsettled += bad
        values = values.reshape(fine.shape)
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
    moved = np.array(x, dtype=float)
    moved[..., decision, own] = action
    reached_all = np.full((*batch, game.n_leaders), -np.inf)
    reached_all[..., own] = payoff
    spacing_all = np.zeros((*batch, game.n_leaders))
    spacing_all[..., own] = (high - low) / (points - 1)
    # A stack's games have as many peaks refined as the one with most; only their own count.
    refined = (centres[1:] != centres[:1]).any(-1).sum(0) + rounds if rounds else np.zeros(batch)
    tried = J * (len(grid) + len(inner) * refined)
    return Search(moved, reached_all, spacing_all, tried if batch else int(tried), unsettled)


def _take(values: Array, which: Array) -> Array:
    """Entries along the first axis; several times as fast as np.take_along_axis."""
    flat = values.reshape(len(values), -1)
    return flat[which.ravel(), np.arange(flat.shape[1])].reshape(which.shape)


def _evaluate(
    game: Game, x: Array, trial: Array, oracle: Oracle, decision: int, own: Array
) -> tuple[Array, int]:
    """Payoffs (T, ..., len(own)) when leader own[j] alone moves to trial[t, ..., j]."""
    J, core = trial.shape[-1], x.shape[-2:]
    profiles = np.broadcast_to(x[..., None, :, :], (*trial.shape, *core)).copy()
    profiles[..., np.arange(J), decision, own] = trial
    leader = np.broadcast_to(own, trial.shape).ravel()
    element = None
    if x.ndim > 2:
        element = np.broadcast_to(np.arange(len(x))[:, None], trial.shape).ravel()
    payoff, good = payoffs_alone(game, profiles.reshape(-1, *core), leader, oracle, element)
    return payoff.reshape(trial.shape), int((~good).sum())


def _peaks(values: Array, count: int) -> Array:
    """Indices (<= count, ..., J) of each column's highest local maxima, repeated where one has
    fewer."""
    padded = np.pad(values, [(1, 1), *[(0, 0)] * (values.ndim - 1)], constant_values=-np.inf)
    peak = (values >= padded[:-2]) & (values >= padded[2:])
    ranked = np.where(peak, values, -np.inf)
    order = np.argsort(-ranked, axis=0, kind="stable")[:count]
    good = np.take_along_axis(ranked, order, 0) > -np.inf
    # Most payoffs have one peak: no trial is spent on what is not there.
    used = np.array(good.any(tuple(range(1, values.ndim))))
    used[0] = True
    return np.where(good, order, order[:1])[used]


def broken_limit(game: Game, x: Array, y: Array) -> str:
    """The leader limit that is broken most at a point, in words, or ''."""
    values = trace(game).leader_values(x, y)[1]
    row, j = np.unravel_index(int(values.argmax()), values.shape)
    if values[row, j] <= FEASIBLE:
        return ""
    return (
        f"no {trace(game).leader_name} of leader {j} was found that meets its limit "
        f"{trace(game).leader_limit_names[row]!r}: at the last one tried it is broken by "
        f"{values[row, j]:.4g}"
    )
