"""Sides that do not learn: one that acts at random, and followers that know their best replies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackel.followers.response import Response, settle
from stackel.learners.bounds_and_rewards import Market, scaled
from stackel.learners.many_copies import Experience


class _Scripted:
    """What both have in common: nothing is remembered, learned or kept."""

    floor = 0.0

    def begin(self, batch: int) -> None:
        return None

    def learn(self, e: Experience, rate: float) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class RandomSide(_Scripted):
    """Uniform actions between the bounds; without noise their mean, the middle.

    Args:
        players, decisions: how many there are, and what each decides.
        rng: the source of random numbers.
    """

    def __init__(self, players: int, decisions: int, rng: torch.Generator) -> None:
        self.shape, self.rng = (players, decisions), rng

    def act(self, seen: Tensor, memory: Any, noise: Tensor | None) -> tuple[Tensor, Tensor, Any]:
        players, decisions = self.shape
        size = (players, seen.shape[1], decisions)
        if noise is None:
            return seen.new_zeros(size), seen.new_zeros(size[:2]), memory
        u = torch.rand(size, generator=self.rng, device=seen.device)
        return 2.0 * u - 1.0, seen.new_zeros(size[:2]), memory


class BestSide(_Scripted):
    """Followers in their equilibrium at the announced leader actions.

    What leaders then learn is their equilibrium with perfect followers: a fault that is left is
    not the followers'.

    Args:
        market: where they play.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self._last: Response | None = None

    def act(self, seen: Tensor, memory: Any, noise: Tensor | None) -> tuple[Tensor, Tensor, Any]:
        m = self.market
        announced = seen[-1, :, : m.leader_low.size].cpu().double().numpy()
        x = m.leader_actions(announced.reshape(-1, *m.leader_low.shape))
        start = self._last if self._last is not None and len(self._last.y) == len(x) else None
        self._last = settle(m.game, x, start)
        y = np.where(np.isfinite(self._last.y), self._last.y, 0.0)
        u = scaled(y, m.follower_low, m.follower_high).swapaxes(0, 1)  # (players, batch, decisions)
        actions = torch.as_tensor(u, dtype=torch.float32, device=seen.device)
        return actions, actions.new_zeros(actions.shape[:2]), memory
