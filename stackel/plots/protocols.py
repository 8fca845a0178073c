"""What pictures ask of an answer: results stand above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from stackel.game.game import Game
from stackel.types import Array

if TYPE_CHECKING:
    import pandas as pd


class Answer(Protocol):
    """An equilibrium; see :class:`stackel.Equilibrium`."""

    @property
    def game(self) -> Game: ...
    @property
    def backend(self) -> str: ...
    @property
    def leader_actions(self) -> Array: ...  # (d, J)
    @property
    def follower_actions(self) -> Array: ...  # (I, n)
    @property
    def is_equilibrium(self) -> bool: ...
    @property
    def history(self) -> pd.DataFrame: ...


class Range(Protocol):
    """A leader's payoff along one of its decisions; see
    :class:`stackel.certificate.ranges.Range`."""

    @property
    def leader(self) -> int: ...
    @property
    def decision(self) -> int: ...
    @property
    def value(self) -> Array: ...  # (T,)
    @property
    def payoff(self) -> Array: ...  # (T,)
    @property
    def settled(self) -> Array: ...  # (T,)
    @property
    def now(self) -> tuple[float, float]: ...
    @property
    def better(self) -> tuple[float, float] | None: ...
    @property
    def low(self) -> Array: ...  # (K,)
    @property
    def high(self) -> Array: ...  # (K,)
    @property
    def upper(self) -> Array: ...  # (K,)


class Answers(Protocol):
    """Several backends' answers to one game; see :class:`stackel.Comparison`."""

    @property
    def game(self) -> Game: ...
    @property
    def answers(self) -> Mapping[str, Answer]: ...
    @property
    def holding(self) -> Sequence[str]: ...
    @property
    def distances(self) -> pd.DataFrame: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def verdict(self) -> str: ...
