"""Points of a game, what brute force finds anybody to gain there, and what contradicts a verdict.

Brute force knows the market's formulas, the followers' answers worked out by hand for its family,
and grids that close in (:mod:`benchmarks.ordinary.truth`); of a certificate it takes only what
gains are measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.ordinary.truth import Ordinary, closing_in, payoff_alone
from stackel.certificate import Certificate
from stackel.types import Array

ROUNDS = 40
"""Rounds of best replies after which leaders are said to have no equilibrium."""

COARSE = 301
"""Trials of a leader's best move to begin with, while they are looking for an equilibrium."""

STILL = 1e-7
"""Share of its range up to which a leader's move counts as none: all that a flat top tells."""

OFF = (1e-5, 1e-2)
"""How far points are off, as shares of ranges and of what is usual."""

BLUR = 1e-3
"""Share of the tolerance that brute force may be wrong by: it takes differences of payoffs."""

ROUNDING = 1e-13
"""What rounding leaves of a payoff."""

POINTS = ("equilibrium", "leader off", "for the leader", "against it")


@dataclass(frozen=True)
class Gains:
    """What brute force finds at a point; gains in units of payoff.

    Attributes:
        now: the leaders' payoffs at the point (J,).
        settled: the same where the followers settle (J,).
        best: the most that each leader can have (J,).
        here: the followers' payoffs (I,).
        followers: what each gains alone (I,).
    """

    now: Array
    settled: Array
    best: Array
    here: Array
    followers: Array

    @property
    def surely(self) -> Array:
        """What each leader gains over what it has at the point, and where followers settle (J,)."""
        return np.maximum(self.best - np.maximum(self.now, self.settled), 0.0)

    @property
    def at_most(self) -> Array:
        """What each leader gains over the less of these two (J,)."""
        return np.maximum(self.best - np.minimum(self.now, self.settled), 0.0)


def equilibrium(game: Ordinary) -> Array | None:
    """The leaders' equilibrium (d, J), by best moves in turn, each by brute force; None if they do
    not settle."""
    low, high = (np.array(b) for b in game.leader_bounds)
    x = (low + high) / 2
    for _ in range(ROUNDS):
        before = x
        for j in range(game.n_leaders):
            payoff = payoff_alone(game, x, j, met=0.0)
            own, best, _ = closing_in(payoff, low[:, j], high[:, j], COARSE)
            if not np.isfinite(best):
                return None
            x = np.array(x)
            x[:, j] = own
        if (np.abs(x - before) <= STILL * (high - low)).all():
            return x
        if game.n_leaders == 1:
            return x
    return None


def points(
    game: Ordinary, x: Array, rng: np.random.Generator
) -> Iterator[tuple[str, Array, Array]]:
    """The equilibrium and three points beside it.

    Args:
        game: the market.
        x: its equilibrium (d, J).
        rng: for who is off, and by how much.

    Yields:
        names, as in :data:`POINTS`, leader actions (d, J) and follower actions (I, n).
    """
    yield POINTS[0], x, game.answer(x[None])[0]
    leader, step, away = int(rng.integers(game.n_leaders)), _share(rng), _share(rng)
    low, high = (b[0, leader] for b in game.leader_bounds)
    sides = np.clip(x[0, leader] + rng.permuted([-1, 1]) * step * (high - low), low, high)
    x = np.array(x)
    x[0, leader] = max(sides, key=lambda side: abs(side - x[0, leader]))
    y = game.answer(x[None])[0]
    yield POINTS[1], x, y
    size = max(y.max(), game.answer(np.sum(game.leader_bounds, axis=0)[None] / 2).max())
    nudged = y + 1e-6 * size * np.eye(y.size).reshape(-1, *y.shape)
    value = _leaders(game, np.broadcast_to(x, (len(nudged), *x.shape)), nudged)[:, leader]
    favour = np.sign(value - _leaders(game, x[None], y[None])[0, leader]).reshape(y.shape)
    for name, side in zip(POINTS[2:], (1, -1), strict=True):
        yield name, x, np.clip(y + side * away * size * favour, *game.follower_bounds)


def _share(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(OFF))))


def gains(game: Ordinary, x: Array, y: Array) -> Gains:
    """What everybody could gain at a point (d, J), (I, n)."""
    settled = game.answer(x[None])[0]
    low, high = game.leader_bounds
    best = [
        closing_in(payoff_alone(game, x, j, met=0.0), low[:, j], high[:, j])[1]
        for j in range(game.n_leaders)
    ]
    here = game.follower_payoff(y, y, x)[:, 0]
    alone = np.array([_alone(game, x, y, settled, i) for i in range(game.n_followers)])
    now, there = (_leaders(game, x[None], at[None])[0] for at in (y, settled))
    return Gains(now, there, np.array(best), here, np.maximum(alone - here, 0.0))


def _alone(game: Ordinary, x: Array, y: Array, settled: Array, i: int) -> float:
    """The most that follower i can have, the others held."""
    low, high = (np.broadcast_to(b, y.shape)[i] for b in game.follower_bounds)
    high = np.where(
        np.isfinite(high), high, low + 3 * max(y.max(), settled.max(), 1e-3 * _most(game))
    )

    def values(trials: Array) -> Array:
        moved = np.repeat(y[None], len(trials), axis=0)
        moved[:, i] = trials
        worth = game.follower_payoff(moved, y, x)[:, i, 0]
        return np.where(_over(game, x, y, moved, i) <= 0, worth, -np.inf)

    return closing_in(values, low, high)[1]


def _most(game: Ordinary) -> float:
    """The most that a follower does where leaders are as low or as high as can be."""
    return float(game.answer(np.stack(game.leader_bounds)).max())


def _over(game: Ordinary, x: Array, y: Array, moved: Array, i: int) -> Array:
    """How far follower i's own limits, and the shared ones, are exceeded at its moves (B,)."""
    out = np.full(len(moved), -np.inf)
    for own in game.follower_limits(moved, y, x).values():
        out = np.maximum(out, own[:, i].max(-1))
    for shared in game.shared_limits(moved, x).values():
        out = np.maximum(out, shared.max((-1, -2)))
    return out


def _leaders(game: Ordinary, x: Array, y: Array) -> Array:
    """Leaders' payoffs (B, J)."""
    return np.broadcast_to(game.leader_payoff(x, y), (len(x), 1, x.shape[-1]))[:, 0]


def worst(found: Gains, certificate: Certificate) -> float:
    """The largest sure gain, in tolerances."""
    gained = np.concatenate([found.surely, found.followers])
    unit = certificate.tolerance * np.concatenate(_scales(certificate))
    noise = ROUNDING * np.abs(np.concatenate([found.now, found.here]))
    with np.errstate(all="ignore"):
        return float(np.where(gained <= noise, 0.0, gained / unit).max())


def _scales(certificate: Certificate) -> tuple[Array, Array]:
    return certificate.leader_scales, certificate.follower_scales


def contradictions(
    game: Ordinary, x: Array, y: Array, found: Gains, certificate: Certificate
) -> Iterator[str]:
    """What brute force finds wrong with a verdict, in words.

    Args:
        game: the market.
        x, y: the point (d, J), (I, n).
        found: what brute force finds there.
        certificate: what is said of it.
    """
    blur = [
        BLUR * certificate.tolerance * scale + ROUNDING * np.abs(payoff)
        for scale, payoff in zip(_scales(certificate), (found.now, found.here), strict=True)
    ]
    if certificate.verdict == "proved":
        for player, most, scale, slack in zip(
            ("leader", "follower"),
            (found.at_most, found.followers),
            _scales(certificate),
            blur,
            strict=True,
        ):
            for k in np.flatnonzero(most > certificate.tolerance * scale + slack):
                yield f"proved, but {player} {k} gains {most[k]:.3g} of {scale[k]:.3g}"
    for side in certificate.proof.sides if certificate.proof is not None else ():
        leads = side.player == "leader"
        most = (found.at_most if leads else found.followers)[side.index]
        if not most <= side.bound + blur[0 if leads else 1][side.index]:
            yield f"{side.player} {side.index} is bounded by {side.bound:.3g} and gains {most:.3g}"
    if certificate.verdict == "refuted":
        why = _unfounded(game, x, y, certificate, blur)
        if why:
            yield f"refuted ({certificate}), but {why}"


def _unfounded(
    game: Ordinary, x: Array, y: Array, certificate: Certificate, blur: list[Array]
) -> str:
    """Why a refutation is none; empty if it is one: its witness gains by formulas and answers
    worked out by hand, or a limit is broken."""
    move = certificate.deviation
    if move is None:
        broken = {name: _broken(game, x, y)[name] for name in certificate.violations}
        said = certificate.violations
        right = all(np.isclose(said[n], broken[n], rtol=1e-6, atol=1e-12) for n in said)
        return "" if right and certificate.violation > certificate.tolerance else f"{broken}"
    leads, k = move.player == "leader", move.index
    low, high = game.leader_bounds if leads else game.follower_bounds
    own = (low[:, k], high[:, k]) if leads else (low[k], high[k])
    if (move.action < own[0]).any() or (move.action > own[1]).any():
        return "the move is out of bounds"
    unit = certificate.tolerance * _scales(certificate)[0 if leads else 1][k]
    if leads:
        payoff: Callable[[Array], Array] = payoff_alone(game, x, k)
        gain = payoff(move.action[None])[0] - _leaders(game, x[None], y[None])[0, k]
        if not gain > unit:  # followers that do not care may answer as the witness says
            gain = _witnessed(game, x, certificate)
    else:
        moved = np.array(y)
        moved[k] = move.action
        if _over(game, x, y, moved[None], k)[0] > 1e-9 * max(
            _over(game, x, y, 2 * y[None], k)[0], 1
        ):
            return "the move breaks a limit"
        gain = (game.follower_payoff(moved, y, x) - game.follower_payoff(y, y, x))[k, 0]
    return "" if gain > unit - blur[0 if leads else 1][k] else f"the move gains {gain:.3g}"


def _witnessed(game: Ordinary, x: Array, certificate: Certificate) -> float:
    """What a leader's move gains with the answer that its witness names; nothing if that is none:
    if a follower would gain by another one."""
    move = certificate.deviation
    assert move is not None
    assert move.answer is not None
    moved = np.array(x)
    moved[:, move.index] = move.action
    here = game.follower_payoff(move.answer, move.answer, moved)[:, 0]
    best = [_alone(game, moved, move.answer, move.answer, i) for i in range(game.n_followers)]
    gained = np.array(best) - here
    if (gained > certificate.tolerance * certificate.follower_scales).any():
        return 0.0
    return float(_leaders(game, moved[None], move.answer[None])[0, move.index] - move.payoff)


def _broken(game: Ordinary, x: Array, y: Array) -> dict[str, float]:
    """How far every limit and bound is exceeded at a point."""
    named = (
        game.follower_limits(y, y, x) | game.shared_limits(y, x) | game.leader_limits(x, y)  # type: ignore[operator]
    )
    for action, at, (low, high) in (
        (game.leader_action, x, game.leader_bounds),
        (game.follower_action, y, game.follower_bounds),
    ):
        named[action.name] = np.maximum(low - at, at - high)
    return {name: max(float(np.max(value)), 0.0) for name, value in named.items()}
