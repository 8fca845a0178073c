"""What a sweep is asked to do: its cells, and how each is solved. Checked before any work."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from stackel import backend as registry
from stackel import version
from stackel.backend import Backend
from stackel.errors import OptionError, unknown
from stackel.game.game import Game
from stackel.leaders.anticipation import check_anticipation
from stackel.results.equilibrium import Equilibrium
from stackel.sweeps.describe import describe, label, scalar
from stackel.tasks.attempts import Terms

Measure = Callable[[Equilibrium], Mapping[str, Any]]

VARIABLES = {
    "leader_actions": "what the leaders decide",
    "follower_actions": "what the followers decide",
    "leader_payoffs": "leader's payoff",
    "follower_payoffs": "follower's payoff",
    "welfare": "sum of all payoffs",
    "certified": "whether the verdict is proved, searched or local",
    "verdict": "the certificate's verdict",
    "follower_gap": "most that a follower gains alone, as a share of what is at stake for it",
    "leader_gap": "most that a leader gains alone, as a share of what is at stake for it",
    "violation": "largest violation of a limit, relative",
    "status": "why the method stopped",
    "error": "what went wrong",
    "seconds": "time of the cell",
}
"""What every Dataset holds of an answer, in this order."""

PLAYERS = ("leader", "leader_decision", "follower", "follower_decision")
TAKEN = (*VARIABLES, *PLAYERS)
"""Names in every Dataset, which neither a parameter nor a measure can have."""

OF_SOLVE = (
    "anticipation",
    "certificate",
    "proof",
    "restarts",
    "start",
    "starts",
    "time_limit",
    "tolerance",
)
"""Arguments of :func:`stackel.solve` that a sweep hands on; the rest are the backend's."""


@dataclass(frozen=True)
class Plan:
    """A checked sweep; cells are numbered in the order of the Dataset, the last dimension fastest.

    Attributes:
        make_game: gives a cell's market.
        grid: values by parameter.
        seeds: a further dimension, or None.
        backend: for :func:`stackel.solve`,
        solve: and its other arguments, the same for all cells.
        measure: further numbers of an answer, by name.
    """

    make_game: Callable[..., Game]
    grid: Mapping[str, Sequence[Any]]
    seeds: Sequence[int] | None
    backend: str | Backend
    solve: Mapping[str, Any] = field(default_factory=dict)
    measure: Measure | None = None

    @cached_property
    def dimensions(self) -> dict[str, Sequence[Any]]:
        """The grid's parameters, then the seeds if there are any: values by name."""
        return {**self.grid, **({} if self.seeds is None else {"seed": self.seeds})}

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        return tuple(map(len, self.dimensions.values()))

    @property
    def size(self) -> int:
        """How many cells there are."""
        return math.prod(self.shape)

    @cached_property
    def seeds_markets(self) -> bool:
        """Whether ``make_game`` gets the seed too."""
        return self.seeds is not None and "seed" in _parameters(self.make_game)

    def arguments(self, cell: int) -> tuple[dict[str, Any], int | None]:
        """What ``make_game`` is called with at a cell, and the seed for ``solve``.

        Args:
            cell: its number, counted from 0.
        """
        place = np.unravel_index(cell, self.shape)
        at = {n: v[int(k)] for (n, v), k in zip(self.dimensions.items(), place, strict=True)}
        given = at if self.seeds_markets else {name: at[name] for name in self.grid}
        return given, None if self.seeds is None else at["seed"]

    def fingerprint(self) -> dict[str, Any]:
        """What two sweeps have in common if their cells can stand in one directory."""
        return {
            "stackel": version.__version__,
            "make_game": describe(self.make_game),
            "grid": {name: [describe(v) for v in values] for name, values in self.grid.items()},
            "seeds": None if self.seeds is None else list(self.seeds),
            "backend": describe(self.backend),
            **{name: describe(value) for name, value in self.solve.items()},
            "measure": describe(self.measure),
        }


def optional(package: str, extra: str, user: str) -> Any:
    """A package that not everybody has, imported.

    Args:
        package: its name.
        extra: the extra of stackel that installs it.
        user: what needs it, in words.

    Raises:
        OptionError: it does not import.
    """
    try:
        return import_module(package)
    except ImportError:
        raise OptionError(
            f'{user} needs the package {package}: pip install "stackel[{extra}]"'
        ) from None


def make_plan(
    make_game: Any,
    grid: Any,
    *,
    backend: Any,
    seeds: Any,
    measure: Any,
    solve: Mapping[str, Any],
) -> Plan:
    """Check everything that can be checked without making a market.

    Args:
        make_game, grid, backend, seeds, measure: as a user gives them to :func:`stackel.sweep`.
        solve: solve's arguments, and the backend's options.

    Raises:
        OptionError: names what is wrong, and the way out.
    """
    if not callable(make_game):
        raise OptionError(
            f"make_game = {make_game!r}; expected a function that takes a cell's parameters and "
            "returns a stackel.Game"
        )
    if measure is not None and not callable(measure):
        raise OptionError(f"measure = {measure!r}; expected a function of an Equilibrium, or None")
    values = _grid(grid)
    numbers = _seeds(seeds)
    _check_signature(make_game, values, numbers is not None)
    _check_solve(backend, solve)
    return Plan(make_game, values, numbers, backend, solve, measure)


def _grid(grid: Any) -> dict[str, list[Any]]:
    if not isinstance(grid, Mapping) or not grid:
        raise OptionError(
            f"grid = {grid!r}; expected values by parameter, e.g. {{'unit_cost': [0.1, 0.2]}}"
        )
    out = {}
    for name, values in grid.items():
        if not isinstance(name, str) or not name:
            raise OptionError(f"grid has the key {name!r}; expected a parameter's name")
        if name in TAKEN:
            raise OptionError(
                f"grid parameter {name!r} is the name of something in every answer; make_game has "
                f"to call it otherwise (taken: {', '.join(TAKEN)})"
            )
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            raise OptionError(
                f"grid[{name!r}] = {values!r}; expected a list of values (for a single one, a "
                "list of one)"
            )
        out[name] = [scalar(v) for v in values]
        if not out[name]:
            raise OptionError(f"grid[{name!r}] is empty; expected at least one value")
        plain = [(type(v) is bool, v) for v in out[name] if isinstance(v, (int, float, str))]
        for (_, value), count in Counter(plain).items():
            if count > 1:
                raise OptionError(
                    f"grid[{name!r}] has {value!r} more than once; expected distinct values"
                )
    return out


def _seeds(seeds: Any) -> list[int] | None:
    if seeds is None:
        return None
    if isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool) and seeds > 0:
        return list(range(int(seeds)))
    bad = isinstance(seeds, (str, bytes, Mapping)) or not isinstance(seeds, Iterable)
    found = [] if bad else [scalar(s) for s in seeds]
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in found)
    if not found or not whole or len(set(found)) < len(found):
        raise OptionError(
            f"seeds = {seeds!r}; expected how many (at least 1), a list of distinct whole numbers "
            "of at least 0, or None"
        )
    return found


def _parameters(make_game: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(make_game).parameters
    except (TypeError, ValueError):  # compiled code that does not say
        return {"arguments": inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)}


def _check_signature(make_game: Callable[..., Any], grid: Mapping[str, Any], seeded: bool) -> None:
    """Everything given is taken, and everything needed is given.

    Raises:
        OptionError: ``make_game`` does not know a parameter, or needs one more.
    """  # noqa: DOC501 - unknown() makes an OptionError
    taken = _parameters(make_game)
    who = label(make_game)
    if seeded and "seed" in grid:
        raise OptionError("both grid and seeds give 'seed'; leave it out of one of them")
    named = [n for n, p in taken.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    for name in grid:
        if name not in named and not anything:
            raise unknown(f"grid parameter: make_game ({who}) takes no", name, named)
    given = [*(n for n in grid if n in named), *(["seed"] if seeded else [])]
    for name, p in taken.items():
        needed = p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        if not needed or name in given:
            continue
        way_out = "give seeds=..." if name == "seed" else f"add it to grid: {name!r}: [...]"
        raise OptionError(
            f"make_game ({who}) needs {name!r}, which the sweep does not give; {way_out}, or give "
            "it a default"
        )


def _check_solve(backend: Any, solve: Mapping[str, Any]) -> None:
    """What :func:`stackel.solve` would say of these at every cell is said once, now.

    Raises:
        OptionError: an unknown backend or option, or a value that makes no sense.
    """
    own = {k: v for k, v in solve.items() if k not in OF_SOLVE}
    if not registry.left_open(backend, own):
        registry.make(backend, own)
    check_anticipation(solve["anticipation"])
    limit, certificate, starts = solve["time_limit"], solve["certificate"], solve.get("starts", 1)
    if limit is not None and not (isinstance(limit, (int, float)) and limit > 0):
        raise OptionError(f"time_limit = {limit!r}; expected a positive number of seconds a cell")
    if not isinstance(certificate, bool):
        raise OptionError(f"certificate = {certificate!r}; expected True or False")
    if not isinstance(starts, int) or starts < 1:
        raise OptionError(f"starts = {starts!r}; expected a whole number of at least 1")
    Terms(solve["tolerance"], solve.get("restarts", 0), certificate, limit)
