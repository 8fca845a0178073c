"""Certificates of many points at once: the same quantities as :mod:`stackel.certificate` computes.

Only what is beyond doubt is certified in a batch. A point that anything speaks against (a follower
or leader that gains, a limit that is broken, a reply or a deviation that does not settle) gets no
certificate here; :func:`stackel.certify` looks at it alone.
"""

from __future__ import annotations

import math

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.calculus import trace
from stackel.certificate import measures
from stackel.certificate.certificate import NO_BOUNDS, NOT_PROVED, Certificate
from stackel.certificate.certify import POINTS, ROUNDING, losing
from stackel.followers import response
from stackel.followers.existence import Uniqueness, derivatives
from stackel.followers.response import Response
from stackel.game.game import Game
from stackel.leaders.deviations import search_lines
from stackel.leaders.trials import StackTrials
from stackel.types import Array

NUMBERS = 3_000
"""Points whose leaders' trial actions are answered together, times followers' decisions, times the
square of how many leaders there are: how the memory for them grows."""


def certify_stack(
    whole: Game, x: Array, at: Response, *, tolerance: float
) -> tuple[list[Certificate | None], Array]:
    """Certificates of a stack's points, None where a point has to be looked at alone; and where a
    leader's move refutes one, the leader actions after that move (B, d, J), else NaN.

    Args:
        whole: the stack.
        x: leader actions (B, d, J).
        at: follower actions and multipliers there.
        tolerance: gaps and violations up to this share of their scale count as none.
    """
    if whole.leader_shape[0] != 1:  # leaders' gaps are then estimates of another kind
        return [None] * len(x), np.full(x.shape, np.nan)
    out: list[Certificate | None] = []
    moved: list[Array] = []
    at_once = max(1, NUMBERS // (whole.n_leaders**2 * math.prod(whole.follower_shape)))
    for start in range(0, len(x), at_once):
        some = np.arange(start, min(start + at_once, len(x)))
        with np.errstate(all="ignore"):
            found, moves = _certify(trace(whole).at(some), x[some], at.y[some], tolerance)
        out += found
        moved.append(moves)
    return out, np.concatenate([x[:0], *moved])


def _certify(
    game: Game, x: Array, y: Array, tolerance: float
) -> tuple[list[Certificate | None], Array]:
    calculus = trace(game)
    now_f = calculus.follower_payoffs(y, y, x)
    best, gaps_f, proved, good = _follower_side(game, x, y, now_f)
    settled = response.settle(game, x, _as_response(game, y, best.lam[..., : calculus.m]))
    apart = np.abs(settled.y - y).max((-1, -2)) / (1 + np.abs(y).max((-1, -2)))
    good &= settled.converged & (apart <= 1e-3)
    trials = StackTrials(game, x, settled)
    search = search_lines(game, x, trials, points=POINTS)
    good &= trials.unsettled == 0
    base = calculus.leader_values(x, settled.y)[0]
    gaps_l = np.maximum(search.payoff - base, 0.0)
    broken, violation = measures.violations(game, x, y)
    now_l = calculus.leader_values(x, y)[0]
    typical_l, typical_f = (
        ROUNDING * np.moveaxis(t, 0, 1).reshape(len(x), -1) for t in measures.typical(game, x, y)
    )
    scale_f = measures.scale(now_f, now_f + gaps_f, typical_f)
    scale_l = measures.scale(now_l, np.maximum(search.payoff, base), typical_l)
    good &= (violation <= tolerance) & (gaps_f.max(-1) / scale_f <= tolerance)
    refuted = good & (gaps_l.max(-1) / scale_l > tolerance)
    good &= gaps_l.max(-1) / scale_l <= tolerance
    moves = np.full(x.shape, np.nan)
    for k in np.flatnonzero(refuted):
        leader = int(gaps_l[k].argmax())
        moves[k] = x[k]
        moves[k, :, leader] = search.action[k, :, leader]
    alike = _uniqueness(game, x, settled.y)
    finite = all(np.isfinite(b).all() for b in game.leader_bounds)
    out: list[Certificate | None] = [None] * len(x)
    for k in np.flatnonzero(good):
        losers = losing(now_l[k], now_f[k], float(scale_l[k]), float(scale_f[k]), tolerance)
        out[k] = Certificate(
            verdict="certified" if finite else "local",
            follower_gaps=gaps_f[k].copy(),
            leader_gaps=gaps_l[k].copy(),
            follower_scale=float(scale_f[k]),
            leader_scale=float(scale_l[k]),
            tolerance=tolerance,
            exact_replies=bool(proved[k]),
            global_search=finite,
            resolution=search.resolution[k].copy(),
            trials=int(search.tried[k]),
            unsettled=0,
            violations={name: float(value[k]) for name, value in broken.items()},
            violation=float(violation[k]),
            individually_rational=not losers,
            losers=losers,
            uniqueness=alike[k],
            anticipation="equilibrium",
            notes=(NOT_PROVED,) * (not proved[k]) + (NO_BOUNDS,) * (not finite),
        )
    return out, moves


def _as_response(game: Game, y: Array, lam: Array) -> Response:
    _, mu = trace(game).zeros((len(y),))
    return Response(y, lam, mu, np.full(len(y), np.inf), np.zeros(len(y), dtype=bool))


def _follower_side(
    game: Game, x: Array, y: Array, now: Array
) -> tuple[Response, Array, Array, Array]:
    """Best replies, what each follower gains by its own (B, I), where these are proved to be the
    best (B,), and where they were found (B,)."""
    calculus = trace(game)
    own, shared = calculus.system(y, y, x, *calculus.zeros((len(y),)))[1:]
    met = np.broadcast_to(shared[:, None], (*y.shape[:-1], calculus.k))
    hint = np.where(np.abs(np.concatenate([own, met], -1)) < 1e-6, 1e-6, 0.0)
    best = response.reply(game, x, y, _as_response(game, y, hint))
    proved, modulus = calculus.prove_concave(y, x)
    if calculus.k and not trace(game).concavity.affine_shared:
        proved = np.zeros(len(y), dtype=bool)
    reached = calculus.follower_payoffs(best.y, y, x)
    slack = np.where(proved[:, None], measures.slack(game, x, y, best, modulus), 0.0)
    if not proved.all():
        tried = measures.sampled(game, x, y, best.y, reached)[1]
        reached = np.where(proved[:, None], reached, tried)
    good = best.converged.all(-1) & np.isfinite(now).all(-1)
    return best, np.maximum(reached - now, 0.0) + slack, proved, good


def _uniqueness(game: Game, x: Array, y: Array) -> list[Uniqueness]:
    """Evidence for unique follower equilibria at x, looked at in y."""
    J, replies = derivatives(game, x, y)
    smallest, radius = matrices.smallest_eigenvalues(J), matrices.spectral_radii(replies)
    everywhere = trace(game).concavity.affine_field
    return [
        Uniqueness(float(a), float(r), everywhere) for a, r in zip(smallest, radius, strict=True)
    ]
