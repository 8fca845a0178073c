"""The learners as backends.

Nothing here imports torch; training does (:mod:`stackel.learners.malppo`). All six are one
algorithm whose parts are switched: who learns, and what the critics see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stackel.errors import OptionError, Refusal
from stackel.game.game import Game
from stackel.learners.bounds_and_rewards import Market
from stackel.learners.options import Following, Leading, Options
from stackel.run import Point, Run


@dataclass
class MALPPO(Options):
    """Decentralised recurrent PPO: every player learns from what it sees and earns itself.

    The answer is the policies' play without noise. It is not exact, and ``solve`` returns it
    whatever its certificate says.
    """

    name: ClassVar[str] = "malppo"

    def accepts(self, game: Game) -> list[str]:
        try:
            Market(game, self.follower_high)
        except OptionError as error:
            return [str(error)]
        return []

    def solve(self, game: Game, run: Run) -> Point:
        from stackel.learners.malppo import Training

        if run.anticipation != "equilibrium":
            why = f"anticipation {run.anticipation!r} is not what leaders learn; drop it"
            raise Refusal(self.name, str(game), [why])
        return Training(self, game, run).train()


@dataclass
class MAPPO(MALPPO):
    """PPO with a central critic (Yu et al., NeurIPS Datasets and Benchmarks 2022)."""

    central_critic: bool = True

    name: ClassVar[str] = "mappo"


@dataclass
class MAA2C(MALPPO):
    """Advantage actor-critic with a central critic (Papoudakis et al., same venue, 2021).

    One pass over all the experience and no clipping, hence larger steps.
    """

    central_critic: bool = True
    epochs: int = 1
    minibatches: int = 1
    clip: float = 1e6
    rate: float = 3e-3

    name: ClassVar[str] = "maa2c"


@dataclass
class RandomLeaders(MALPPO):
    """Followers learn, leaders act at random (uniformly between their bounds)."""

    leaders: Leading = "random"

    name: ClassVar[str] = "malppo-rl"


@dataclass
class RandomFollowers(MALPPO):
    """Leaders learn, followers act at random (uniformly between their bounds)."""

    followers: Following = "random"

    name: ClassVar[str] = "malppo-rf"


@dataclass
class Random(MALPPO):
    """Everybody acts at random (uniformly between the bounds)."""

    leaders: Leading = "random"
    followers: Following = "random"

    name: ClassVar[str] = "random"
