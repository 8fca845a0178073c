"""Time and memory against the number of followers, on sparse random graphs.

    python -m benchmarks.scale [--followers 1000 10000 100000] [--certified-up-to 10000]

Every market is solved in a process of its own, so that its peak memory is its own. ``newton`` and
``closed-form`` solve the same market; how far their prices are apart is shown. Linear algebra runs
in one thread unless the environment says otherwise: on a machine with other work two threads that
wait for each other are several times slower than one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import scipy.sparse as sp
from rich.table import Table
from scipy.sparse.linalg import eigsh

import stackel
from benchmarks.timing import console, shown
from stackel.formulations.vehicular_twins import VehicularTwins

BACKENDS = ("closed-form", "newton")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

DEGREE = 6
"""Ties of a follower, on average."""

INFLUENCE = 0.5
"""Spectral radius of the best-reply map that the ties are scaled to."""


def market(followers: int, seed: int = 0) -> VehicularTwins:
    """Random ties between random followers; two leaders, no delay limits."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, followers, (2, followers * DEGREE // 2))
    ends = ends[:, ends[0] != ends[1]]
    weights = rng.uniform(0.5, 1.5, ends.shape[1])
    half = sp.coo_array((weights, tuple(ends)), shape=(followers, followers)).tocsr()
    ties = half + half.T
    start = np.ones(followers)
    radius = eigsh(ties / 60.0, k=1, v0=start, tol=1e-3, return_eigenvectors=False)[0]
    return VehicularTwins(
        satisfaction=rng.normal(30.0, 1.0, followers),
        sensitivity=30.0,
        ties=ties * (INFLUENCE / radius),
        unit_cost=[0.3, 0.1],
        payment_scale=15.0,
        utility_scale=100.0,
    )


def peak() -> float:
    """The most memory this process has used so far [MB]."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def measure(followers: int, backend: str, certify: bool) -> dict:
    """Solve one market here and now."""
    game = market(followers)
    before, began = peak(), time.perf_counter()
    eq = stackel.solve(game, backend=backend, certificate=False)
    out = {"before": before, "solve": time.perf_counter() - began, "peak": peak()}
    out["prices"] = eq.leader_actions.ravel().tolist()
    if certify:
        began = time.perf_counter()
        out["verdict"] = eq.certify().certificate.verdict
        out |= {"certificate": time.perf_counter() - began, "peak certificate": peak()}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory against market size.")
    add = parser.add_argument
    add("--followers", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    add("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    add("--certified-up-to", type=int, default=10_000, metavar="N")
    add("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(**json.loads(options.worker))))
        return

    headings = ("followers", "backend", "solve", "peak", "certificate", "peak", "verdict", "apart")
    table = Table(*headings, title="Vehicular twins on sparse random graphs, two leaders")
    for followers in options.followers:
        prices = []
        for backend in options.backends:
            job = {"followers": followers, "backend": backend}
            job["certify"] = followers <= options.certified_up_to
            command = [sys.executable, "-m", "benchmarks.scale", "--worker", json.dumps(job)]
            with console.status(f"{backend}, {followers:,} followers"):
                done = subprocess.run(
                    command,
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**ONE_THREAD, **os.environ},
                )
            found = json.loads(done.stdout)
            prices.append(found["prices"])
            row = [f"{followers:,}", backend, shown(found["solve"]), f"{found['peak']:.0f} MB"]
            if "certificate" in found:
                row += [shown(found["certificate"]), f"{found['peak certificate']:.0f} MB"]
                row += [found["verdict"]]
            else:
                row += ["", "", ""]
            apart = np.abs(np.array(prices[-1]) - prices[0]).max()
            table.add_row(*row, f"{apart:.1e}" if len(prices) > 1 else "")
    console.print(table)
    console.print("A peak is of the whole process: Python, its libraries and the market included.")


if __name__ == "__main__":
    main()
