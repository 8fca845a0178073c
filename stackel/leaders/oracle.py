"""A backend's followers, as the leaders' search asks them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers.response import Response
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation
from stackel.leaders.deviations import Oracle
from stackel.run import Run
from stackel.types import Array


class Followers(ABC):
    """A backend's way to answer leader actions (B, d, J)."""

    difference = 3e-4
    """Step of numerical slopes, relative to 1 + |x|: large enough for the oracle's accuracy."""

    exact_slopes = False
    """Whether :meth:`slopes` are derivatives rather than differences."""

    def __init__(self, game: Game, anticipation: Anticipation) -> None:
        self.game = game
        self.anticipation = anticipation

    @abstractmethod
    def settle(self, x: Array, start: Response | None) -> Response:
        """The followers' equilibrium."""

    @abstractmethod
    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        """Each follower's best reply, rivals (B, I, n) held; residuals are per follower."""

    def foresee(self, x: Array, at: Response) -> Response:
        """What leaders foresee when they move to x (B, d, J) from where followers stood at."""
        if self.anticipation == "equilibrium":
            return self.settle(x, at)
        if self.anticipation == "none":
            return at
        own = self.reply(x, at.y, None)
        good = np.asarray(own.converged.all(-1))
        return Response(own.y, at.lam, at.mu, own.residual.max(-1), good)

    def slopes(self, x: Array, at: Response) -> Array:
        """Each leader's total derivative by its own decisions (B, d, J), by central differences."""
        up, down, width = steps(self.game, x, self.difference)
        trials = np.concatenate([up, down], 1)  # (B, 2p, d, J)
        B, p2 = trials.shape[:2]
        held = at[np.repeat(np.arange(B), p2)]
        answer = self.foresee(trials.reshape(B * p2, *x.shape[1:]), held)
        flat = trials.reshape(B * p2, *x.shape[1:])
        payoff = trace(self.game).leader_values(flat, answer.y)[0].reshape(B, 2, p2 // 2, -1)
        d, J = self.game.leader_shape
        leader = np.tile(np.arange(J), d)
        change = payoff[:, 0, np.arange(d * J), leader] - payoff[:, 1, np.arange(d * J), leader]
        return (change / width).reshape(B, d, J)


def steps(game: Game, x: Array, relative: float) -> tuple[Array, Array, Array]:
    """Profiles with each decision in turn moved up and down, (B, p, d, J) each, and how far."""
    low, high = game.leader_bounds
    B, p = len(x), x[0].size
    step = relative * (1.0 + np.abs(x.reshape(B, p)))
    units = np.eye(p).reshape(p, *x.shape[1:])
    up = np.minimum(x[:, None] + step[..., None, None] * units, high)
    down = np.maximum(x[:, None] - step[..., None, None] * units, low)
    width = (up - down).reshape(B, p, p)[:, np.arange(p), np.arange(p)]
    return up, down, np.where(width > 0, width, 1.0)


def oracle(followers: Followers, run: Run, at: Response) -> Oracle:
    def answer(trials: Array) -> tuple[Array, Array]:
        run.check()
        held = at[np.zeros(len(trials), dtype=int)]
        out = followers.foresee(trials, held)
        known = followers.anticipation == "none"
        return out.y, np.ones(len(trials), dtype=bool) if known else out.converged

    return answer


def record(run: Run, game: Game, x: Array, at: Response, change: float) -> None:
    """A row of the history: how far the leaders moved, where they are, what they have."""
    run.step(
        x,
        at.y[0],
        stage="outer",
        change=float(change),
        follower_residual=float(at.residual.max()),
        **{trace(game).leader_name: x.ravel()},
        payoff=trace(game).leader_values(x, at.y[0])[0],
    )
