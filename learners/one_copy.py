"""One market played round by round: who sees what, which actions count, what a round pays.

The environments, the seat and the evaluation all play through :class:`Rounds`, so that they agree
on what is public. Training does not: it plays thousands of markets at once elsewhere.

What an agent sees is a flat vector in the game's units:

1. the last ``memory`` rounds, oldest first: the leaders' actions (d, J) row by row, then the
   followers' (I, n) row by row;
2. a follower with ``observe="announced"``: the leaders' actions of this round, likewise;
3. with ``own_data``: the agent's own part of the market's data, a leader's column of every field
   by leader or by pair, a follower's row of every field by follower, by pair or by peer.

Actions are public once they are taken, and nothing else ever is. A bound that is one number for
everybody is known to everybody; a bound of its own for each player (a cost that prices must cover)
is that player's data: observation spaces, and what is drawn before the first round, then reach to 0
or to the next power of two beyond all players' bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from stackel.backend import check_range
from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.game.grids import SparseOperator, grid_of
from stackel.learners.bounds_and_rewards import Market
from stackel.types import Array

Observe = Literal["announced", "history"]
"""What followers know of a round's leader actions when they act: these, or only past ones."""

Beyond = Literal["clip", "error"]
"""What becomes of an action outside its bounds."""

ROUNDING = 2.0 * float(np.finfo(np.float32).eps)
"""An action this far outside its bounds, relative to them, went through single precision."""


@dataclass(frozen=True)
class _Player:
    """One agent's part of a market.

    Attributes:
        leads: whether it is a leader.
        decides: its action's name.
        place: which of them.
        low, high: its action's bounds, (d,) or (n,).
        names, data: its own data, as far as it sees them.
    """

    leads: bool
    decides: str
    place: int
    low: Array
    high: Array
    names: tuple[str, ...]
    data: Array


class Rounds:
    """One copy of a market, its history, and the round in play.

    Attributes:
        market: the game with finite bounds.
        agents: ``"leader_0"``, ..., then ``"follower_0"``, ...
        announced: whether followers see the round's leader actions.
        memory: how many past rounds are seen.
        limit: how many rounds an episode has.
        played: how many of them are over.
        x, y: actions (d, J) and (I, n), as far as they were taken, of the round in play.
        rewards: what the last round paid, agent by agent; empty before.
    """

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
    ) -> None:
        """
        Args:
            game: the market; its leaders' actions must be bounded.
            observe: ``"announced"``: followers see the round's leader actions before they act (the
                Stackelberg timing); ``"history"``: they see past rounds only (a simultaneous game).
            memory: L, how many past rounds everybody sees.
            rounds: T, the length of an episode.
            own_data: whether agents see their own part of the market's data.
            follower_high: the most that followers may choose; see :class:`Market`.
            out_of_bounds: ``"clip"`` moves a finite action onto its bounds, as is usual with
                agents that explore; ``"error"`` refuses it. NaN is always refused.

        Raises:
            OptionError: a bad option, or a game whose actions are not bounded.
        """
        check_choice("observe", observe, Observe)
        check_choice("out_of_bounds", out_of_bounds, Beyond)
        for name, value in (("memory", memory), ("rounds", rounds)):
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            check_range(name, value, "a whole number of at least 1", whole and value >= 1)
        self.market = m = Market(game, follower_high)
        self.announced, self.memory, self.limit = observe == "announced", int(memory), int(rounds)
        self._strict = out_of_bounds == "error"
        self.x, self.y = np.array(m.leader_low), np.array(m.follower_low)
        self._players: dict[str, _Player] = {}
        for side, decides, bounds in (
            ("leader", game.leader_action.name, (m.leader_low.T, m.leader_high.T)),
            ("follower", game.follower_action.name, (m.follower_low, m.follower_high)),
        ):
            for k, (low, high) in enumerate(zip(*bounds, strict=True)):
                own = _own_data(game, side, k) if own_data else {}
                data = np.array([*own.values()])
                player = _Player(side == "leader", decides, k, low, high, tuple(own), data)
                self._players[f"{side}_{k}"] = player
        self.agents = list(self._players)
        self.leaders = self.agents[: game.n_leaders]
        self.followers = self.agents[game.n_leaders :]
        self._width = int(np.prod(game.leader_shape))
        self._seen = _seen_bounds(m, follower_high)
        self.reset(np.random.default_rng(0))

    # -- what there is to see and to do --------------------------------------------------------

    def action_bounds(self, agent: str) -> tuple[Array, Array]:
        """Lowest and highest action of an agent, in the game's units: each (d,) or (n,)."""
        player = self._players[agent]
        return player.low.copy(), player.high.copy()

    def observation_bounds(self, agent: str) -> tuple[Array, Array]:
        """Bounds of what an agent sees, made from what it may know.

        Own data lie in the middle of theirs.
        """
        low, high = self._seen
        announced, own = self._private_view(agent)
        reach = np.where(own == 0.0, 1.0, np.abs(own))
        return (
            np.concatenate([np.tile(low, self.memory), low[:announced], own - reach]),
            np.concatenate([np.tile(high, self.memory), high[:announced], own + reach]),
        )

    def layout(self, agent: str) -> list[str]:
        """What each entry of an agent's observation is."""
        game = self.market.game
        decisions = numbered(game.leader_action.name, range(game.leader_shape[0]))
        choices = numbered(game.follower_action.name, range(game.follower_shape[1]))
        acts = [f"{leader} {decision}" for decision in decisions for leader in self.leaders]
        answers = [f"{follower} {choice}" for follower in self.followers for choice in choices]
        out = [
            f"{name}, {ago} round{'s' if ago > 1 else ''} ago"
            for ago in range(self.memory, 0, -1)
            for name in (*acts, *answers)
        ]
        out += [f"{name}, announced" for name in acts[: self._private_view(agent)[0]]]
        return out + [f"own {name}" for name in self._players[agent].names]

    def observe(self, agent: str) -> Array:
        """What an agent sees now: a new array."""
        announced, own = self._private_view(agent)
        return np.concatenate([self._history.ravel(), self._announcement[:announced], own])

    def leader_actions_seen(self, observation: Array) -> Array:
        """The leader actions (d, J) that a follower replies to, read from its observation.

        Those announced; with ``observe="history"`` the last ones that it knows.

        Args:
            observation: a follower's vector, in the game's units.
        """
        width = self._history.shape[1]
        start = width * (self.memory if self.announced else self.memory - 1)
        seen = np.asarray(observation, dtype=float)[start : start + self._width]
        return seen.reshape(self.market.game.leader_shape)

    def _private_view(self, agent: str) -> tuple[int, Array]:
        """How many numbers of the announcement an agent sees, all or none; and its own data."""
        player = self._players[agent]
        announced = 0 if player.leads or not self.announced else self._width
        return announced, player.data

    # -- playing -------------------------------------------------------------------------------

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode; the rounds before the first are drawn at random, as in the paper.

        Args:
            rng: the source of random numbers.
        """
        low, high = self._seen
        self._history = rng.uniform(low, high, (self.memory, len(low)))
        self._announcement = self._history[-1, : self._width].copy()
        self.x[...], self.y[...] = self.market.leader_low, self.market.follower_low
        self.played = 0
        self.rewards: dict[str, float] = {}

    @property
    def over(self) -> bool:
        """Whether the episode has had all its rounds."""
        return self.played >= self.limit

    def act(self, agent: str, action: Any) -> None:
        """Take an agent's action: a leader's (d,), a follower's (n,), in the game's units.

        Raises:
            OptionError: not numbers, a wrong shape, NaN, or outside the bounds where that is
                refused.
        """
        player = self._players[agent]
        low, high = player.low, player.high
        try:
            value = np.asarray(action, dtype=float)
        except (TypeError, ValueError):
            raise self._bad(agent, action, "numbers") from None
        if value.shape != low.shape:
            raise self._bad(agent, action, f"the shape {low.shape}")
        inside = np.minimum(np.maximum(value, low), high)  # quicker than clip, and keeps NaN
        if not (inside == value).all():
            if not np.isfinite(value).all():
                raise self._bad(agent, action, "finite numbers")
            reach = ROUNDING * (np.abs(low) + np.abs(high))
            if self._strict and (np.abs(value - inside) > reach).any():
                way_out = 'clip it, or give the option out_of_bounds="clip"'
                raise self._bad(agent, action, f"{low.tolist()} to {high.tolist()}; {way_out}")
        self._action(player)[...] = inside

    def _action(self, player: _Player) -> Array:
        """A view: players are known by their place, so that a copy acts on its own arrays."""
        return self.x[:, player.place] if player.leads else self.y[player.place]

    def _bad(self, agent: str, action: Any, expected: str) -> OptionError:
        what = self._players[agent].decides
        return OptionError(f"{what} of {agent} = {action!r}; expected {expected}")

    def announce(self) -> None:
        """End the leaders' half of the round: followers may see what they did."""
        self._announcement = self.x.ravel().copy()

    def finish(self) -> dict[str, float]:
        """End the round: what it pays to whom, by :meth:`Market.rewards`.

        Raises:
            GameError: a reward that is not a number.
        """
        leading, following = self.market.rewards(self.x, self.y)
        self._history = np.vstack([self._history[1:], np.append(self.x, self.y)])
        self.announce()
        self.played += 1
        self.rewards = dict(zip(self.agents, np.append(leading, following).tolist(), strict=True))
        return self.rewards

    def lead(self, policies: Mapping[str, Any]) -> None:
        """Let the leaders that have a policy act, and announce.

        Args:
            policies: by agent, from its observation to its action.

        Raises:
            OptionError: an action is bad, see :meth:`act`.
        """
        self._let(self.leaders, policies)
        self.announce()

    def follow(self, policies: Mapping[str, Any]) -> None:
        """Let the followers that have a policy act.

        Args:
            policies: by agent, from its observation to its action.

        Raises:
            OptionError: an action is bad, see :meth:`act`.
        """
        self._let(self.followers, policies)

    def _let(self, agents: list[str], policies: Mapping[str, Any]) -> None:
        for agent in agents:
            if agent in policies:
                self.act(agent, policies[agent](self.observe(agent)))

    def __str__(self) -> str:
        """The last round, for people."""
        game = self.market.game
        if not self.played:
            return f"{game}: no round played yet"
        lines = [f"{game}: round {self.played} of {self.limit}"]
        for agent, player in self._players.items():
            shown = ", ".join(f"{v:.6g}" for v in self._action(player))
            lines.append(f"  {agent}: {player.decides} {shown}; reward {self.rewards[agent]:.6g}")
        return "\n".join(lines)


def check_choice(option: str, value: Any, choices: Any) -> None:
    """An error for an option that is not one of some words.

    Args:
        option: its name.
        value: what was given.
        choices: a ``Literal`` of the words.

    Raises:
        OptionError: it is none of them.
    """
    words = get_args(choices)
    check_range(option, value, f"one of {', '.join(words)}", value in words)


def numbered(name: str, values: Iterable[Any]) -> dict[str, Any]:
    """Values by name: ``price`` if there is one, else ``price[0]``, ``price[1]``, ...

    Args:
        name: what they are.
        values: one or several.
    """
    values = list(values)
    return {name if len(values) == 1 else f"{name}[{k}]": v for k, v in enumerate(values)}


# -- what is known of data and of bounds -------------------------------------------------------


def _own_data(game: Game, side: str, k: int) -> dict[str, float]:
    """Player k's part of every field that is laid out by player, entry by entry."""
    hints = get_type_hints(type(game), include_extras=True)
    out: dict[str, float] = {}
    for f in fields(game):
        grid, value = grid_of(hints[f.name]), getattr(game, f.name)
        if grid is None or value is None:
            continue
        if side == "leader" and grid.columns == "leaders":
            mine = np.asarray(value)[:, k]
        elif side == "follower" and grid.rows == "followers":
            sparse = isinstance(value, SparseOperator)
            mine = value.matrix[[k]].toarray()[0] if sparse else np.asarray(value)[k]
        else:
            continue
        out |= numbered(f.name, map(float, mine))
    return out


def _seen_bounds(market: Market, follower_high: Any) -> tuple[Array, Array]:
    """Public bounds of one round's actions, the leaders' then the followers', flat."""
    m, leader, follower = market, market.game.leader_action, market.game.follower_action
    low_x = _public(leader.low, m.leader_low, -1, upper=False)
    high_x = _public(leader.high, m.leader_high, -1, upper=True)
    low_y = _public(follower.low, m.follower_low, -2, upper=False)
    high_y = _public(follower.high, m.follower_high, -2, upper=True)
    if follower_high is not None and not _common(follower.high, low_y.shape, -2):
        high_y = np.broadcast_to(np.asarray(follower_high, dtype=float), low_y.shape)
    return np.append(low_x, low_y), np.append(high_x, high_y)


def _common(stated: Any, shape: tuple[int, ...], axis: int) -> bool:
    """Whether a bound is the same for all players by how it is stated, whatever their data."""
    size = np.shape(stated)
    apart = len(size) >= -axis and (size[axis] > 1 or shape[axis] == 1)
    return not apart and bool(np.isfinite(stated).all())


def _public(stated: Any, exact: Array, axis: int, *, upper: bool) -> Array:
    """A bound as everybody may know it: itself, or the power of two (or 0) beyond all players'."""
    if _common(stated, exact.shape, axis):
        return exact
    most = float((exact if upper else -exact).max())
    beyond = 2.0 ** np.ceil(np.log2(most)) if most > 0 else 0.0
    return np.full(exact.shape, beyond if upper else 0.0 - beyond)
