"""One backend's answer: from every start, restarted where a leader would rather be elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stackel import backend as registry
from stackel.backend import Backend
from stackel.calculus.calculus import Calculus, trace
from stackel.certificate.certify import Asked
from stackel.certificate.proof import Progress
from stackel.errors import OptionError
from stackel.followers.feasibility import somewhere
from stackel.followers.lengths import natural_lengths
from stackel.followers.response import Response, settle
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.deviations import search_range
from stackel.results.equilibrium import Equilibrium
from stackel.run import Point, Run, Status, Stop, time_left, within
from stackel.types import Array
from stackel.version import versions

SAME = 1e-6
"""Two profiles of leader actions closer than this, relative to their range, are the same."""

POLISHED = 1e-3
"""Distance, as a share of their own lengths, up to which followers are settled to all digits."""

CUT_OFF = (Status.INTERRUPTED, Status.TIME_LIMIT)
"""Ends from outside: nothing further is begun."""

BROKEN = (ArithmeticError, np.linalg.LinAlgError, RuntimeError)
"""What numerics raise where they break down; the point reached by then is kept."""

APART = 1e-4
"""Answers from several starts further apart than this are distinct equilibria."""


@dataclass(frozen=True)
class Terms:
    """What every backend is held to, as :func:`solve` says, and who is told how far a proof is.

    Raises:
        OptionError: a value that makes no sense.
    """

    tolerance: float
    restarts: int
    certificate: bool
    time_limit: float | None
    proof: Asked = "auto"
    proving: Progress | None = None

    def __post_init__(self) -> None:
        limit, tolerance, restarts = self.time_limit, self.tolerance, self.restarts
        if limit is not None and not limit > 0:
            raise OptionError(f"time_limit = {limit!r}; expected a positive number of seconds")
        if not (isinstance(tolerance, (int, float)) and 0 < tolerance < 1):
            raise OptionError(f"tolerance = {tolerance!r}; expected a number between 0 and 1")
        if self.proof not in ("auto", True, False):
            raise OptionError(f"proof = {self.proof!r}; expected 'auto', True or False")
        if not isinstance(restarts, int) or restarts < 0:
            raise OptionError(f"restarts = {restarts!r}; expected a whole number of at least 0")


def from_starts(game: Game, backend: Backend, run: Run, starts: int, terms: Terms) -> Equilibrium:
    """The best answer from several starts, the other distinct equilibria beside it.

    Args:
        game: the market.
        backend: who solves it.
        run: the run.
        starts: how many.
        terms: what the answer is held to.
    """
    low, high = search_range(trace(game), middle(*game.leader_bounds))
    found: list[Equilibrium] = []
    for k in range(starts):
        if k:
            run.start = run.rng.uniform(low, high)
        eq = _solve_one(game, backend, run, terms)
        if all(eq.distance(old) > APART or eq.is_equilibrium > old.is_equilibrium for old in found):
            found.append(eq)
        if eq.status in CUT_OFF:
            break
    best = found[0]
    for eq in found[1:]:
        best = eq if better(eq, best) and not best.is_equilibrium else best
    if eq.status in CUT_OFF and not best.is_equilibrium:
        best = replace(best, status=eq.status)
    if starts == 1:
        return best
    others = tuple(eq for eq in found if eq is not best and eq.is_equilibrium)
    count = len(others) + best.is_equilibrium
    many = {0: "no equilibrium", 1: "one equilibrium"}.get(count, f"{count} equilibria")
    detail = f"{many} from {k + 1} starts" + (f"; {best.detail}" if best.detail else "")
    stats = {**best.stats, "seconds": run.elapsed, "starts": k + 1}
    return replace(best, others=others, detail=detail, stats=stats)


def _solve_one(game: Game, backend: Backend, run: Run, terms: Terms) -> Equilibrium:
    """One backend's answer, restarted from the deviations that refute it."""
    best: Equilibrium | None = None
    seen: list[Array] = []
    for attempt in range(terms.restarts + 1 if backend.exact else 1):
        point = _guarded(game, backend, run)
        eq = _answer(game, backend, run, point, attempt)
        if terms.certificate and point.status is not Status.INTERRUPTED:
            eq = _other_answer(_certified(eq, terms), terms)
        stopped = eq.status in (*CUT_OFF, Status.FAILED)
        if best is None or better(eq, best):
            best = eq
        elif eq.status in CUT_OFF:  # a restart was, from a point that was not good enough
            best = replace(best, status=eq.status)
        move = None if eq.certificate is None else eq.certificate.deviation
        if stopped or eq.is_equilibrium or move is None or move.player != "leader":
            break
        before = [k for k, old in enumerate(seen) if same(game, eq.leader_actions, old)]
        if before:  # back where it was: a cycle, unless the backend never left
            if before[0] < len(seen) - 1:
                best = _cycle(best, [*seen[before[0] :], eq.leader_actions])
            break
        seen.append(eq.leader_actions)
        run.start = np.array(eq.leader_actions)
        run.start[:, move.index] = move.action
    assert best is not None
    return best


def _certified(eq: Equilibrium, terms: Terms) -> Equilibrium:
    """The answer with its certificate; broken off, with the reason why it has none."""
    try:
        return eq.certify(
            tolerance=terms.tolerance,
            seconds=time_left(),
            proof=terms.proof,
            progress=terms.proving,
        )
    except KeyboardInterrupt:
        detail = "interrupted while the point was being certified"
        return replace(eq, status=Status.INTERRUPTED, detail=detail)
    except BROKEN as error:
        detail = f"the certificate broke down: {type(error).__name__}: {error}"
        return replace(eq, status=Status.FAILED, detail=detail)


def _other_answer(eq: Equilibrium, terms: Terms) -> Equilibrium:
    """An answer that is refuted because its followers have several, of which a leader is better off
    with another one right where it stands: with that one, if it is an equilibrium."""
    move = None if eq.certificate is None else eq.certificate.deviation
    if move is None or move.player != "leader" or move.answer is None:
        return eq
    moved = np.array(eq.leader_actions)
    moved[:, move.index] = move.action
    if not same(eq.game, eq.leader_actions, moved):
        return eq
    x, y, multipliers = _polished(trace(eq.game), moved, move.answer, {})
    there = replace(eq, leader_actions=x, follower_actions=y, multipliers=multipliers)
    there = _certified(replace(there, certificate=None), terms)
    return there if there.is_equilibrium else eq


def _guarded(game: Game, backend: Backend, run: Run) -> Point:
    """The backend's point; stopped, interrupted or broken, the best it had until then."""
    left = None if run.time_limit is None else run.time_limit - run.elapsed
    try:
        with within(left):
            return backend.solve(game, run)
    except Stop as stop:
        return _kept(game, run, stop.status, "")
    except KeyboardInterrupt:
        return _kept(game, run, Status.INTERRUPTED, "")
    except BROKEN as error:
        return _kept(game, run, Status.FAILED, f"{type(error).__name__}: {error}")


def _kept(game: Game, run: Run, status: Status, detail: str) -> Point:
    if run.best is not None:
        return replace(run.best, status=status, detail=detail)
    x = middle(*game.leader_bounds) if run.start is None else run.start
    y = inside(game, first_guess(game))
    return Point(x, y, status, detail=detail or "stopped before the first point was reached")


def _answer(game: Game, backend: Backend, run: Run, point: Point, attempt: int) -> Equilibrium:
    stats = {
        "seconds": run.elapsed,
        "iterations": len(run.history),
        "restarts": attempt,
        "options": registry.settings(backend),
        "versions": versions(),
        **point.stats,
    }
    x = np.array(point.x, dtype=float).reshape(game.leader_shape)
    y, multipliers = np.array(point.y, dtype=float).reshape(game.follower_shape), point.multipliers
    if backend.exact:
        x, y, multipliers = _polished(trace(game), x, y, multipliers)
    return Equilibrium(
        game=game,
        backend=backend.name,
        leader_actions=x,
        follower_actions=y,
        status=point.status,
        multipliers=multipliers,
        records=tuple(run.history),
        stats=stats,
        detail=point.detail,
        anticipation=run.anticipation,
    )


def _polished(
    calculus: Calculus, x: Array, y: Array, multipliers: dict[str, Array]
) -> tuple[Array, Array, dict[str, Array]]:
    """A point within its bounds, its followers settled to all digits where they nearly were: they
    lose next to nothing by the last ones, a leader may gain by them."""
    x, y = (np.clip(v, *b) for v, b in ((x, calculus.leader_bounds), (y, calculus.follower_bounds)))
    lam, mu = calculus.zeros(())
    start = Response(y, lam, mu, np.array(np.inf), np.array(False))
    limited = bool(calculus.m or calculus.k)
    inner = calculus.once(somewhere)[0] if limited else x
    # At the edge of what followers can meet, by rounding on its other side: a hair towards where
    # they can.
    for share in (0.0, 1e-9, 1e-8, 1e-7) if limited else (0.0,):
        there = x + share * (inner - x)
        try:
            at = settle(calculus, there, start)
        except Stop:
            break
        size = POLISHED * natural_lengths(calculus, there, at.y)
        if at.converged and (np.abs(y - at.y) <= size).all():
            return there, np.array(at.y), {**multipliers, **calculus.named(at.lam, at.mu)}
        if at.converged:
            break
    return x, y, multipliers


def same(game: Game, first: Array, second: Array) -> bool:
    """Whether two profiles of leader actions are the same.

    Args:
        game: the market, whose leaders' ranges are what :data:`SAME` is a share of.
        first, second: leader actions (d, J).
    """
    low, high = search_range(trace(game), first)
    width = np.where(high > low, high - low, 1.0)
    return bool((np.abs(first - second) <= SAME * width).all())


def _cycle(best: Equilibrium, cycle: list[Array]) -> Equilibrium:
    shown = " -> ".join(np.array2string(x.ravel(), precision=6, separator=", ") for x in cycle)
    return replace(
        best,
        status=Status.CYCLE,
        detail=f"every answer is left for another one: {shown}",
        stats={**best.stats, "cycle": [x.tolist() for x in cycle]},
    )


def better(first: Equilibrium, second: Equilibrium) -> bool:
    """Whether the first answer is worth more: by its verdict, then by what somebody could gain."""

    def rank(eq: Equilibrium) -> tuple[int, float]:
        c = eq.certificate
        if c is None:
            return 0, -np.inf
        gap = max(c.relative_gap, c.violation)
        worth = {"refuted": 0, "unknown": 1}.get(c.verdict, 2)
        return worth, -gap if np.isfinite(gap) else -np.inf

    return rank(first) > rank(second)
