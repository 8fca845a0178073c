"""Playing rounds: what the players of many market copies see, do and earn.

What a side sees of a round is public, hence the same for all its players: last round's actions
of everybody, and for followers also this round's leader actions as they were announced. All of it
is scaled to [-1, 1] by the public bounds of the actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from stackel.learners.bounds_and_rewards import Market, unscaled
from stackel.learners.noise import Mirrored
from stackel.learners.options import Options
from stackel.run import check_time


class SidePolicy(Protocol):
    """How one side acts; see :class:`stackel.learners.malppo.Side`."""

    def begin(self, batch: int) -> Any:
        """The memory of so many market copies before anything was seen."""

    def act(self, seen: Tensor, memory: Any, noise: Tensor | None) -> tuple[Tensor, Tensor, Any]:
        """Act in many market copies at once.

        Args:
            seen: what is seen (window, batch, features), this round last.
            memory: the memory before.
            noise: standard normal (players, batch, decisions); None: no exploration.

        Returns:
            scaled actions (players, batch, decisions), their log-probabilities (players, batch),
            and the memory after them.
        """


@dataclass
class Experience:
    """What one side went through in T rounds of B market copies.

    Attributes:
        seen: features, one row a round (window - 1 + T + 1, B, features): the rounds that the
            first window reaches back to, those played, and the one that comes after them.
        actions: scaled and unclipped (players, T, B, decisions).
        log_probability: of the actions when they were taken (players, T, B).
        rewards: (players, T, B).
    """

    seen: Tensor
    actions: Tensor
    log_probability: Tensor
    rewards: Tensor


class Table:
    """Market copies in play: the last rounds and the policies' memories.

    Attributes:
        copies: number of market copies B.
        window: rounds that policies read before each action.
        fading: what is seen of past rounds is multiplied by this.
        announced: whether followers see the round's leader actions.
        features: what leaders and followers see of a round, number of entries each.
    """

    def __init__(self, market: Market, settings: Options, rng: torch.Generator) -> None:
        """
        Args:
            market: the market.
            settings: the training's: how many copies, what is seen of past rounds and of this one.
            rng: the source of all random numbers, on the device to play on.
        """
        game = market.game
        self.market, self.copies, self.fading = market, settings.markets, settings.fading
        self.window = max(settings.window, 1)
        self.announced = settings.observe == "announced"
        self.rng, self.device = rng, rng.device
        self._x = int(np.prod(game.leader_shape))
        self._y = int(np.prod(game.follower_shape))
        self.features = (self._x + self._y, self._x * (1 + self.announced) + self._y)
        self._mirrored = Mirrored(self._x + self._y, self.copies, rng)
        self.memories: list[Any] = []
        self.last = torch.empty(0)
        self.past: list[Tensor] = []

    def reset(self, leaders: SidePolicy, followers: SidePolicy) -> None:
        """Start an episode: nothing remembered, rounds before the first drawn at random.

        Args:
            leaders, followers: the policies that are to play.
        """
        where: dict[str, Any] = {"generator": self.rng, "device": self.device}
        shape = self.window, self.copies
        drawn = [torch.rand(*shape, width, **where) for width in self.features]
        leading, following = (self.fading * (2.0 * u - 1.0) for u in drawn)
        self.past = [leading[1:], following[1:]]
        self.last = leading[-1]
        self.memories = [leaders.begin(self.copies), followers.begin(self.copies)]

    def play(
        self, leaders: SidePolicy, followers: SidePolicy, rounds: int, noise: bool = True
    ) -> tuple[Experience, Experience]:
        """Play on for some rounds; what the leaders and what the followers went through.

        Args:
            leaders, followers: the policies, the same as at :meth:`reset`.
            rounds: how many.
            noise: whether they explore.

        Raises:
            GameError: a reward that is not a number.
            Stop: the time is up.
        """
        seen = [list(p.unbind()) for p in self.past]
        taken: tuple[list[Any], list[Any]] = ([], [])
        for _ in range(rounds):
            check_time()
            public: list[Tensor] = []
            draws = self._noise() if noise else (None, None)
            for side, policy in enumerate((leaders, followers)):
                seen[side].append(self._features(side, public))
                recent, memory = torch.stack(seen[side][-self.window :]), self.memories[side]
                action, log, self.memories[side] = policy.act(recent, memory, draws[side])
                taken[side].append((action, log))
                public.append(self._public(action, side))
            self.last = self.fading * torch.cat(public, dim=1)
        both = ([torch.stack(part, dim=1) for part in zip(*own, strict=True)] for own in taken)
        actions, logs = zip(*both, strict=True)
        # What comes after: a follower sees the last announcement, the next is not made yet.
        whole = [torch.stack([*seen[side], self._features(side, public)]) for side in range(2)]
        self.past = [one[len(one) - self.window : -1] for one in whole]
        leading, following = map(Experience, whole, actions, logs, self.rewards(*actions))
        return leading, following

    def _features(self, side: int, public: list[Tensor]) -> Tensor:
        """What a side sees: the last round, and what was announced in this one."""
        return torch.cat([public[0], self.last], dim=1) if side and self.announced else self.last

    def _noise(self) -> tuple[Tensor, Tensor]:
        """Normal noise for leaders and followers, each (players, B, decisions)."""
        drawn = self._mirrored.draw()
        (d, J), (I, n) = self.market.game.leader_shape, self.market.game.follower_shape
        leading, following = drawn[: self._x], drawn[self._x :]
        return leading.view(J, d, -1).transpose(1, 2), following.view(I, n, -1).transpose(1, 2)

    def _public(self, action: Tensor, side: int) -> Tensor:
        """A side's clipped actions (B, entries) in the order of the game's arrays."""
        # leaders (J, B, d) -> (B, d, J); followers (I, B, n) -> (B, I, n)
        return action.clamp(-1.0, 1.0).movedim(0, -2 if side else -1).flatten(1)

    def units(self, leading: Tensor, following: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Scaled actions in the game's units: (..., d, J), (..., I, n).

        The markets are innermost in memory: formulas then run along them.

        Args:
            leading, following: scaled actions (players, ..., decisions).
        """
        u, v = (
            a.detach().cpu().movedim((0, -1), to).contiguous().double().numpy()
            for a, to in ((leading, (1, 0)), (following, (0, 1)))
        )
        u, v = (np.moveaxis(a, (0, 1), (-2, -1)) for a in (u, v))
        return self.market.leader_actions(u), self.market.follower_actions(v)

    def rewards(self, leading: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        """Rewards (players, ...) of the leaders and of the followers.

        Args:
            leading, following: scaled actions (players, ..., decisions).

        Raises:
            GameError: a reward that is not a number.
        """
        m = self.market
        if self.device.type == "cpu":
            paid = m.rewards(*self.units(leading, following))
            pair = [torch.from_numpy(np.array(r)) for r in paid]
        else:
            x = self._unscaled(leading.movedim(0, -1), m.leader_low, m.leader_high)
            y = self._unscaled(following.movedim(0, -2), m.follower_low, m.follower_high)
            pair = [*m.tensor_rewards(x, y)]
        theirs, mine = (r.movedim(-1, 0).float().contiguous() for r in pair)
        return theirs, mine

    def _unscaled(self, u: Tensor, *bounds: np.ndarray) -> Tensor:
        low, high = (torch.as_tensor(b, device=self.device) for b in bounds)
        return unscaled(u.double(), low, high)

    # -- checkpoints ---------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the next round depends on; memories begin anew with each episode."""
        return {"last": self.last, "past": self.past}

    def restore(self, state: dict[str, Any]) -> None:
        self.last, self.past = state["last"], state["past"]
