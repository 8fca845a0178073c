"""Trained policies, taken from a checkpoint to play elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from stackel.backend import options_of
from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.learners import checkpoints
from stackel.learners.backends import MALPPO
from stackel.learners.bounds_and_rewards import scaled
from stackel.learners.malppo import Side, Training, bounded
from stackel.learners.players import Policy
from stackel.run import Run
from stackel.types import Array


class Seen:
    """One side's trained networks; they are asked once for players that see the same.

    Attributes:
        training: where they come from.
        leads: whether the side is the leaders'.
    """

    def __init__(self, training: Training, leads: bool) -> None:
        self.training, self.leads = training, leads
        self.side: Side = training.leaders if leads else training.followers
        self._last: tuple[bytes, Array] = (b"", np.empty(0))

    def action(self, player: int, observation: Array) -> Array:
        """One player's action (d,) or (n,) in the game's units, without noise.

        It reads the rounds that an observation shows from an empty memory, so that it is a function
        of the observation alone.

        Args:
            player: which of the side's, counted from 0.
            observation: a vector, as the environments give it, without own data.

        Raises:
            OptionError: an observation of another length.
        """
        observation = np.asarray(observation, dtype=float)
        key = observation.tobytes()
        if key != self._last[0]:
            features = torch.from_numpy(self._features(observation))[:, None]
            with torch.no_grad():
                out = self.side.actor(features, self.side.actor.start(1))[:, -1, 0]
            u, m = bounded(out).double().numpy(), self.training.table.market
            self._last = key, m.leader_actions(u.T).T if self.leads else m.follower_actions(u)
        return self._last[1][player].copy()

    def _features(self, observation: Array) -> np.ndarray:
        """What training sees of each round shown, scaled (rounds, features).

        Raises:
            OptionError: an observation of another length.
        """
        table = self.training.table
        m = table.market
        low = np.append(m.leader_low, m.follower_low)
        high = np.append(m.leader_high, m.follower_high)
        width, tells = m.leader_low.size, table.announced and not self.leads
        past, announced = np.split(observation, [len(observation) - width * tells])
        if not past.size or past.size % low.size:
            raise OptionError(
                f"an observation of {observation.size} numbers; expected rounds of {low.size}"
                f"{f', and {width} announced' if tells else ''}: make the environment with "
                "observe as in training, and own_data=False"
            )
        rounds = scaled(past.reshape(-1, low.size), low, high)
        faded = table.fading * rounds
        if tells:  # each round's announcement is its own leader actions, the last one's is to come
            now = scaled(announced, low[:width], high[:width])
            told = np.concatenate([rounds[1:, :width], now[None]])
            faded = np.concatenate([told, faded], axis=1)
        window = table.window if self.training.settings.window else len(rounds)
        return faded[-window:].astype(np.float32)


def load_policies(path: str | Path, game: Game) -> dict[str, Policy]:
    """The policies that a checkpoint keeps, by agent (``"leader_0"``, ..., ``"follower_0"``, ...).

    They play in :class:`MarketEnv` and :class:`Seat`, and :func:`evaluate` measures them. Sides
    that were not trained have none.

    Args:
        path: the checkpoint.
        game: the market that it was trained on.

    Raises:
        OptionError: no checkpoint, or one of another market.
    """
    state = checkpoints.read(Path(path))
    if state["of"]["game"] != checkpoints.fingerprint(game):
        raise OptionError(f"checkpoint {path} is of another market than {game}; give its own")
    needed = options_of(MALPPO).keys() - set(checkpoints.FREE)
    settings = {k: v for k, v in state["settings"].items() if k in needed}
    training = Training(MALPPO(**settings), game, Run())
    out: dict[str, Policy] = {}
    for name, count in (("leader", game.n_leaders), ("follower", game.n_followers)):
        side = getattr(training, f"{name}s")
        if isinstance(side, Side):
            side.restore(state[f"{name}s"])
            side.act_on_average()
            seen = Seen(training, leads=name == "leader")
            out |= {f"{name}_{k}": partial(seen.action, k) for k in range(count)}
    return out
