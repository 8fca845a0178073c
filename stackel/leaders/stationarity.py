"""The leaders' first-order conditions as a complementarity system."""

from __future__ import annotations

from copy import copy

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.yardsticks import moved
from stackel.followers import complementarity
from stackel.followers.response import Response
from stackel.leaders.oracle import Followers, record, steps
from stackel.run import Run
from stackel.types import Array

WIDE = 100.0
"""Times an action's own size that the range which it is found to a share of may be: a range that
was made wide to be no bound makes no answer coarse."""


class _Known:
    """What is known of every element at the profile looked at last.

    Attributes:
        x: leader actions (B, p) at which ``slopes``, ``jacobian`` and ``moves`` hold.
        at: the followers' answers; of the last profile at which they settled.
        settled: whether that was the last profile of all (B,).
        slopes: each decision's effect on its leader's payoff (B, p).
        jacobian: derivatives of minus the slopes (B, p, p).
        moves: how followers move with each decision (B, p, I, n), if the backend says.
    """

    def __init__(self, x: Array, at: Response) -> None:
        B, p = x.shape
        self.x, self.at = np.full((B, p), np.nan), at.map(lambda array, core: np.array(array))
        self.settled = np.zeros(B, dtype=bool)
        self.slopes, self.jacobian = np.zeros((B, p)), np.zeros((B, p, p))
        self.moves: Array | None = None


class Stationarity(complementarity.System):
    """All leaders' first-order conditions, one complementarity system for each element of a batch:
    a :class:`stackel.followers.complementarity.System` without limits.

    Args:
        followers: the oracle.
        run: the run.
        x: leader actions (B, d, J) to start from.
        at: the followers' answers there.
    """

    def __init__(self, followers: Followers, run: Run, x: Array, at: Response) -> None:
        self.followers, self.run, self.index = followers, run, np.arange(len(x))
        bounds = followers.calculus.leader_bounds
        self.low, self.high = (np.broadcast_to(b, x.shape).reshape(len(x), -1) for b in bounds)
        self.open_low = self.open_high = np.zeros(x[0].size, dtype=bool)
        self.reach = complementarity.FAR * (1.0 + np.abs(x).max((-1, -2)))[:, None]
        self.known = _Known(x.reshape(len(x), -1), at)
        self._stepped = np.array(x)

    def at(self, batch: Array) -> Stationarity:
        out = copy(self)
        for name in ("low", "high", "reach", "index"):
            setattr(out, name, getattr(self, name)[batch])
        return out

    def evaluate(self, x: Array) -> _Known:
        """Everything at profiles (b, p) of this system's elements."""
        known = self.known
        stale = (known.x[self.index] != x).any(-1)
        if stale.any():
            self.run.check()
            self._look(self.index[stale], x[stale])
        return known

    def _look(self, index: Array, x: Array) -> None:
        known, (b, p) = self.known, x.shape
        shape = self.followers.calculus.leader_shape
        some = self.followers.at(index)
        up, down, width = steps(some.calculus, x.reshape(b, *shape), self.followers.difference)
        # A profile and its neighbours at once; all start to first order from the last profile.
        group = np.concatenate([x.reshape(b, 1, *shape), up, down], 1)
        element = np.repeat(index, 1 + 2 * p)
        flat = group.reshape(-1, *shape)
        followers, start = self.followers.at(element), self.known.at[element]
        if known.moves is not None:
            shift = flat.reshape(-1, p) - known.x[element]
            shift = np.where(np.isfinite(shift), shift, 0.0)
            y = np.array(start.y)
            for decision in range(p):
                y += shift[:, decision, None, None] * known.moves[element, decision]
            start = Response(y, start.lam, start.mu, start.residual, start.converged)
        answer = followers.settle(flat, start)
        slopes, moves = followers.slopes(flat, answer)
        slopes = slopes.reshape(b, 1 + 2 * p, p)
        ahead, behind = slopes[:, 1 : 1 + p], slopes[:, 1 + p :]
        known.jacobian[index] = -np.swapaxes((ahead - behind) / width[..., None], -1, -2)
        known.slopes[index], known.x[index] = slopes[:, 0], x
        own = answer[np.arange(b) * (1 + 2 * p)]
        known.settled[index] = own.converged
        known.at.put(index[own.converged], own[own.converged])
        if moves is not None:
            if known.moves is None:
                known.moves = np.zeros((len(known.x), *moves.shape[1:]))
            known.moves[index] = moves[:: 1 + 2 * p]

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        return -self.evaluate(y).slopes[self.index], lam

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        h = np.abs(np.diagonal(self.evaluate(y).jacobian[self.index], axis1=-2, axis2=-1))
        floor = 1e-12 * h.max(-1, keepdims=True, initial=1e-300)
        return np.where(h > floor, h, 1.0), np.ones_like(lam), np.ones_like(lam)

    def lengths(self, y: Array, lam: Array, scales: complementarity.Scales) -> complementarity.Pair:
        width, own = self.high - self.low, moved(y, (self.low, self.high))
        length = np.where(np.isfinite(width) & (width > 0), width, 1.0 + np.abs(y))
        length = np.where(own > 0, np.minimum(length, WIDE * own), length)
        return np.minimum(length, self.reach), lam

    def step(
        self,
        y: Array,
        lam: Array,
        rows: complementarity.Rows,
        right_y: Array,
        right_lam: Array,
    ) -> tuple[Array, Array]:
        known = self.evaluate(y)
        x = y.reshape(-1, *self.followers.calculus.leader_shape)
        change = np.abs(x - self._stepped[self.index]).max()
        self._stepped[self.index] = x
        record(self.run, self.followers.calculus, x, known.at[self.index], change)
        diagonal = rows.diagonal_y[..., None] * np.eye(y.shape[-1])
        matrix = rows.weight_y[..., None] * known.jacobian[self.index] + diagonal
        return matrices.solve(matrix, right_y[..., None])[..., 0], -lam

    def concave(self, y: Array) -> Array:
        """Where every free decision sits at a maximum, not at a minimum, of its leader (b,)."""
        known = self.evaluate(y)
        slopes = known.slopes[self.index]
        h = np.diagonal(known.jacobian[self.index], axis1=-2, axis2=-1)
        scale = np.abs(h).max(-1, keepdims=True, initial=1e-300)
        free = (y > self.low) & (y < self.high)
        pushed = (slopes > 0) & (y >= self.high) | (slopes < 0) & (y <= self.low)
        return ((h >= -1e-9 * scale) | ~free | pushed).all(-1)
