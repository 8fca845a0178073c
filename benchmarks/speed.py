"""How long whole calls take, beside code that one writes by hand for one paper.

    python -m benchmarks.speed [--runs 9]

A call makes a fresh game and includes tracing, checks and the certificate; imports are warm. Calls
of one table take turns, and each bar is a ratio within one run: how many times as long as the
hand-written row a call may take. The exit status is 1 if a median misses its bar. Needs the extras
cvxpy and mpec.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

import stackel
from benchmarks import naive
from benchmarks.timing import console, interleaved, median_and_spread
from stackel import followers
from stackel.formulations.vehicular_twins import fig3

PROFILES = 200

Call = Callable[[], Any]


def solving(backend: str, delay: bool = True) -> Call:
    return lambda: stackel.solve(fig3(delay=delay), backend=backend)


def importing(modules: str) -> Call:
    """In a new process."""
    return lambda: subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)


@dataclass(frozen=True)
class Bars:
    """Calls, each with the most times as long that it may take as the hand-written row."""

    by_hand: str
    row: Call
    calls: Mapping[str, tuple[float, Call]]


BARS = (
    Bars(
        "loops and minimize_scalar",
        lambda: naive.equilibrium(fig3()),
        {"solve(fig3(), closed-form)": (1 / 30, solving("closed-form", delay=False))},
    ),
    Bars(
        "SLSQP and minimize_scalar",
        lambda: naive.equilibrium_with_limits(fig3(delay=True)),
        {
            "solve(fig3(delay=True), newton)": (1 / 30, solving("newton")),
            "solve(fig3(delay=True), admm)": (1 / 8, solving("admm")),
            "solve(fig3(delay=True), cvxpy)": (1 / 2, solving("cvxpy")),
            "solve(fig3(delay=True), mpec)": (1 / 2, solving("mpec")),
            "compare(fig3(delay=True)), five backends": (
                1.5,
                lambda: stackel.compare(fig3(delay=True)),
            ),
        },
    ),
    Bars(
        "import numpy, scipy.sparse.linalg, networkx",
        importing("numpy, scipy.sparse.linalg, networkx"),
        {"import stackel": (1.5, importing("stackel"))},
    ),
)


def against_bars(bars: Bars, runs: int) -> bool:
    """Measure calls that have a bar; True if all medians meet it."""
    calls = {bars.by_hand: bars.row} | {name: call for name, (_, call) in bars.calls.items()}
    seconds = interleaved(calls, runs)
    unit = statistics.median(seconds[bars.by_hand])
    table = Table("call", "median", "fastest to slowest", "times as long", "bar", "met")
    table.add_row(bars.by_hand, *median_and_spread(seconds[bars.by_hand]), "1")
    met = True
    for name, (bar, _) in bars.calls.items():
        ratio = statistics.median(seconds[name]) / unit
        met &= ratio <= bar
        good = "yes" if ratio <= bar else "[bold red]no[/]"
        row = median_and_spread(seconds[name])
        table.add_row(name, *row, f"{ratio:.3g}", f"at most {bar:.3g}", good)
    console.print(table)
    return met


def side_by_side(
    title: str, calls: Mapping[str, Callable[[], np.ndarray]], truth: np.ndarray, runs: int
) -> None:
    """Measure calls that answer the same question; the first is the unit of the others' times."""
    seconds = interleaved(calls, runs)
    headings = ("how", "median", "fastest to slowest", "times as long", "off by at most")
    table = Table(*headings, title=title)
    first = statistics.median(next(iter(seconds.values())))
    for name, measured in seconds.items():
        error = np.abs(calls[name]() - truth).max()
        ratio = statistics.median(measured) / first
        table.add_row(name, *median_and_spread(measured), f"{ratio:.3g}", f"{error:.1e}")
    console.print(table)


def prices(runs: int) -> None:
    """The market without delay limits, solved by the library and by loops."""
    calls = {
        "stackel, certificate included": lambda: stackel.solve(fig3()).leader_actions[0],
        "stackel, no certificate": lambda: stackel.solve(
            fig3(), backend="closed-form", certificate=False
        ).leader_actions[0],
        "the formula, worked out by hand": lambda: naive.formula(fig3()),
        "loops and minimize_scalar": lambda: np.array(naive.equilibrium(fig3())[0]),
    }
    side_by_side("Prices of fig3()", calls, naive.formula(fig3()), runs)


def purchases(runs: int) -> None:
    """Followers with delay limits at many price vectors, in a batch and otherwise."""
    low, high = fig3().leader_bounds
    trials = low + (high - low) * np.random.default_rng(0).random((PROFILES, 1, 2))
    batch, single, slsqp = fig3(delay=True), fig3(delay=True), fig3(delay=True)
    calls = {
        "followers.settle, one batch": lambda: followers.settle(batch, trials).y,
        "followers.settle, one by one": lambda: np.array(
            [followers.settle(single, x).y for x in trials]
        ),
        "SLSQP for each follower in turn": lambda: np.array(
            [naive.settle_with_slsqp(slsqp, x[0]) for x in trials]
        ),
    }
    title = f"Purchases of fig3(delay=True) at {PROFILES} price vectors"
    side_by_side(title, calls, followers.settle(fig3(delay=True), trials).y, runs)


def main() -> int:
    parser = argparse.ArgumentParser(description="Whole calls against hand-written code.")
    parser.add_argument("--runs", type=int, default=9, help="runs of each call (default 9)")
    runs = parser.parse_args().runs
    met = [against_bars(bars, runs) for bars in BARS]
    prices(runs)
    purchases(runs)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
