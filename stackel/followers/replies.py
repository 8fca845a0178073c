"""Best replies where a point that meets the first-order conditions need not be one.

Where a follower's problem is not proved concave, its own action is searched over its whole range:
a grid of one decision, a spread sample and lines of several, the best few refined. What comes out
is the best that was found; ``sure`` says where it is known to be the best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import qmc

from stackel.calculus.calculus import Calculus
from stackel.calculus.curvature import concave_everywhere
from stackel.calculus.yardsticks import follower_sizes
from stackel.followers.lengths import usual_size
from stackel.followers.response import Response, reply, settle
from stackel.followers.systems import Alone
from stackel.types import Array

GRID = 1025
"""Trial values of one decision."""

PEAKS = 6
"""Local maxima of a grid that are refined."""

ZOOMS = 8
"""Refinements, each by a factor of 8."""

SAMPLE = 512
"""Trial actions of several decisions."""

ROUNDS = 6
"""Most rounds of best replies in turn with the first-order conditions."""

GAIN = 1e-9
"""Share of what is at stake up to which a better reply counts as none."""

NUMBERS = 20_000_000
"""Trial actions in memory at once."""


@dataclass(frozen=True)
class Replies:
    """The best that every follower was found to do alone, of B points.

    Attributes:
        action: (B, I, n).
        payoff: what it is then worth (B, I); minus infinity where nothing feasible was found.
        lam: multipliers of the own limits, then of the shared ones (B, I, m + k).
        solved: whether it is known to be the best, or a search of the whole range found it (B, I).
        concave: whether every follower's problem is proved concave at the point (B,).
        modulus: how strongly each payoff's quadratic part is (B, I).
    """

    action: Array
    payoff: Array
    lam: Array
    solved: Array
    concave: Array
    modulus: Array


def best_replies(
    calculus: Calculus,
    x: Array,
    y: Array,
    start: Response | None = None,
    points: int = GRID,
    some: Array | None = None,
) -> Replies:
    """Every follower's best action given the others'.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and everybody's actions (B, I, n).
        start: where Newton's method starts; default y.
        points: size of the grid over one decision.
        some: where it is worth trying to prove concavity by intervals (B,); default everywhere.
    """
    found = reply(calculus, x, y, start)
    with np.errstate(all="ignore"):
        payoff = calculus.follower_payoffs(found.y, y, x)
    solved = found.converged & np.isfinite(payoff)  # off the payoff's domain it is no reply
    proved, modulus = calculus.prove_concave(y, x, some)
    concave = proved & (not calculus.k or calculus.concavity.affine_shared)
    action, payoff = np.array(found.y), np.where(solved, payoff, -np.inf)
    unsure = np.flatnonzero(~(concave & solved.all(-1)))
    each = max(1, NUMBERS // (y[0].size * (points if y.shape[-1] == 1 else 2 * SAMPLE)))
    for first in range(0, len(unsure), each):
        some = unsure[first : first + each]
        search = _Own(calculus.at(some), x[some], y[some], action[some], solved[some])
        own, worth = search.find(points)
        better = worth > payoff[some]
        action[some] = np.where(better[..., None], own, action[some])
        payoff[some] = np.where(better, worth, payoff[some])
        # A grid over the only decision has seen the whole range; of a concave problem any move
        # that is better would have been found on the way.
        whole = (y.shape[-1] == 1) & np.isfinite(payoff[some])
        solved[some] = whole | solved[some]
    return Replies(action, payoff, found.lam, solved, concave, modulus)


class _Own:
    """The search over each follower's own action, the others' held.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and everybody's actions (B, I, n).
        action: what Newton's method found (B, I, n).
        solved: where that meets the first-order conditions (B, I).
    """

    def __init__(
        self, calculus: Calculus, x: Array, y: Array, action: Array, solved: Array
    ) -> None:
        self.calculus, self.x, self.y = calculus, x, y
        self.action, self.solved = action, solved
        low, high = (np.broadcast_to(b, y.shape) for b in calculus.follower_bounds)
        reach = 10.0 * np.maximum(np.maximum(np.abs(y), np.abs(action)), usual_size(calculus))
        self.low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, y) - reach)
        self.high = np.where(np.isfinite(high), high, np.where(np.isfinite(low), low, y) + reach)

    def worth(self, trials: Array) -> Array:
        """Payoffs (T, B, I) at own actions (T, B, I, n); minus infinity where they break a
        limit."""
        calculus = self.calculus
        with np.errstate(all="ignore"):
            payoff = calculus.follower_payoffs(trials, self.y, self.x)
            good = np.isfinite(payoff)
            if calculus.m:
                own = calculus.system(trials, self.y, self.x, *calculus.zeros(()))[1]
                good &= (own <= 0).all(-1)
            if calculus.k:  # given the others, a shared limit is each one's own
                alone = Alone(calculus, self.x, self.y)
                for trial, fits in zip(trials, good, strict=True):
                    fits &= (alone.shared(trial) <= 0).all(-1)
        return np.where(good, payoff, -np.inf)

    def find(self, points: int) -> tuple[Array, Array]:
        """The best own actions (B, I, n) and their payoffs (B, I)."""
        if self.y.shape[-1] == 1:
            return self._line(self.action, 0, points)
        spread = qmc.Sobol(self.y.shape[-1], rng=0).random(SAMPLE)[:, None, None]
        trials = self.low + (self.high - self.low) * spread
        trials = np.concatenate([self.y[None], self.action[None], trials])
        worth = self.worth(trials)
        action, best = self.y, np.full(self.y.shape[:-1], -np.inf)
        order = np.argsort(-worth, axis=0)[:3]
        starts = np.take_along_axis(trials, order[..., None], 0)
        for begin in (self.action, self.y, *starts):
            own, value = begin, np.full(self.y.shape[:-1], -np.inf)
            for _ in range(3):
                for decision in range(self.y.shape[-1]):
                    own, value = self._line(own, decision, 65)
            better = value > best
            action = np.where(better[..., None], own, action)
            best = np.where(better, value, best)
        return action, best

    def _line(self, own: Array, decision: int, points: int) -> tuple[Array, Array]:
        """The best value of one decision, its whole range looked at: the actions and payoffs."""
        low, high, now = (a[..., decision] for a in (self.low, self.high, own))
        grid = low + (high - low) * np.linspace(0.0, 1.0, points)[:, None, None]
        grid = np.sort(np.concatenate([grid, now[None]]), axis=0)
        values = self._along(own, decision, grid)
        padded = np.pad(values, [(1, 1), (0, 0), (0, 0)], constant_values=-np.inf)
        peak = (values >= padded[:-2]) & (values >= padded[2:])
        far = self._needed(grid, now, values, padded, peak)
        if not far.all():
            out = np.array(own)
            if not far.any():
                return out, np.where(grid == now, values, -np.inf).max(0)
            rest = np.flatnonzero(far)
            part = _Own(self.calculus.at(rest), *(a[rest] for a in self._parts()))
            value = np.where(grid == now, values, -np.inf).max(0)
            out[rest], value[rest] = part._line(own[rest], decision, points)
            return out, value
        order = np.argsort(-np.where(peak, values, -np.inf), axis=0, kind="stable")[:PEAKS]
        left = np.take_along_axis(grid, np.maximum(order - 1, 0), 0)
        right = np.take_along_axis(grid, np.minimum(order + 1, len(grid) - 1), 0)
        best = np.take_along_axis(grid, order[:1], 0)[0]
        value = np.take_along_axis(values, order[:1], 0)[0]
        inner = np.linspace(0.0, 1.0, 17)[:, None, None, None]
        for _ in range(ZOOMS):
            fine = left + (right - left) * inner  # (17, peaks, B, I)
            shape = fine.shape
            values = self._along(own, decision, fine.reshape(-1, *shape[2:])).reshape(shape)
            top = values.argmax(0)[None]
            at = np.take_along_axis(fine, top, 0)[0]
            reached = np.take_along_axis(values, top, 0)[0]
            spacing = (right - left) / 16
            left, right = np.maximum(at - spacing, left), np.minimum(at + spacing, right)
            which = reached.argmax(0)[None]
            highest = np.take_along_axis(reached, which, 0)[0]
            best = np.where(highest > value, np.take_along_axis(at, which, 0)[0], best)
            value = np.maximum(value, highest)
        out = np.array(own)
        out[..., decision] = best
        return out, value

    def _parts(self) -> tuple[Array, ...]:
        return self.x, self.y, self.action, self.solved

    def _needed(self, grid: Array, now: Array, values: Array, padded: Array, peak: Array) -> Array:
        """Where (B,) some peak of the grid could be higher than what was found, by what it stands
        above its neighbours: what meets the first-order conditions is as high as it gets nearby."""
        found = np.where(grid == now, values, -np.inf).max(0)
        with np.errstate(invalid="ignore"):
            above = np.stack([values - padded[:-2], values - padded[2:]])
        above = np.where(np.isfinite(above), above, 0.0).max(0)
        highest = np.where(peak & (grid != now), values + above, -np.inf).max(0)
        return ~(self.solved & (highest <= found)).all(-1)

    def _along(self, own: Array, decision: int, values: Array) -> Array:
        trials = np.broadcast_to(own, (*values.shape, own.shape[-1])).copy()
        trials[..., decision] = values
        return self.worth(trials)


def settle_best(
    calculus: Calculus,
    x: Array,
    start: Response | None = None,
    tolerance: float = 1e-12,
    points: int = GRID,
    some: Array | None = None,
) -> Response:
    """The followers' equilibrium: :func:`stackel.followers.response.settle`, and where it is not
    proved that what meets the first-order conditions is everybody's best reply, compared with a
    search of each one's whole range. What nobody was found to improve upon is converged.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (B, d, J).
        start, tolerance: as for ``settle``; of start as many elements as of x.
        points: size of the grid over one decision of a follower.
        some: where it is worth trying to prove concavity by intervals (B,); default everywhere.
    """
    at = settle(calculus, x, start, tolerance)
    if concave_everywhere(calculus):
        return at
    proved = calculus.prove_concave(at.y, x, some)[0]
    doubtful = np.flatnonzero(~proved & np.isfinite(at.y).all((-1, -2)))
    if not len(doubtful):
        return at
    at = at.map(lambda array, core: np.array(array))
    for _ in range(ROUNDS):
        many, now_at = calculus.at(doubtful), at[doubtful]
        unproved = np.zeros(len(doubtful), dtype=bool)
        best = best_replies(many, x[doubtful], now_at.y, now_at, points, unproved)
        with np.errstate(all="ignore"):
            now = many.follower_payoffs(now_at.y, now_at.y, x[doubtful])
            stake = follower_sizes(many, best.action, now_at.y, x[doubtful]).stake
        better = ~(best.payoff <= now + GAIN * stake) & np.isfinite(best.payoff)
        moved = better.any(-1)
        at.converged[doubtful] &= ~moved
        begin = np.where(better[..., None], best.action, now_at.y)[moved]
        doubtful, now_at = doubtful[moved], now_at[moved]
        if not len(doubtful):
            return at
        again = replace(now_at, y=begin, lam=0 * now_at.lam, mu=0 * now_at.mu)
        at.put(doubtful, settle(calculus.at(doubtful), x[doubtful], again, tolerance))
    at.converged[doubtful] = False
    return at
