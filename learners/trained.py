"""Trained policies, taken from a checkpoint to play elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stackel.errors import OptionError
from stackel.game import Game
from stackel.learners import checkpoints
from stackel.learners.backends import MALPPO
from stackel.learners.malppo import Side, Training
from stackel.learners.players import Policy
from stackel.run import Run

Array = np.ndarray


@dataclass(frozen=True)
class Trained:
    """One agent's policy, without noise.

    It reads the rounds that an observation shows from an empty memory, so that it is a function of
    the observation alone.

    Attributes:
        training: where it comes from.
        leads: whether the agent is a leader.
        player: which one, counted from 0.
    """

    training: Training
    leads: bool
    player: int

    def __call__(self, observation: Array) -> Array:
        """The action (d,) or (n,), in the game's units.

        Args:
            observation: as the environments give it, without own data.

        Raises:
            OptionError: an observation of another length.
        """
        side = self.training.leaders if self.leads else self.training.followers
        seen = torch.from_numpy(self._features(np.asarray(observation, dtype=float)))[:, None]
        memory = side.begin(1)
        if memory is None:
            action, _, _ = side.act(seen, None, False)
        else:
            for t in range(len(seen)):
                action, _, memory = side.act(seen[t : t + 1], memory, False)
        market = self.training.table.market
        u = action[self.player, 0].clamp(-1.0, 1.0).double().numpy()
        if self.leads:
            low, high = market.leader_low[:, self.player], market.leader_high[:, self.player]
        else:
            low, high = market.follower_low[self.player], market.follower_high[self.player]
        return low + (high - low) * (u + 1.0) / 2.0

    def _features(self, observation: Array) -> np.ndarray:
        """What training sees of each round shown, scaled (rounds, features)."""
        table = self.training.table
        m = table.market
        low = np.concatenate([m.leader_low.ravel(), m.follower_low.ravel()])
        high = np.concatenate([m.leader_high.ravel(), m.follower_high.ravel()])
        width, tells = m.leader_low.size, table.announced and not self.leads
        announced = observation[len(observation) - width :] if tells else observation[:0]
        past = observation[: len(observation) - len(announced)]
        if not past.size or past.size % low.size:
            raise OptionError(
                f"an observation of {observation.size} numbers; expected rounds of {low.size}"
                f"{f', and {width} announced' if tells else ''}: make the environment with "
                "observe as in training, and own_data=False"
            )
        rounds = scale(past.reshape(-1, low.size), low, high)
        if tells:  # each round's announcement is its own leader actions, the last one's is to come
            now = scale(announced, low[:width], high[:width])
            told = np.concatenate([rounds[1:, :width], now[None]])
            rounds = np.concatenate([told, rounds], axis=1)
        window = table.window if self.training.settings.window else len(rounds)
        return rounds[-window:].astype(np.float32)


def scale(values: Array, low: Array, high: Array) -> Array:
    """Values between bounds as numbers in [-1, 1]."""
    return 2.0 * (values - low) / np.where(high > low, high - low, 1.0) - 1.0


def load_policies(path: str | Path, game: Game) -> dict[str, Policy]:
    """The policies that a checkpoint keeps, by agent (``"leader_0"``, ..., ``"follower_0"``, ...).

    They play in :class:`MarketEnv` and :class:`Seat`, and :func:`evaluate` measures them.

    Raises:
        OptionError: no checkpoint, or one of another market.
    """
    state = checkpoints.read(Path(path))
    if state["of"]["game"] != checkpoints.fingerprint(game):
        raise OptionError(f"checkpoint {path} is of another market than {game}; give its own")
    known = {f.name for f in fields(MALPPO)}
    settings: dict[str, Any] = {k: v for k, v in state["settings"].items() if k in known}
    training = Training(MALPPO(**{**settings, "device": "cpu"}), game, Run())
    for side in ("leaders", "followers"):
        getattr(training, side).restore(state[side])
    out: dict[str, Policy] = {}
    for leads, side, count in (
        (True, training.leaders, game.n_leaders),
        (False, training.followers, game.n_followers),
    ):
        name = "leader" if leads else "follower"
        if isinstance(side, Side):
            out |= {f"{name}_{k}": Trained(training, leads, k) for k in range(count)}
    return out
