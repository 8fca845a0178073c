"""How long whole calls take, each beside the bar that it must meet, and beside naive code.

    python -m benchmarks.speed [--runs 9]

A call makes a fresh game and includes tracing, checks and the certificate; imports are warm. Calls
of one table take turns. The exit status is 1 if a median misses its bar. Needs the extras cvxpy and
mpec.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.table import Table

import stackel
from benchmarks import naive
from benchmarks.timing import console, interleaved, median_and_spread, shown
from stackel.followers import response
from stackel.formulations.vehicular_twins import fig3

PROFILES = 200

BARS: dict[str, tuple[float, Callable[[], Any]]] = {
    "solve(fig3(), closed-form)": (0.020, lambda: stackel.solve(fig3(), backend="closed-form")),
    "solve(fig3(delay=True), newton)": (
        0.050,
        lambda: stackel.solve(fig3(delay=True), backend="newton"),
    ),
    "solve(fig3(delay=True), admm)": (
        1.0,
        lambda: stackel.solve(fig3(delay=True), backend="admm"),
    ),
    "solve(fig3(delay=True), cvxpy)": (
        10.0,
        lambda: stackel.solve(fig3(delay=True), backend="cvxpy"),
    ),
    "solve(fig3(delay=True), mpec)": (
        3.0,
        lambda: stackel.solve(fig3(delay=True), backend="mpec"),
    ),
    "compare(fig3(delay=True)), five backends": (
        20.0,
        lambda: stackel.compare(fig3(delay=True)),
    ),
    "import stackel (a new process)": (
        0.5,
        lambda: subprocess.run([sys.executable, "-c", "import stackel"], check=True),
    ),
}


def against_bars(runs: int) -> bool:
    """Measure the calls that have a bar; True if all medians meet it."""
    seconds = interleaved({name: call for name, (_, call) in BARS.items()}, runs)
    table = Table("call", "median", "fastest to slowest", "bar", "met", title="Against the bars")
    met = {name: statistics.median(s) < BARS[name][0] for name, s in seconds.items()}
    for name, measured in seconds.items():
        row = [*median_and_spread(measured), f"< {shown(BARS[name][0])}"]
        table.add_row(name, *row, "yes" if met[name] else "[bold red]no[/]")
    console.print(table)
    return all(met.values())


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


def exact_prices() -> np.ndarray:
    """Fig. 3 without delay limits: the leaders' best replies in closed form, iterated."""
    game = fig3()
    system = 2 * np.diagflat(game.sensitivity) - game.ties
    u = np.linalg.solve(system, game.satisfaction).sum()
    v = np.linalg.solve(system, np.ones((3, 1))).sum()
    a, p = u / (game.payment_scale * v), np.ones(2)
    for _ in range(200):
        others = (1 / p)[::-1]
        p = (np.sqrt((1 + others * a) * (1 + others * game.unit_cost[0])) - 1) / others
    return p


def prices(runs: int) -> None:
    """The market without delay limits, solved by the library and by loops."""
    calls = {
        "stackel, certificate included": lambda: stackel.solve(fig3()).leader_actions[0],
        "stackel, no certificate": lambda: stackel.solve(
            fig3(), backend="closed-form", certificate=False
        ).leader_actions[0],
        "loops and minimize_scalar": lambda: np.array(naive.equilibrium(fig3())[0]),
    }
    side_by_side("Prices of fig3()", calls, exact_prices(), runs)


def purchases(runs: int) -> None:
    """Followers with delay limits at many price vectors, in a batch and otherwise."""
    low, high = fig3().leader_bounds
    trials = low + (high - low) * np.random.default_rng(0).random((PROFILES, 1, 2))
    batch, single, slsqp = fig3(delay=True), fig3(delay=True), fig3(delay=True)
    calls = {
        "response.settle, one batch": lambda: response.settle(batch, trials).y,
        "response.settle, one by one": lambda: np.array(
            [response.settle(single, x).y for x in trials]
        ),
        "SLSQP for each follower in turn": lambda: np.array(
            [naive.settle_with_slsqp(slsqp, x[0]) for x in trials]
        ),
    }
    title = f"Purchases of fig3(delay=True) at {PROFILES} price vectors"
    side_by_side(title, calls, response.settle(fig3(delay=True), trials).y, runs)


def main() -> int:
    parser = argparse.ArgumentParser(description="Whole calls against bars and naive code.")
    parser.add_argument("--runs", type=int, default=9, help="runs of each call (default 9)")
    runs = parser.parse_args().runs
    met = against_bars(runs)
    prices(runs)
    purchases(runs)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
