"""What a backend is, and the register of those that exist.

A backend is a dataclass of its options with two methods, ``accepts`` and ``solve``. The built-in
ones are named by strings here, so that ``import stackel`` never loads a solver library; others
come through the entry-point group ``stackel.backends``.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, fields
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.errors import OptionError, Refusal, StackelError, unknown
from stackel.followers.response import Response
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.plugins import Register, missing_packages
from stackel.run import Point, Points, Run
from stackel.types import Array

BUILT_IN: Mapping[str, str] = {
    "closed-form": "stackel.solvers.closed_form:ClosedForm",
    "newton": "stackel.solvers.newton:Newton",
    "admm": "stackel.solvers.admm:ADMM",
    "cvxpy": "stackel.solvers.cvxpy_:CVXPY",
    "mpec": "stackel.solvers.mpec:MPEC",
}
"""Name to ``module:class``, in the order in which ``auto`` tries them."""

LEARNERS: Mapping[str, str] = {
    "malppo": "stackel.learners.backends:MALPPO",
    "mappo": "stackel.learners.backends:MAPPO",
    "maa2c": "stackel.learners.backends:MAA2C",
    "malppo-rl": "stackel.learners.backends:RandomLeaders",
    "malppo-rf": "stackel.learners.backends:RandomFollowers",
    "random": "stackel.learners.backends:Random",
}
"""The same for those that learn, which ``auto`` leaves alone."""

GROUP = "stackel.backends"
REGISTER = Register("backend", GROUP, {**BUILT_IN, **LEARNERS})


class Backend(ABC):
    """A way to find an equilibrium. Subclasses are dataclasses whose fields are their options.

    Attributes:
        name: what users call it.
        requires: packages it needs that the core does not, each with the extra that installs it,
            e.g. ``{"cvxpy": "cvxpy"}``.
        exact: whether it sets out for an equilibrium to within the tolerance. What falls short
            is then an error; a learner's point is returned, measured, whatever it is worth.
        presets: sets of options by name, asked for by the option ``preset``.
    """

    name: ClassVar[str]
    requires: ClassVar[Mapping[str, str]] = {}
    exact: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "solve_stack"):
            warnings.warn(
                f"{cls.__name__}.solve_stack is not called any more: it is solve_batch now, which "
                "takes a Calculus; without it solve_many solves one by one",
                DeprecationWarning,
                stacklevel=2,
            )

    @abstractmethod
    def accepts(self, game: Game) -> list[str]:
        """Reasons why not, one sentence each; empty if it can. Found by running the game.

        Raises:
            GameError: a formula does not run, or does not differentiate.
        """

    @abstractmethod
    def solve(self, game: Game, run: Run) -> Point:
        """Find a point: leader actions (d, J), follower actions (I, n).

        Args:
            game: a game that :meth:`accepts` takes.
            run: the run's clock, random numbers, start and history; call ``run.step`` once an
                iteration with the point reached, so that nothing is lost if it is stopped.

        Raises:
            Refusal: the run asks for what it cannot do, or a condition turned out not to hold at
                the answer.
            Stop: the time is up; ``run.step`` and ``run.check`` raise it, let it pass.
        """

    def solve_batch(
        self, whole: Calculus, run: Run, start: Array, settled: Response | None = None
    ) -> Points | None:
        """Points of many markets of one shape at once; None (as here): solve them one by one.

        Args:
            whole: the markets as one, see :func:`stackel.calculus.batch.together`.
            run: as for :meth:`solve`, its start apart.
            start: leader actions to start from (B, d, J).
            settled: the followers' answers there, if they are known.

        Raises:
            Stop: the time is up.
        """
        return None

    def iterations(self) -> int | None:
        """How many times it will call ``run.step``, if that is known before."""
        return None

    def missing(self) -> list[str]:
        """Reasons why it cannot run here: packages that are not installed."""
        return missing_packages(self.requires)


def names() -> list[str]:
    """All registered backends, built-in ones first."""
    return REGISTER.names()


def find(name: str) -> type[Backend]:
    """The backend class of that name.

    Raises:
        OptionError: there is none.
        StackelError: a third party's entry point does not load, or is no backend.
        ImportError: a built-in one's module does not import.
    """
    found = REGISTER.find(name, known=["auto"])
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise StackelError(f"backend {name!r}: {found!r} is not a subclass of stackel.Backend")
    return found


def options_of(backend: type[Backend]) -> dict[str, Any]:
    """A backend's options and their defaults."""
    return {
        f.name: None if f.default is MISSING else f.default
        for f in fields(backend)  # type: ignore[arg-type]
        if f.init
    }


def make(backend: str | Backend, options: Mapping[str, Any]) -> Backend:
    """A backend with its options, checked.

    Args:
        backend: a registered name, or an object, which has its options already.
        options: of a named backend, by name; ``preset`` is replaced by the options that it sets,
            under those given beside it.

    Raises:
        OptionError: an unknown backend, preset or option, a value out of range, or options beside
            an object.
        StackelError, ImportError: as :func:`find`.
    """  # noqa: DOC501 - unknown() makes an OptionError
    if isinstance(backend, Backend):
        if options:
            raise OptionError(
                f"options {', '.join(options)} are given beside a backend object; set them on the "
                f"object: {type(backend).__name__}({', '.join(f'{k}=...' for k in options)})"
            )
        return backend
    if not isinstance(backend, str):
        raise OptionError(f"backend = {backend!r}; expected a name or a stackel.Backend object")
    kind = find(backend)
    known = options_of(kind)
    if kind.presets and "preset" in options:
        preset = options["preset"]
        if preset not in kind.presets:
            raise unknown(f"preset of backend {backend!r}", preset, kind.presets)
        options = {**kind.presets[preset], **{k: v for k, v in options.items() if k != "preset"}}
    for option in options:
        if option not in known:
            raise unknown(f"option of backend {backend!r}", option, known)
    return kind(**options)


def left_open(backend: str | Backend, options: Mapping[str, Any]) -> bool:
    """Whether no backend is named: it is ``"auto"``, which has no options of its own.

    Raises:
        OptionError: there are options all the same.
    """
    automatic = isinstance(backend, str) and backend == "auto"
    if automatic and options:
        raise OptionError(
            f"options {', '.join(options)} belong to one backend, but backend is 'auto'; name the "
            "backend"
        )
    return automatic


def settings(backend: Backend) -> dict[str, Any]:
    """A backend's options as they are set."""
    return {name: getattr(backend, name) for name in options_of(type(backend))}


def reasons(name: str, game: Game) -> list[str]:
    """Why a registered backend cannot solve a game here; empty if it can.

    Raises:
        OptionError: there is no backend of that name.
        StackelError: a third party's entry point does not load, or is no backend.
        GameError: a formula does not run, or does not differentiate.
    """
    try:
        kind = find(name)
    except ImportError as error:
        return [f"does not import: {error}"]
    lacking = missing_packages(kind.requires)
    return lacking or kind().accepts(game)


def refuse(backend: Backend, game: Game, why: list[str]) -> Refusal:
    """A refusal that names the backends that can.

    Args:
        backend: the one that declines.
        game: what it declines; every other backend is asked whether it accepts it.
        why: reasons, one sentence each.
    """
    others = []
    for name in names():
        if name != backend.name:
            try:
                if not reasons(name, game):
                    others.append(name)
            except StackelError:
                continue
    return Refusal(backend.name, str(game), why, others)


def begin(calculus: Calculus, run: Run) -> Array:
    """Where a run starts, as a batch of one (1, d, J): its start, or the middle of the bounds."""
    return (middle(*calculus.leader_bounds) if run.start is None else np.array(run.start))[None]


def only(found: Points, calculus: Calculus, backend: str) -> Point:
    """The point of a batch of one market.

    Args:
        found: the batch's points.
        calculus: the market's calculus.
        backend: who found it.

    Raises:
        Refusal: the backend turned out not to apply.
    """
    if any(found.refused):
        raise Refusal(backend, calculus.title, found.refused)
    return Point(
        found.x[0],
        found.y[0],
        found.status[0],
        calculus.named(found.lam[0], found.mu[0]),
        {name: value[0].item() for name, value in found.stats.items()},
        found.detail[0],
    )


def check_range(name: str, value: Any, expected: str, good: bool) -> None:
    """For a backend's ``__post_init__``: an error that names the option.

    Args:
        name: of the option.
        value: what was given.
        expected: what was expected, e.g. ``"a positive number"``.
        good: whether the value is that.

    Raises:
        OptionError: it is not.
    """
    if not good:
        raise OptionError(f"option {name} = {value!r}; expected {expected}")


def check_positive(backend: Backend, *options: str) -> None:
    """The same for options that must be positive numbers.

    Raises:
        OptionError: one is not.
    """
    for name in options:
        value: Any = getattr(backend, name)
        number = isinstance(value, Real)
        check_range(name, value, "a positive number", number and value > 0)


def check_whole(backend: Backend, **least: int) -> None:
    """The same for options that must be whole numbers.

    Args:
        backend: whose options they are.
        **least: the smallest that each may be, by name: ``check_whole(self, points=5)``.

    Raises:
        OptionError: one is not.
    """
    for name, smallest in least.items():
        value: Any = getattr(backend, name)
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        expected = f"a whole number of at least {smallest}"
        check_range(name, value, expected, whole and value >= smallest)
