"""What certificates measure, of B points at once, and against what.

No unit enters, and no other player's size. A gain is a share of the player's own *scale*: the
smaller of its payoff's range over moves that it surely has, and of what is at stake for it (the
largest term of its payoff that depends on what it decides), and no more than a hundred times what
a move by half of its own size costs. A range alone is no scale, since one absurd move makes it
large; nor are terms, of which a high power makes far more than they ever come to. A violation is a
share of what the limit's terms move by, and of the width that a bound leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.yardsticks import (
    follower_sizes,
    half_moves,
    leader_sizes,
    moved,
    own_sizes,
    system_sizes,
)
from stackel.followers.lengths import natural_lengths
from stackel.followers.replies import Replies, best_replies
from stackel.leaders.deviations import FEASIBLE
from stackel.types import Array

ROUNDING = 16 * float(np.finfo(float).eps) / 2
"""Share of its terms' sizes that a limit may be off by: what evaluating it leaves behind."""

DEAR = 100.0
"""A move by half of one's own size costs at least this part of a scale, one hundredth: else the
formula's terms, or moves that nobody would make, are no measure of what a player can gain."""

LEFT = 1e-6
"""Share of its stake, or of a limit's size, that an answer which a leader counts on may be off by
for a follower."""

NOISE = 2 * float(np.finfo(float).eps)
"""The same of a gain, the difference of two payoffs."""


def share(part: Array, whole: Array) -> Array:
    """A part of a whole; of nothing, nothing is 0 and anything else is endless. NaN is endless."""
    with np.errstate(all="ignore"):
        out = np.where(part == 0, 0.0, part / whole)
    return np.where(np.isnan(out), np.inf, out)


@dataclass(frozen=True)
class Scales:
    """What players' gains are measured against, in units of their payoffs.

    Attributes:
        scale: (B, players); 0 for a player whose payoff no move of its own changes.
        noise: what rounding leaves of a difference of two payoffs (B, players).
    """

    scale: Array
    noise: Array


def _scales(span: Array, stake: Array, terms: Array, cost: Array) -> Scales:
    span = np.where(np.isfinite(span), np.maximum(span, 0.0), 0.0)
    stake = np.where(np.isfinite(stake), stake, np.inf)
    noise = NOISE * np.where(np.isfinite(terms), terms, 0.0)
    dear = np.where(cost > noise, DEAR * cost, np.inf)
    return Scales(np.minimum(np.minimum(span, stake), dear), noise)


def follower_scales(calculus: Calculus, x: Array, y: Array, best: Replies) -> Scales:
    """Of every follower, over some of its own moves that it surely has.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        best: the followers' best replies.
    """
    low, high = (np.broadcast_to(b, y.shape) for b in calculus.follower_bounds)
    known = np.isfinite(best.payoff)[..., None]
    action = np.where(known, best.action, y)
    own = own_sizes(calculus, x, action)[1]
    far = np.maximum(natural_lengths(calculus, x, action), own)
    ends = (
        np.where(np.isfinite(low), low, action - far),
        np.where(np.isfinite(high), high, action + far),
    )
    halves = half_moves(action, calculus.follower_bounds)
    middles = (ends[0] + ends[1]) / 2, (action + ends[0]) / 2
    trials = np.stack([y, action, *ends, *middles, *halves])
    payoff = calculus.follower_payoffs(trials, y, x)
    good = np.isfinite(payoff)
    if calculus.m:
        none = calculus.zeros(y.shape[:-2])
        own_limits = calculus.system(trials, y, x, *none)[1]
        size = system_sizes(calculus, trials, x, *none)[0][1]
        good &= (share(own_limits, size) <= FEASIBLE).all(-1)
    span_low = np.where(good, payoff, np.inf).min(0)
    span_high = np.where(good, payoff, -np.inf).max(0)
    with np.errstate(invalid="ignore"):
        lost = best.payoff - payoff[-len(halves) :]
    dear = good[-len(halves) :] & known[..., 0] & (lost > 0)
    cost = np.where(dear, lost, np.inf).min(0)
    # Who does next to nothing has nothing at stake there; what it could do instead is its size.
    could = np.clip(action + far, low, high)
    sizes = follower_sizes(calculus, np.stack([y, action, could]), y, x)
    terms, (at, there, off) = np.fmax(*sizes.terms[:2]), sizes.stake
    stake = np.fmax(np.fmax(at, there), np.where(np.isfinite(off), off, 0))
    return _scales(span_high - span_low, stake, terms, cost)


def leader_scales(
    calculus: Calculus, x: Array, y: Array, moves: Array, answers: Array, span: Array, cost: Array
) -> Scales:
    """Of every leader.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        moves: the best move of each leader (B, d, J).
        answers: the followers' answer to each of them (B, J, I, n).
        span: the range of its payoff over the moves that it tried (B, J).
        cost: what :func:`half_moves` from the best one cost it at least (B, J).
    """
    J = calculus.n_leaders
    own = np.arange(J)
    profiles = np.stack([x] * (1 + J))
    profiles[1 + own, :, :, own] = np.moveaxis(moves, -1, 0)
    sizes = leader_sizes(calculus, profiles, np.stack([y, *np.moveaxis(answers, 1, 0)]))
    stake, terms = (
        np.fmax(size[0], size[1 + own, :, own].T) for size in (sizes.stake, sizes.terms)
    )
    # Who stays out has nothing at stake there: what its payoff ranges over measures its gains.
    return _scales(span, np.where(stake > 0, stake, np.inf), terms, cost)


def slack(calculus: Calculus, x: Array, y: Array, best: Replies) -> Array:
    """A bound (B, I) on how much better than the computed reply any reply could be.

    For a payoff strongly concave with modulus m, a Lagrangian gradient g and multipliers lam leave
    at most the largest g s - m |s|^2 / 2 over steps s within the bounds, and lam |c|. Zero where
    there is no modulus.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        best: the computed replies.
    """
    if calculus.k:
        return np.zeros(y.shape[:-1])
    lam, mu = np.maximum(best.lam, 0.0), np.zeros((len(y), 0))
    field, own, _ = calculus.system(best.action, y, x, lam, mu)
    low, high = calculus.follower_bounds
    m = best.modulus[..., None]
    # The most of -field @ step - modulus |step|^2 / 2 over steps that stay within the bounds.
    step = np.clip(-field / m, low - best.action, high - best.action)
    bound = (-field * step - m / 2 * step**2).sum(-1)
    complementary = (lam * np.maximum(-own, 0.0)).sum(-1)
    return np.where((best.modulus > 0) & best.concave[:, None], bound + complementary, 0.0)


@dataclass
class Violations:
    """How far B points are from meeting limits and bounds.

    Attributes:
        raw: the largest violation by limit, in its own units (B,).
        worst: the largest of all, as a share of its limit's own size (B,).
        name: which that is, of each point; an empty text where none is broken.
    """

    raw: dict[str, Array]
    worst: Array
    name: list[str]

    def add(self, name: str, raw: Array, relative: Array) -> None:
        """Count one more limit.

        Args:
            name: its name.
            raw: by how much it is broken (B, ...).
            relative: the same as a share of its size.
        """
        raw, relative = (
            v.reshape(len(self.worst), -1).max(-1, initial=0.0) for v in (raw, relative)
        )
        self.raw[name] = np.maximum(self.raw.get(name, np.zeros(len(raw))), raw)
        for k in np.flatnonzero(relative > self.worst):
            self.name[k] = name
        self.worst = np.maximum(self.worst, relative)


def rather(calculus: Calculus, x: Array, y: Array) -> Array | None:
    """What followers would rather do than an answer that a leader counts on (I, n): each that gains
    more than :data:`LEFT` of its stake its best reply, the others what they do; None if the answer
    breaks their limits.

    Args:
        calculus: a market, or a batch of one.
        x, y: leader actions (d, J) and follower actions (I, n).
    """
    x, y = x[None], y[None]
    none = calculus.zeros((1,))
    limits, sizes = calculus.system(y, y, x, *none)[1:], system_sizes(calculus, y, x, *none)[0][1:]
    for over, size in zip(limits, sizes, strict=True):
        if (share(np.maximum(over, 0.0), size) > LEFT).any():
            return None
    best = best_replies(calculus, x, y)
    own = follower_sizes(calculus, best.action, y, x)
    gained = best.payoff - calculus.follower_payoffs(y, y, x)
    leaves = gained > LEFT * own.stake + NOISE * own.terms
    return np.asarray(np.where(leaves[..., None], best.action, y)[0])


def violations(calculus: Calculus, x: Array, y: Array, best: Array, moves: Array) -> Violations:
    """Every limit and bound, each measured against its own size.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        best: the followers' best replies (B, I, n): how large an action without an upper bound is.
        moves: the leaders' best moves (B, d, J).
    """
    out = Violations({}, np.zeros(len(x)), [""] * len(x))
    for name, value, bounds, other in (
        (calculus.leader_name, x, calculus.leader_bounds, moves),
        (calculus.follower_name, y, calculus.follower_bounds, best),
    ):
        low, high = bounds
        raw = np.maximum(np.maximum(low - value, value - high), 0.0)
        raw = np.where(np.isfinite(value), raw, np.inf)
        own = np.maximum(moved(value, bounds), moved(other, bounds))
        size = np.where(np.isfinite(high - low), high - low, np.where(np.isfinite(own), own, 0.0))
        size = np.where(high > low, size, np.abs(low))
        out.add(name, raw, share(raw, size))
    with np.errstate(all="ignore"):
        _, own_limits, shared = calculus.system(y, y, x, *calculus.zeros((len(y),)))
        stakes, terms = system_sizes(calculus, y, x, *calculus.zeros((len(y),)))
        limits = calculus.leader_values(x, y)[1]
        sizes = leader_sizes(calculus, x, y)
    for names, values, stake, term in (
        (calculus.limit_names, np.moveaxis(own_limits, -1, 0), stakes[1], terms[1]),
        (calculus.shared_names, np.moveaxis(shared, -1, 0), stakes[2], terms[2]),
        (calculus.leader_limit_names, np.moveaxis(limits, -2, 0), sizes.limits, sizes.limit_terms),
    ):
        axis = -2 if names is calculus.leader_limit_names else -1
        for column, name in enumerate(names):
            size, rounding = (np.take(a, column, axis) for a in (stake, ROUNDING * term))
            raw = np.where(np.isnan(values[column]), np.inf, np.maximum(values[column], 0.0))
            over = np.maximum(raw - np.where(np.isfinite(rounding), rounding, 0.0), 0.0)
            out.add(name, np.where(over > 0, raw, 0.0), share(over, size))
    return out
