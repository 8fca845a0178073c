"""The learners' settings, one line each, and what they may be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from stackel.backend import Backend, check_positive, check_range, check_whole
from stackel.errors import OptionError
from stackel.learners.one_copy import Observe, check_choice

Leading = Literal["learn", "random"]
Following = Literal["learn", "random", "best"]

PAPER: Mapping[str, Any] = {
    "observe": "history",
    "episodes": 1000,
    "rounds": 100,
    "update_every": 20,
    "markets": 1,
    "window": 3,
    "fading": 1.0,
    "epochs": 5,
    "minibatches": 1,
    "gamma": 0.95,
    "rate": 1e-4,
    "leader_rate": 1.0,
    "final_rate": 1.0,
    "head_start": 0.0,
    "learn_spread": True,
    "final_spread": 0.01,
    "final_leader_spread": 0.01,
}
"""Section VI-A of the vehicular-twins paper. It trains for 20 episodes and calls its curves'
points iterations, of which they show up to 2,000; gamma and the spread it does not print."""


@dataclass
class Options(Backend):
    """What a training is told; the learners are these with some of them fixed.

    Raises:
        OptionError: a value that makes no sense.
    """

    episodes: int = 400  # how many to train for
    rounds: int = 25  # of an episode
    markets: int = 64  # copies of the market, played side by side
    observe: Observe = "announced"  # followers see the round's leader actions; "history": past ones
    fading: float = 0.1  # past rounds are seen this much fainter: they are mostly others' noise
    window: int = 0  # rounds read anew before each action; 0: memory is carried through the episode
    update_every: int = 0  # rounds from one update to the next; 0: the whole episode
    epochs: int = 2  # passes over the experience in an update
    minibatches: int = 8  # parts, at most, that the market copies are dealt into in a pass
    gamma: float = 0.0  # discount of later rounds; 0, since a round changes nothing in the next
    trace: float = 0.95  # lambda of generalised advantage estimation
    clip: float = 0.2  # how far an update may move a probability ratio
    rate: float = 1e-3  # Adam's step of followers, of actors and critics alike
    leader_rate: float = 0.3  # leaders' step, as a share of the followers'
    final_rate: float = 0.03  # share of followers' step left at the end; leaders catch up at theirs
    head_start: float = 0.08  # share of the training in which only followers learn
    spread: float = 0.3  # standard deviation of actions, in half-widths of their range
    final_spread: float = 0.05  # what is left of it in the end for followers,
    final_leader_spread: float = 0.05  # and for leaders: followers must go on seeing prices move
    learn_spread: bool = False  # the spread is learned, and those above are a floor under it
    anneal: float = 0.45  # share of the training in which the spread shrinks
    hold: float = 0.45  # share of the training after which followers' steps shrink
    average: float = 0.1  # last share of the training whose actors are averaged for the answer
    value_weight: float = 0.5  # of the critics' loss
    entropy_weight: float = 0.0  # of a reward for spread, when it is learned
    gradient_clip: float = 0.5  # largest norm of one player's gradient
    hidden: int = 128  # width of the two layers before the recurrent ones
    cells: int = 64  # width of the two recurrent layers
    central_critic: bool = False  # one critic values all players of a side, from all rewards
    leaders: Leading = "learn"  # how leaders act
    followers: Following = "learn"  # "best": their true equilibrium reply
    follower_high: Any = None  # most that followers may choose, where the market sets no bound
    reference: str = ""  # a backend whose answer the history gives the distance to
    checkpoint: str = ""  # a file to keep the state in, and to go on from if it is there
    checkpoint_every: int = 20  # updates from one checkpoint to the next
    tensorboard: str = ""  # a folder to log to for TensorBoard
    device: str = "cpu"  # "cpu", "cuda", "cuda:1": where networks and formulas run

    requires: ClassVar[Mapping[str, str]] = {"torch": "learn"}
    exact: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": PAPER}

    def __post_init__(self) -> None:
        counts = ("episodes", "rounds", "markets", "epochs", "minibatches", "checkpoint_every")
        check_whole(self, **dict.fromkeys((*counts, "hidden", "cells"), 1))
        check_whole(self, window=0, update_every=0)
        every = self.update_every or self.rounds
        divides = self.rounds % every == 0
        check_range("update_every", every, f"a divisor of rounds = {self.rounds}", divides)
        check_range(
            "update_every",
            self.update_every,
            "0 while memory is carried through the episode (window = 0); set window = 3, say",
            bool(self.window) or every == self.rounds,
        )
        for option in ("gamma", "trace", "head_start", "anneal", "hold", "average"):
            value = getattr(self, option)
            check_range(option, value, "a number from 0 to 1, below 1", 0 <= value < 1)
        expected = f"at least head_start = {self.head_start}"
        check_range("anneal", self.anneal, expected, self.anneal >= self.head_start)
        check_positive(self, "clip", "rate", "leader_rate", "final_rate", "fading", "spread")
        check_positive(self, "final_spread", "final_leader_spread", "gradient_clip", "value_weight")
        check_range("entropy_weight", self.entropy_weight, "at least 0", self.entropy_weight >= 0)
        for option in ("checkpoint", "tensorboard"):
            value = getattr(self, option)
            check_range(option, value, "a path", isinstance(value, (str, os.PathLike)))
        check_choice("observe", self.observe, Observe)
        check_choice("leaders", self.leaders, Leading)
        check_choice("followers", self.followers, Following)
        if self.followers == "best" and self.observe == "history":
            raise OptionError(
                "option followers = 'best' replies to the round's leader actions, which observe = "
                "'history' hides; expected observe = 'announced'"
            )

    def iterations(self) -> int:
        return self.episodes * (self.rounds // (self.update_every or self.rounds))
