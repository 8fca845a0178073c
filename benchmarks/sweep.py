"""How long a sweep over 10,000 markets takes, and what of it is not solving.

    python -m benchmarks.sweep [--cells 10000] [--workers 2] [--certificate]

Three followers, two leaders, a hundred draws at each of a hundred mean costs. Everything counts:
the markets are made, solved in batches, kept on disk and put into the Dataset. A sample is compared
with one-by-one solves. The exit status is 1 if a sweep misses its bar or its answers differ by more
than 1e-9. Needs the extra sweep.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from rich.table import Table

import stackel
from benchmarks.timing import console, shown
from stackel.formulations.vehicular_twins import VehicularTwins, draw
from stackel.sweeps import cells

BAR = 10.0
OVERHEAD_BAR = 3.0
SAMPLE = 100


def market(unit_cost: float, seed: int) -> VehicularTwins:
    return draw(seed, 3, 2, unit_cost=unit_cost, delay=False)


def measured(
    count: int, make_game: Callable[..., stackel.Game] = market, **options: Any
) -> tuple[float, Any]:
    """Seconds of a sweep over so many cells, and the Dataset."""
    seeds = 100 if count >= 10_000 else 10
    grid = {"unit_cost": np.linspace(0.05, 0.5, count // seeds)}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        data = stackel.sweep(make_game, grid, seeds=seeds, resume=folder, **options)
        return time.perf_counter() - began, data


def largest_difference(data: Any, backend: str) -> float:
    """Of actions and payoffs, between the sweep and one-by-one solves of a sample."""
    worst = 0.0
    flat = data.stack(cell=["unit_cost", "seed"])
    for k in np.random.default_rng(0).choice(flat.sizes["cell"], SAMPLE, replace=False):
        at = flat.isel(cell=k)
        game = market(float(at.unit_cost), int(at.seed))
        eq = stackel.solve(game, backend, certificate=False)
        pairs = (
            (at.leader_actions, eq.leader_actions[0]),
            (at.follower_actions, eq.follower_actions),
            (at.leader_payoffs, eq.leader_payoffs),
            (at.follower_payoffs, eq.follower_payoffs),
        )
        relative = [np.abs(a - b).max() / (1 + np.abs(b).max()) for a, b in pairs]
        worst = max(worst, *map(float, relative))
    return worst


def overhead(count: int) -> float:
    """Seconds of a sweep in which making and solving a market costs nothing."""
    game = market(0.1, 0)
    eq = stackel.solve(game, "closed-form")

    def made(unit_cost: float, seed: int) -> stackel.Game:
        return game

    def solved(games: list[stackel.Game], *_: Any, **options: Any) -> list[stackel.Equilibrium]:
        return [eq for _ in games]

    with mock.patch.object(cells, "solve_many", solved):
        return measured(count, made, backend="closed-form")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="A sweep over many small markets.")
    parser.add_argument("--cells", type=int, default=10_000, help="markets (default 10,000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--certificate", action="store_true", help="certify every point too")
    given = parser.parse_args()
    scale = given.cells / 10_000
    table = Table("sweep", "time", "bar", "off by at most", "met", title=f"{given.cells:,} markets")
    met = True

    def add(name: str, seconds: float, bar: float, off: float | None) -> None:
        nonlocal met
        good = seconds < bar and (off is None or off < 1e-9)
        met = met and good
        said = "" if off is None else f"{off:.1e}"
        table.add_row(name, shown(seconds), f"< {bar:g} s", said, "yes" if good else "[red]no[/]")

    measured(100, backend="closed-form")  # warm up
    add("nothing solved, one process", overhead(given.cells), OVERHEAD_BAR * scale, None)
    for backend in ("closed-form", "newton"):
        common = {"backend": backend, "certificate": given.certificate}
        for name, options in (
            ("one process", {}),
            (f"{given.workers} workers", {"executor": "process", "workers": given.workers}),
        ):
            seconds, data = measured(given.cells, **common, **options)
            add(f"{backend}, {name}", seconds, BAR * scale, largest_difference(data, backend))
    console.print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
