"""What the followers answer: their equilibrium at given leader actions, and their best replies.

Everything takes batches of leader actions, so that a leader's whole price grid is one call.
The functions return *candidates with residuals*: who uses an answer looks at ``converged``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from stackel import complementarity
from stackel.calculus.batch import EDGES, elements
from stackel.complementarity import Solution
from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.systems import CHUNK, Alone, Joint, open_bounds
from stackel.types import Array

Anticipation = Literal["equilibrium", "own_response", "none"]
"""What a leader foresees of the followers when it deviates: their new equilibrium (Stackelberg);
each one's own reply to the new price, the others' purchases held; or nothing at all."""


@dataclass(frozen=True)
class Response:
    """Follower actions at given leader actions, batch axes in front.

    Attributes:
        y: actions (..., I, n).
        lam: multipliers of the own limits (..., I, m).
        mu: multipliers of the shared limits (..., k).
        residual: distance from solving the system, in the units of y (...).
        converged: whether that is negligible (...).
        iterations: Newton steps of the slowest element.
    """

    y: Array
    lam: Array
    mu: Array
    residual: Array
    converged: Array
    iterations: int = 0

    def __getitem__(self, index: Any) -> Response:
        """The response at some batch elements."""
        return self.map(lambda array, core: array[index])

    def map(self, change: Callable[[Array, tuple[int, ...]], Array]) -> Response:
        """The response with every array changed, given its core shape."""
        per_follower = self.residual.ndim > self.y.ndim - 2  # a best reply's, one each

        def changed(array: Array, core: int) -> Array:
            return change(array, array.shape[array.ndim - core :])

        return Response(
            changed(self.y, 2),
            changed(self.lam, 2),
            changed(self.mu, 1),
            changed(self.residual, int(per_follower)),
            changed(self.converged, int(per_follower)),
            self.iterations,
        )


def check_anticipation(anticipation: str) -> None:
    if anticipation not in get_args(Anticipation):
        raise OptionError(
            f"anticipation = {anticipation!r}; expected one of {', '.join(get_args(Anticipation))}"
        )


def first_guess(game: Game) -> Array:
    """A follower action to start from (I, n)."""
    return middle(*game.follower_bounds)


def edges(game: Game, x: Array) -> tuple[Array, Array]:
    """Bounds where the formulas blow up; the same at every leader action, so found once."""
    known = game.__dict__.get(EDGES)
    if known is None:
        profile = x if game.calculus.stacked else x.reshape(-1, *x.shape[-2:])[0]
        known = open_bounds(game.calculus, profile, first_guess(game))
        game.__dict__[EDGES] = known
    return known


def _usual(game: Game) -> Array:
    return np.abs(first_guess(game)).max((-1, -2))


def remember(game: Game, settled: Response) -> None:
    """Keep a settled response (no batch axes) for whoever looks for a place to start."""
    game.__dict__["_settled"] = settled


def remembered(game: Game) -> Response | None:
    """What was last remembered of a game."""
    return game.__dict__.get("_settled")


def inside(game: Game, y: Array, x: Array) -> Array:
    """A start moved off the bounds where the formulas blow up."""
    low, high = game.follower_bounds
    open_low, open_high = edges(game, x)
    y = np.clip(y, low, high)
    guess = first_guess(game)
    with np.errstate(invalid="ignore"):  # an infinite bound is never open
        y = np.where(open_low & (y <= low), low + 1e-3 * (guess - low), y)
        return np.where(open_high & (y >= high), high - 1e-3 * (high - guess), y)


def settle(
    game: Game, x: Array, start: Response | None = None, tolerance: float = 1e-12
) -> Response:
    """The followers' equilibrium at leader actions x.

    Args:
        game: the market.
        x: leader actions (..., d, J).
        start: a response to start from; its batch axes broadcast to x's. Elements that fail from
            it are tried again from scratch.
        tolerance: residual to aim for, relative to 1 + max |y|.
    """
    x = np.asarray(x, dtype=float)
    batch = x.shape[:-2]
    flat = x.reshape(-1, *x.shape[-2:])
    p = math.prod(game.follower_shape)
    rows = max(1, CHUNK // max(p * p if p <= 300 else 20 * p, 1))
    if len(flat) > rows:
        parts = []
        for s in range(0, len(flat), rows):
            part = slice(s, s + rows)
            wide = None if start is None else _broadcast(start, (len(flat),))[part]
            parts.append(settle(elements(game, part), flat[part], wide, tolerance))
        return _reshape(_join(parts), batch)
    system = Joint(game.calculus, flat, edges(game, flat))
    solution = _newton_joint(game, system, start, len(flat), tolerance)
    if start is not None and not solution.converged.all():
        again = np.flatnonzero(~solution.converged)
        part_game = elements(game, again)
        retry = _newton_joint(part_game, system.at(again), None, len(again), tolerance)
        better = retry.residual < solution.residual[again]
        for name in ("y", "lam", "residual", "converged"):
            getattr(solution, name)[again[better]] = getattr(retry, name)[better]
    y, lam, mu = system.unflat(solution.y, solution.lam)
    out = Response(y, lam, mu, solution.residual, solution.converged, solution.iterations)
    return _reshape(out, batch)


def _newton_joint(
    game: Game, system: Joint, start: Response | None, count: int, tolerance: float
) -> Solution:
    if start is None:
        y = np.broadcast_to(inside(game, first_guess(game), system.x), (count, *system.shape))
        lam, mu = game.calculus.zeros((count,))
    else:
        wide = _broadcast(start, (count,))
        y, lam, mu = inside(game, wide.y, system.x), wide.lam, wide.mu
    flat = system.flat(y, lam, mu)
    return complementarity.solve(
        system, *flat, tolerance=tolerance, smooth=start is None, usual=_usual(game)
    )


def reply(game: Game, x: Array, rivals: Array, start: Response | None = None) -> Response:
    """Every follower's best reply to the others' actions, each on its own.

    The own problems are solved by their optimality conditions: exact where the payoff is concave
    and the limits convex in the own action. Shared limits bind each follower, given the others;
    their multipliers are then in the last columns of ``lam``.

    Args:
        game: the market.
        x: leader actions (..., d, J).
        rivals: everybody's actions (..., I, n).
        start: where to start; default the rivals' profile.

    Returns:
        a response whose ``residual`` and ``converged`` are per follower (..., I).
    """
    x, rivals = np.asarray(x, dtype=float), np.asarray(rivals, dtype=float)
    batch = np.broadcast_shapes(x.shape[:-2], rivals.shape[:-2])
    flat_x = np.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
    flat_r = np.broadcast_to(rivals, (*batch, *rivals.shape[-2:])).reshape(-1, *rivals.shape[-2:])
    system = Alone(game.calculus, flat_x, flat_r, edges(game, flat_x))
    count, q = len(flat_x), game.calculus.m + game.calculus.k
    y = flat_r if start is None else _broadcast(start, (count,)).y
    lam = np.zeros((count, game.n_followers, q))
    if start is not None and start.lam.shape[-1] == q:
        lam = _broadcast(start, (count,)).lam
    begin = inside(game, y, flat_x)
    solution = complementarity.solve(system, begin, lam, smooth=True, usual=_usual(game))
    out = Response(
        solution.y,
        solution.lam,
        np.zeros((count, 0)),
        solution.residual,
        solution.converged,
        solution.iterations,
    )
    return _reshape(out, batch)


TRIAL = 1e-10
"""Residual to which trial actions of leaders are answered: Newton's last step overshoots it."""


def predictor(game: Game, x: Array, at: Response) -> Callable[[Array], Response] | None:
    """Starts for :func:`settle` at leader actions (B, d, J): first order in the move from x.

    None where limits bind: the answer bends too much for a straight line to be a good start.
    """
    if at.lam.any() or at.mu.any():
        return None
    units = np.eye(x.size).reshape(x.size, *x.shape)
    moves = sensitivity(game, x, at, units).reshape(x.size, -1)
    if not np.isfinite(moves).all():
        return None

    def predict(trials: Array) -> Response:
        shift = (trials - x).reshape(len(trials), x.size) @ moves
        wide = _broadcast(at, (len(trials),))
        return replace(wide, y=wide.y + shift.reshape(wide.y.shape))

    return predict


def respond(game: Game, x: Array, at: Response, anticipation: Anticipation) -> Response:
    """What the leaders foresee when they move to x and the followers stood at ``at``."""
    if anticipation == "equilibrium":
        return settle(game, x, at, TRIAL)
    if anticipation == "none":
        return _broadcast(at, x.shape[:-2])
    own = reply(game, x, at.y, at)
    mu = np.broadcast_to(at.mu, (*x.shape[:-2], at.mu.shape[-1]))
    residual, converged = own.residual.max(-1), np.asarray(own.converged.all(-1))
    return Response(own.y, own.lam[..., : at.lam.shape[-1]], mu, residual, converged)


class Trials:
    """Answers leaders' trial actions, batch after batch, each from the nearest answered before.

    The first batch starts from ``at`` without its multipliers: far from where they were found, a
    limit that is wrongly taken to bind costs more steps than one that is found to.
    """

    def __init__(
        self, game: Game, at: Response, anticipation: Anticipation, x: Array | None = None
    ) -> None:
        self.game, self.at, self.anticipation = game, at, anticipation
        known = x is not None and anticipation == "equilibrium" and bool(at.converged.all())
        self._ahead = predictor(game, x, at) if x is not None and known else None
        self._known: tuple[Array, Response] | None = None

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Follower actions (B, I, n) at leader actions (B, d, J), and which are good (B,)."""
        if self.anticipation != "equilibrium":
            answer = respond(self.game, x, self.at, self.anticipation)
            blind = self.anticipation == "none"
            return answer.y, np.broadcast_to(answer.converged | blind, len(x))
        flat = x.reshape(len(x), -1)
        if self._ahead is not None:
            answer = settle(self.game, x, self._ahead(x), TRIAL)
            return answer.y, answer.converged
        if self._known is None:
            start = replace(self.at, lam=0.0 * self.at.lam, mu=0.0 * self.at.mu)
        else:
            seen, answers = self._known
            start = answers[np.abs(flat[:, None] - seen[None]).sum(-1).argmin(1)]
        answer = settle(self.game, x, start, TRIAL)
        good = answer.converged
        if self._known is None and answer.y.size <= CHUNK and good.any():
            self._known = (flat[good], answer[good])
        return answer.y, answer.converged


def sensitivity(game: Game, x: Array, at: Response, directions: Array) -> Array:
    """How the settled followers move when the leaders do, by the implicit function theorem.

    At a point where a limit only just binds this is one of the one-sided derivatives.

    Args:
        game: the market.
        x: leader actions (d, J) or a batch (B, d, J).
        at: the settled response there.
        directions: leader directions (r, d, J), the same for every batch element.

    Returns:
        follower directions (..., r, I, n).
    """
    x = np.asarray(x, dtype=float)
    batch = x.shape[:-2]
    flat = x.reshape(-1, *x.shape[-2:])
    here = _reshape(at, (len(flat),))
    system = Joint(game.calculus, flat, edges(game, flat))
    y, lam = system.flat(here.y, here.lam, here.mu)
    with np.errstate(all="ignore"):
        at_low, at_high, off = complementarity.active(
            y, lam, system.values(y, lam), system.scales(y, lam), (system.low, system.high)
        )
        by = game.calculus.by_leaders(here.y, flat, here.lam, here.mu, directions[:, None])
        dF, dc = system.flat(*by)  # (r, B, p), (r, B, q)
        right = np.concatenate(
            [np.where(at_low | at_high, 0.0, -dF), np.where(off, 0.0, -dc)], axis=-1
        )
        rows = complementarity.Rows.units(at_low | at_high, off)
        moved = system.linear_solve(y, lam, rows, np.moveaxis(right, 0, -1))
    dy = np.moveaxis(moved[:, : system.p], -1, 1)
    return dy.reshape(*batch, len(directions), *system.shape)


def _broadcast(response: Response, batch: tuple[int, ...]) -> Response:
    return response.map(lambda array, core: np.broadcast_to(array, (*batch, *core)))


def _reshape(response: Response, batch: tuple[int, ...]) -> Response:
    return response.map(lambda array, core: array.reshape((*batch, *core)))


def _join(parts: list[Response]) -> Response:
    def joined(name: str) -> Array:
        return np.concatenate([getattr(p, name) for p in parts])

    return Response(
        joined("y"),
        joined("lam"),
        joined("mu"),
        joined("residual"),
        joined("converged"),
        max(p.iterations for p in parts),
    )
