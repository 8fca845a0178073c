"""What is known of the followers' answers over boxes of a leader's actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.intervals import Interval, join
from stackel.types import Array


@dataclass
class Answers:
    """The followers' answers to a leader's actions, of B boxes.

    Attributes:
        known: where there are bounds (B,).
        every: where these are of all equilibria that there may be, rather than of the only one.
        over: their actions over the box (B, p).
        centre: their actions at the box's centre (B, p).
        slope: how they move, y(x) - y(centre) is in slope (x - centre) (B, p, d).
        why: why they are not known, in words, of each box.
    """

    known: Array
    every: Array
    over: Interval
    centre: Interval
    slope: Interval
    why: list[str]


@dataclass
class Everywhere:
    """What holds over all actions of the followers, of B boxes of leader actions."""

    Y: Interval
    v: Array
    w: Array
    dominant: Array
    m: Array
    only: Array

    def at(self, index: Array) -> Everywhere:
        """Some of the boxes.

        Args:
            index: which.
        """
        arrays = self.v, self.w, self.dominant, self.m, self.only
        return Everywhere(self.Y[index], *(a[index] for a in arrays))

    @staticmethod
    def stack(*parts: Everywhere) -> Everywhere:
        """All boxes of some.

        Args:
            *parts: one after the other.
        """
        names = ("v", "w", "dominant", "m", "only")
        arrays = (np.concatenate([getattr(p, name) for p in parts]) for name in names)
        return Everywhere(join([p.Y for p in parts], 0), *arrays)


@dataclass
class Found:
    """What is known of the answers over B boxes: where, bounds over the box and at its centre, and
    how they move."""

    known: Array
    over: Interval
    centre: Interval
    slope: Interval

    @staticmethod
    def nothing(B: int, p: int, d: int) -> Found:
        """Nothing yet.

        Args:
            B, p, d: how many boxes, actions of the followers and decisions of the leader.
        """
        over, centre, slope = (
            Interval(np.full(s, -np.inf), np.full(s, np.inf)) for s in ((B, p), (B, p), (B, p, d))
        )
        return Found(np.zeros(B, dtype=bool), over, centre, slope)


def put_found(
    out: Found, index: Array, found: Found, everywhere: Everywhere, low: Array, high: Array
) -> None:
    """What is found of some boxes put in its place, cut by the bounds that hold anyway.

    Args:
        out: of all boxes.
        index: which boxes ``found`` is of.
        found: what is found of them.
        everywhere: what holds of them anyway.
        low, high: the followers' bounds (p,).
    """
    whole = everywhere.Y.reshape(len(index), -1).meet(Interval(low, high))
    found.over, found.centre = found.over.meet(whole), found.centre.meet(whole)
    still = (found.over.hi <= found.over.lo)[..., None]  # what does not move at all
    slope = found.slope
    found.slope = Interval(np.where(still, 0.0, slope.lo), np.where(still, 0.0, slope.hi))
    out.known[index] = found.known
    for name in ("over", "centre", "slope"):
        new, old = getattr(found, name), getattr(out, name)
        old.lo[index], old.hi[index] = new.lo, new.hi


def put(answers: Answers, index: Array, found: Found) -> None:
    """What is found of some boxes put among the answers, where it is known.

    Args:
        answers: of all boxes.
        index: which boxes ``found`` is of.
        found: what is found of them.
    """
    good = index[found.known]
    answers.known[good] = True
    for name in ("over", "centre", "slope"):
        new, old = getattr(found, name)[found.known], getattr(answers, name)
        fresh = Interval(np.array(old.lo), np.array(old.hi))
        fresh.lo[good], fresh.hi[good] = new.lo, new.hi
        setattr(answers, name, fresh)
