"""``solve_many``: many small markets at once, by NumPy with the markets along a batch axis.

Markets of one class and shape become one (:mod:`stackel.calculus.batch`), are screened, and handed
to the backend's batch method; their certificates are computed together too. Whatever is not beyond
doubt in a batch (a market whose formulas take no batch, a point that is not found or is refuted) is
solved alone by :func:`stackel.solve`, so that the answers are those of one-by-one solves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stackel import backend as registry
from stackel.backend import Backend
from stackel.calculus.batch import kind_of, together
from stackel.calculus.calculus import Calculus
from stackel.certificate.certificate import TOLERANCE, Certificate
from stackel.certificate.certify import certify_points
from stackel.errors import OptionError, StackelError
from stackel.followers.response import Response, settle
from stackel.followers.starts import first_guess
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Run, Status, Stop
from stackel.tasks.attempts import BROKEN, Terms
from stackel.tasks.checks import screen
from stackel.tasks.progress import counted
from stackel.tasks.solve import solve
from stackel.types import Array
from stackel.version import versions

Answer = Equilibrium | StackelError

AUTO = ("closed-form", "newton")
"""Backends that ``"auto"`` tries on a batch, in this order; the same as on one market."""

BLOCK = 4096
"""Most markets in one batch: enough that NumPy's overhead is small."""

NUMBERS = 500_000
"""Numbers in the matrices of one batch's followers."""

FEWEST = 3
"""Fewer markets of one kind than this are solved one by one."""


def solve_many(
    games: Iterable[Game],
    backend: str | Backend = "auto",
    *,
    anticipation: Anticipation = "equilibrium",
    seed: int | None = None,
    time_limit: float | None = None,
    tolerance: float = TOLERANCE,
    restarts: int = 4,
    certificate: bool = True,
    throw: bool = False,
    progress: bool = False,
    **options: Any,
) -> list[Answer]:
    """Solve many markets; those of one class and shape together, if they are small.

    The answers are those of :func:`stackel.solve` on every market, to rounding and the backends'
    own tolerances. They come with an empty history where a batch found them.

    Args:
        games: the markets, of any classes and shapes.
        backend: as in :func:`stackel.solve`. ``"closed-form"`` and ``"newton"`` have batch methods
            (``"auto"``: the first that finds a certified equilibrium, market by market); with any
            other the markets are solved one by one.
        anticipation: what leaders foresee; other than ``"equilibrium"``, one by one.
        seed: of the random numbers, the same for every market.
        time_limit: seconds for all markets together.
        tolerance, restarts, certificate: as in :func:`stackel.solve`.
        throw: raise the first market's error; a note on the exception says which market's it is.
        progress: show a progress bar.
        **options: of the backend.

    Returns:
        for each market, in the order given, the :class:`~stackel.Equilibrium` that
        :func:`stackel.solve` would return or the :class:`~stackel.StackelError` that it would
        raise; a :class:`~stackel.NotConverged` carries the point reached. Markets that the time
        limit or Ctrl-C left out are such errors too.

    Raises:
        OptionError: an unknown backend or option, a bad value, or something that is no list of
            markets.
    """
    markets = _read(games)
    check_anticipation(anticipation)
    terms = Terms(tolerance, restarts, certificate, time_limit)
    automatic = registry.left_open(backend, options)
    chosen = [registry.make(name, options) for name in (AUTO if automatic else (backend,))]
    title = f"{len(markets):,} markets"
    with counted(title, len(markets)) if progress else nullcontext() as report:
        batch = _Batch(markets, chosen, terms, report, automatic)
        alone: dict[str, Any] = {
            "anticipation": anticipation,
            "seed": seed,
            "tolerance": tolerance,
            "restarts": restarts,
            "certificate": certificate,
            "proof": False,
        }
        named = "auto" if automatic else chosen[0]
        try:
            if anticipation == "equilibrium" and any(map(_has_batches, chosen)):
                batch.solve()
            batch.solve_alone(named, alone, throw)
        except (KeyboardInterrupt, Stop) as stop:
            status = Status.TIME_LIMIT if isinstance(stop, Stop) else Status.INTERRUPTED
            batch.leave_out(status, anticipation, throw)
    return [batch.answers[k] for k in range(len(markets))]


def _read(games: Any) -> list[Game]:
    if isinstance(games, Game) or not isinstance(games, Iterable) or isinstance(games, str):
        raise OptionError(
            f"games = {games!r}; expected a list of stackel.Game objects; a single market goes to "
            "stackel.solve"
        )
    markets = list(games)
    for k, game in enumerate(markets):
        if not isinstance(game, Game):
            raise OptionError(
                f"games[{k}] = {game!r}; expected a stackel.Game: a market written as a dataclass "
                "that subclasses it, or one of stackel.formulations"
            )
    return markets


def _has_batches(backend: Backend) -> bool:
    return type(backend).solve_batch is not Backend.solve_batch and not backend.missing()


Report = Callable[..., None]


@dataclass
class _Batch:
    """A call in progress: the markets' answers so far, by their place in the list."""

    games: Sequence[Game]
    backends: Sequence[Backend]
    terms: Terms
    report: Report | None
    automatic: bool
    answers: dict[int, Answer] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float | None:
        """Seconds that are left.

        Raises:
            Stop: none are.
        """
        if self.terms.time_limit is None:
            return None
        left = self.terms.time_limit - (time.perf_counter() - self.began)
        if left <= 0:
            raise Stop(Status.TIME_LIMIT)
        return left

    def answer(self, place: int, answer: Answer) -> None:
        self.answers[place] = answer
        if self.report is not None:
            self.report(1)

    def solve(self) -> None:
        """Answer whatever can be answered in batches."""
        for places in _grouped(self.games, range(len(self.games)), apart=False):
            whole = together([self.games[k] for k in places])
            if whole is not None:
                self._block(places, whole)
                continue
            for same in _grouped(self.games, places, apart=True):
                whole = together([self.games[k] for k in same])
                if whole is not None:
                    self._block(same, whole)

    def _block(self, places: Array, whole: Calculus) -> None:
        """Answer what of one batch's markets is beyond doubt."""
        good, settled = screen(whole, [self.games[k] for k in places])
        start = middle(*whole.leader_bounds)
        for backend in self.backends:
            open_ = np.flatnonzero(good)
            if not len(open_):
                return
            part, x, at = whole.at(open_), start[open_], settled[open_]
            again = self._attempt(backend, part, places[open_], x, at, restarts=0)
            if again is not None and self.terms.restarts:
                rows, x = again
                part, left = part.at(rows), places[open_][rows]
                self._attempt(backend, part, left, x, settle(part, x), restarts=1)
            good = np.array([place not in self.answers for place in places]) & good

    def _attempt(
        self,
        backend: Backend,
        part: Calculus,
        places: Array,
        start: Array,
        settled: Response,
        restarts: int,
    ) -> tuple[Array, Array] | None:
        """Answer those of a batch's markets that a backend solves.

        Returns:
            the rows where a leader would rather be elsewhere, and leader actions with it there.
        """
        run = Run(time_limit=self.left)
        points = backend.solve_batch(part, run, start, settled)
        if points is None or not points.solved.any():
            return None
        solved = np.flatnonzero(points.solved)
        part, x, y = part.at(solved), points.x[solved], points.y[solved]
        leaders, followers = part.leader_values(x, y)[0], part.follower_payoffs(y, y, x)
        multipliers = part.named(points.lam[solved], points.mu[solved])
        certificates: Sequence[Certificate | None] = [None] * len(solved)
        if self.terms.certificate:
            try:
                certificates = certify_points(part, x, y, tolerance=self.terms.tolerance)
            except BROKEN:  # by whichever: solved alone, each keeps its own answer
                return None
        stats: dict[str, Any] = {
            "seconds": run.elapsed / len(solved),
            "batch": len(solved),
            "restarts": restarts,
            "options": registry.settings(backend),
            "versions": versions(),
        }
        stats |= {"tried": [f"{backend.name}: in a batch"]} if self.automatic else {}
        again = []
        for row, (k, certificate) in enumerate(zip(solved, certificates, strict=True)):
            move = None if certificate is None else certificate.deviation
            if move is not None and move.player == "leader":
                x[row][:, move.index] = move.action
                again.append(row)
            elif certificate is None or certificate.holds:
                eq = Equilibrium(
                    game=self.games[places[k]],
                    backend=backend.name,
                    leader_actions=x[row].copy(),
                    follower_actions=y[row].copy(),
                    status=Status.CONVERGED,
                    certificate=certificate,
                    multipliers={name: value[row].copy() for name, value in multipliers.items()},
                    stats={**stats, **{name: v[k].item() for name, v in points.stats.items()}},
                )
                payoffs = leaders[row].copy(), followers[row].copy()
                self.answer(int(places[k]), eq.with_payoffs(*payoffs))
        return (solved[again], x[again]) if again else None

    def solve_alone(self, backend: str | Backend, options: dict[str, Any], throw: bool) -> None:
        """Answer the rest one by one.

        Raises:
            KeyboardInterrupt: a solve was interrupted; it kept its answer.
            StackelError: a market has no answer, and ``throw`` asks for that.
        """  # noqa: DOC501 - _noted() hands it on
        for place in range(len(self.games)):
            if place in self.answers:
                continue
            left = self.left
            try:
                self.answer(place, solve(self.games[place], backend, time_limit=left, **options))
            except StackelError as error:
                stopped = isinstance(error, NotConverged) and (
                    error.result.status is Status.INTERRUPTED
                )
                if throw:
                    raise _noted(error, place, len(self.games))  # noqa: B904 - the same exception
                self.answer(place, error)
                if stopped:
                    raise KeyboardInterrupt from None

    def leave_out(self, status: Status, anticipation: Anticipation, throw: bool) -> None:
        """Errors in the places of the markets that were not reached.

        Raises:
            NotConverged: ``throw`` asks for the first of them.
        """  # noqa: DOC501 - _noted() hands it on
        for place, game in enumerate(self.games):
            if place in self.answers:
                continue
            eq = Equilibrium(
                game,
                self.backends[0].name,
                middle(*game.leader_bounds),
                first_guess(game),
                status,
                detail="not reached: this is where a search would begin",
                anticipation=anticipation,
            )
            error = NotConverged(eq, f"{game}: {status.message} before it was reached.")
            if throw:
                raise _noted(error, place, len(self.games))
            self.answers[place] = error


def _noted(error: StackelError, place: int, count: int) -> StackelError:
    error.add_note(f"This is games[{place}] of the {count} given to solve_many.")
    return error


def _grouped(games: Sequence[Game], places: Iterable[int], apart: bool) -> list[Array]:
    """Places of games of one kind, in blocks; kinds with few games are left out."""
    kinds: dict[Any, list[int]] = {}
    for place in places:
        kind = kind_of(games[place], apart=apart)
        if kind is not None:
            kinds.setdefault(kind, []).append(place)
    blocks: list[Array] = []
    for same in kinds.values():
        if len(same) >= FEWEST:
            decisions = math.prod(games[same[0]].follower_shape)
            block = min(BLOCK, max(32, NUMBERS // decisions**2))
            blocks += np.array_split(np.array(same), -(-len(same) // block))
    return blocks
