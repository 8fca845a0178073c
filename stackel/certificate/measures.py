"""What certificates measure, of B points at once."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.followers.response import Response
from stackel.followers.starts import inside
from stackel.followers.systems import Alone, Joint
from stackel.leaders.deviations import search_range
from stackel.types import Array

SAMPLES = 64
"""Trial actions of each follower where its problem is not proved concave."""


def scale(*payoffs: Array) -> Array:
    """The largest finite size of some players' payoffs (B, players): (B,), 1 if there is none."""
    largest = [np.abs(np.where(np.isfinite(p), p, 0.0)).max(-1, initial=0.0) for p in payoffs]
    found = np.max(largest, axis=0)
    return np.where(found > 0, found, 1.0)


def typical(calculus: Calculus, x: Array, y: Array) -> tuple[Array, Array]:
    """Payoffs of the leaders (B, 3 J) and the followers (B, 3 I) elsewhere: where they are nearly 0
    at the point itself, what counts as rounding can only be told from these.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
    """
    low, high = search_range(calculus, x)
    at = np.stack([low, (low + high) / 2, high])
    guess = inside(calculus, calculus.first_guess)
    leaders = np.moveaxis(calculus.leader_values(at, y)[0], 0, 1)
    followers = np.moveaxis(calculus.follower_payoffs(guess, guess, at), 0, 1)
    return leaders.reshape(len(x), -1), followers.reshape(len(x), -1)


def slack(calculus: Calculus, x: Array, y: Array, best: Response, modulus: Array) -> Array:
    """A bound (B, I) on how much better than the computed reply any reply could be.

    For a payoff strongly concave with modulus m, a Lagrangian gradient g and multipliers lam leave
    at most the largest g s - m |s|^2 / 2 over steps s within the bounds, and lam |c|. Zero where
    there is no modulus.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        best: the computed replies.
        modulus: of each payoff (B, I).
    """
    if calculus.k:
        return np.zeros(y.shape[:-1])
    lam, mu = np.maximum(best.lam, 0.0), np.zeros((len(y), 0))
    field, own, _ = calculus.system(best.y, y, x, lam, mu)
    low, high = calculus.follower_bounds
    m = modulus[..., None]
    # The most of -field @ step - modulus |step|^2 / 2 over steps that stay within the bounds.
    step = np.clip(-field / m, low - best.y, high - best.y)
    bound = (-field * step - m / 2 * step**2).sum(-1)
    complementary = (lam * np.maximum(-own, 0.0)).sum(-1)
    return np.where(modulus > 0, bound + complementary, 0.0)


def sampled(
    calculus: Calculus, x: Array, y: Array, action: Array, reached: Array
) -> tuple[Array, Array]:
    """Replies and their payoffs, improved by trial actions; row i of a payoff needs row i of the
    action only.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
        action, reached: the replies so far (B, I, n), and their payoffs (B, I).
    """
    rng = np.random.default_rng(0)
    low, high = calculus.follower_bounds
    wide = 10.0 * (np.abs(y) + 1.0)
    low = np.where(np.isfinite(low), low, y - wide)
    high = np.where(np.isfinite(high), high, y + wide)
    lam, mu = calculus.zeros((len(y),))
    alone = Alone(calculus, x, y)
    for _ in range(SAMPLES):
        trial = low + (high - low) * rng.random(y.shape[-2:])
        payoff = calculus.follower_payoffs(trial, y, x)
        own = calculus.system(trial, y, x, lam, mu)[1]
        better = np.isfinite(payoff) & (own <= 0).all(-1) & (payoff > reached)
        if calculus.k and better.any():  # given the others, a shared limit is each one's own
            better &= (alone.shared(trial) <= 0).all(-1)
        action = np.where(better[..., None], trial, action)
        reached = np.where(better, payoff, reached)
    return action, reached


def violations(calculus: Calculus, x: Array, y: Array) -> tuple[dict[str, Array], Array]:
    """Raw violations (B,) by name, in the limits' own units; and the largest as a relative
    distance to feasibility (B,).

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
    """
    out: dict[str, Array] = {}

    def worse(name: str, raw: Array) -> None:
        out[name] = np.maximum(out.get(name, np.zeros(len(x))), raw)

    relative = np.zeros(len(x))
    size = 1.0 + np.abs(y).max((-1, -2))
    for name, value, (low, high) in (
        (calculus.leader_name, x, calculus.leader_bounds),
        (calculus.follower_name, y, calculus.follower_bounds),
    ):
        raw = np.maximum(np.maximum(low - value, value - high), 0.0).max((-1, -2))
        out[name] = raw
        relative = np.maximum(relative, raw / (1.0 + np.abs(value).max((-1, -2))))
    system = Joint(calculus, x)
    unknowns = system.flat(y, *calculus.zeros((len(y),)))
    _, c = system.values(*unknowns)
    _, s, w = system.scales(*unknowns)
    I, m = calculus.n_followers, calculus.m
    own = np.maximum(c[:, : I * m].reshape(len(c), I, m), 0.0).max(1)
    for column, name in enumerate(calculus.limit_names):
        worse(name, own[:, column])
    for column, name in enumerate(calculus.shared_names):
        worse(name, np.maximum(c[:, I * m + column], 0.0))
    distance = np.where(c <= 0, 0.0, c / s * w)  # how far y must move to mend the limit
    distance = np.where(np.isnan(distance), np.inf, distance).max(-1, initial=0.0)
    relative = np.maximum(relative, distance / size)
    leader = calculus.leader_values(x, y)[1]
    for row, name in enumerate(calculus.leader_limit_names):
        raw = np.maximum(leader[:, row], 0.0).max(-1)
        worse(name, raw)
        relative = np.maximum(relative, raw / (1.0 + np.abs(leader[:, row]).max(-1)))
    return out, relative
