"""What a game is: data on grids, two actions, and formulas for what each player wants and may do.

A market is a frozen dataclass that subclasses :class:`Game`::

    @dataclass(frozen=True)
    class Pricing(Game):
        value: Follower            # a_i: what the first unit is worth to follower i [$]
        unit_cost: Leader          # c_j: cost of a unit to leader j [$]

        @property
        def leader_action(self):
            return Action("price", unit="$", low=self.unit_cost, high=4.0)

        @property
        def follower_action(self):
            return Action("purchase", low=0.0)

        def follower_payoff(self, y, rivals, x):
            return over_leaders(self.value * log(1 + y) - x * y)

        def leader_payoff(self, x, y):
            return over_followers((x - self.unit_cost) * y)

Shapes: leader data (1, J), follower data (I, 1), a leader action (d, J), a follower action (I, n),
batch axes in front of all of them. ``rivals`` is everybody's action, frozen: row i of a follower's
payoff may use row i of ``y`` (its own action) and anything of ``rivals``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, TypeVar, get_type_hints

import numpy as np

from stackel.errors import GameError
from stackel.game import grids
from stackel.game.grids import Grid, SparseOperator
from stackel.memo import Memo

Self = TypeVar("Self", bound="Game")

_hints: Callable[[Any], dict[str, Any]] = lru_cache(maxsize=256)(
    lambda kind: get_type_hints(kind, include_extras=True)
)
"""A class's annotations; to evaluate them takes as long as all else about making a small market."""


TAKEN = ("on", "once", "over", "reject")
"""Names that no field may have: methods that the core calls."""


@dataclass(frozen=True, eq=False)
class Action:
    """What one kind of player decides.

    Attributes:
        name: what is decided, e.g. ``"price"``; labels results and errors.
        unit: its unit, for people.
        low, high: bounds, anything that broadcasts to the action's shape; may be infinite.
        size: a leader's number of decisions d (default 1); a follower's number n (default: one
            for each leader).
    """

    name: str
    unit: str = ""
    low: Any = 0.0
    high: Any = math.inf
    size: int | None = None


@dataclass(frozen=True)
class Game(Memo):
    """Base class of every market. See the module's docstring for how to write one.

    Actions are in the units of the two :class:`Action`. Payoffs count as being in one unit, since
    ``welfare`` adds them up.

    Raises:
        GameError: at construction: data that is not numbers, of a wrong shape or for another number
            of players, bounds that cross, or what :meth:`validate` rejects.
    """

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        read: dict[str, tuple[Any, Grid]] = {}
        sizes: dict[str, tuple[int, str]] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            where = f"{type(self).__name__}.{f.name}"
            if f.name in TAKEN:
                raise GameError(f"{where} hides what every game has by that name; rename the field")
            grid = grids.grid_of(hints[f.name])
            if f.name in ("followers", "leaders") and grid is None:
                found = {f.name: _count(value, where)}
            elif value is None or grid is None:
                if hints[f.name] is float:
                    object.__setattr__(self, f.name, _number(value, where))
                continue
            else:
                array, found = grids.read(value, grid, where)
                read[f.name] = (array, grid)
            for players, size in found.items():
                _agree(sizes, players, size, where)
        counts = {p: sizes[p][0] if p in sizes else 1 for p in ("followers", "leaders")}
        for name, (array, grid) in read.items():
            object.__setattr__(self, name, grids.place(array, grid, counts))
        self.__dict__["n_followers"] = counts["followers"]
        self.__dict__["n_leaders"] = counts["leaders"]
        self.validate()
        self.leader_bounds  # noqa: B018 - raises here, at construction, if the bounds cross
        self.follower_bounds  # noqa: B018

    # -- what a market states ------------------------------------------------------------------

    @property
    def leader_action(self) -> Action:
        """What each leader decides.

        Raises:
            GameError: the market does not say.
        """
        raise GameError(f"{type(self).__name__} must define the property leader_action")

    @property
    def follower_action(self) -> Action:
        """What each follower decides.

        Raises:
            GameError: the market does not say.
        """
        raise GameError(f"{type(self).__name__} must define the property follower_action")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        """Each follower's payoff (..., I, 1).

        Args:
            y: actions (..., I, n), of which a follower's payoff uses its own row only.
            rivals: everybody's actions (..., I, n), frozen: what it takes from the others.
            x: leader actions (..., d, J).

        Raises:
            GameError: the market does not define it.
        """
        raise GameError(f"{type(self).__name__} must define follower_payoff(y, rivals, x)")

    def leader_payoff(self, x: Any, y: Any) -> Any:
        """Each leader's payoff (..., 1, J).

        Args:
            x: leader actions (..., d, J).
            y: follower actions (..., I, n).

        Raises:
            GameError: the market does not define it.
        """
        raise GameError(f"{type(self).__name__} must define leader_payoff(x, y)")

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> Mapping[str, Any]:
        """Each follower's own limits by name, each (..., I, m) and <= 0 where it is met.

        Args:
            y, rivals, x: as for :meth:`follower_payoff`.
        """
        return {}

    def shared_limits(self, y: Any, x: Any) -> Mapping[str, Any]:
        """Limits that the followers share, by name, any core shape, each <= 0 where it is met.

        The equilibrium computed is the variational one: one multiplier for everybody
        (Facchinei and Kanzow, Generalized Nash equilibrium problems, 4OR 2007, section 3.3).

        Args:
            y: follower actions (..., I, n).
            x: leader actions (..., d, J).
        """
        return {}

    def leader_limits(self, x: Any, y: Any) -> Mapping[str, Any]:
        """Each leader's limits by name, each (..., m, J) and <= 0 where it is met.

        Args:
            x: leader actions (..., d, J).
            y: the followers' answers to them (..., I, n).
        """
        return {}

    def validate(self) -> None:
        """Checks of a market's own; use :meth:`reject` to name the value at fault.

        Raises:
            GameError: a value that makes no market.
        """

    # -- what the core derives -----------------------------------------------------------------

    @cached_property
    def n_followers(self) -> int:
        """I, the number of followers."""
        return 1

    @cached_property
    def n_leaders(self) -> int:
        """J, the number of leaders."""
        return 1

    @cached_property
    def leader_shape(self) -> tuple[int, int]:
        """(d, J), the shape of all leaders' actions."""
        return self.leader_action.size or 1, self.n_leaders

    @cached_property
    def follower_shape(self) -> tuple[int, int]:
        """(I, n), the shape of all followers' actions."""
        return self.n_followers, self.follower_action.size or self.n_leaders

    @cached_property
    def leader_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest leader actions, each (d, J).

        Raises:
            GameError: bounds that do not fit that shape, are NaN, or cross.
        """
        action = self.leader_action
        return grids.bounds(action.low, action.high, self.leader_shape, action.name)

    @cached_property
    def follower_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest follower actions, each (I, n).

        Raises:
            GameError: bounds that do not fit that shape, are NaN, or cross.
        """
        action = self.follower_action
        return grids.bounds(action.low, action.high, self.follower_shape, action.name)

    def reject(self, field: str, bad: Any, expected: str, way_out: str = "") -> None:
        """Refuse the market if a field has a bad value; the first one is named.

        Args:
            field: the field's name.
            bad: booleans of the field's shape (or broadcasting to it), True where it is bad.
            expected: what was expected, e.g. ``"a positive number"``.
            way_out: what the user can do.

        Raises:
            GameError: there is a bad value.
        """
        bad = np.asarray(bad)
        if not bad.any():
            return
        value = np.asarray(getattr(self, field), dtype=float)
        grid = grids.grid_of(_hints(type(self))[field])
        index = tuple(int(k) for k in np.argwhere(np.broadcast_to(bad, value.shape))[0])
        names = () if grid is None else (grid.rows, grid.columns)
        place = [f"{p.rstrip('s')} {k}" for p, k in zip(names, index, strict=False) if p]
        at = f" at {', '.join(place)} (counted from 0)" if place else ""
        hint = f"; {way_out}" if way_out else ""
        raise GameError(
            f"{type(self).__name__}.{field} = {value[index]:g}{at}: expected {expected}{hint}"
        )

    def on(self: Self, convert: Callable[[Any], Any]) -> Self:
        """This game with every array of data converted, e.g. to torch tensors on a device.

        Data is converted as it stands, without the checks of construction.

        Args:
            convert: from an array, or a :class:`~stackel.game.SparseOperator`, to what takes its
                place.
        """
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {k: v for k, v in data.items() if isinstance(v, (np.ndarray, SparseOperator))}
        return self.over({name: convert(value) for name, value in arrays.items()})

    def over(self: Self, data: Mapping[str, Any]) -> Self:
        """This game's formulas over other data, for as many followers and leaders.

        Data is taken as it stands, without the checks of construction.

        Args:
            data: values by field; the other fields keep theirs.
        """
        twin = copy(self)
        for name, value in data.items():
            object.__setattr__(twin, name, value)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Data only: what was traced and compiled is made again where it is needed."""
        kept = {"n_followers", "n_leaders", *(f.name for f in fields(self))}
        return {name: value for name, value in self.__dict__.items() if name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __str__(self) -> str:
        def count(number: int, what: str) -> str:
            return f"{number:,} {what}{'' if number == 1 else 's'}"

        return (
            f"{type(self).__name__} ({count(self.n_followers, 'follower')}, "
            f"{count(self.n_leaders, 'leader')})"
        )


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise GameError(f"{where} = {value!r}; expected a number") from None
    if math.isnan(number):
        raise GameError(f"{where} = nan; expected a number")
    return number


def _count(value: Any, where: str) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise GameError(f"{where} = {value!r}; expected a whole number of at least 1")
    return int(value)


def _agree(sizes: dict[str, tuple[int, str]], players: str, size: int, where: str) -> None:
    if size == 0:
        raise GameError(f"{where} is empty: a market needs at least one of its {players}")
    known, first = sizes.setdefault(players, (size, where))
    if known != size:
        raise GameError(
            f"{where} speaks of {size} {players}, but {first} of {known}; "
            "give both the same length, or a single number for all"
        )
