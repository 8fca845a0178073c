"""Answers to leaders' trial actions in a stack's games, each from the nearest answered before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers import response
from stackel.followers.response import Response
from stackel.followers.sensitivity import sensitivity
from stackel.game.game import Game
from stackel.types import Array

APART = 7
"""Of the first batch, every so many trials are answered first, for the others to start from."""


class StackTrials:
    """What :class:`stackel.response.Trials` is for one game, for the games of a stack.

    Where no limit binds, answers start to first order from the point the leaders stand at; else
    from the nearest trial in the batch before, whose spacing is a few times as wide at most.

    Args:
        game: the stack.
        x: leader actions (B, d, J) from which they try others.
        at: the followers' answer there.

    Attributes:
        unsettled: of each game, how many trials could not be answered (B,).
    """

    def __init__(self, game: Game, x: Array, at: Response) -> None:
        self.game, self.x, self.at = game, x, at
        self.unsettled = np.zeros(len(x), dtype=int)
        d, J = game.leader_shape
        units = np.eye(d * J).reshape(d * J, d, J)
        moves = sensitivity(game, x, at, units)
        self.moves = moves.reshape(len(x), d * J, -1)
        bound = at.lam.any((-1, -2)) | at.mu.any(-1)
        self.straight = ~bound & np.isfinite(self.moves).all((-1, -2))
        self._known: tuple[Array, Response] | None = None

    def __call__(self, trials: Array, element: Array) -> tuple[Array, Array]:
        """Follower actions (N, I, n) at leader actions (N, d, J), and which are good (N,).

        Args:
            trials: as many of every game.
            element: which game each is of (N,).
        """
        flat = trials.reshape(len(trials), -1)
        start = self._ahead(flat, element)
        bent = ~self.straight
        order = np.argsort(element, kind="stable").reshape(len(self.x), -1)[bent]  # (bent, T)
        if not bent.any():
            answer = self._settle(trials, element, start)
        elif self._known is None:
            first = self.straight[element]
            first[order[:, ::APART]] = True
            early, late = np.flatnonzero(first), np.flatnonzero(~first)
            answer = start.map(lambda array, core: np.array(array))
            self._put(answer, early, self._settle(trials[early], element[early], start[early]))
            seen = order[:, ::APART]
            known = flat[seen], answer[seen]
            self._nearest(start, late, flat, element, known)
            if len(late):
                self._put(answer, late, self._settle(trials[late], element[late], start[late]))
        else:
            self._nearest(start, order.ravel(), flat, element, self._known)
            answer = self._settle(trials, element, start)
        if bent.any():
            self._known = flat[order], answer[order]
        self.unsettled += np.bincount(element[~answer.converged], minlength=len(self.x))
        return answer.y, answer.converged

    def _settle(self, trials: Array, element: Array, start: Response) -> Response:
        return response.settle(trace(self.game).at(element), trials, start)

    def _ahead(self, flat: Array, element: Array) -> Response:
        """Starts to first order from where the leaders stand; without multipliers: far from where
        they were found, a limit that is wrongly taken to bind costs more steps than one that is
        found to."""
        at = self.at[element]
        shift = flat - self.x.reshape(len(self.x), -1)[element]
        moved = (shift[:, None] @ self.moves[element]).reshape(at.y.shape)
        y = at.y + np.where(self.straight[element][:, None, None], moved, 0.0)
        return replace(at, y=y, lam=np.zeros_like(at.lam), mu=np.zeros_like(at.mu))

    def _nearest(
        self,
        start: Response,
        which: Array,
        flat: Array,
        element: Array,
        known: tuple[Array, Response],
    ) -> None:
        """Let some trials, of games in which limits bind, start from what is known."""
        seen, answers = known
        row = (np.cumsum(~self.straight) - 1)[element[which]]
        far = np.abs(flat[which, None] - seen[row]).sum(-1)
        far = np.where(answers.converged[row], far, np.inf)
        self._put(start, which, answers[row, far.argmin(1)])

    @staticmethod
    def _put(response_: Response, index: Array, some: Response) -> None:
        for name in ("y", "lam", "mu", "residual", "converged"):
            getattr(response_, name)[index] = getattr(some, name)
