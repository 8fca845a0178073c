"""How to ask: ``solve`` and ``backends``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel import backend as registry
from stackel.backend import Backend
from stackel.calculus.calculus import Calculus, trace
from stackel.certificate.certificate import TOLERANCE
from stackel.certificate.certify import Asked
from stackel.errors import OptionError, Refusal, StackelError
from stackel.followers.feasibility import somewhere
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Callback, Run, Status, within
from stackel.tasks.attempts import CUT_OFF, Terms, better, from_starts
from stackel.tasks.checks import check
from stackel.tasks.progress import Line
from stackel.tasks.progress import progress as progress_line
from stackel.types import Array

if TYPE_CHECKING:
    import pandas as pd

CYCLES = 8.0
"""Seconds after which, once best replies run in a cycle, no further backend is tried."""


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
            ``"auto"``: every built-in backend that accepts the game, until one is certified; once
            one ends in a cycle, for a few seconds more.
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
    cycles = False
    with (
        line as report,
        within(
            None
            if time_limit is None
            else began + time_limit + grace(time_limit) - time.perf_counter()
        ),
    ):
        if isinstance(report, Line):
            terms = replace(terms, proving=report.proving)
        for candidate in candidates:
            if isinstance(candidate, str):  # looked at only when its turn comes
                declined = registry.reasons(candidate, game)
                if declined:
                    tried.append(f"{candidate}: {'; '.join(declined)}")
                    continue
            one = registry.find(candidate)() if isinstance(candidate, str) else candidate
            left = None if time_limit is None else time_limit - (time.perf_counter() - began)
            if cycles:  # other backends may climb from one point; most take turns as well
                rest = CYCLES - (time.perf_counter() - began)
                if rest <= 0:
                    break
                left = rest if left is None else min(left, rest)
            run = Run(
                seed=seed,
                time_limit=left,
                start=first,
                anticipation=anticipation,
                callback=_both(callback, report) if progress else report,
            )
            try:
                eq = from_starts(game, one, run, starts, terms)
            except Refusal as refusal:
                if not automatic:
                    raise registry.refuse(one, game, refusal.reasons) from None
                tried.append(f"{one.name}: {'; '.join(refusal.reasons)}")
                continue
            tried.append(f"{one.name}: {eq.said}")
            if best is None or _ahead(eq, best, cycles):
                best = eq
            cycles |= eq.status is Status.CYCLE
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


def _ahead(eq: Equilibrium, best: Equilibrium, cycles: bool) -> bool:
    """Whether an answer takes the place of the best one so far: of two that are as bad, the one
    that says that there is a cycle; after a cycle none that was only cut off."""
    if eq.status is Status.CYCLE:
        return not better(best, eq)
    return better(eq, best) and not (cycles and eq.status in CUT_OFF)


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


def _why_not(eq: Equilibrium, certificate: bool) -> str:
    """Why an answer is not to be returned quietly, or ''."""
    about = f"{eq.game} by {eq.backend}"
    if eq.status in (*CUT_OFF, Status.FAILED, Status.CYCLE):
        detail = f" ({eq.detail})" if eq.detail else ""
        verdict = f"; the point is {eq.certificate}" if eq.certificate is not None else ""
        if eq.status in (Status.TIME_LIMIT, Status.FAILED) and eq.is_equilibrium:
            return ""  # however the method ended, the point holds
        return f"{about}: {eq.status.message}{detail}{verdict}."
    if eq.certificate is not None and eq.certificate.verdict == "unknown":
        why = "; ".join(eq.certificate.reasons)
        return f"{about}: {eq.status.message}, but the point could not be judged: {why}."
    if certificate and not eq.is_equilibrium:
        return f"{about}: {eq.status.message}, but the point is {eq.certificate}."
    if not certificate and eq.status not in (Status.CONVERGED, Status.TRAINED):
        return f"{about}: {eq.status.message}."
    return ""
