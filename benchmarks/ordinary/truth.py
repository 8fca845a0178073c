"""What is true of a point, by brute force: no code of the library's solvers or certificates.

Every family of markets answers a leader's trial by formulas of its own, written by hand; a leader's
own range is then searched by a grid that closes in on its best cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel import Game
from stackel.types import Array

ROUNDS = 70
"""Halvings of an interval."""

GRID = {1: 3001, 2: 91}
"""Trials along each of a player's decisions, by how many it has."""

FINER = {1: 101, 2: 31}
"""The same in a cell that the grid closes in on."""

CLOSER = {1: 5, 2: 6}
"""Times that it closes in."""

MET = 1e-9
"""How far over a leader's limit counts as met, as a share of its range."""


class Ordinary(Game):
    """A market that knows how its followers answer, beside its formulas."""

    def answer(self, x: Array) -> Array:
        """The followers' equilibrium (B, I, n) at leader actions (B, d, J), worked out by hand."""
        raise NotImplementedError


@dataclass(frozen=True)
class Truth:
    """What brute force finds at a point.

    Attributes:
        follower_gain: the most that a follower gains, as a share of what its payoff moves.
        leader_gain: the most that a leader gains, as a share of its payoff's range.
        limit: the most that a leader's limit is broken, as a share of its range.
        away: how far the followers are from where they settle, as a share of what is usual.
    """

    follower_gain: float
    leader_gain: float
    limit: float
    away: float

    @property
    def worst(self) -> float:
        """The largest share that somebody gains or breaks; followers lose by the square."""
        return max(self.follower_gain, self.leader_gain, self.limit, min(self.away, 1.0) ** 2)


def halve(excess: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a decreasing function crosses zero between two arrays of ends, elementwise."""
    low, high = np.array(low, dtype=float), np.array(high, dtype=float)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        over = excess(middle) > 0
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.asarray((low + high) / 2)


def iterate(reply: Callable[[Array], Array], y: Array, step: float = 0.5) -> Array:
    """Everybody replies to everybody, a part of the way each round, until nothing moves; then the
    whole way once: who stays out has nothing, not what is left of halving it."""
    for _ in range(20_000):
        new = (1 - step) * y + step * reply(y)
        if np.abs(new - y).max() <= 1e-13 * (1e-12 + np.abs(new).max()):
            return reply(new)
        y = new
    raise ArithmeticError("the followers' replies do not settle")


def truth(game: Ordinary, x: Array, y: Array) -> Truth:
    """Search every player's own range at a point (d, J), (I, n)."""
    settled = game.answer(x[None])[0]
    alone = game.follower_payoff(settled, y, x) - game.follower_payoff(y, y, x)
    middle = np.sum(game.leader_bounds, axis=0) / 2
    usual = max(y.max(), settled.max(), game.answer(middle[None]).max())
    low, high = game.follower_bounds[0] + 0 * y, np.minimum(game.follower_bounds[1], usual)
    ends = (settled, y, (settled + low) / 2, low, high + 0 * y)
    moves = [game.follower_payoff(at, y, x) for at in ends]
    span = np.max(moves, axis=0) - np.min(moves, axis=0)
    with np.errstate(all="ignore"):
        follower = np.nanmax(np.where(span > 0, alone / span, 0.0))
    leaders, limits = zip(*(_leader(game, x, y, j) for j in range(x.shape[1])), strict=True)
    away = float(np.abs(y - settled).max() / usual) if usual > 0 else 0.0
    return Truth(float(follower), max(leaders), max(limits), away)


def payoff_alone(game: Ordinary, x: Array, j: int, met: float = MET) -> Callable[[Array], Array]:
    """Leader j's payoff (B,) by its own decisions (B, d), its rivals held and the followers settled
    anew; minus infinity where a limit of its own is broken.

    Args:
        game: the market.
        x: everybody's decisions (d, J).
        j: the leader.
        met: how far over a limit counts as met, as a share of its range.
    """
    reach = _reach(game, x, j)

    def payoff(trials: Array) -> Array:
        moved = _moved(x, j, trials)
        values, over = _payoffs(game, moved, game.answer(moved), j)
        return np.where(over <= met * reach, values, -np.inf)

    return payoff


def closing_in(
    values: Callable[[Array], Array], low: Array, high: Array, grid: int = 0
) -> tuple[Array, float, float]:
    """The best point of a box, its value, and the least value met, by a grid that closes in on its
    best cells; minus infinity if there is none.

    Args:
        values: of points (B, d), minus infinity where they are not open.
        low, high: the box (d,).
        grid: trials along each decision to begin with; default by how many there are.
    """
    d, lows, highs = len(low), low[None], high[None]
    point, best, worst = low, -np.inf, np.inf
    count = grid or GRID[d]
    step = (high - low) / (count - 1)
    for _ in range(CLOSER[d] + 1):
        trials = np.concatenate([_grid(a, b, count) for a, b in zip(lows, highs, strict=True)])
        found = values(trials)
        order = np.argsort(found)[::-1]
        if not np.isfinite(found[order[0]]):
            break
        if found[order[0]] > best:
            point, best = trials[order[0]], float(found[order[0]])
        worst = min(worst, float(found[np.isfinite(found)].min()))
        chosen = _apart(trials[order[:200]], step)
        lows, highs = np.maximum(chosen - step, low), np.minimum(chosen + step, high)
        count = FINER[d]
        step = 2.2 * step / (count - 1)
    return point, best, worst


def _leader(game: Ordinary, x: Array, y: Array, j: int) -> tuple[float, float]:
    """The most that leader j gains, and breaks of its limits, as shares."""
    low, high = (np.array(b[:, j]) for b in game.leader_bounds)
    here, broken = _payoffs(game, x[None], y[None], j)
    _, best, worst = closing_in(payoff_alone(game, x, j), low, high)
    reach, span = _reach(game, x, j), best - worst
    limit = max(0.0, float(broken[0])) / reach if reach > 0 else 0.0
    return (best - float(here[0])) / span if span > 0 else 0.0, limit


def _reach(game: Ordinary, x: Array, j: int) -> float:
    """How far leader j's own limits range over its decisions, either way; 0 if it has none."""
    if not game.leader_limits(x, game.answer(x[None])[0]):
        return 0.0
    low, high = (b[:, j] for b in game.leader_bounds)
    moved = _moved(x, j, _grid(low, high, GRID[len(low)]))
    _, over = _payoffs(game, moved, game.answer(moved), j)
    return float(np.abs(over[np.isfinite(over)]).max(initial=0.0))


def _moved(x: Array, j: int, own: Array) -> Array:
    """Everybody's decisions (B, d, J) where leader j's are some others (B, d)."""
    moved = np.repeat(x[None], len(own), axis=0)
    moved[:, :, j] = own
    return moved


def _apart(points: Array, step: Array) -> Array:
    """The first few points that are further apart than some steps."""
    kept: list[Any] = []
    for point in points:
        if all((np.abs(point - other) > 3 * step).any() for other in kept):
            kept.append(point)
        if len(kept) == 3:
            break
    return np.array(kept)


def _grid(low: Array, high: Array, count: int) -> Array:
    axes = [np.linspace(*ends, count) for ends in zip(low, high, strict=True)]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


def _payoffs(game: Ordinary, x: Array, y: Array, j: int) -> tuple[Array, Array]:
    """Leader j's payoffs (B,) and how far its own limits are broken (B,)."""
    values = np.broadcast_to(game.leader_payoff(x, y), (len(x), 1, x.shape[2]))[:, 0, j]
    over = np.full(len(x), -np.inf)
    for limit in game.leader_limits(x, y).values():
        over = np.maximum(over, np.broadcast_to(limit, (len(x), 1, x.shape[2]))[:, 0, j])
    return values, over
