"""Anderson acceleration of fixed-point iterations, many side by side."""

from __future__ import annotations

import numpy as np

from stackel.types import Array

GROWTH = 10.0
"""Replies that move by this much more than they once did overshoot."""


PATIENCE = 12
"""Iterations without progress after which the acceleration starts afresh, more damped."""


LEAST_DAMPING = 1e-3


class Mixer:
    """Anderson acceleration of y = T(y), for B elements side by side.

    Args:
        count, size: B, and the length of y.
        memory: how many differences to use; 0 is plain iteration, with damping.
    """

    def __init__(self, count: int, size: int, memory: int) -> None:
        self.memory = memory
        self.damping = np.ones(count)
        self.best = np.full(count, np.inf)
        self.best_at, self.best_step = np.zeros((count, size)), np.zeros((count, size))
        self.stalled = np.zeros(count, dtype=int)
        self.known = np.zeros(count, dtype=int)
        self.before_at, self.before_step = np.zeros((count, size)), np.zeros((count, size))
        self.d_at = np.zeros((count, size, memory))
        self.d_step = np.zeros((count, size, memory))

    def next(self, live: Array, at: Array, reached: Array, floor: Array) -> tuple[Array, Array]:
        """Where to go next, (L, size), and which of them have restarted, (L,).

        Args:
            live: which of the B elements, (L,).
            at: where they are (L, size).
            reached: the replies there (L, size).
            floor: steps below it (L,) are as short as any: what they grow by is noise.
        """
        step = reached - at
        length = np.abs(step).max(-1)
        again = length > GROWTH * np.maximum(self.best[live], floor)
        better = length < self.best[live]
        self.stalled[live] = np.where(better, 0, self.stalled[live] + 1)
        again |= self.stalled[live] > PATIENCE
        improved = live[better]
        self.best[improved], self.best_at[improved] = length[better], at[better]
        self.best_step[improved] = step[better]
        out = self._mix(live, at, step)
        if again.any():
            worse = live[again]
            halved = np.maximum(self.damping[worse] / 2, LEAST_DAMPING)
            self.damping[worse], self.known[worse], self.stalled[worse] = halved, 0, 0
            out[again] = self.best_at[worse] + halved[:, None] * self.best_step[worse]
        return out, again

    def _mix(self, live: Array, at: Array, step: Array) -> Array:
        damping = self.damping[live][:, None]
        out = at + damping * step
        if self.memory:
            past = self.known[live]
            had = past > 0
            rows, slot = live[had], (past[had] - 1) % self.memory
            self.d_at[rows, :, slot] = at[had] - self.before_at[rows]
            self.d_step[rows, :, slot] = step[had] - self.before_step[rows]
            used = np.minimum(past, self.memory)
            mask = np.arange(self.memory) < used[:, None]
            d_at = self.d_at[live] * mask[:, None]
            d_step = self.d_step[live] * mask[:, None]
            gamma = np.linalg.pinv(d_step, rcond=1e-10) @ step[..., None]
            out = out - ((d_at + damping[..., None] * d_step) @ gamma)[..., 0]
        self.before_at[live], self.before_step[live] = at, step
        self.known[live] += 1
        return out
