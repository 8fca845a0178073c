"""A solve in progress: its clock, its history, the best point so far, and how to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from stackel.types import Array


class Status(Enum):
    """Why a backend stopped. What the point is worth is the certificate's to say."""

    CONVERGED = "the method's own stopping test is met"
    TRAINED = "trained for all its episodes"
    ITERATION_LIMIT = "stopped at the iteration limit before the method's stopping test was met"
    TIME_LIMIT = "stopped at the time limit"
    INTERRUPTED = "interrupted"
    CYCLE = "the leaders' best replies run in a cycle: no pure equilibrium was found"
    FAILED = "the method failed"
    GIVEN = "given, not searched for"

    @property
    def message(self) -> str:
        """The status in words."""
        return self.value


class Stop(Exception):
    """Raised by :meth:`Run.step` when the time is up; carries the status."""

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(status.message)


RESERVE = 1e-3
"""With less time left than this [s] no outside solver is begun, and one that has ended is taken to
have stopped for it: clocks differ, and to some solvers a limit of 0 means none."""

_until: ContextVar[float] = ContextVar("until", default=float("inf"))


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Everything inside ends within so many seconds [s], or sooner where an outer limit says so:
    what takes long asks :func:`check_time` on its way. None: no further limit."""
    until = float("inf") if seconds is None else time.perf_counter() + seconds
    token = _until.set(min(until, _until.get()))
    try:
        yield
    finally:
        _until.reset(token)


def time_left() -> float:
    """What is left of the time limit that holds here [s]; infinite if there is none."""
    return _until.get() - time.perf_counter()


def limit_for_solver(own: float = float("inf")) -> float:
    """What an outside solver gets as its own limit of time [s]: what is left, and at least
    :data:`RESERVE`; infinite if there is no limit.

    Args:
        own: a limit that its options give it [s].
    """
    return min(own, max(time_left(), RESERVE))


def check_time(reserve: float = 0.0) -> None:
    """Cheap: call it anywhere in a long loop.

    Args:
        reserve: what is left at least for going on to be worth it [s].

    Raises:
        Stop: the time that :func:`within` gave is up.
    """
    if time_left() < reserve:
        raise Stop(Status.TIME_LIMIT)


@dataclass
class Point:
    """What a backend hands back: a profile and why it stopped there.

    Attributes:
        x: leader actions (d, J).
        y: follower actions (I, n).
        status: why the method stopped.
        multipliers: by limit name: own limits' (I, m), shared ones' in the shape of the limit.
        stats: counts and versions worth reporting.
        detail: anything to add to the status in words.
    """

    x: Array
    y: Array
    status: Status = Status.CONVERGED
    multipliers: dict[str, Array] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


Callback = Callable[[int, Mapping[str, Any]], None]


class Run:
    """Handed to a backend by the facade; the backend calls :meth:`step` once an iteration.

    Args:
        seed: of the random numbers; None: another one each time.
        time_limit: how long it may take [s]; None: as long as it likes.
        callback: called with the number of an iteration, from 1, and its row of the history.

    Attributes:
        rng: the only source of random numbers.
        start: leader actions to start from (d, J), or None.
        anticipation: what leaders foresee, see :func:`stackel.solve`.
        history: one mapping an iteration.
        best: the best point so far, kept whatever happens.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        time_limit: float | None = None,
        start: Array | None = None,
        anticipation: str = "equilibrium",
        callback: Callback | None = None,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.time_limit = time_limit
        self.start = start
        self.anticipation: Any = anticipation
        self.callback = callback
        self.history: list[dict[str, Any]] = []
        self.best: Point | None = None
        self._began = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Time since the run began [s]."""
        return time.perf_counter() - self._began

    @property
    def left(self) -> float:
        """What is left of its time [s], or of the time that holds around it; infinite if there is
        no limit. A solver that is called gets it as its own limit."""
        own = float("inf") if self.time_limit is None else self.time_limit - self.elapsed
        return min(own, time_left())

    def check(self, reserve: float = 0.0) -> None:
        """End the run if its time is up. Cheap: call it anywhere in a long loop.

        Args:
            reserve: what is left at least for going on to be worth it [s].

        Raises:
            Stop: it is up.
        """
        if self.left < reserve:
            raise Stop(Status.TIME_LIMIT)

    def keep(self, x: Array, y: Array, **multipliers: Array) -> None:
        """Remember the best point so far without recording an iteration.

        Args:
            x, y: leader actions (d, J) and follower actions (I, n); copied.
            **multipliers: by limit name, as in :class:`Point`.
        """
        self.best = Point(np.array(x), np.array(y), Status.INTERRUPTED, dict(multipliers))

    def step(self, x: Array | None = None, y: Array | None = None, /, **row: Any) -> None:
        """Record an iteration, remember its point, report progress, and stop if the time is up.

        Args:
            x, y: the point reached, (d, J) and (I, n), if there is one.
            **row: what the history shows of this iteration, numbers or short arrays.

        Raises:
            Stop: the time is up.
        """
        if x is not None and y is not None:
            self.keep(x, y)
        entry: dict[str, Any] = {"seconds": self.elapsed}
        entry |= {k: np.array(v) if isinstance(v, np.ndarray) else v for k, v in row.items()}
        self.history.append(entry)
        if self.callback is not None:
            self.callback(len(self.history), entry)
        self.check()


@dataclass
class Points:
    """What a backend hands back for a batch of B markets.

    Attributes:
        x: leader actions (B, d, J).
        y: follower actions (B, I, n).
        lam, mu: multipliers of own limits (B, I, m) and shared ones (B, k).
        residual, settled: how far the followers are from their answer, a length in the units of
            y, and whether that is negligible (B,).
        status, detail: why the method stopped, and anything to add in words, of each.
        stats: counts worth reporting, by name, one for each market (B,).
        refused: why the method turned out not to apply, of each; an empty text where it does.
    """

    x: Array
    y: Array
    lam: Array
    mu: Array
    residual: Array
    settled: Array
    status: list[Status]
    detail: list[str]
    stats: dict[str, Array] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def solved(self) -> Array:
        """Where the method's own stopping test is met and nothing speaks against the point (B,)."""
        met = np.array([s is Status.CONVERGED for s in self.status], dtype=bool)
        fits = np.array([not why for why in self.refused], dtype=bool) if self.refused else True
        return met & self.settled & fits
