"""What is proved of one player's gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stackel.types import Array


@dataclass(frozen=True)
class Side:
    """What is known of one player's gain by moving alone.

    Attributes:
        player: ``"leader"`` or ``"follower"``.
        index: which one, counted from 0.
        bound: its gain is at most this, in units of its payoff; infinity: not known.
        found: a gain that it surely has, by ``action``; 0: none was found.
        scale: what its gain is measured against.
        tolerance: the share of it up to which a gain counts as none.
        boxes: how many were looked at.
        every: whether it holds for every equilibrium that the followers may have, one not being
            proved to be the only one.
        why: what the proof lacked, in words; where it got stuck.
        action: what it would do instead, if it surely gains.
        answer: what the followers do then, nearly (I, n).
        lows, highs: of a leader, the boxes of its decisions that were done with (K, d); sorted.
        uppers: what its payoff is at most in each of them (K,).
    """

    player: Literal["leader", "follower"]
    index: int
    bound: float
    found: float
    scale: float
    tolerance: float
    boxes: int
    every: bool = False
    why: str = ""
    action: Array | None = None
    answer: Array | None = None
    lows: Array | None = None
    highs: Array | None = None
    uppers: Array | None = None

    @property
    def proved(self) -> bool:
        """Whether its gain is surely no more than the tolerance."""
        return self.bound <= self.tolerance * self.scale or self.bound == 0.0

    @property
    def refuted(self) -> bool:
        """Whether it surely gains more."""
        return self.action is not None and self.found > self.tolerance * self.scale

    @property
    def relative(self) -> float:
        """The bound as a share of its scale."""
        if self.bound == 0.0:
            return 0.0
        return self.bound / self.scale if self.scale > 0 else np.inf
