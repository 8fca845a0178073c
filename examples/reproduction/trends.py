"""What the paper says of its curves, and whether ours do it.

A trend is checked on expected values: the mean over the draws, the same draws at every point of the
grid (common random numbers), so that a step is the parameter's doing and not the luck of a draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stackel.examples.reproduction.published import QUANTITIES, SETTINGS

if TYPE_CHECKING:
    import xarray as xr

Direction = Literal["up", "down", "flat"]

FLAT = 0.05
"""A curve whose range is at most this share of its mean counts as nearly flat."""


@dataclass(frozen=True)
class Trend:
    """One claim: a quantity rises, falls or stays as a setting grows.

    Attributes:
        figure: ``"fig5"`` to ``"fig8"``.
        quantity: one of :data:`~stackel.examples.reproduction.published.QUANTITIES`.
        along: the setting that grows.
        direction: what the quantity does.
        section: where the paper says so.
        at: which player, where the claim is of one; every other setting must show the trend.
    """

    figure: str
    quantity: str
    along: str
    direction: Direction
    section: str
    at: Mapping[str, Any] = field(default_factory=dict)

    @property
    def claim(self) -> str:
        """In words, e.g. ``"followers N up: social welfare up"``."""
        who = "".join(f" of {k} {v}" for k, v in self.at.items())
        does = {"up": "up", "down": "down", "flat": "nearly flat"}[self.direction]
        name = QUANTITIES[self.quantity][0]
        if who:
            name = name.removeprefix("leaders' ")
        return f"{SETTINGS[self.along][0]} up: {name}{who} {does}"


@dataclass(frozen=True)
class Checked:
    """A trend held against the equilibrium.

    Attributes:
        trend: the claim.
        holds: whether every curve does it over the whole grid.
        curves: how many curves there are, one for each combination of the other settings.
        least: the smallest step in the claimed direction, relative to the curve's mean; of a flat
            trend the largest range. Negative if a step goes the wrong way.
        draws: share of the single draws, each with its own curve, of which the claim holds too.
        where: the curve of ``least``, in words.
    """

    trend: Trend
    holds: bool
    curves: int
    least: float
    draws: float
    where: str


def _trends() -> Iterator[Trend]:
    rises = ("demand", "follower_utility", "leader_utility", "welfare")
    for quantity in rises:
        yield Trend("fig5", quantity, "followers", "up", "VI-C")
    yield Trend("fig5", "price", "followers", "flat", "VI-C")
    for quantity in ("demand", "follower_utility"):
        yield Trend("fig5", quantity, "leaders", "up", "VI-D")
    for quantity in ("price", "leader_utility", "welfare"):
        yield Trend("fig5", quantity, "leaders", "down", "VI-D")
    yield Trend("fig6", "price", "mean_cost", "up", "VI-E")
    for quantity in rises:
        yield Trend("fig6", quantity, "mean_cost", "down", "VI-E")
    for quantity in ("price", *rises):
        yield Trend("fig6", quantity, "mean_satisfaction", "up", "VI-F")
    for quantity in rises:  # the paper states it for falling ties
        yield Trend("fig7", quantity, "mean_tie", "up", "VI-G")
    yield Trend("fig8", "price", "cost", "up", "VI-H", {"leader": 0})
    yield Trend("fig8", "sales", "cost", "down", "VI-H", {"leader": 0})
    yield Trend("fig8", "leader_utility", "cost", "down", "VI-H", {"leader": 0})
    for j in (1, 2):
        yield Trend("fig8", "leader_utility", "cost", "up", "VI-H", {"leader": j})


TRENDS: tuple[Trend, ...] = tuple(_trends())
"""All of them, in the order of the figures."""


def trends(figure: str) -> tuple[Trend, ...]:
    """The trends of one figure, ``"fig5"``."""
    return tuple(t for t in TRENDS if t.figure == figure)


def check(trend: Trend, data: xr.Dataset) -> Checked:
    """Hold a trend against what :func:`~stackel.examples.reproduction.quantities` measured.

    Args:
        trend: the claim.
        data: with the trend's quantity over its settings, and the draws along ``seed``.
    """
    values = data[trend.quantity].sel(dict(trend.at))
    others = [str(d) for d in values.dims if d not in (trend.along, "seed")]
    draws = values.transpose("seed", *others, trend.along).to_numpy()
    points = draws.shape[-1]
    least = _least(draws.mean(axis=0).reshape(-1, points), trend.direction)
    worst = int(np.argmax(least) if trend.direction == "flat" else np.argmin(least))
    place = np.unravel_index(worst, draws.shape[1:-1]) if others else ()
    where = ", ".join(
        f"{SETTINGS[d][0]} = {values[d].values[k]:g}" for d, k in zip(others, place, strict=True)
    )
    single = _least(draws.reshape(-1, points), trend.direction)
    return Checked(
        trend,
        bool(_holds(least, trend.direction).all()),
        len(least),
        float(least[worst]),
        float(_holds(single, trend.direction).mean()),
        where,
    )


def _least(curves: np.ndarray, direction: Direction) -> np.ndarray:
    """Of each curve (curves, points): its range if flat, else its smallest step the right way."""
    size = np.abs(curves.mean(axis=1))
    if direction == "flat":
        return np.ptp(curves, axis=1) / size
    steps = np.diff(curves, axis=1) * (1 if direction == "up" else -1)
    return steps.min(axis=1) / size


def _holds(least: np.ndarray, direction: Direction) -> np.ndarray:
    return least <= FLAT if direction == "flat" else least > 0
