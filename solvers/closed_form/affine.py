"""Followers that answer affinely: their answers to all leader actions, from a few linear solves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.followers.complementarity import Rows
from stackel.followers.starts import inside
from stackel.followers.systems import Alone, Joint
from stackel.game.grids import middle
from stackel.types import Array

EXACT = 1e-8
"""Relative misfit up to which recovered coefficients count as the formula's own."""

AT_ONCE = 20_000
"""Followers' decisions whose linear systems are solved together."""


@dataclass
class Affine:
    """Followers' answers y(x) = base + sum_j x_j slopes[:, j], limits and bounds left out.

    ``foreseen`` are the slopes that the leaders count on (the same, unless they foresee less).
    """

    base: Array  # (B, I, n)
    slopes: Array  # (B, J, I, n)
    foreseen: Array  # (B, J, I, n)

    def at(self, x: Array) -> Array:
        """(..., B, 1, J) to (..., B, I, n)."""
        out = self.base
        for j in range(x.shape[-1]):
            out = out + x[..., 0, j, None, None] * self.slopes[:, j]
        return out

    def some(self, index: Array) -> Affine:
        return Affine(self.base[index], self.slopes[index], self.foreseen[index])


def sample_range(calculus: Calculus) -> tuple[Array, Array]:
    """Finite bounds within which coefficients are recovered, each (B, 1, J)."""
    low, high = (b.reshape(-1, *calculus.leader_shape) for b in calculus.leader_bounds)
    centre = middle(low, high)
    width = 1.0 + np.abs(centre)
    return np.where(np.isfinite(low), low, centre - width), np.where(
        np.isfinite(high), high, centre + width
    )


def recover(calculus: Calculus, anticipation: str) -> tuple[Affine, list[str]]:
    """The followers' affine answers from 1 + J linear solves each, verified at one more point; and
    why they are none, of each market (B,): an empty text where they are."""
    low, high = sample_range(calculus)
    B, J = len(low), calculus.n_leaders
    centre, open_ = (low + high) / 2, high > low
    step = np.where(open_, (high - low) / 2, 0.0)
    # Inside the bounds throughout: formulas may not run beyond them.
    moved = centre[:, None] + step[:, None] * np.eye(J).reshape(J, 1, J)
    probe = low + (high - low) * np.random.default_rng(0).random((1, J))
    x = np.concatenate([centre[:, None], moved, probe[:, None]], 1)  # (B, J + 2, 1, J)
    many, flat = calculus.at(np.repeat(np.arange(B), J + 2)), x.reshape(-1, 1, J)
    y = _unlimited(many, flat)
    scale = np.where(open_, step, 1.0)[:, 0, :, None, None]

    def by_leader(answers: Array) -> Array:
        """How the answers (B, J + 2, I, n) move with each leader's action (B, J, I, n)."""
        return (answers[:, 1 : J + 1] - answers[:, :1]) / scale

    y = y.reshape(B, J + 2, *y.shape[1:])
    slopes = by_leader(y)
    foreseen = slopes
    if anticipation == "none":
        foreseen = np.zeros_like(slopes)
    elif anticipation == "own_response":
        rivals = np.broadcast_to(y[:, :1], y.shape).reshape(len(flat), *y.shape[2:])
        foreseen = by_leader(_alone(many, flat, rivals).reshape(y.shape))
    out = Affine(y[:, 0], slopes, foreseen)
    out.base = y[:, 0] - (out.at(centre) - y[:, 0])
    size = np.abs(y).max((1, 2, 3))
    regular = size <= 1e8 * (1 + np.abs(y).min((1, 2, 3)))  # False of NaN too
    truth = y[:, -1]
    misfit = np.abs(out.at(probe) - truth).max((-1, -2))
    affine = misfit <= EXACT * (1 + np.abs(truth).max((-1, -2)))
    why = np.where(affine, "", "the followers' answer is not affine in the leaders' decisions")
    return out, np.where(regular, why, "the followers' linear system is singular").tolist()


def _unlimited(calculus: Calculus, x: Array) -> Array:
    """The followers' equilibria (N, I, n) with every bound and limit left out: linear solves."""
    most = max(1, AT_ONCE // calculus.first_guess[0].size) if not calculus.batched else len(x)
    parts = []
    for k in range(0, len(x), most):
        some = x[k : k + most]
        system = Joint(calculus, some)
        guess = inside(calculus, calculus.first_guess)
        lam, mu = calculus.zeros((len(some),))
        y, flat = system.flat(np.broadcast_to(guess, (len(some), *system.shape)), lam, mu)
        F, _ = system.values(y, flat)
        right = np.concatenate([-F, np.zeros_like(flat)], -1)[..., None]
        rows = Rows.units(np.zeros(y.shape), np.ones(flat.shape))
        move = system.linear_solve(y, flat, rows, right)[..., 0]
        parts.append((y + move[:, : system.p]).reshape(len(some), *system.shape))
    return np.concatenate(parts)


def _alone(calculus: Calculus, x: Array, rivals: Array) -> Array:
    """Each follower's own reply with rivals held, bounds and limits left out."""
    system = Alone(calculus, x, rivals)
    lam = np.zeros((*rivals.shape[:2], calculus.m + calculus.k))
    F, _ = system.values(rivals, lam)
    rows = Rows.units(np.zeros(rivals.shape), np.ones(lam.shape))
    return rivals + system.step(rivals, lam, rows, -F, np.zeros_like(lam))[0]
