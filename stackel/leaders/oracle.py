"""A backend's followers, as the leaders' search asks them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.followers.response import Response
from stackel.leaders.anticipation import Anticipation, foresee
from stackel.leaders.deviations import Oracle
from stackel.run import Run
from stackel.types import Array


class Followers(ABC):
    """A backend's way to answer leader actions (B, d, J).

    Attributes:
        calculus: the market, or a batch of B.
        anticipation: what leaders foresee.
        difference: step of numerical slopes, relative to 1 + |x|: large enough for the oracle's
            accuracy.
        exact: whether :meth:`slopes` are derivatives rather than differences.
    """

    difference = 3e-4
    exact = False

    def __init__(self, calculus: Calculus, anticipation: Anticipation) -> None:
        self.calculus, self.anticipation = calculus, anticipation

    def at(self, index: Any) -> Followers:
        """Those of some elements of a batch; of one market, as here, they stay who they are."""
        return self

    @abstractmethod
    def settle(self, x: Array, start: Response | None) -> Response:
        """The followers' equilibrium."""

    @abstractmethod
    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        """Each follower's best reply.

        Args:
            x: leader actions (B, d, J).
            rivals: everybody's actions, held (B, I, n).
            start: where to start; None: as the backend sees fit.

        Returns:
            a response whose residuals are per follower.
        """

    def foresee(self, x: Array, at: Response) -> Response:
        """What leaders foresee when they move to x (B, d, J) from where the followers stood."""
        own = partial(self.reply, start=None)
        return foresee(self.anticipation, x, at, self.settle, own)

    def slopes(self, x: Array, at: Response) -> tuple[Array, Array | None]:
        """Each leader's total derivative by its own decisions (B, d, J), here by central
        differences; and how followers move with each decision (B, d J, I, n), if that is known."""
        d, J = self.calculus.leader_shape
        up, down, width = steps(self.calculus, x, self.difference)
        trials = np.concatenate([up, down], 1)  # (B, 2 d J, d, J)
        B, count = trials.shape[:2]
        element, flat = np.repeat(np.arange(B), count), trials.reshape(B * count, d, J)
        answer = self.at(element).foresee(flat, at[element])
        payoff = self.calculus.at(element).leader_values(flat, answer.y)[0]
        payoff = payoff.reshape(B, 2, d * J, J)
        own, leader = np.arange(d * J), np.tile(np.arange(J), d)
        change = payoff[:, 0, own, leader] - payoff[:, 1, own, leader]
        return (change / width).reshape(B, d, J), None


def steps(calculus: Calculus, x: Array, relative: float) -> tuple[Array, Array, Array]:
    """Profiles with each decision in turn moved up and down, within the bounds.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (B, d, J).
        relative: how far, relative to 1 + |x|.

    Returns:
        those moved up and down, (B, p, d, J) each with p = d J, and how far they are apart (B, p).
    """
    low, high = (np.broadcast_to(b, x.shape)[:, None] for b in calculus.leader_bounds)
    B, p = len(x), x[0].size
    units = np.eye(p).reshape(p, *x.shape[1:])
    step = relative * (1.0 + np.abs(x))[:, None] * units
    up, down = np.minimum(x[:, None] + step, high), np.maximum(x[:, None] - step, low)
    width = (up - down).reshape(B, p, p)[:, np.arange(p), np.arange(p)]
    return up, down, np.where(width > 0, width, 1.0)


def trial_oracle(followers: Followers, run: Run, at: Response) -> Oracle:
    """What leaders foresee where they try other actions.

    Args:
        followers: who answers, of one market or of a batch of B.
        run: the run; trials end when its time is up.
        at: where the followers stand, of every element.
    """

    # Each trial starts from where the followers stand: decisions are found to no more digits than
    # payoffs tell apart, and so only the same path ends in the same place, alone and in a batch.
    def answer(trials: Array, element: Array) -> tuple[Array, Array]:
        run.check()
        out = followers.at(element).foresee(trials, at[element])
        return out.y, out.converged

    return answer


def record(run: Run, calculus: Calculus, x: Array, at: Response, change: float) -> None:
    """A row of the history: how far the leaders moved, where they are, what they have. Of a batch
    there is no history; only the time is looked at.

    Args:
        run: whose history it is.
        calculus: the market.
        x: leader actions (1, d, J).
        at: the followers' answers there.
        change: how far the leaders moved, in the units of x; where Newton's method ends, how far
            its own equations still are from being solved.

    Raises:
        Stop: the time is up.
    """
    if calculus.batched:
        run.check()
        return
    run.step(
        x[0],
        at.y[0],
        stage="outer",
        change=float(change),
        follower_residual=float(at.residual.max()),
        **{calculus.leader_name: x.ravel()},
        payoff=calculus.leader_values(x, at.y)[0][0],
    )
