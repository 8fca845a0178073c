"""The leaders' first-order conditions as a complementarity system."""

from __future__ import annotations

import numpy as np

from stackel.calculus import matrices
from stackel.followers import complementarity
from stackel.followers.response import Response
from stackel.leaders.oracle import Followers, record, steps
from stackel.run import Run
from stackel.types import Array


class Stationarity:
    """The leaders' first-order conditions as a complementarity system (one batch element)."""

    def __init__(self, followers: Followers, run: Run, at: Response) -> None:
        self.followers, self.run, self.begin = followers, run, at
        self.game = followers.game
        low, high = self.game.leader_bounds
        self.low, self.high = low.ravel(), high.ravel()
        self.open_low = self.open_high = np.zeros(low.size, dtype=bool)
        self._known: dict[bytes, tuple[Response, Array]] = {}
        self._jacobians: dict[bytes, Array] = {}
        self._last: Array | None = None

    def at(self, batch: Array) -> Stationarity:
        return self

    def evaluate(self, x: Array) -> tuple[Response, Array]:
        """The response and slopes at one profile (d, J), remembered."""
        key = x.tobytes()
        if key not in self._known:
            self.run.check()
            up, down, width = steps(self.game, x[None], self.followers.difference)
            group = np.concatenate([x[None], up[0], down[0]])  # x and its neighbours at once
            answer = self.followers.settle(group, self.begin)
            slopes = self.followers.slopes(group, answer)
            at = answer[:1]
            if at.converged.all():
                self.begin = at  # the next profile is likely closer to this one
            ahead, behind = np.split(slopes[1:].reshape(-1, x.size), 2)
            self._known[key] = at, slopes[0]
            self._jacobians[key] = -((ahead - behind) / width[0][:, None]).T
        return self._known[key]

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        _, slopes = self.evaluate(y.reshape(self.game.leader_shape))
        return -slopes.reshape(1, -1), lam

    def jacobian(self, y: Array) -> Array:
        """Derivatives of minus the slopes, (p, p), by central differences."""
        x = y.reshape(self.game.leader_shape)
        self.evaluate(x)
        return self._jacobians[x.tobytes()]

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        h = np.abs(np.diagonal(self.jacobian(y)))
        h = np.where(h > 1e-12 * h.max(initial=1e-300), h, 1.0)[None]
        return h, np.ones_like(lam), np.ones_like(lam)

    def step(
        self,
        y: Array,
        lam: Array,
        rows: complementarity.Rows,
        right_y: Array,
        right_lam: Array,
    ) -> tuple[Array, Array]:
        x = y.reshape(self.game.leader_shape)
        at, _ = self.evaluate(x)
        before = self._last if self._last is not None else x
        self._last = x
        record(self.run, self.game, x, at, float(np.abs(x - before).max()))
        matrix = rows.weight_y[0][:, None] * self.jacobian(y) + np.diag(rows.diagonal_y[0])
        return matrices.solve(matrix[None], right_y[..., None])[..., 0], -lam

    def concave(self, y: Array, margin: float = 1e-9) -> bool:
        """Whether every free decision sits at a maximum, not at a minimum, of its leader."""
        _, slopes = self.evaluate(y.reshape(self.game.leader_shape))
        h = np.diagonal(self.jacobian(y))
        scale = np.abs(h).max(initial=1e-300)
        flat_slopes = slopes.ravel()
        free = (y > self.low) & (y < self.high)
        pushed = (flat_slopes > 0) & (y >= self.high) | (flat_slopes < 0) & (y <= self.low)
        return bool((h[free & ~pushed] >= -margin * scale).all())
