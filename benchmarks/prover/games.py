"""Small games of seven kinds: 1 or 2 leaders with one decision each, 1 to 3 followers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ordinary.families import FAMILIES, Draw
from benchmarks.ordinary.prices import Log, Priced
from benchmarks.ordinary.truth import Ordinary, iterate
from stackel import Action, Leader, Peers
from stackel.functions import exp, log, over_followers, over_leaders
from stackel.types import Array


@dataclass(frozen=True)
class Crowded(Log):
    """Logarithmic value; what others buy makes each unit dearer to use."""

    crowding: Peers = 0.0

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y) - (x + self.crowding @ rivals) * y)

    def answer(self, x: Array) -> Array:
        return iterate(lambda y: self.demand(x + self.crowding @ y), self.demand(x) / 2)


@dataclass(frozen=True)
class Growing(Priced):
    """What one more unit is worth grows at first, then falls: a follower buys much or nothing."""

    growth: float = 1.0
    fall: float = 1.0

    @property
    def follower_action(self) -> Action:
        return Action("amount", high=6.0)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders((self.value - x) * y + self.growth * y**2 / 2 - self.fall * y**3 / 3)

    def answer(self, x: Array) -> Array:
        g, f, first = self.growth, self.fall, self.value - x
        much = np.clip((g + np.sqrt(np.maximum(g**2 + 4 * f * first, 0))) / (2 * f), 0, 6.0)
        return np.where(first + g * much / 2 - f * much**2 / 3 > 0, much, 0.0)


@dataclass(frozen=True)
class Subsidised(Log):
    """A seller is paid for a price near one that somebody wants: its payoff has two hills."""

    wanted: Leader = 1.0
    subsidy: Leader = 1.0
    width: float = 0.1

    def leader_payoff(self, x: Any, y: Any) -> Any:
        paid = self.subsidy * exp(-(((x - self.wanted) / self.width) ** 2))
        return over_followers((x - self.cost) * y) + paid


def _sellers(rng: np.random.Generator) -> dict[str, Any]:
    """Values, costs and a highest price."""
    game = FAMILIES["log"](rng)
    assert isinstance(game, Log)
    return {"value": game.value, "cost": game.cost[0], "cap": game.cap}


def _crowded(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    n = len(own["value"])
    crowding = rng.uniform(0, 1.0, (n, n)) / n
    np.fill_diagonal(crowding, 0.0)
    return Crowded(**own, crowding=crowding)


def _growing(rng: np.random.Generator) -> Ordinary:
    growth, fall = rng.uniform(0.2, 2), rng.uniform(0.5, 2)
    return Growing(**_sellers(rng), growth=growth, fall=fall)


def _subsidised(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return Subsidised(
        **own,
        wanted=rng.uniform(own["cost"], own["cap"]),
        subsidy=rng.uniform(0.3, 2, len(own["cost"])),
        width=10 ** rng.uniform(-2, -0.3),
    )


OWN: dict[str, Draw] = {
    "log, crowding": _crowded,
    "growing value": _growing,
    "two hills": _subsidised,
}

KINDS: dict[str, tuple[str, ...]] = {
    "quadratic": ("quadratic, caps", "quadratic, substitutes"),
    "log": ("log", "log, overtime", "log, odd units", "effort"),
    "ratio": ("ratio", "queues", "contest"),
    "power": ("power", "root", "ces", "cournot, isoelastic", "prosumers"),
    "tied": (
        "quadratic, ties",
        "log, crowding",
        "cournot",
        "supply chain",
        "cournot, growing cost, caps",
    ),
    "limited": (
        "log, budgets",
        "log, own caps",
        "log, shared capacity",
        "log, leaders' capacity",
        "log, delay",
        "effort, limited time",
    ),
    "non-concave": ("growing value", "two hills"),
}
"""Families by kind."""


def draw(family: str, rng: np.random.Generator) -> Ordinary:
    """A market of a family that is small enough.

    Args:
        family: a family's name, as in :data:`KINDS`.
        rng: where its data comes from.
    """
    while True:
        game = (OWN | FAMILIES)[family](rng)
        if game.n_followers <= 3 and game.n_leaders <= 2:
            return game
