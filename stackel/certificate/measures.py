"""What certificates measure, of one point or of a stack's points at once (batch axes in front)."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers.response import Response
from stackel.followers.starts import first_guess, inside
from stackel.followers.systems import Joint
from stackel.game.game import Game
from stackel.leaders.deviations import search_range
from stackel.types import Array

SAMPLES = 64
"""Trial actions of each follower where its problem is not proved concave."""


def scale(*payoffs: Array) -> Array:
    """The largest finite size of some players' payoffs (..., players), 1 if there is none."""
    largest = [np.abs(np.where(np.isfinite(p), p, 0.0)).max(-1, initial=0.0) for p in payoffs]
    found = np.max(largest, axis=0)
    return np.where(found > 0, found, 1.0)


def typical(game: Game, x: Array, y: Array) -> tuple[Array, Array]:
    """Payoffs of the leaders (3, ..., J) and the followers (3, ..., I) elsewhere: where they are
    nearly 0 at the point itself, what counts as rounding can only be told from these."""
    low, high = search_range(game, x)
    at = np.stack([low, (low + high) / 2, high])
    guess = inside(game, first_guess(game))
    leaders = trace(game).leader_values(at, y)[0]
    return leaders, trace(game).follower_payoffs(guess, guess, at)


def slack(game: Game, x: Array, y: Array, best: Response, modulus: Array) -> Array:
    """A bound (..., I) on how much better than the computed reply any reply could be.

    For a payoff strongly concave with modulus m, a Lagrangian gradient g and multipliers lam leave
    at most the largest g s - m |s|^2 / 2 over steps s within the bounds, and lam |c|. Zero where
    there is no modulus.
    """
    calculus = trace(game)
    if calculus.k:
        return np.zeros(y.shape[:-1])
    lam, mu = np.maximum(best.lam, 0.0), np.zeros((*y.shape[:-2], 0))
    field, own, _ = calculus.system(best.y, y, x, lam, mu)
    low, high = game.follower_bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        # The most of -field @ step - modulus |step|^2 / 2 over steps that stay within the bounds.
        m = modulus[..., None]
        step = np.clip(-field / m, low - best.y, high - best.y)
        bound = (-field * step - m / 2 * step**2).sum(-1)
    complementary = (lam * np.maximum(-own, 0.0)).sum(-1) if calculus.m else 0.0
    return np.where(modulus > 0, bound + complementary, 0.0)


def sampled(game: Game, x: Array, y: Array, action: Array, reached: Array) -> tuple[Array, Array]:
    """Replies (..., I, n) and their payoffs (..., I), improved by trial actions; row i of a payoff
    needs row i of the action only."""
    rng = np.random.default_rng(0)
    low, high = game.follower_bounds
    wide = 10.0 * (np.abs(y) + 1.0)
    low = np.where(np.isfinite(low), low, y - wide)
    high = np.where(np.isfinite(high), high, y + wide)
    lam, mu = trace(game).zeros(y.shape[:-2])
    for _ in range(SAMPLES):
        trial = low + (high - low) * rng.random(y.shape[-2:])
        payoff = trace(game).follower_payoffs(trial, y, x)
        own = trace(game).system(trial, y, x, lam, mu)[1]
        good = np.isfinite(payoff) & (own <= 0).all(-1)
        if trace(game).k:
            good &= False
        better = good & (payoff > reached)
        action = np.where(better[..., None], trial, action)
        reached = np.where(better, payoff, reached)
    return action, reached


def violations(game: Game, x: Array, y: Array) -> tuple[dict[str, Array], Array]:
    """Raw violations (...) by name, and the largest as a relative distance to feasibility (...)."""
    calculus, batch = trace(game), x.shape[:-2]
    out: dict[str, Array] = {}
    relative = np.zeros(batch)

    def worse(name: str, raw: Array) -> None:
        out[name] = np.maximum(out.get(name, np.zeros(batch)), raw.reshape(batch))

    for action, value, (low, high) in (
        (trace(game).leader_name, x, game.leader_bounds),
        (trace(game).follower_name, y, game.follower_bounds),
    ):
        raw = np.maximum(np.maximum(low - value, value - high), 0.0).max((-1, -2))
        out[action] = raw
        relative = np.maximum(relative, raw / (1.0 + np.abs(value).max((-1, -2))))
    flat_x, flat_y = x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:])
    system = Joint(calculus, flat_x)
    unknowns = system.flat(flat_y, *calculus.zeros((len(flat_y),)))
    with np.errstate(all="ignore"):
        _, c = system.values(*unknowns)
        _, s, w = system.scales(*unknowns)
    I, m = game.n_followers, calculus.m
    own = np.maximum(c[:, : I * m].reshape(len(c), I, m), 0.0).max(1)
    for column, name in enumerate(calculus.limit_names):
        worse(name, own[:, column])
    for column, name in enumerate(calculus.shared_names):
        worse(name, np.maximum(c[:, I * m + column], 0.0))
    if c.size:
        distance = np.maximum(c, 0.0) / s * w  # how far y must move to mend the limit
        distance = np.where(np.isfinite(c), distance, np.inf).max(-1).reshape(batch)
        relative = np.maximum(relative, distance / (1.0 + np.abs(y).max((-1, -2))))
    leader = calculus.leader_values(x, y)[1]
    for row, name in enumerate(calculus.leader_limit_names):
        raw = np.maximum(leader[..., row, :], 0.0).max(-1)
        worse(name, raw)
        relative = np.maximum(relative, raw / (1.0 + np.abs(leader[..., row, :]).max(-1)))
    return out, relative
