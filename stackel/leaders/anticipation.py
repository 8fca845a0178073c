"""What leaders foresee of the followers when they move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.errors import OptionError
from stackel.followers.replies import settle_best
from stackel.followers.response import Response, reply, settle
from stackel.followers.sensitivity import sensitivity
from stackel.types import Array

Anticipation = Literal["equilibrium", "own_response", "none"]
"""What a leader foresees of the followers when it deviates: their new equilibrium (Stackelberg);
each one's own reply to the new price, the others' purchases held; or nothing at all."""

Lost = list[tuple[int, Array]]
"""Trials at which the followers were not settled: the element and the leader actions (d, J)."""

TRIAL = 1e-10
"""Residual to which trial actions of leaders are answered: Newton's last step overshoots it."""

APART = 7
"""Where limits bind, every so many trials are answered first, for the others to start from."""

FEW = 1 / 8
"""Share of trials up to which those that are lost are tried once more: where many are, the
followers have no answer."""

GRID = 257
"""Trial actions on a follower's own range, where its answer to a trial is not proved the best."""


def check_anticipation(anticipation: str) -> None:
    """Check that a word is one of :data:`Anticipation`'s.

    Raises:
        OptionError: it is none.
    """
    if anticipation not in get_args(Anticipation):
        raise OptionError(
            f"anticipation = {anticipation!r}; expected one of {', '.join(get_args(Anticipation))}"
        )


def foresee(
    anticipation: Anticipation,
    x: Array,
    at: Response,
    settle: Callable[[Array, Response], Response],
    reply: Callable[[Array, Array], Response],
) -> Response:
    """What leaders foresee when they move.

    Args:
        anticipation: how far they look.
        x: where they move to (B, d, J).
        at: where the followers stood.
        settle: the followers' equilibrium at leader actions, from a start.
        reply: each follower's own reply to leader actions and rivals, residuals per follower.
    """
    if anticipation == "equilibrium":
        return settle(x, at)
    if anticipation == "none":
        return replace(at, converged=np.ones(len(x), dtype=bool))
    own = reply(x, at.y)
    good = np.asarray(own.converged.all(-1))
    return replace(at, y=own.y, residual=own.residual.max(-1), converged=good)


class Trials:
    """Answers leaders' trial actions, batch after batch.

    Where no limit binds, answers start to first order from the point the leaders stand at; else
    from the nearest trial answered before.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (B, d, J) from which they try others.
        at: the followers' answers there.
        anticipation: what leaders foresee.
        concave: where it is worth trying to prove followers concave by intervals (B,).

    Attributes:
        lost: trials at which the followers were not settled.
    """

    def __init__(
        self,
        calculus: Calculus,
        x: Array,
        at: Response,
        anticipation: Anticipation = "equilibrium",
        concave: Array | None = None,
    ) -> None:
        self.calculus, self.x, self.at, self.anticipation = calculus, x, at, anticipation
        self.concave = concave
        self.straight = np.zeros(len(x), dtype=bool)
        if anticipation == "equilibrium":
            d, J = calculus.leader_shape
            units = np.eye(d * J).reshape(d * J, d, J)
            self.moves = sensitivity(calculus, x, at, units)  # (B, d J, I, n)
            bound = at.lam.any((-1, -2)) | at.mu.any(-1) | ~at.converged
            self.straight = ~bound & np.isfinite(self.moves).all((-1, -2, -3))
            self.moves[~self.straight] = 0.0
        # Of elements in which limits bind: every batch's, their trials and answers.
        self._known: list[tuple[Array, Array, Response]] = []
        self._last = np.zeros(len(x), dtype=int)  # the last batch that each was in
        self.lost: Lost = []

    def __call__(self, trials: Array, element: Array) -> tuple[Array, Array]:
        """Follower actions (N, I, n) at leader actions (N, d, J), and which are good (N,).

        Args:
            trials: as many of every element that is asked about.
            element: which element each is of (N,).
        """
        answer = self._answer(trials, element)
        if self.anticipation == "equilibrium":
            answer = self._once_more(answer, trials, element)
        lost = np.flatnonzero(~answer.converged)
        self.lost += [(int(element[k]), np.array(trials[k])) for k in lost]
        return answer.y, answer.converged

    def _once_more(self, answer: Response, trials: Array, element: Array) -> Response:
        """Those few at which nobody settles, of an element at most of whose trials they do, started
        from the nearest of these: where a few are lost Newton's method went astray."""
        lost = ~answer.converged
        share = np.bincount(element, lost) / np.maximum(np.bincount(element), 1)
        few = np.flatnonzero(lost & (share <= FEW)[element])
        if not len(few):
            return answer
        answer = answer.map(lambda array, core: np.array(array))
        flat, nearest = trials.reshape(len(trials), -1), np.array(few)
        for one in np.unique(element[few]):
            settled, own = np.flatnonzero((element == one) & ~lost), element[few] == one
            far = np.abs(flat[few[own], None] - flat[settled]).sum(-1)
            nearest[own] = settled[far.argmin(1)]
        again = self._settle(trials[few], element[few], answer[nearest])
        found = np.flatnonzero(again.converged)
        answer.put(few[found], again[found])
        return answer

    def _answer(self, trials: Array, element: Array) -> Response:
        if self.anticipation != "equilibrium":
            many, at = self.calculus.at(element), self.at[element]
            replies = partial(reply, many, start=at)
            return foresee(self.anticipation, trials, at, partial(settle, many), replies)
        bent = np.flatnonzero(~self.straight[element])
        start = self._ahead(trials, element)
        if not len(bent):
            return self._settle(trials, element, start)
        flat = trials.reshape(len(trials), -1)
        order = np.argsort(element[bent], kind="stable")
        which = np.unique(element[bent])
        own = bent[order].reshape(len(which), -1)
        if not self._known:
            first = self.straight[element]
            first[own[:, ::APART]] = True
            early, late = np.flatnonzero(first), np.flatnonzero(~first)
            answer = start.map(lambda array, core: np.array(array))
            answer.put(early, self._settle(trials[early], element[early], start[early]))
            self._known = [(which, flat[own[:, ::APART]], answer[own[:, ::APART]])]
            self._nearest(start, late, flat, element)
            if len(late):
                answer.put(late, self._settle(trials[late], element[late], start[late]))
            self._known = [(which, flat[own], answer[own])]
        else:
            self._nearest(start, own.ravel(), flat, element)
            answer = self._settle(trials, element, start)
            self._known.append((which, flat[own], answer[own]))
            self._last[which] = len(self._known) - 1
        return answer

    def _settle(self, trials: Array, element: Array, start: Response) -> Response:
        some = None if self.concave is None else self.concave[element]
        return settle_best(self.calculus.at(element), trials, start, TRIAL, GRID, some)

    def _ahead(self, trials: Array, element: Array) -> Response:
        """Starts to first order from where the leaders stand; without multipliers: far from where
        they were found, a limit that is wrongly taken to bind costs more steps than one that is
        found to."""
        at = self.at[element]
        y = np.array(at.y)
        if self.straight.any():
            shift = (trials - self.x[element]).reshape(len(trials), -1)
            for decision in range(shift.shape[1]):
                y += shift[:, decision, None, None] * self.moves[element, decision]
        return replace(at, y=y, lam=np.zeros_like(at.lam), mu=np.zeros_like(at.mu))

    def _nearest(self, start: Response, which: Array, flat: Array, element: Array) -> None:
        """Let some trials, of elements in which limits bind, start from what is known of the first
        batch and of the last that was about the same element: what else is in it changes nothing.
        """
        nearest = np.full(len(which), np.inf)
        for batch, (elements, seen, answers) in enumerate(self._known):
            some = np.flatnonzero((batch == 0) | (self._last[element[which]] == batch))
            row = np.searchsorted(elements, element[which[some]])
            far = np.abs(flat[which[some], None] - seen[row]).sum(-1)
            far = np.where(answers.converged[row], far, np.inf)
            closest = far.argmin(1)
            closer = far.min(1) < nearest[some]
            nearest[some] = np.where(closer, far.min(1), nearest[some])
            start.put(which[some[closer]], answers[row[closer], closest[closer]])
