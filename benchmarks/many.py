"""Many small markets: ``solve_many`` against a loop of ``solve``.

    python -m benchmarks.many [--sample 200] [--markets 10000] [--runs 3]

The markets are random draws of three followers and two leaders. Both ways solve the same sample in
turn; then ``solve_many`` solves all the markets once, and as many as the sample has are solved one
by one to compare. The exit status is 1 if 10,000 markets without delay limits and certificates take
10 s or more, or if an answer is off by more than 1e-9. Use one thread: set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
from rich.table import Table

import stackel
from benchmarks.timing import console, interleaved, shown
from stackel import Equilibrium, Game
from stackel.formulations.vehicular_twins import draw

BAR = 10.0 / 10_000
"""Seconds a market, without delay limits and certificates."""

OFF = 1e-9
"""Largest difference of an action or a payoff, relative to 1 + its size."""


@dataclass(frozen=True)
class Case:
    backend: str
    delay: bool
    certificate: bool

    def __str__(self) -> str:
        limits = "delay limits" if self.delay else "no limits"
        return f"{self.backend}, {limits}, {'certified' if self.certificate else 'no certificate'}"

    def together(self, games: list[Game]) -> list[Equilibrium]:
        answers = stackel.solve_many(games, self.backend, certificate=self.certificate, throw=True)
        return [answer for answer in answers if isinstance(answer, Equilibrium)]

    def alone(self, games: list[Game]) -> list[Equilibrium]:
        return [stackel.solve(g, self.backend, certificate=self.certificate) for g in games]


CASES = [
    Case("closed-form", False, False),
    Case("newton", False, False),
    Case("newton", True, False),
    Case("closed-form", False, True),
    Case("newton", False, True),
    Case("newton", True, True),
]


def untouched(games: list[Game]) -> list[Game]:
    """Copies of which nothing has been traced yet."""
    return [copy.copy(game) for game in games]


def off(answers: list[Equilibrium], others: list[Equilibrium]) -> float:
    worst = 0.0
    for a, b in zip(answers, others, strict=True):
        for name in ("leader_actions", "follower_actions", "leader_payoffs", "follower_payoffs"):
            found, expected = getattr(a, name), getattr(b, name)
            worst = max(worst, float((np.abs(found - expected) / (1 + np.abs(expected))).max()))
    return worst


def side_by_side(sample: int, runs: int) -> None:
    """The same sample both ways, in turn."""
    table = Table("case", "one by one", "together", "times as fast", title=f"{sample} markets")
    for case in CASES:
        games: list[Game] = [draw(k, delay=case.delay) for k in range(sample)]
        seconds = interleaved(
            {
                "alone": lambda case=case, games=games: case.alone(untouched(games)),
                "together": lambda case=case, games=games: case.together(untouched(games)),
            },
            runs,
        )
        one, many = (statistics.median(seconds[way]) for way in ("alone", "together"))
        speeds = [f"{sample / s:,.0f} markets/s" for s in (one, many)]
        table.add_row(str(case), *speeds, f"{one / many:.3g}")
    console.print(table)


def all_at_once(count: int, sample: int) -> bool:
    """All markets together, once; True if they are quick and right."""
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
        quick = case.delay or case.certificate or seconds < BAR * count
        good = quick and error <= OFF
        met &= good
        row = [shown(seconds), f"{count / seconds:,.0f}", f"{error:.1e}"]
        table.add_row(str(case), *row, "yes" if good else "[bold red]no[/]")
    console.print(table)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Many small markets, together and one by one.")
    parser.add_argument("--sample", type=int, default=200, help="markets solved both ways")
    parser.add_argument("--markets", type=int, default=10_000, help="markets solved together")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way (default 3)")
    arguments = parser.parse_args()
    side_by_side(arguments.sample, arguments.runs)
    return 0 if all_at_once(arguments.markets, arguments.sample) else 1


if __name__ == "__main__":
    sys.exit(main())
