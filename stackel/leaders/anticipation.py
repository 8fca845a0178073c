"""What leaders foresee of the followers when they move."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from stackel.errors import OptionError
from stackel.followers.response import Response, reply, settle
from stackel.followers.sensitivity import predictor
from stackel.followers.systems import CHUNK
from stackel.game.game import Game
from stackel.types import Array

Anticipation = Literal["equilibrium", "own_response", "none"]
"""What a leader foresees of the followers when it deviates: their new equilibrium (Stackelberg);
each one's own reply to the new price, the others' purchases held; or nothing at all."""


def check_anticipation(anticipation: str) -> None:
    if anticipation not in get_args(Anticipation):
        raise OptionError(
            f"anticipation = {anticipation!r}; expected one of {', '.join(get_args(Anticipation))}"
        )


TRIAL = 1e-10
"""Residual to which trial actions of leaders are answered: Newton's last step overshoots it."""


def respond(game: Game, x: Array, at: Response, anticipation: Anticipation) -> Response:
    """What the leaders foresee when they move to x and the followers stood at ``at``."""
    if anticipation == "equilibrium":
        return settle(game, x, at, TRIAL)
    if anticipation == "none":
        return at.broadcast(x.shape[:-2])
    own = reply(game, x, at.y, at)
    mu = np.broadcast_to(at.mu, (*x.shape[:-2], at.mu.shape[-1]))
    residual, converged = own.residual.max(-1), np.asarray(own.converged.all(-1))
    return Response(own.y, own.lam[..., : at.lam.shape[-1]], mu, residual, converged)


class Trials:
    """Answers leaders' trial actions, batch after batch, each from the nearest answered before.

    The first batch starts from ``at`` without its multipliers: far from where they were found, a
    limit that is wrongly taken to bind costs more steps than one that is found to.
    """

    def __init__(
        self, game: Game, at: Response, anticipation: Anticipation, x: Array | None = None
    ) -> None:
        self.game, self.at, self.anticipation = game, at, anticipation
        known = x is not None and anticipation == "equilibrium" and bool(at.converged.all())
        self._ahead = predictor(game, x, at) if x is not None and known else None
        self._known: tuple[Array, Response] | None = None

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Follower actions (B, I, n) at leader actions (B, d, J), and which are good (B,)."""
        if self.anticipation != "equilibrium":
            answer = respond(self.game, x, self.at, self.anticipation)
            blind = self.anticipation == "none"
            return answer.y, np.broadcast_to(answer.converged | blind, len(x))
        flat = x.reshape(len(x), -1)
        if self._ahead is not None:
            answer = settle(self.game, x, self._ahead(x), TRIAL)
            return answer.y, answer.converged
        if self._known is None:
            start = replace(self.at, lam=0.0 * self.at.lam, mu=0.0 * self.at.mu)
        else:
            seen, answers = self._known
            start = answers[np.abs(flat[:, None] - seen[None]).sum(-1).argmin(1)]
        answer = settle(self.game, x, start, TRIAL)
        good = answer.converged
        if self._known is None and answer.y.size <= CHUNK and good.any():
            self._known = (flat[good], answer[good])
        return answer.y, answer.converged
