"""What the followers answer: their equilibrium at given leader actions, and their best replies.

Everything takes batches of leader actions, so that a leader's whole price grid is one call.
The functions return *candidates with residuals*: who uses an answer looks at ``converged``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.axes import wide
from stackel.calculus.calculus import Calculus, trace
from stackel.followers import complementarity
from stackel.followers.complementarity import Solution
from stackel.followers.lengths import natural_guess
from stackel.followers.limits import can_be_met
from stackel.followers.starts import inside
from stackel.followers.systems import CHUNK, Alone, Joint
from stackel.game.game import Game
from stackel.types import Array

SMALL = 60
"""Followers' decisions up to which it is asked whether limits can be met before it is tried hard to
settle there."""

ARRAYS = ("y", "lam", "mu", "residual", "converged")


@dataclass(frozen=True)
class Response:
    """Follower actions at given leader actions, batch axes in front.

    Attributes:
        y: actions (..., I, n).
        lam: multipliers of the own limits (..., I, m).
        mu: multipliers of the shared limits (..., k).
        residual: distance from solving the system, each unknown's relative to its own size (...).
        converged: whether that is negligible (...).
        iterations: Newton steps of the slowest element.
    """

    y: Array
    lam: Array
    mu: Array
    residual: Array
    converged: Array
    iterations: int = 0

    def __getitem__(self, index: Any) -> Response:
        """The response at some batch elements."""
        return self.map(lambda array, core: array[index])

    def map(self, change: Callable[[Array, tuple[int, ...]], Array]) -> Response:
        """The response with every array changed, given its core shape."""
        per_follower = self.residual.ndim > self.y.ndim - 2  # a best reply's, one each

        def changed(array: Array, core: int) -> Array:
            return change(array, array.shape[array.ndim - core :])

        return Response(
            changed(self.y, 2),
            changed(self.lam, 2),
            changed(self.mu, 1),
            changed(self.residual, int(per_follower)),
            changed(self.converged, int(per_follower)),
            self.iterations,
        )

    def broadcast(self, batch: tuple[int, ...]) -> Response:
        """The response with these batch axes."""
        if self.converged.shape == batch == self.y.shape[:-2] == self.lam.shape[:-2]:
            return self
        return self.map(lambda array, core: wide(array, (*batch, *core)))

    def reshape(self, batch: tuple[int, ...]) -> Response:
        """The response with these batch axes in place of its own."""
        if self.y.shape[:-2] == batch:
            return self
        return self.map(lambda array, core: array.reshape((*batch, *core)))

    def put(self, index: Array, some: Response) -> None:
        """Replace some batch elements."""
        for name in ARRAYS:
            getattr(self, name)[index] = getattr(some, name)

    @staticmethod
    def join(parts: Sequence[Response]) -> Response:
        """Responses one after the other along their first batch axis."""
        joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ARRAYS}
        return Response(**joined, iterations=max(p.iterations for p in parts))


def settle(
    game: Game | Calculus, x: Array, start: Response | None = None, tolerance: float = 1e-12
) -> Response:
    """The followers' equilibrium at leader actions x.

    Args:
        game: the market.
        x: leader actions (..., d, J).
        start: a response to start from; its batch axes broadcast to x's. Elements that fail from
            it are tried again from scratch.
        tolerance: residual to aim for, relative to each unknown's own size.
    """
    calculus, x = trace(game), np.asarray(x, dtype=float)
    batch = x.shape[:-2]
    flat = x.reshape(math.prod(batch), *x.shape[-2:])
    if start is not None:
        start = start.broadcast(batch).reshape((len(flat),))
    p = math.prod(calculus.follower_shape)
    rows = max(1, CHUNK // max(p * p if p <= 300 else 20 * p, 1))
    if len(flat) > rows:
        parts = []
        for s in range(0, len(flat), rows):
            part = slice(s, s + rows)
            own = None if start is None else start[part]
            parts.append(settle(calculus.at(part), flat[part], own, tolerance))
        return Response.join(parts).reshape(batch)
    system = Joint(calculus, flat)
    solution = _newton_joint(system, start, len(flat), tolerance)
    again = np.flatnonzero(~solution.converged)
    if len(again) and p <= SMALL:  # who cannot meet its limits at all settles nowhere
        y = np.clip(system.unflat(solution.y, solution.lam)[0], *calculus.follower_bounds)
        again = again[can_be_met(calculus.at(again), flat[again], y[again])]
    if len(again):
        retry = _newton_joint(system.at(again), None, len(again), tolerance, smooth=True)
        better = retry.residual < solution.residual[again]
        for name in ("y", "lam", "residual", "converged"):
            getattr(solution, name)[again[better]] = getattr(retry, name)[better]
    y, lam, mu = system.unflat(solution.y, solution.lam)
    slowest = int(solution.iterations.max(initial=0))
    out = Response(y, lam, mu, solution.residual, solution.converged, slowest)
    return out.reshape(batch)


def _newton_joint(
    system: Joint, start: Response | None, count: int, tolerance: float, smooth: bool = False
) -> Solution:
    calculus = system.calculus
    if start is None:
        guess = inside(calculus, natural_guess(calculus, system.x))
        y = np.broadcast_to(guess, (count, *system.shape))
        lam, mu = calculus.zeros((count,))
    else:
        y, lam, mu = inside(calculus, start.y), start.lam, start.mu
    flat = system.flat(y, lam, mu)
    return complementarity.solve(system, *flat, tolerance=tolerance, smooth=smooth)


def reply(
    game: Game | Calculus, x: Array, rivals: Array, start: Response | None = None
) -> Response:
    """Every follower's best reply to the others' actions, each on its own.

    The own problems are solved by their optimality conditions: exact where the payoff is concave
    and the limits convex in the own action. Shared limits bind each follower, given the others;
    their multipliers are then in the last columns of ``lam``.

    Args:
        game: the market.
        x: leader actions (..., d, J).
        rivals: everybody's actions (..., I, n).
        start: where to start; default the rivals' profile.

    Returns:
        a response whose ``residual`` and ``converged`` are per follower (..., I).
    """
    calculus = trace(game)
    x, rivals = np.asarray(x, dtype=float), np.asarray(rivals, dtype=float)
    batch = np.broadcast_shapes(x.shape[:-2], rivals.shape[:-2])
    flat_x, flat_r = (
        np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(math.prod(batch), *a.shape[-2:])
        for a in (x, rivals)
    )
    system = Alone(calculus, flat_x, flat_r)
    count, q = len(flat_x), calculus.m + calculus.k
    y, lam = flat_r, np.zeros((count, calculus.n_followers, q))
    if start is not None:
        start = start.broadcast(batch).reshape((count,))
        y, lam = start.y, start.lam if start.lam.shape[-1] == q else lam
    begin = inside(calculus, y)
    solution = complementarity.solve(system, begin, lam, smooth=True)
    out = Response(
        solution.y,
        solution.lam,
        np.zeros((count, 0)),
        solution.residual,
        solution.converged,
        int(solution.iterations.max(initial=0)),
    )
    return out.reshape(batch)
