"""What the paper prints: every number of its Figs. 3 to 6 that stands in the text.

Kang, Zhang, Yang, Ye and Hossain, "When Metaverses Meet Vehicle Road Cooperation: Multi-Agent
DRL-Based Stackelberg Game for Vehicular Twins Migration", Section VI. Its authors read these
numbers from their own figures; the random draws behind them are not printed. Figs. 7 and 8 come
without numbers, see :mod:`stackel.examples.reproduction.trends`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PRICE = "$ per 1e7 Hz"
BANDWIDTH = "1e7 Hz"

QUANTITIES: dict[str, tuple[str, str]] = {
    "price": ("price", PRICE),
    "demand": ("mean demand", BANDWIDTH),
    "total_demand": ("total demand", BANDWIDTH),
    "sales": ("sales", BANDWIDTH),
    "leader_utility": ("leaders' utility", ""),
    "follower_utility": ("followers' utility", ""),
    "welfare": ("social welfare", ""),
    "gain": ("reward of malppo above the baseline's", "%"),
    "iterations": ("iterations until the reward has settled", ""),
}
"""What is measured: its label and unit. Demand is a follower's purchase from one leader; utilities
are as reported, the leaders' with kappa = 100."""

SETTINGS: dict[str, tuple[str, str]] = {
    "followers": ("followers N", ""),
    "leaders": ("leaders M", ""),
    "mean_cost": ("mean cost", PRICE),
    "mean_satisfaction": ("mean satisfaction", ""),
    "mean_tie": ("mean social tie", ""),
    "cost": ("cost of leader 0", PRICE),
    "leader": ("leader", ""),
    "follower": ("follower", ""),
    "baseline": ("baseline", ""),
    "algorithm": ("algorithm", ""),
}
"""What is varied: the label and unit of every setting. Players are counted from 0."""


@dataclass(frozen=True)
class Printed:
    """One printed number.

    Attributes:
        figure: ``"fig3"`` to ``"fig6"``.
        quantity: one of :data:`QUANTITIES`.
        at: the setting, dimension by dimension.
        text: the number as printed.
        section: where it stands.
    """

    figure: str
    quantity: str
    at: Mapping[str, Any]
    text: str
    section: str

    @property
    def value(self) -> float:
        """The number, in the unit of its quantity."""
        return float(self.text)

    @property
    def half_digit(self) -> float:
        """Half a unit of the last printed digit: what rounding alone may hide."""
        return 0.5 * 10.0 ** int(Decimal(self.text).as_tuple().exponent)

    @property
    def setting(self) -> str:
        """The setting in words, e.g. ``"followers N = 2, leaders M = 2"``."""
        names = {"leader", "follower"}
        values = {k: f"{v:g}" if isinstance(v, float) else v for k, v in self.at.items()}
        return ", ".join(
            f"{SETTINGS[k][0]} {v}" if k in names else f"{SETTINGS[k][0]} = {v}"
            for k, v in values.items()
        )


def _fig3() -> Iterator[Printed]:
    # The demands are printed in rising order; they must belong to alpha = 25, 30, 35, which are
    # followers 1, 0 and 2. The utilities are printed in the followers' own order.
    rows = (
        ("leader", "price", ["0.9", "0.8"]),
        ("leader", "leader_utility", ["30.56", "45.12"]),
        ("follower", "total_demand", ["0.79", "0.60", "0.91"]),
        ("follower", "follower_utility", ["3.78", "1.66", "5.52"]),
    )
    for player, quantity, texts in rows:
        for index, text in enumerate(texts):
            yield Printed("fig3", quantity, {player: index}, text, "VI-B")


def _fig4() -> Iterator[Printed]:
    gains = {"mappo": "1.5", "maa2c": "5.3", "malppo-rf": "23.2", "malppo-rl": "35.6"}
    for baseline, text in (gains | {"random": "58.2"}).items():
        yield Printed("fig4", "gain", {"baseline": baseline}, text, "VI-B")
    for algorithm, text in {"malppo": "200", "mappo": "600", "maa2c": "1200"}.items():
        yield Printed("fig4", "iterations", {"algorithm": algorithm}, text, "VI-B")


def _fig5() -> Iterator[Printed]:
    for followers, demand, utility in ((2, "0.38", "4.37"), (6, "0.56", "9.35")):
        at = {"followers": followers, "leaders": 2}
        yield Printed("fig5", "demand", at, demand, "VI-C")
        yield Printed("fig5", "follower_utility", at, utility, "VI-C")
    for leaders, utility, welfare in ((2, "40.95", "95.58"), (4, "14.4", "78.33")):
        at = {"followers": 3, "leaders": leaders}
        yield Printed("fig5", "leader_utility", at, utility, "VI-D")
        yield Printed("fig5", "welfare", at, welfare, "VI-D")


def _fig6() -> Iterator[Printed]:
    for cost, price in ((0.1, "0.6"), (0.5, "1.1")):
        at = {"mean_cost": cost, "mean_satisfaction": 30.0}
        yield Printed("fig6", "price", at, price, "VI-E")
    for satisfaction, price, demand in ((25.0, "0.6", "0.36"), (35.0, "0.9", "0.48")):
        at = {"mean_cost": 0.2, "mean_satisfaction": satisfaction}
        yield Printed("fig6", "price", at, price, "VI-F")
        yield Printed("fig6", "demand", at, demand, "VI-F")


PRINTED: tuple[Printed, ...] = (*_fig3(), *_fig4(), *_fig5(), *_fig6())
"""All of them, in the order of the figures."""


def printed(figure: str) -> tuple[Printed, ...]:
    """The numbers of one figure, ``"fig5"``; none for those that come without."""
    return tuple(p for p in PRINTED if p.figure == figure)


def marks(figure: str) -> pd.DataFrame:
    """The numbers of one figure as marks for :func:`stackel.plots.sweep`: settings, quantities."""
    import pandas as pd

    return pd.DataFrame([{**p.at, p.quantity: p.value} for p in printed(figure)])
