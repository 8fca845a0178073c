"""What a leader could gain by moving alone: a global search along each leader's decision.

One batch holds the trial actions of all leaders, so that whoever answers them (the core's own
followers, or a backend's) does so at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stackel.game import Game

Array = np.ndarray

Oracle = Callable[[Array], tuple[Array, Array]]
"""Leader actions (B, d, J) to follower actions (B, I, n) and which of them are good (B,)."""

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
        action: the best decision (d, J).
        payoff: its payoff (J,); minus infinity where no trial was feasible.
        resolution: spacing of the first grid, (J,), in the units of the decision.
        tried: trial actions, all leaders together.
        unsettled: how many of them the followers could not be settled at.
    """

    action: Array
    payoff: Array
    resolution: Array
    tried: int
    unsettled: int


def search_range(game: Game, x: Array) -> tuple[Array, Array]:
    """Finite bounds for a search around x: the action's own, or ten times as far as x has gone."""
    low, high = game.leader_bounds
    reach = 10.0 * (np.abs(x) + 1.0)
    return np.where(np.isfinite(low), low, x - reach), np.where(np.isfinite(high), high, x + reach)


def payoffs_alone(game: Game, trials: Array, leader: Array, oracle: Oracle) -> tuple[Array, Array]:
    """Payoffs (B,) of the leaders that moved, at profiles (B, d, J); infeasible ones -inf.

    Args:
        game: the market.
        trials: leader profiles.
        leader: which leader moved in each of them (B,).
        oracle: the followers.
    """
    most = max(1, 2_000_000 // game.follower_bounds[0].size)  # the payoffs are all that is kept
    if len(trials) > most:
        parts = [
            payoffs_alone(game, trials[k : k + most], leader[k : k + most], oracle)
            for k in range(0, len(trials), most)
        ]
        payoffs, goods = zip(*parts, strict=True)
        return np.concatenate(payoffs), np.concatenate(goods)
    y, good = oracle(trials)
    value, limits = game.calculus.leader_values(trials, y)
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
        game: the market.
        x: the profile to deviate from (d, J).
        oracle: the followers' answers.
        points: size of the first grid, ends included.
        rounds: refinements; each divides the spacing by 8.
        peaks: how many of the grid's local maxima are refined.
        decision: which of a leader's d decisions moves.
        leaders: which leaders search (default all); the others' entries stay as they are.
    """
    own = np.arange(game.n_leaders) if leaders is None else leaders
    J = len(own)
    low, high = (b[decision, own] for b in search_range(game, x))
    grid = low + (high - low) * np.linspace(0.0, 1.0, points)[:, None]  # (points, J)
    grid = np.sort(np.concatenate([grid, x[decision, own][None]]), axis=0)
    values, bad = _evaluate(game, x, grid, oracle, decision, own)
    tried, unsettled = values.size, bad
    best = values.argmax(0)
    columns = np.arange(J)
    action, payoff = grid[best, columns], values[best, columns]
    centres = _peaks(values, peaks)  # (peaks, J) indices
    left = np.take_along_axis(grid, np.maximum(centres - 1, 0), 0)
    right = np.take_along_axis(grid, np.minimum(centres + 1, len(grid) - 1), 0)
    inner = np.linspace(0.0, 1.0, 17)[:, None, None]
    for _ in range(rounds):
        fine = left + (right - left) * inner  # (17, peaks, J)
        values, bad = _evaluate(game, x, fine.reshape(-1, J), oracle, decision, own)
        tried, unsettled = tried + values.size, unsettled + bad
        values = values.reshape(fine.shape)
        top = values.argmax(0)
        at = np.take_along_axis(fine, top[None], 0)[0]
        reached = np.take_along_axis(values, top[None], 0)[0]
        spacing = (right - left) / 16
        left, right = np.maximum(at - spacing, left), np.minimum(at + spacing, right)
        which = reached.argmax(0)
        better = reached[which, columns] > payoff
        action = np.where(better, at[which, columns], action)
        payoff = np.where(better, reached[which, columns], payoff)
        # After the first look only the best peak is worth more.
        left, right = left[which, columns][None], right[which, columns][None]
    moved = np.array(x, dtype=float)
    moved[decision, own] = action
    reached_all = np.full(game.n_leaders, -np.inf)
    reached_all[own] = payoff
    spacing_all = np.zeros(game.n_leaders)
    spacing_all[own] = (high - low) / (points - 1)
    return Search(moved, reached_all, spacing_all, tried, unsettled)


def _evaluate(
    game: Game, x: Array, trial: Array, oracle: Oracle, decision: int, own: Array
) -> tuple[Array, int]:
    """Payoffs (T, len(own)) when leader own[j] alone moves its decision to trial[t, j]."""
    T, J = trial.shape
    profiles = np.broadcast_to(x, (T, J, *x.shape)).copy()
    profiles[:, np.arange(J), decision, own] = trial
    leader = np.broadcast_to(own, (T, J)).ravel()
    payoff, good = payoffs_alone(game, profiles.reshape(-1, *x.shape), leader, oracle)
    return payoff.reshape(T, J), int((~good).sum())


def _peaks(values: Array, count: int) -> Array:
    """Indices (<= count, J) of each column's highest local maxima, repeated where one has fewer."""
    padded = np.pad(values, ((1, 1), (0, 0)), constant_values=-np.inf)
    peak = (values >= padded[:-2]) & (values >= padded[2:])
    ranked = np.where(peak, values, -np.inf)
    order = np.argsort(-ranked, axis=0, kind="stable")[:count]
    good = np.take_along_axis(ranked, order, 0) > -np.inf
    # Most payoffs have one peak: no trial is spent on what is not there.
    used = np.array(good.any(1))
    used[0] = True
    return np.where(good, order, order[:1])[used]


def broken_limit(game: Game, x: Array, y: Array) -> str:
    """The leader limit that is broken most at a point, in words, or ''."""
    values = game.calculus.leader_values(x, y)[1]
    row, j = np.unravel_index(int(values.argmax()), values.shape)
    if values[row, j] <= FEASIBLE:
        return ""
    return (
        f"no {game.leader_action.name} of leader {j} was found that meets its limit "
        f"{game.calculus.leader_limit_names[row]!r}: at the last one tried it is broken by "
        f"{values[row, j]:.4g}"
    )
