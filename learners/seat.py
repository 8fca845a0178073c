"""One player's chair at the table, as a Gymnasium environment: the others follow given policies."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from stackel.backend import check_range
from stackel.errors import OptionError, unknown
from stackel.game.game import Game
from stackel.learners.one_copy import Rounds
from stackel.learners.players import Policy, best_replies, constant, policies_of
from stackel.tasks.solve import solve
from stackel.types import Array


class Seat(gymnasium.Env):
    """A market for a single agent: a step is a round, its reward what the round pays the agent.

    The agent sees what :class:`~stackel.learners.MarketEnv` would show it: at a leader's seat the
    past rounds, at a follower's also what the leaders announced in this one. Observations and
    actions are in the game's units; Gymnasium's ``RescaleObservation`` and ``RescaleAction`` bring
    them to [-1, 1].

    Attributes:
        core: the :class:`~stackel.learners.one_copy.Rounds` played.
        agent: whose seat it is.
        others: the policies of everybody else.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}

    def __init__(
        self,
        game: Game,
        agent: str = "leader_0",
        others: Any = "equilibrium",
        *,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            game: the market; its leaders' actions must be bounded.
            agent: whose seat to take, ``"leader_0"`` or ``"follower_2"``, say.
            others: how the others play: ``"equilibrium"``, leaders fixed at the equilibrium that
                :func:`stackel.solve` finds and followers with their best replies to the leader
                actions that they see; a mapping from every other agent to its policy; or one
                callable ``(agent, observation) -> action`` for all of them.
            render_mode: None, or ``"ansi"``: :meth:`render` returns the last round as text.
            **options: ``observe``, ``memory``, ``rounds``, ``own_data``, ``follower_high`` and
                ``out_of_bounds``, as for :class:`~stackel.learners.MarketEnv`.

        Raises:
            OptionError: a bad option, an agent that is not there, one without a policy.
            NotConverged: there was no equilibrium to be found for the others to play.
        """  # noqa: DOC501 - unknown() makes an OptionError
        check_range("render_mode", render_mode, "None or 'ansi'", render_mode in (None, "ansi"))
        self.core = Rounds(game, **options)
        if agent not in self.core.agents:
            raise unknown("agent", agent, self.core.agents)
        self.agent, self.render_mode = agent, render_mode
        rest = [a for a in self.core.agents if a != agent]
        if isinstance(others, str):
            if others != "equilibrium":
                raise OptionError(
                    f"others = {others!r}; expected 'equilibrium', a mapping from agents to "
                    "policies, or a callable (agent, observation) -> action"
                )
            others = _equilibrium(self.core, agent)
        self.others = policies_of(self.core, others, rest)
        self.observation_space = Box(*self.core.observation_bounds(agent), dtype=np.float64)
        self.action_space = Box(*self.core.action_bounds(agent), dtype=np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: of the rounds before the first, which are drawn at random.
            options: none are known; Gymnasium hands some to every environment.

        Returns:
            the agent's first observation, and an empty info.
        """
        super().reset(seed=seed)
        self.core.reset(self.np_random)
        self._others_lead()
        return self.core.observe(self.agent), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Play a round.

        Args:
            action: a leader's (d,), a follower's (n,), in the game's units.

        Returns:
            the next observation, the reward, terminated (never), truncated (after the last round)
            and an empty info.

        Raises:
            OptionError: an action that is not numbers, of a wrong shape, NaN, or out of bounds
                where that is refused.
            GameError: a reward that is not a number.
            StackelError: another's policy has no answer, as best replies where there are none.
        """
        core = self.core
        core.act(self.agent, action)
        if self.agent in core.leaders:
            core.lead(self.others)
        core.follow(self.others)
        reward = core.finish()[self.agent]
        if not core.over:
            self._others_lead()
        return core.observe(self.agent), reward, False, core.over, {}

    def render(self) -> str | None:
        """The last round as text, with ``render_mode="ansi"``."""
        return str(self.core) if self.render_mode == "ansi" else None

    def _others_lead(self) -> None:
        """Before a follower acts, the leaders must have."""
        if self.agent in self.core.followers:
            self.core.lead(self.others)


def _equilibrium(core: Rounds, agent: str) -> dict[str, Policy]:
    """Leaders at the equilibrium, which is not computed for one that has no rivals; followers
    with their best replies."""
    followers = best_replies(core)
    if core.leaders == [agent]:
        return followers
    eq = solve(core.market.game)
    return {**constant(core, eq.leader_actions, eq.follower_actions), **followers}
