"""Throughput of the learner: beside other libraries, and beside naive code.

    python -m benchmarks.learning [--runs 3] [--only stackel naive]

Agent-steps (one agent acting in one round of one market copy) per CPU second of training, rollout
and update together, on the market of Fig. 3 with past rounds observed: five agents. One thread.
Every measurement has a process of its own, warms up with one iteration, and takes turns with the
others. The exit status is 1 if a median misses its bar. Peers that are not installed are left out:

    pip install "benchmarl==1.5.2" hydra-core sb3-contrib

Equal on all sides: 64 copies, episodes of 100 rounds, 5 passes in which each sample is used once,
the number of minibatches, an actor and a critic for each agent (MLP 2 x 128, LSTM 2 x 64, hidden
layer of 64), Adam, a market that steps all copies at once. Not equal: what else an update computes
(we normalise returns and clip player by player), and Stable-Baselines3 trains a single agent while
the others stand still at no cost, so its agent-steps are that agent's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from rich.progress import track
from rich.table import Table

from benchmarks.scale import ONE_THREAD
from benchmarks.timing import console
from stackel.formulations.vehicular_twins import fig3
from stackel.learners.bounds_and_rewards import Market

COPIES, ROUNDS, EPOCHS, AGENTS = 64, 100, 5, 5
CORE = 1024


def trained(iterations: int, updates: int = 1, **options: object) -> Iterator[float]:
    """CPU seconds of each iteration of ``updates`` updates by the library."""
    from stackel.learners.backends import MALPPO
    from stackel.learners.malppo import Training
    from stackel.run import Run

    training = Training(MALPPO(**options), fig3(), Run(seed=0))
    s = training.settings
    training.table.reset(training.leaders, training.followers)
    for k in range(iterations + 1):
        began = time.process_time()
        for _ in range(updates):
            training.update(s.update_every or s.rounds, 0.5)
        if k > 0:
            yield time.process_time() - began


def ours(minibatches: int) -> Iterator[float]:
    options = {"markets": COPIES, "rounds": ROUNDS, "epochs": EPOCHS, "observe": "history"}
    return trained(3, **options, minibatches=minibatches)


def literal() -> Iterator[float]:
    from stackel.learners.backends import MALPPO

    return trained(10, 10, **MALPPO.presets["paper"])


def naive() -> Iterator[float]:
    from benchmarks import naive_learning

    training = naive_learning.Training(Market(fig3()))
    for k in range(11):
        began = time.process_time()
        for _ in range(5):
            training.update()
        if k > 0:
            yield time.process_time() - began


def benchmarl(minibatches: int) -> Iterator[float]:
    from benchmarks import learning_peers

    market = Market(fig3())
    return learning_peers.benchmarl(market, COPIES, ROUNDS, EPOCHS, minibatches, iterations=1)


def recurrent_ppo(minibatches: int) -> Iterator[float]:
    from benchmarks import learning_peers

    market, batch = Market(fig3()), COPIES * ROUNDS // minibatches
    return learning_peers.recurrent_ppo(market, COPIES, ROUNDS, EPOCHS, batch, iterations=2)


def core() -> Iterator[float]:
    """Scaling and rewards of one round of many copies, laid out in memory as training does."""
    market, rng = Market(fig3()), np.random.default_rng(0)
    u = np.moveaxis(rng.uniform(-1, 1, (*market.leader_low.shape, CORE)), -1, 0)
    v = np.moveaxis(rng.uniform(-1, 1, (*market.follower_low.shape, CORE)), -1, 0)
    for k in range(11):
        began = time.process_time()
        for _ in range(500):
            market.rewards(market.leader_actions(u), market.follower_actions(v))
        if k > 0:
            yield time.process_time() - began


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        run: CPU seconds of each iteration.
        steps: agent-steps of an iteration.
        package: what has to be installed.
        against: whose rate ours is divided by, and
        bar: what the quotient must reach, or the rate itself if there is nobody to compare with.
    """

    run: Callable[[], Iterator[float]]
    steps: int
    package: str = "torch"
    against: str = ""
    bar: float = 0.0


WHOLE = COPIES * ROUNDS

CASES: dict[str, Case] = {
    "stackel malppo, 4 minibatches": Case(lambda: ours(4), WHOLE * AGENTS),
    "stackel malppo, 1 minibatch": Case(lambda: ours(1), WHOLE * AGENTS),
    "BenchMARL IPPO, 4 minibatches": Case(
        lambda: benchmarl(4), WHOLE * AGENTS, "benchmarl", "stackel malppo, 4 minibatches", 2.5
    ),
    "BenchMARL IPPO, 1 minibatch": Case(
        lambda: benchmarl(1), WHOLE * AGENTS, "benchmarl", "stackel malppo, 1 minibatch", 2.5
    ),
    "sb3-contrib RecurrentPPO, 4 minibatches": Case(
        lambda: recurrent_ppo(4), WHOLE, "sb3_contrib", "stackel malppo, 4 minibatches", 5.0
    ),
    "sb3-contrib RecurrentPPO, 1 minibatch": Case(
        lambda: recurrent_ppo(1), WHOLE, "sb3_contrib", "stackel malppo, 1 minibatch", 5.0
    ),
    'stackel preset="paper", 1 market': Case(literal, 10 * 20 * AGENTS, bar=1_000.0),
    "naive loops, the same settings": Case(
        naive, 5 * 20 * AGENTS, against='stackel preset="paper", 1 market'
    ),
    f"stackel environment core, {CORE:,} markets": Case(core, 500 * CORE * AGENTS, bar=20e6),
}
"""For rows of others ``against`` names the row of ours that does the same work."""


def measured(name: str) -> float:
    """Agent-steps per CPU second of one case, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.learning", "--worker", name],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Throughput of learners.")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--only", nargs="+", default=[""], help="words, one of them in the name")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        import torch

        torch.set_num_threads(1)
        case = CASES[options.worker]
        print(json.dumps(case.steps / statistics.median(case.run())))
        return 0

    chosen = {n: c for n, c in CASES.items() if any(word in n for word in options.only)}
    lacking = {c.package for c in chosen.values() if not importlib.util.find_spec(c.package)}
    if lacking:
        console.print(f"Not installed, hence not measured: {', '.join(sorted(lacking))}")
    names = [n for n, c in chosen.items() if c.package not in lacking]
    rates: dict[str, list[float]] = {n: [] for n in names}
    for _ in track(range(options.runs), "measuring", console=console, transient=True):
        for name in names:
            rates[name].append(measured(name))
    return report(rates)


def report(rates: dict[str, list[float]]) -> int:
    table = Table("what", "median", "lowest to highest", "ours is", "bar", "met")
    met = True
    for name, found in rates.items():
        case, rate = CASES[name], statistics.median(found)
        row = [name, f"{rate:,.0f}", f"{min(found):,.0f} to {max(found):,.0f}"]
        value = rate
        if case.against:
            if case.against not in rates:
                table.add_row(*row)
                continue
            value = statistics.median(rates[case.against]) / rate
        row.append(f"{value:.2f} times" if case.against else "")
        if case.bar:
            good = value >= case.bar
            met &= good
            row.append(f"{case.bar:g} times" if case.against else f"{case.bar:,.0f}")
            row.append("yes" if good else "[bold red]no[/]")
        table.add_row(*row)
    table.title = "Agent-steps per CPU second, one thread"
    console.print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
