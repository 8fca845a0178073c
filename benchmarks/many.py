"""Many small markets: ``solve_many`` against hand-written code and against a loop of ``solve``.

    python -m benchmarks.many [--sample 200] [--markets 10000] [--runs 3]

The markets are random draws of three followers and two leaders. All ways solve the same sample in
turn: without delay limits the hand-written row is the formula for this very market, iterated in a
loop; with them a search over SLSQP, on the first few markets only. Then ``solve_many`` solves all
the markets once, and as many as the sample has are solved one by one to compare. The exit status is
1 if markets solved together take more times as long as the hand-written row than their bar says, or
if an answer is off by more than 1e-9. Use one thread: set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

import stackel
from benchmarks import naive
from benchmarks.timing import console, interleaved, shown
from stackel import Equilibrium, Game
from stackel.formulations.vehicular_twins import VehicularTwins, draw

FEW = 3
"""Markets that the slow hand-written row solves."""

OFF = 1e-9
"""Largest difference of an action or a payoff, relative to 1 + its size."""


@dataclass(frozen=True)
class Case:
    """A way to ask, and the most times as long as the hand-written row that it may take."""

    backend: str
    delay: bool
    certificate: bool
    bar: float

    def __str__(self) -> str:
        limits = "delay limits" if self.delay else "no limits"
        return f"{self.backend}, {limits}, {'certified' if self.certificate else 'no certificate'}"

    def together(self, games: list[Game]) -> list[Equilibrium]:
        answers = stackel.solve_many(games, self.backend, certificate=self.certificate, throw=True)
        return [answer for answer in answers if isinstance(answer, Equilibrium)]

    def by_hand(self, games: list[VehicularTwins]) -> list[np.ndarray]:
        if self.delay:
            return [naive.equilibrium_with_limits(game) for game in games[:FEW]]
        return [naive.formula(game) for game in games]

    def alone(self, games: list[Game]) -> list[Equilibrium]:
        return [stackel.solve(g, self.backend, certificate=self.certificate) for g in games]


CASES = [
    Case("closed-form", False, False, 5),
    Case("newton", False, False, 7),
    Case("newton", True, False, 1 / 100),
    Case("closed-form", False, True, 15),
    Case("newton", False, True, 15),
    Case("newton", True, True, 1 / 50),
]


def untouched(games: Sequence[Game]) -> list[Game]:
    """Copies of which nothing has been traced yet."""
    return [copy.copy(game) for game in games]


def off(answers: list[Equilibrium], others: list[Equilibrium]) -> float:
    worst = 0.0
    for a, b in zip(answers, others, strict=True):
        for name in ("leader_actions", "follower_actions", "leader_payoffs", "follower_payoffs"):
            found, expected = getattr(a, name), getattr(b, name)
            worst = max(worst, float((np.abs(found - expected) / (1 + np.abs(expected))).max()))
    return worst


def side_by_side(sample: int, runs: int) -> bool:
    """The same sample every way, in turn; True if markets together meet their bars."""
    title = f"{sample} markets: seconds a market"
    headings = ("case", "by hand", "one by one", "together", "times as long as by hand", "met")
    table = Table(*headings, title=title)
    met = True
    for case in CASES:
        games = [draw(k, delay=case.delay) for k in range(sample)]
        seconds = interleaved(
            {
                "hand": lambda case=case, games=games: case.by_hand(games),
                "alone": lambda case=case, games=games: case.alone(untouched(games)),
                "together": lambda case=case, games=games: case.together(untouched(games)),
            },
            runs,
        )
        counts = {"hand": FEW if case.delay else sample, "alone": sample, "together": sample}
        each = {way: statistics.median(seconds[way]) / counts[way] for way in counts}
        ratio = each["together"] / each["hand"]
        met &= ratio <= case.bar
        good = "yes" if ratio <= case.bar else "[bold red]no[/]"
        compared = f"{ratio:.3g}, at most {case.bar:.3g}"
        table.add_row(str(case), *map(shown, each.values()), compared, good)
    console.print(table)
    return met


def all_at_once(count: int, sample: int) -> bool:
    """All markets together, once; True if they are right."""
    title = f"{count:,} markets, {sample} of them compared with one-by-one solves"
    table = Table("case", "seconds", "markets/s", "off by at most", "met", title=title)
    met = True
    for case in CASES:
        games: list[Game] = [draw(k, delay=case.delay) for k in range(count)]
        began = time.perf_counter()
        answers = case.together(games)
        seconds = time.perf_counter() - began
        chosen = np.random.default_rng(0).choice(count, min(sample, count), replace=False)
        error = off([answers[k] for k in chosen], case.alone([games[k] for k in chosen]))
        met &= error <= OFF
        row = [shown(seconds), f"{count / seconds:,.0f}", f"{error:.1e}"]
        table.add_row(str(case), *row, "yes" if error <= OFF else "[bold red]no[/]")
    console.print(table)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Many small markets, together and one by one.")
    parser.add_argument("--sample", type=int, default=200, help="markets solved both ways")
    parser.add_argument("--markets", type=int, default=10_000, help="markets solved together")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way (default 3)")
    arguments = parser.parse_args()
    quick = side_by_side(arguments.sample, arguments.runs)
    right = all_at_once(arguments.markets, arguments.sample)
    return 0 if quick and right else 1


if __name__ == "__main__":
    sys.exit(main())
