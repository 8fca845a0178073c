"""Proved bounds of what every player could gain by moving alone: no grid, no sample.

Bounds come from intervals of the traced formulas over boxes of actions, rounded outwards. A
follower's gain is bounded by weak duality where its problem is proved concave, by branch and bound
over its own action otherwise; a leader's by branch and bound over its own decisions (Hansen and
Walster, Global Optimization Using Interval Analysis, 2004), the followers' equilibrium enclosed
over every box. Nothing is called proved that these bounds do not say; what they take as given is
listed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.certificate.boxes import MarketBoxes
from stackel.certificate.follower_bounds import bound_followers
from stackel.certificate.leader_bounds import bound_leader
from stackel.certificate.sides import Side
from stackel.types import Array

BOXES = 2_000
"""Boxes for one leader of a small game."""

SMALL = 24
"""Unknowns of the followers up to which a game is small; for larger ones there are fewer boxes."""

FEWEST = 1_000

SEVERAL = 4
"""Times as many boxes for a leader with several decisions."""

LARGEST = 80
"""Unknowns of the followers up to which a proof is tried unasked."""

ASSUMED = (
    "the market's data and whatever its methods compute from it outside the traced formulas",
    "NumPy's exp, log, tanh and powers to 8 units in the last place",
)

QUALIFIED = "multipliers of the followers' limits that curve, at every equilibrium"
"""A constraint qualification, which affine limits need not."""

EVERY = "that the followers have an equilibrium: the bounds hold for each that there may be"

Progress = Callable[[int, str], None]


@dataclass(frozen=True)
class Proof:
    """What is proved of a point.

    Attributes:
        sides: of every player, the followers first.
        assumes: what is taken as given, in words.
        tolerance: gains up to this share of a player's own scale count as none.
        seconds: how long it took [s].
    """

    sides: tuple[Side, ...]
    assumes: tuple[str, ...]
    tolerance: float
    seconds: float

    @property
    def proved(self) -> bool:
        """Whether no player gains more than the tolerance, for sure."""
        return all(side.proved for side in self.sides)

    @property
    def boxes(self) -> int:
        """Boxes looked at, of all players together."""
        return sum(side.boxes for side in self.sides)

    @property
    def stuck(self) -> Side | None:
        """The first player of which it is not proved, if there is one."""
        return next((side for side in self.sides if not side.proved), None)

    @property
    def refuting(self) -> Side | None:
        """The player that surely gains most, if one does by more than the tolerance."""
        gaining = [side for side in self.sides if side.refuted]
        return max(gaining, key=lambda side: side.found / side.scale) if gaining else None

    def __str__(self) -> str:
        cost = f"{self.boxes:,} boxes"
        if self.proved:
            worst = max(side.relative for side in self.sides)
            return f"no player gains more than {worst:.2g} of what is at stake for it ({cost})"
        assert self.stuck is not None
        return f"{self.stuck.player} {self.stuck.index}: {self.stuck.why} ({cost})"


def budget(calculus: Calculus) -> int:
    """Boxes for one leader, by the game's size: not by the machine's load."""
    unknowns = calculus.first_guess.size + calculus.n_followers * calculus.m + calculus.k
    share = min(1.0, (SMALL / max(unknowns, 1)) ** 1.5)
    several = SEVERAL if calculus.leader_shape[0] > 1 else 1
    return several * max(FEWEST, int(BOXES * share))


def worth_trying(calculus: Calculus) -> bool:
    """Whether a game is small enough to be proved unasked."""
    unknowns = calculus.first_guess.size + calculus.n_followers * calculus.m + calculus.k
    bounded = all(np.isfinite(b).all() for b in calculus.leader_bounds)
    return unknowns <= LARGEST and bounded and calculus.leader_shape[0] <= 3


def prove(
    calculus: Calculus,
    x: Array,
    y: Array,
    scales: tuple[Array, Array],
    *,
    tolerance: float,
    boxes: int | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Bound every player's gain at a point.

    Args:
        calculus: one market.
        x, y: leader actions (d, J) and follower actions (I, n).
        scales: what the leaders' (J,) and the followers' (I,) gains are measured against.
        tolerance: gains up to this share of it count as none.
        boxes: most boxes for one leader; default by the game's size.
        progress: called with the boxes looked at so far and the player that they are about.
    """
    began = time.perf_counter()
    market = calculus.once(MarketBoxes)
    most = budget(calculus) if boxes is None else boxes
    with np.errstate(all="ignore"):
        sides = bound_followers(market, x, y, scales[1], tolerance, most)
        used = sum(side.boxes for side in sides)
        for j in range(calculus.n_leaders):
            report = None if progress is None else partial(_report, progress, used, f"leader {j}")
            scale = float(scales[0][j])
            sides.append(bound_leader(market, x, y, j, scale, tolerance, most, report))
            used += sides[-1].boxes
    assumes = list(ASSUMED)
    if market.q and not calculus.concavity.affine_limits:
        assumes.append(QUALIFIED)
    if any(side.every for side in sides):
        assumes.append(EVERY)
    return Proof(tuple(sides), tuple(assumes), tolerance, time.perf_counter() - began)


def _report(progress: Progress, before: int, player: str, boxes: int) -> None:
    progress(before + boxes, player)
