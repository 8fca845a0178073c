"""How to ask: ``solve`` and ``backends``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel import backend as registry
from stackel.backend import Backend
from stackel.calculus.calculus import Calculus, trace
from stackel.calculus.yardsticks import apart
from stackel.certificate.certificate import TOLERANCE
from stackel.certificate.certify import Asked
from stackel.errors import OptionError, Refusal, StackelError
from stackel.followers.feasibility import somewhere
from stackel.followers.response import Response, settle
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.leaders.deviations import search_range
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Callback, Point, Run, Status, Stop, time_left, within
from stackel.tasks.checks import check
from stackel.tasks.progress import progress as progress_line
from stackel.types import Array
from stackel.version import versions

if TYPE_CHECKING:
    import pandas as pd


SAME = 1e-6
"""Two profiles of leader actions closer than this, relative to their range, are the same."""

POLISHED = 1e-3
"""Relative distance up to which followers are settled to the last digit."""

CUT_OFF = (Status.INTERRUPTED, Status.TIME_LIMIT)
"""Ends from outside: nothing further is begun."""

BROKEN = (ArithmeticError, np.linalg.LinAlgError, RuntimeError)
"""What numerics raise where they break down; the point reached by then is kept."""

APART = 1e-4
"""Answers from several starts further apart than this are distinct equilibria."""


def solve(
    game: Game,
    backend: str | Backend = "auto",
    *,
    anticipation: Anticipation = "equilibrium",
    start: Any = None,
    starts: int = 1,
    seed: int | None = None,
    time_limit: float | None = None,
    tolerance: float = TOLERANCE,
    restarts: int = 4,
    certificate: bool = True,
    proof: Asked = "auto",
    throw: bool | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    **options: Any,
) -> Equilibrium:
    """Find an equilibrium and say what it is worth.

    The point is certified by the core, whichever backend found it. If the certificate refutes it
    because a leader would rather be elsewhere, the backend starts again from there, up to
    ``restarts`` times; coming back to a refuted point is reported as a cycle, never as an answer.

    Args:
        game: the market.
        backend: a name (see :func:`backends`), a configured :class:`~stackel.Backend`, or
            ``"auto"``: every built-in backend that accepts the game, until one is certified.
        anticipation: what a leader foresees when it deviates: ``"equilibrium"``, the followers'
            new equilibrium (Stackelberg); ``"own_response"``, each follower's own reaction with
            the social terms held; ``"none"``, nothing (a diagnostic).
        start: leader actions to start from, (d, J) or (J,).
        starts: how many starts to try, the others drawn at random within the leaders' bounds;
            distinct equilibria are listed in the answer's ``others``.
        seed: of the random numbers, for backends that draw any.
        time_limit: seconds for everything, restarts and certificates included; the best point so
            far is kept, and is unknown if no time was left to judge it.
        tolerance: gaps and violations up to this share of their scale count as none.
        restarts: how often to start again from a leader's better deviation.
        certificate: False skips it (for very large markets); nothing is then vouched for.
        proof: whether to prove the answer, see :func:`stackel.certify`.
        throw: raise :class:`NotConverged` if the answer is not an equilibrium within tolerance;
            False returns it all the same, which is the default for learners: their answers are
            measured, not promised.
        progress: show a progress line.
        callback: called with (iteration, row of the history) once an iteration.
        **options: of the backend; ``ADMM(penalty=5)`` and ``backend="admm", penalty=5`` are the
            same.

    Raises:
        GameError: the market cannot be (its subclasses: InfeasibleError, NoEquilibriumError).
        OptionError: an unknown backend or option, or a bad value.
        Refusal: the backend cannot solve this game; names those that can.
        NotConverged: no equilibrium within tolerance; carries the result.
    """  # noqa: DOC501 - refuse() makes a Refusal
    began = time.perf_counter()
    check_anticipation(anticipation)
    check(game)
    terms = Terms(tolerance, restarts, certificate, time_limit, proof)
    first = _settled(trace(game)) if start is None else _read_start(game, start)
    if not isinstance(starts, int) or starts < 1:
        raise OptionError(f"starts = {starts!r}; expected a whole number of at least 1")
    automatic = registry.left_open(backend, options)
    candidates: Sequence[str | Backend] = list(registry.BUILT_IN)
    if not automatic:
        candidates = [_accepted(registry.make(backend, options), game)]

    known = None if isinstance(candidates[0], str) else candidates[0].iterations()
    line = progress_line(str(game), time_limit, known) if progress else nullcontext(callback)
    best: Equilibrium | None = None
    tried: list[str] = []
    with (
        line as report,
        within(
            None
            if time_limit is None
            else began + time_limit + grace(time_limit) - time.perf_counter()
        ),
    ):
        for candidate in candidates:
            if isinstance(candidate, str):  # looked at only when its turn comes
                declined = registry.reasons(candidate, game)
                if declined:
                    tried.append(f"{candidate}: {'; '.join(declined)}")
                    continue
            one = registry.find(candidate)() if isinstance(candidate, str) else candidate
            left = None if time_limit is None else time_limit - (time.perf_counter() - began)
            run = Run(
                seed=seed,
                time_limit=left,
                start=first,
                anticipation=anticipation,
                callback=_both(callback, report) if progress else report,
            )
            try:
                eq = _from_starts(game, one, run, starts, terms)
            except Refusal as refusal:
                if not automatic:
                    raise registry.refuse(one, game, refusal.reasons) from None
                tried.append(f"{one.name}: {'; '.join(refusal.reasons)}")
                continue
            tried.append(f"{one.name}: {eq.certificate or eq.status.message}")
            best = eq if best is None or _better(eq, best) else best
            if eq.status in CUT_OFF or eq.is_equilibrium or not certificate:
                break
    if best is None:
        raise Refusal("auto", str(game), tried)
    if automatic:
        best = replace(best, stats={**best.stats, "tried": tried})
    why = _why_not(best, certificate)
    if throw is None:  # a learner's answer is measured, not promised
        throw = one.exact or best.status not in (Status.TRAINED, Status.TIME_LIMIT)
    if why and throw:
        raise NotConverged(best, why)
    return best


def grace(time_limit: float) -> float:
    """What a certificate may take when the time limit [s] is up [s]."""
    return max(0.5, 0.08 * time_limit)


def backends(game: Game) -> pd.DataFrame:
    """Which backends can solve a game, which cannot and why.

    Returns:
        a table with one row a registered backend: ``can`` and ``reasons`` (empty if it can).

    Raises:
        GameError: the market itself cannot be.
    """
    import pandas as pd  # slow to import, and few calls need it

    check(game)
    rows = []
    for name in registry.names():
        try:
            why = registry.reasons(name, game)
        except StackelError as error:
            why = [str(error)]
        rows.append({"backend": name, "can": not why, "reasons": "; ".join(why)})
    return pd.DataFrame(rows).set_index("backend")


@dataclass(frozen=True)
class Terms:
    """What every backend is held to, as :func:`solve` says; checked.

    Raises:
        OptionError: a value that makes no sense.
    """

    tolerance: float
    restarts: int
    certificate: bool
    time_limit: float | None
    proof: Asked = "auto"

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


def _settled(calculus: Calculus) -> Array | None:
    """Leader actions to start from, where the middle of their bounds will not do: the followers
    have no answer there, and one elsewhere."""
    if not (calculus.m or calculus.k):
        return None
    x, answer = calculus.once(somewhere)
    centre = middle(*calculus.leader_bounds)
    return x if answer.converged and (x != centre).any() else None


def _read_start(game: Game, start: Any) -> Array:
    x = np.asarray(start, dtype=float)
    if x.size != np.prod(game.leader_shape) or not np.isfinite(x).all():
        raise OptionError(
            f"start has shape {x.shape}; expected finite leader actions of shape "
            f"{game.leader_shape}"
        )
    x = x.reshape(game.leader_shape)
    low, high = game.leader_bounds
    if (x < low).any() or (x > high).any():
        raise OptionError(
            f"start = {x.tolist()} lies outside the bounds of {game.leader_action.name}: "
            f"{low.tolist()} to {high.tolist()}"
        )
    return x


def _accepted(backend: Backend, game: Game) -> Backend:
    why = backend.missing() or backend.accepts(game)
    if why:
        raise registry.refuse(backend, game, why)
    return backend


def _both(callback: Callback | None, line: Callback | None) -> Callback:
    def report(iteration: int, row: Any) -> None:
        for one in (line, callback):
            if one is not None:
                one(iteration, row)

    return report


def _from_starts(game: Game, backend: Backend, run: Run, starts: int, terms: Terms) -> Equilibrium:
    """The best answer from several starts, the other distinct equilibria beside it."""
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
        best = eq if _better(eq, best) and not best.is_equilibrium else best
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
            try:
                eq = eq.certify(
                    tolerance=terms.tolerance, seconds=time_left(), proof=terms.proof
                )
            except KeyboardInterrupt:
                detail = "interrupted while the point was being certified"
                eq = replace(eq, status=Status.INTERRUPTED, detail=detail)
            except BROKEN as error:
                detail = f"the certificate broke down: {type(error).__name__}: {error}"
                eq = replace(eq, status=Status.FAILED, detail=detail)
        stopped = eq.status in (*CUT_OFF, Status.FAILED)
        if best is None or _better(eq, best):
            best = eq
        elif eq.status in CUT_OFF:  # a restart was, from a point that was not good enough
            best = replace(best, status=eq.status)
        move = None if eq.certificate is None else eq.certificate.deviation
        if stopped or eq.is_equilibrium or move is None or move.player != "leader":
            break
        before = [k for k, old in enumerate(seen) if _same(game, eq.leader_actions, old)]
        if before:  # back where it was: a cycle, unless the backend never left
            if before[0] < len(seen) - 1:
                best = _cycle(best, [*seen[before[0] :], eq.leader_actions])
            break
        seen.append(eq.leader_actions)
        run.start = np.array(eq.leader_actions)
        run.start[:, move.index] = move.action
    assert best is not None
    return best


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
    try:
        at = settle(calculus, x, Response(y, lam, mu, np.array(np.inf), np.array(False)))
    except Stop:
        return x, y, multipliers
    if at.converged and apart(y, at.y, calculus.follower_bounds, -1) <= POLISHED:
        return x, np.array(at.y), {**multipliers, **calculus.named(at.lam, at.mu)}
    return x, y, multipliers


def _same(game: Game, first: Array, second: Array) -> bool:
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


def _better(first: Equilibrium, second: Equilibrium) -> bool:
    def rank(eq: Equilibrium) -> tuple[int, float]:
        c = eq.certificate
        if c is None:
            return 0, -np.inf
        gap = max(c.relative_gap, c.violation)
        worth = {"refuted": 0, "unknown": 1}.get(c.verdict, 2)
        return worth, -gap if np.isfinite(gap) else -np.inf

    return rank(first) > rank(second)


def _why_not(eq: Equilibrium, certificate: bool) -> str:
    """Why an answer is not to be returned quietly, or ''."""
    about = f"{eq.game} by {eq.backend}"
    if eq.status in (*CUT_OFF, Status.FAILED, Status.CYCLE):
        detail = f" ({eq.detail})" if eq.detail else ""
        verdict = f"; the point is {eq.certificate}" if eq.certificate is not None else ""
        if eq.status is Status.TIME_LIMIT and eq.is_equilibrium:
            return ""
        return f"{about}: {eq.status.message}{detail}{verdict}."
    if eq.certificate is not None and eq.certificate.verdict == "unknown":
        why = "; ".join(eq.certificate.reasons)
        return f"{about}: {eq.status.message}, but the point could not be judged: {why}."
    if certificate and not eq.is_equilibrium:
        return f"{about}: {eq.status.message}, but the point is {eq.certificate}."
    if not certificate and eq.status not in (Status.CONVERGED, Status.TRAINED):
        return f"{about}: {eq.status.message}."
    return ""
