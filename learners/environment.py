"""Any market as a PettingZoo environment, for agents of any library.

:class:`MarketEnv` takes turns (AEC): all leaders, then all followers, and a round is over. No
leader sees another's action of this round; followers see the leaders' (``observe="announced"``),
but not each other's.

:class:`ParallelMarketEnv` takes everybody's actions at once. What is announced cannot be seen in
the step in which it is done, so with ``observe="announced"`` a step is half a round: first only the
leaders' actions count, then only the followers', whose observations now hold the announcement.
With ``observe="history"`` nobody waits for anybody, and a step is a whole round.

What agents see, entry by entry, is described in :mod:`stackel.learners.one_copy`. Spaces hold
double precision numbers: a follower's best reply to a price rounded to single precision would break
the limit that it ought to just meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import AECEnv, ParallelEnv

from stackel.backend import check_range
from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.learners.one_copy import Beyond, Observe, Rounds
from stackel.types import Array

Infos = dict[str, dict[str, Any]]
"""What is told beside the observations, agent by agent."""


class _Environment:
    """What both environments are: options, spaces, text."""

    name: str

    def __init__(
        self,
        game: Game,
        *,
        observe: Observe = "announced",
        memory: int = 3,
        rounds: int = 100,
        own_data: bool = False,
        follower_high: Any = None,
        out_of_bounds: Beyond = "clip",
        render_mode: str | None = None,
    ) -> None:
        """
        Args:
            game: the market; its leaders' actions must be bounded.
            observe: ``"announced"``: followers see the round's leader actions before they act (the
                Stackelberg timing); ``"history"``: they see past rounds only (as the paper prints
                it, which makes every round a simultaneous game).
            memory: L, how many past rounds everybody sees.
            rounds: T, the length of an episode.
            own_data: whether agents see their own part of the market's data too.
            follower_high: the most that followers may choose, anything that broadcasts to (I, n).
                By default a follower without a bound gets 1.5 times the most that it chooses when
                the leaders act at their bounds; that comes from everybody's data, so give a number
                where nobody may learn even so much.
            out_of_bounds: ``"clip"`` moves a finite action onto its bounds; ``"error"`` refuses it.
                A wrong shape or NaN is always refused.
            render_mode: None, or ``"ansi"``: :meth:`render` returns the last round as text.

        Raises:
            OptionError: a bad option, or a game whose actions are not bounded.
        """
        check_range("render_mode", render_mode, "None or 'ansi'", render_mode in (None, "ansi"))
        self.core = Rounds(
            game,
            observe=observe,
            memory=memory,
            rounds=rounds,
            own_data=own_data,
            follower_high=follower_high,
            out_of_bounds=out_of_bounds,
        )
        self.render_mode = render_mode
        self.metadata = {
            "name": self.name,
            "render_modes": ["ansi"],
            # Others' converters step everybody at once, which hides what is announced.
            "is_parallelizable": not self.core.announced,
        }
        self.possible_agents = list(self.core.agents)
        self.agents: list[str] = []
        # Made once: PettingZoo asks for the same object every time.
        self.observation_spaces = self._boxes(self.core.observation_bounds)
        self.action_spaces = self._boxes(self.core.action_bounds)
        self._rng = np.random.default_rng()

    def observation_space(self, agent: str) -> Box:
        """Bounds of what the agent sees; they hold nothing private of others."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """The agent's own bounds: a leader's (d,), a follower's (n,)."""
        return self.action_spaces[agent]

    def layout(self, agent: str) -> list[str]:
        """What each entry of the agent's observation is."""
        return self.core.layout(agent)

    def render(self) -> str | None:
        """The last round as text, with ``render_mode="ansi"``."""
        return str(self.core) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Nothing to release."""

    def _boxes(self, bounds: Callable[[str], tuple[Array, Array]]) -> dict[str, Box]:
        return {agent: Box(*bounds(agent), dtype=np.float64) for agent in self.possible_agents}

    def _begin(self, seed: int | None) -> None:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.core.reset(self._rng)
        self.agents = list(self.possible_agents)


class MarketEnv(_Environment, AECEnv):
    """A market in turns; rewards are given when a round is over, by :meth:`Market.rewards`.

    Agents are ``"leader_0"``, ..., ``"follower_0"``, ...; all are truncated after the last round.

    Attributes:
        core: the :class:`~stackel.learners.one_copy.Rounds` played.
    """

    name = "stackel_market_v0"

    def observe(self, agent: str) -> Array:
        """What the agent sees now, a vector in the game's units; :meth:`layout` says of what."""
        return self.core.observe(agent)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode.

        Args:
            seed: of the rounds before the first, which are drawn at random; None goes on with the
                random numbers where the last episode left them.
            options: none are known; PettingZoo hands some to every environment.
        """
        self._begin(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: Infos = {agent: {} for agent in self.agents}
        self._turn = 0
        self.agent_selection = self.agents[0]
        self._skip_agent_selection: str | None = None

    def step(self, action: Any) -> None:
        """The agent whose turn it is acts.

        Args:
            action: a leader's (d,), a follower's (n,), in the game's units; None when the episode
                is over.

        Raises:
            OptionError: an action that is not numbers, of a wrong shape, NaN, or out of bounds
                where that is refused.
            GameError: a reward that is not a number.
        """
        agent = self.agent_selection
        if self.truncations[agent]:
            self._was_dead_step(action)
            return
        core = self.core
        core.act(agent, action)
        if self._turn == 0:  # rewards are given once a round, so they are cleared once
            self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards[agent] = 0.0
        self._turn += 1
        if self._turn == len(core.leaders):
            core.announce()
        if self._turn == len(core.agents):
            self._turn = 0
            self.rewards = dict(core.finish())
            self._accumulate_rewards()
            if core.over:
                self.truncations = dict.fromkeys(self.agents, True)
        self.agent_selection = core.agents[self._turn]


class ParallelMarketEnv(_Environment, ParallelEnv):
    """A market in which everybody hands in actions at once.

    With ``observe="announced"`` a step is half a round (see the module). ``infos[agent]["turn"]``
    says whether the agent's next action counts; one that does not count may be left out, and is
    not looked at. Rewards come with the second half: a leader's arrives one step after its action,
    so that learners must not discount within a round (or learn in :class:`MarketEnv`, where an
    agent acts once a round). With ``observe="history"`` every action counts in every step.

    Attributes:
        core: the :class:`~stackel.learners.one_copy.Rounds` played.
    """

    name = "stackel_parallel_market_v0"

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], Infos]:
        """Begin an episode; see :meth:`MarketEnv.reset`.

        Returns:
            observations and infos, agent by agent. Until the leaders have acted, a follower sees
            the last round's actions where announcements go.
        """
        self._begin(seed)
        self._answering = False  # whether it is the followers' half of a round
        return self._told()

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Array], dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Everybody whose turn it is acts.

        Args:
            actions: agent by agent, a leader's (d,), a follower's (n,), in the game's units.

        Returns:
            observations, rewards, terminations (never), truncations and infos, agent by agent.

        Raises:
            OptionError: an action that counts is missing or bad; see :meth:`MarketEnv.step`.
            GameError: a reward that is not a number.
        """
        agents, core = self.agents, self.core
        acting = [agent for agent in agents if self._counts(agent)]
        for agent in acting:
            if agent not in actions:
                raise OptionError(
                    f"no action of {agent}, whose turn it is; expected actions of "
                    f"{', '.join(acting)}, given were those of {', '.join(actions) or 'nobody'}"
                )
        for agent in acting:
            core.act(agent, actions[agent])
        self._answering = core.announced and not self._answering
        if self._answering:
            core.announce()
            rewards = dict.fromkeys(agents, 0.0)
        else:
            rewards = dict(core.finish())
        seen, infos = self._told()
        if core.over:
            self.agents = []
        never, ended = dict.fromkeys(agents, False), dict.fromkeys(agents, core.over)
        return seen, rewards, never, ended, infos

    def _counts(self, agent: str) -> bool:
        return not self.core.announced or self._answering == agent.startswith("follower")

    def _told(self) -> tuple[dict[str, Array], Infos]:
        seen = {agent: self.core.observe(agent) for agent in self.agents}
        return seen, {agent: {"turn": self._counts(agent)} for agent in self.agents}


def parallel_env(game: Game, **options: Any) -> ParallelMarketEnv:
    """A :class:`ParallelMarketEnv`, by the name that PettingZoo's own environments have for it.

    Args:
        game: the market.
        **options: of :class:`MarketEnv`.

    Raises:
        OptionError: a bad option, or a game whose actions are not bounded.
    """
    return ParallelMarketEnv(game, **options)
