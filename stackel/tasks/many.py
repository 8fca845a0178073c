"""``solve_many``: many small markets at once, by NumPy with the markets along a batch axis.

Markets of one class and shape are stacked (:mod:`stackel.stack`), screened, and handed to the
backend's batch method; their certificates are computed in batches too. Whatever is not beyond doubt
in a batch (a market that does not stack, a point that is not found or not certified) is solved
alone by :func:`stackel.solve`, so that the answers are those of one-by-one solves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stackel import backend as registry
from stackel.backend import Backend
from stackel.calculus.batch import kind_of, together
from stackel.calculus.calculus import Calculus, trace
from stackel.certificate.batch import certify_stack
from stackel.certificate.certificate import TOLERANCE, Certificate
from stackel.errors import OptionError, StackelError
from stackel.followers import response
from stackel.followers.response import Response
from stackel.followers.starts import first_guess
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Points, Run, Status, Stop
from stackel.tasks.progress import counted
from stackel.tasks.screening import screen
from stackel.tasks.solve import check_solve_options, solve
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
    check_solve_options(time_limit, tolerance, restarts)
    if backend == "auto" and options:
        raise OptionError(
            f"options {', '.join(options)} belong to one backend, but backend is 'auto'; name the "
            "backend"
        )
    chosen = [registry.make(name, options) for name in (AUTO if backend == "auto" else (backend,))]
    title = f"{len(markets):,} markets"
    with counted(title, len(markets)) if progress else nullcontext() as report:
        batch = _Batch(
            markets, chosen, tolerance, certificate, restarts, time_limit, report, backend == "auto"
        )
        alone: dict[str, Any] = {
            "anticipation": anticipation,
            "seed": seed,
            "tolerance": tolerance,
            "restarts": restarts,
            "certificate": certificate,
        }
        named = "auto" if backend == "auto" else chosen[0]
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
    tolerance: float
    certificate: bool
    restarts: int
    time_limit: float | None
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
        if self.time_limit is None:
            return None
        left = self.time_limit - (time.perf_counter() - self.began)
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
            whole = _stacked(self.games, places)
            if whole is not None:
                self._block(places, whole)
                continue
            for same in _grouped(self.games, places, apart=True):
                whole = _stacked(self.games, same)
                if whole is not None:
                    self._block(same, whole)

    def _block(self, places: Array, whole: Calculus) -> None:
        """Answer what of one stack's games is beyond doubt."""
        with np.errstate(all="ignore"):
            good, settled = screen(whole, [self.games[k] for k in places])
            start = middle(*whole.leader_bounds)
            for backend in self.backends:
                open_ = np.flatnonzero(good)
                if not len(open_):
                    return
                tried = _Attempt(backend, trace(whole).at(open_), places[open_], 0)
                self._attempt(tried, start[open_], settled[open_])
                good = np.array([place not in self.answers for place in places]) & good

    def _attempt(self, tried: _Attempt, start: Array, settled: Response) -> None:
        """Answer those of a stack's games that a backend solves; once more where a leader would
        rather be elsewhere, from there."""
        run = Run(time_limit=self.left)
        points = tried.backend.solve_batch(tried.whole, run, start, settled)
        if points is None or not points.solved.any():
            return
        solved = np.flatnonzero(points.solved)
        part = trace(tried.whole).at(solved)
        found = _Found(part, points, solved, self.certificate, self.tolerance)
        shared = tried.stats(run.elapsed / len(solved), len(solved), self.automatic)
        left = np.isfinite(found.moves).all((-1, -2))
        for row in map(int, np.flatnonzero(~left)):
            k, place = solved[row], int(tried.places[solved[row]])
            counts = {name: value[k].item() for name, value in points.stats.items()}
            eq = found.equilibrium(row, self.games[place], tried.backend, {**shared, **counts})
            if self.certificate and eq.certificate is None:
                self.left  # noqa: B018 - raises Stop
                eq = eq.certify(tolerance=self.tolerance)
            if eq.is_equilibrium or not self.certificate:
                self.answer(place, eq)
        again = np.flatnonzero(left)
        if len(again) and tried.restarts < min(1, self.restarts):
            part = trace(part).at(again)
            once_more = _Attempt(tried.backend, part, tried.places[solved[again]], 1)
            moved = found.moves[again]
            self._attempt(once_more, moved, response.settle(part, moved))

    def solve_alone(self, backend: str | Backend, options: dict[str, Any], throw: bool) -> None:
        """Answer the rest one by one."""
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
        """Errors in the places of the markets that were not reached."""
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


def _stacked(games: Sequence[Game], places: Array) -> Calculus | None:
    return together([games[k] for k in places])


@dataclass
class _Attempt:
    """Some games of a stack that a backend tries, their places in the list, and restarts so far."""

    backend: Backend
    whole: Calculus
    places: Array
    restarts: int

    def stats(self, seconds: float, size: int, automatic: bool) -> dict[str, Any]:
        """What the answers report: each one's share of the seconds, how many came together."""
        backend = self.backend
        stats = {
            "seconds": seconds,
            "batch": size,
            "restarts": self.restarts,
            "options": {n: getattr(backend, n) for n in registry.options_of(type(backend))},
            "versions": versions(),
        }
        return stats | ({"tried": [f"{backend.name}: in a batch"]} if automatic else {})


class _Found:
    """Points of a stack's games, with everything an answer holds."""

    def __init__(
        self, whole: Calculus, points: Points, which: Array, certificate: bool, tolerance: float
    ) -> None:
        self.x = points.x[which]
        at = Response(points.y, points.lam, points.mu, np.zeros(len(points.x)), points.solved)
        self.at = at[which]
        self.leader_payoffs = trace(whole).leader_values(self.x, self.at.y)[0]
        self.follower_payoffs = trace(whole).follower_payoffs(self.at.y, self.at.y, self.x)
        self.multipliers = trace(whole).named(self.at.lam, self.at.mu)
        self.certificates: list[Certificate | None] | None = None
        self.moves = np.full(self.x.shape, np.nan)
        if certificate:
            self.certificates, self.moves = certify_stack(
                whole, self.x, self.at, tolerance=tolerance
            )

    def equilibrium(
        self, row: int, game: Game, backend: Backend, stats: Mapping[str, Any]
    ) -> Equilibrium:
        eq = Equilibrium(
            game=game,
            backend=backend.name,
            leader_actions=self.x[row].copy(),
            follower_actions=self.at.y[row].copy(),
            status=Status.CONVERGED,
            certificate=None if self.certificates is None else self.certificates[row],
            multipliers={name: value[row].copy() for name, value in self.multipliers.items()},
            stats=stats,
        )
        # Known already: else each game's formulas would be traced to find them.
        eq.__dict__["leader_payoffs"] = self.leader_payoffs[row].copy()
        eq.__dict__["follower_payoffs"] = self.follower_payoffs[row].copy()
        return eq
