"""What the paper says of its curves, and whether ours do it.

A trend is checked on expected values: the mean over the draws, the same draws at every point of the
grid (common random numbers), so that a step is the parameter's doing and not the luck of a draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        does = "nearly flat" if self.direction == "flat" else self.direction
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


RISING = ("demand", "follower_utility", "leader_utility", "welfare")

STATED: tuple[tuple[str, str, str, Direction, Sequence[str], Mapping[str, Any]], ...] = (
    ("fig5", "VI-C", "followers", "up", RISING, {}),
    ("fig5", "VI-C", "followers", "flat", ["price"], {}),
    ("fig5", "VI-D", "leaders", "up", ["demand", "follower_utility"], {}),
    ("fig5", "VI-D", "leaders", "down", ["price", "leader_utility", "welfare"], {}),
    ("fig6", "VI-E", "mean_cost", "up", ["price"], {}),
    ("fig6", "VI-E", "mean_cost", "down", RISING, {}),
    ("fig6", "VI-F", "mean_satisfaction", "up", ["price", *RISING], {}),
    ("fig7", "VI-G", "mean_tie", "up", RISING, {}),  # the paper states it for falling ties
    ("fig8", "VI-H", "cost", "up", ["price"], {"leader": 0}),
    ("fig8", "VI-H", "cost", "down", ["sales", "leader_utility"], {"leader": 0}),
    ("fig8", "VI-H", "cost", "up", ["leader_utility"], {"leader": 1}),
    ("fig8", "VI-H", "cost", "up", ["leader_utility"], {"leader": 2}),
)
"""Figure, section, setting, direction, quantities, and which player where it is of one."""

TRENDS: tuple[Trend, ...] = tuple(
    Trend(figure, quantity, along, direction, section, at)
    for figure, section, along, direction, quantities, at in STATED
    for quantity in quantities
)
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
