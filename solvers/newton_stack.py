"""``newton`` for many games of one shape at once: the same steps, each game with its own mask.

Games in which the search finds no equilibrium (a cycle, leaders' limits that bind) are left to be
solved alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.calculus import trace
from stackel.followers import complementarity, response
from stackel.followers.response import Response
from stackel.followers.sensitivity import sensitivity
from stackel.game.game import Game
from stackel.leaders.deviations import FEASIBLE, search_lines, search_range
from stackel.run import Points, Run
from stackel.types import Array

STEP = 1e-5
"""Step of the slopes' differences, relative to 1 + |x|."""


@dataclass
class _Memo:
    """What is known of every game of a stack at the profile looked at last.

    Attributes:
        x: leader actions (B, p) at which ``at``, ``moves`` and ``slopes`` hold.
        at: the followers' answer; of the last profile at which they settled.
        settled: whether that was the last profile of all (B,).
        moves: how followers move with each decision (B, p, I, n).
        slopes: each decision's effect on its leader's payoff (B, p).
        jacobian_x: leader actions (B, p) at which ``jacobian`` (B, p, p) holds.
    """

    x: Array
    at: Response
    settled: Array
    moves: Array
    slopes: Array
    jacobian_x: Array
    jacobian: Array

    def put(self, index: Array, x: Array, at: Response, moves: Array, slopes: Array) -> None:
        self.x[index], self.moves[index], self.slopes[index] = x, moves, slopes
        self.settled[index] = at.converged
        good = at.converged
        for name in ("y", "lam", "mu", "residual", "converged"):
            getattr(self.at, name)[index[good]] = getattr(at, name)[good]


class _Stationarity:
    """All leaders' first-order conditions, a complementarity system for each game."""

    def __init__(self, game: Game, run: Run, at: Response) -> None:
        self.game, self.run = game, run
        self.index = np.arange(len(at.y))
        B, (d, J) = len(at.y), game.leader_shape
        p = d * J
        self.low, self.high = (b.reshape(B, p) for b in game.leader_bounds)
        self.open_low = self.open_high = np.zeros(p, dtype=bool)
        self.leader = np.tile(np.arange(J), d)  # whose each decision is
        self.units = np.eye(p).reshape(p, d, J)
        nowhere = np.full((B, p), np.nan)
        own = at.map(lambda array, core: np.array(array))
        self.memo = _Memo(
            nowhere,
            own,
            np.zeros(B, dtype=bool),
            np.zeros((B, p, *game.follower_shape)),
            np.zeros((B, p)),
            nowhere.copy(),
            np.zeros((B, p, p)),
        )

    def at(self, batch: Array) -> _Stationarity:
        out = object.__new__(_Stationarity)
        out.__dict__.update(self.__dict__)
        out.low, out.high, out.index = self.low[batch], self.high[batch], self.index[batch]
        return out

    def _shaped(self, x: Array) -> Array:
        return x.reshape(-1, *self.game.leader_shape)

    def _slopes(self, game: Game, x: Array, at: Response) -> tuple[Array, Array]:
        """Moves (B, p, I, n) and slopes (B, p) at profiles (B, p)."""
        moves = sensitivity(game, self._shaped(x), at, self.units)
        directions = self.units[:, None], np.moveaxis(moves, 1, 0)
        slopes = trace(game).leader_slopes(self._shaped(x), at.y, *directions)[0]  # (p, B, J)
        own = slopes[np.arange(len(self.leader)), :, self.leader]
        return moves, own.T

    def evaluate(self, x: Array) -> Array:
        """Slopes (B, p) at profiles (B, p), remembered."""
        stale = (self.memo.x[self.index] != x).any(-1)
        if stale.any():
            self.run.check()
            index, some = self.index[stale], x[stale]
            game = trace(self.game).at(index)
            at = response.settle(game, self._shaped(some), self.memo.at[index])
            self.memo.put(index, some, at, *self._slopes(game, some, at))
        return self.memo.slopes[self.index]

    def jacobian(self, x: Array) -> Array:
        """Derivatives of minus the slopes (B, p, p), by central differences."""
        self.evaluate(x)
        stale = (self.memo.jacobian_x[self.index] != x).any(-1)
        if stale.any():
            index = self.index[stale]
            self.memo.jacobian_x[index] = x[stale]
            self.memo.jacobian[index] = self._differences(index, x[stale], stale)
        return self.memo.jacobian[self.index]

    def _differences(self, index: Array, x: Array, part: Array) -> Array:
        B, p = x.shape
        step = STEP * (1.0 + np.abs(x))[:, None] * np.eye(p)  # (B, p, p)
        up = np.minimum(x[:, None] + step, self.high[part][:, None])
        down = np.maximum(x[:, None] - step, self.low[part][:, None])
        width = np.diagonal(up - down, axis1=-2, axis2=-1)
        width = np.where(width > 0, width, 1.0)
        trials = np.concatenate([up, down], 1)  # (B, 2p, p)
        shift = trials - x[:, None]
        repeated = np.repeat(index, 2 * p)
        game, at = trace(self.game).at(repeated), self.memo.at[repeated]
        moves = np.einsum("btp,bpin->btin", shift, self.memo.moves[index], optimize=True)
        ahead = Response(at.y + moves.reshape(at.y.shape), at.lam, at.mu, at.residual, at.converged)
        flat = trials.reshape(-1, p)
        answer = response.settle(game, self._shaped(flat), ahead)
        slopes = self._slopes(game, flat, answer)[1].reshape(B, 2, p, p)
        return -np.swapaxes((slopes[:, 0] - slopes[:, 1]) / width[..., None], -1, -2)

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        return -self.evaluate(y), lam

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        h = np.abs(np.diagonal(self.jacobian(y), axis1=-2, axis2=-1))
        floor = 1e-12 * h.max(-1, keepdims=True, initial=1e-300)
        return np.where(h > floor, h, 1.0), np.ones_like(lam), np.ones_like(lam)

    def step(
        self,
        y: Array,
        lam: Array,
        rows: complementarity.Rows,
        right_y: Array,
        right_lam: Array,
    ) -> tuple[Array, Array]:
        diagonal = rows.diagonal_y[..., None] * np.eye(y.shape[-1])
        matrix = rows.weight_y[..., None] * self.jacobian(y) + diagonal
        return matrices.solve(matrix, right_y[..., None])[..., 0], -lam

    def concave(self, y: Array, margin: float = 1e-9) -> Array:
        """Where every free decision sits at a maximum, not at a minimum, of its leader (B,)."""
        slopes, h = self.evaluate(y), np.diagonal(self.jacobian(y), axis1=-2, axis2=-1)
        scale = np.abs(h).max(-1, keepdims=True, initial=1e-300)
        free = (y > self.low) & (y < self.high)
        pushed = (slopes > 0) & (y >= self.high) | (slopes < 0) & (y <= self.low)
        return ((h >= -margin * scale) | ~free | pushed).all(-1)


@dataclass
class _Search:
    """The leaders' search in a stack's games: where each is, and which are done."""

    whole: Game
    run: Run
    tolerance: float
    x: Array  # (B, d, J)
    at: Response
    solved: Array  # (B,)
    sweeps: Array  # (B,)
    newton_steps: Array  # (B,)

    def move(self, index: Array, x: Array, at: Response) -> None:
        """Put some games at other profiles."""
        self.x[index] = x
        for name in ("y", "lam", "mu", "residual", "converged"):
            getattr(self.at, name)[index] = getattr(at, name)

    def newton(self, index: Array) -> None:
        """Newton's method on the first-order conditions from where the games stand; those whose
        solution is no equilibrium stay there."""
        whole, start = trace(self.whole).at(index), self.x[index]
        flat = start.reshape(len(index), -1)
        system = _Stationarity(whole, self.run, self.at[index])
        solution = complementarity.solve(
            system,
            flat,
            np.zeros((len(flat), 0)),
            tolerance=self.tolerance,
            acceptable=100 * self.tolerance,
            max_iterations=25,
            patience=3,
            usual=np.abs(flat).max(-1),
        )
        self.newton_steps[index] += solution.iterations
        x, at = solution.y.reshape(start.shape), system.memo.at
        good = solution.converged & np.isfinite(solution.y).all(-1)
        system.evaluate(solution.y)
        good &= system.memo.settled & system.concave(solution.y)
        if trace(whole).formulas.leader_limits:
            good &= (trace(whole).leader_values(x, at.y)[1] < 0).all((-1, -2))
        good &= ~_returning(whole, start, x, at)
        self.move(index[good], x[good], at[good])
        self.solved[index[good]] = True

    def sweep(self, index: Array, points: int) -> Array:
        """Each leader in turn to its best decision; how far any moved, relative to 1 + |x| (B,)."""
        whole, x, at = trace(self.whole).at(index), self.x[index], self.at[index]

        # Each trial starts where the same search in one game starts it: decisions are found to no
        # more digits than payoffs tell apart, and so only the same path ends in the same place.
        def oracle(trials: Array, element: Array) -> tuple[Array, Array]:
            self.run.check()
            out = response.settle(trace(whole).at(element), trials, at[element])
            return out.y, out.converged

        for j in range(whole.n_leaders):
            found = search_lines(whole, x, oracle, points=points, rounds=7, leaders=np.array([j]))
            known = np.isfinite(found.payoff[:, j])[:, None, None]
            x = np.where(known, found.action, x)
            at = response.settle(whole, x, at)
        change = np.abs(x - self.x[index]).max((-1, -2)) / (1.0 + np.abs(x).max((-1, -2)))
        self.move(index, x, at)
        self.sweeps[index] += 1
        return change


def find(
    whole: Game,
    run: Run,
    start: Array,
    settled: Response,
    *,
    tolerance: float,
    max_sweeps: int,
    points: int,
) -> Points:
    """The leaders' equilibria of a stack's games.

    Args:
        whole: the stack.
        run: the run; its clock is looked at.
        start: leader actions (B, d, J).
        settled: the followers' answers there.
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best decisions in turn.
        points: trial decisions on each line.
    """
    x = np.array(start)
    none, at = np.zeros(len(x), dtype=int), settled.map(lambda array, core: np.array(array))
    search = _Search(whole, run, tolerance, x, at, none > 0, none.copy(), none.copy())
    lines = whole.leader_shape[0] == 1 and not trace(whole).formulas.leader_limits
    open_ = np.arange(len(x))
    trail: list[Array] = []
    while len(open_):
        search.newton(open_)
        open_ = open_[~search.solved[open_]]
        if not lines:
            break
        for _ in range(3):
            open_ = open_[search.sweeps[open_] < max_sweeps]
            if not len(open_):
                break
            trail.append(search.x.copy())
            change = search.sweep(open_, points)
            still = change <= max(tolerance, 1e-8)
            search.solved[open_[still]] = True
            open_ = open_[~still & ~_visited(whole, search.x, trail[:-1])[open_]]
    stats = {"newton_steps": search.newton_steps, "sweeps": search.sweeps}
    solved = search.solved & search.at.converged
    return Points(search.x, search.at.y, search.at.lam, search.at.mu, solved, stats)


def _visited(whole: Game, x: Array, trail: list[Array]) -> Array:
    """Where a profile came up before: a cycle (B,)."""
    low, high = search_range(whole, x)
    width = np.where(high > low, high - low, 1.0)
    out = np.zeros(len(x), dtype=bool)
    for old in trail:
        out |= (np.abs(x - old) <= 1e-6 * width).all((-1, -2))
    return out


def _returning(whole: Game, start: Array, x: Array, at: Response) -> Array:
    """Where some leader does better by going back alone to where it started (B,)."""
    B, J = len(x), x.shape[-1]
    trials = np.repeat(x[:, None], J, axis=1)  # (B, J, d, J)
    trials[:, np.arange(J), :, np.arange(J)] = np.moveaxis(start, -1, 0)
    index = np.repeat(np.arange(B), J)
    game, flat = trace(whole).at(index), trials.reshape(B * J, *x.shape[1:])
    answer = response.settle(game, flat, at[index])
    payoff, limits = trace(game).leader_values(flat, answer.y)
    leader = np.tile(np.arange(J), B)
    there = payoff[np.arange(B * J), leader]
    met = (limits[np.arange(B * J), :, leader] <= FEASIBLE).all(-1)
    there = np.where(met & answer.converged & np.isfinite(there), there, -np.inf).reshape(B, J)
    now = trace(whole).leader_values(x, at.y)[0]
    size = np.abs(now).max(-1, keepdims=True)
    return (there - now > 1e-9 * (1e-300 + size)).any(-1)
