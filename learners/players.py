"""Players that need not learn: fixed actions, and followers that give their true best replies.

A policy is any callable that takes an agent's observation and returns its action, both NumPy arrays
in the game's units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stackel.errors import OptionError, StackelError, unknown
from stackel.followers.response import Response, settle
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.learners.one_copy import Rounds
from stackel.results.equilibrium import Equilibrium
from stackel.types import Array

Policy = Callable[[Array], Any]
"""Observation to action."""


@dataclass(frozen=True)
class Fixed:
    """Always the same action.

    Attributes:
        action: a leader's (d,), a follower's (n,).
    """

    action: Any

    def __call__(self, observation: Array) -> Array:
        return np.array(self.action, dtype=float)


class BestReply:
    """A follower's part in the followers' equilibrium at the leader actions that it sees.

    With one follower, or with followers that do not care for each other, that is its best reply;
    otherwise it is its best reply if the others play theirs.
    """

    def __init__(self, rounds: Rounds, follower: int, settled: Settled | None = None) -> None:
        """
        Args:
            rounds: the rounds it plays in (``MarketEnv.core``, ``Seat.core``); only the layout of
                observations is read.
            follower: which one, counted from 0.
            settled: shared by followers of one market, so that these settle once a round.
        """
        self.rounds, self.follower = rounds, follower
        self.settled = Settled(rounds.market.game) if settled is None else settled

    def __call__(self, observation: Array) -> Array:
        """The reply (n,), in the game's units.

        Args:
            observation: the follower's vector; only the leader actions in it are read.

        Raises:
            StackelError: the followers do not settle at these leader actions.
        """
        return self.settled(self.rounds.leader_actions_seen(observation))[self.follower].copy()


class Settled:
    """The followers' equilibrium at leader actions, the last one kept.

    Args:
        game: the market.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self._x: Array | None = None
        self._y = np.empty(0)
        # Every search starts from here, never from the one before: an answer must not depend on
        # what was asked earlier.
        here = settle(game, middle(*game.leader_bounds))
        self._start: Response | None = here if here.converged else None

    def __call__(self, x: Array) -> Array:
        """Follower actions (I, n) at leader actions (d, J).

        Raises:
            StackelError: the followers do not settle there.
        """
        if self._x is None or not np.array_equal(x, self._x):
            answer = settle(self.game, x, self._start)
            if not answer.converged:
                raise StackelError(
                    f"{self.game}: the followers do not settle at {self.game.leader_action.name} "
                    f"{x.tolist()} (residual {float(answer.residual):.3g}); narrow the leaders' "
                    "bounds, or give the followers policies of your own"
                )
            self._x, self._y = x.copy(), answer.y
        return self._y


def best_replies(rounds: Rounds) -> dict[str, Policy]:
    """True best replies of all followers, settled once a round for all of them.

    Args:
        rounds: the rounds that they play in.
    """
    settled = Settled(rounds.market.game)
    return {a: BestReply(rounds, i, settled) for i, a in enumerate(rounds.followers)}


def constant(rounds: Rounds, x: Any, y: Any) -> dict[str, Policy]:
    """Everybody always the same.

    Args:
        rounds: the rounds to be played.
        x: leader actions, (d, J) or as many numbers.
        y: follower actions, (I, n) or as many numbers.

    Raises:
        OptionError: actions of a wrong shape, or not finite.
    """
    game = rounds.market.game
    x = _shaped("leader actions", x, game.leader_shape)
    y = _shaped("follower actions", y, game.follower_shape)
    return {a: Fixed(own.copy()) for a, own in zip(rounds.agents, (*x.T, *y), strict=True)}


def policies_of(rounds: Rounds, given: Any, needed: Sequence[str]) -> dict[str, Policy]:
    """The needed agents' policies from what a user has.

    Args:
        rounds: the rounds to be played.
        given: a mapping from agents to policies; one callable ``(agent, observation) -> action``
            for all; an :class:`~stackel.Equilibrium` or a pair ``(x, y)``, played constantly.
        needed: the agents that must have one.

    Raises:
        OptionError: an agent without a policy, one that is not there, or something else.
    """  # noqa: DOC501 - unknown() makes an OptionError
    if isinstance(given, Equilibrium):
        given = (given.leader_actions, given.follower_actions)
    if isinstance(given, tuple) and len(given) == 2:
        given = constant(rounds, *given)
    elif callable(given):
        given = {agent: partial(given, agent) for agent in needed}
    if not isinstance(given, Mapping):
        raise OptionError(
            f"policies = {given!r}; expected a mapping from agents ({rounds.agents[0]!r}, ...) to "
            "callables, one callable (agent, observation) -> action, an Equilibrium, or a pair of "
            "leader and follower actions"
        )
    for agent in given:
        if agent not in rounds.agents:
            raise unknown("agent", agent, rounds.agents)
    if missing := [agent for agent in needed if agent not in given]:
        raise OptionError(
            f"policies have none for {', '.join(missing)}; expected one for each of "
            f"{', '.join(needed)}, e.g. stackel.learners.Fixed(action)"
        )
    for agent in needed:
        if not callable(given[agent]):
            raise OptionError(
                f"the policy of {agent} = {given[agent]!r}; expected a callable from an "
                "observation to an action, e.g. stackel.learners.Fixed(action)"
            )
    return {agent: given[agent] for agent in needed}


def _shaped(what: str, value: Any, shape: tuple[int, int]) -> Array:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size != np.prod(shape) or not np.isfinite(array).all():
        raise OptionError(f"{what} = {value!r}; expected finite numbers of shape {shape}")
    return array.reshape(shape)
