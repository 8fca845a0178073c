"""What proofs cost, and what plain ``solve`` proves.

    python -m benchmarks.proofs [--draws 200]

Named markets with the CPU seconds that they may take; random draws of the vehicular market with
delay limits, of which 99 in 100 must be proved, none refuted, each within five CPU seconds; how the
cost grows with followers, leaders and decisions; and what a certificate without a proof takes. The
exit status is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from rich.table import Table

import stackel
from benchmarks.ordinary.prices import Log
from benchmarks.published import CASES
from benchmarks.timing import console
from stackel import Game
from stackel.formulations.cournot_stackelberg import equal_firms
from stackel.formulations.vehicular_twins import draw, fig3

NAMED: dict[str, tuple[Callable[[], Game], float]] = {
    "Fig. 3": (fig3, 1.0),
    "Fig. 3, delay limits": (lambda: fig3(delay=True), 2.0),
    "Fig. 3, as printed": (lambda: fig3("literal"), 5.0),
    "Cournot, 3 x 20": (lambda: equal_firms(3, 20), 5.0),
    "Cournot, 2 x 60": (lambda: equal_firms(2, 60), 10.0),
}
"""Markets, each with the most CPU seconds that its proof may take."""

OF_ONE_DECISION = ("Murphy", "gnash", "Outrata", "Henderson", "De Silva", "tax Simple", "Cournot")
"""Published games that are to be proved, by how their names begin."""

EACH = 5.0
"""Most CPU seconds for one draw."""


def timed(game: Game, **options: object) -> tuple[stackel.Equilibrium, float]:
    """A plain solve and its CPU seconds."""
    began = time.process_time()
    eq = stackel.solve(game, throw=False, **options)  # type: ignore[arg-type]
    return eq, time.process_time() - began


def proving(game: Game) -> tuple[str, float, float]:
    """The verdict of a point that is solved before, and CPU seconds with a proof and without."""
    eq = stackel.solve(game, proof=False)
    point = eq.leader_actions, eq.follower_actions
    began = time.process_time()
    stackel.certify(game, *point, proof=False)
    searched = time.process_time()
    verdict = stackel.certify(game, *point, proof=True).verdict
    return verdict, time.process_time() - searched, searched - began


def named() -> bool:
    table = Table("market", "verdict", "with a proof [s]", "bar", "without [s]")
    met = True
    for name, (make, bar) in NAMED.items():
        verdict, with_proof, without = proving(make())
        met &= verdict == "proved" and with_proof <= bar
        table.add_row(name, verdict, f"{with_proof:.2f}", f"{bar:g}", f"{without:.3f}")
    console.print(table)
    return met


def published() -> bool:
    table = Table("published game", "verdict", "solve [s]", "what the proof lacked")
    met = True
    for case in CASES:
        if case.none or case.options:
            continue
        eq, seconds = timed(case.make())
        assert eq.certificate is not None
        verdict, proof = eq.certificate.verdict, eq.certificate.proof
        lacked = "" if verdict == "proved" or proof is None else str(proof)
        table.add_row(case.name, verdict, f"{seconds:.2f}", lacked)
        met &= verdict == "proved" or not case.name.startswith(OF_ONE_DECISION)
    console.print(table)
    return met


def draws(count: int) -> bool:
    """Random vehicular markets of 2 to 6 followers and 2 to 4 leaders."""
    verdicts: Counter[str] = Counter()
    seconds = []
    for seed in range(count):
        rng = np.random.default_rng([1, seed])
        followers, leaders = int(rng.integers(2, 7)), int(rng.integers(2, 5))
        eq, took = timed(draw(seed, followers, leaders, delay=True))
        assert eq.certificate is not None
        verdicts[eq.certificate.verdict] += 1
        seconds.append(took)
        if eq.certificate.verdict != "proved":
            console.print(f"draw {seed}, {followers} x {leaders}: {eq.said}")
    late = sum(s > EACH for s in seconds)
    console.print(
        f"{count} draws with delay limits: {dict(verdicts)}; CPU seconds median "
        f"{np.median(seconds):.2f}, longest {max(seconds):.2f}, {late} over {EACH:g}"
    )
    return verdicts["proved"] >= 0.99 * count and not verdicts["refuted"] and not late


def growth() -> None:
    """Log buyers: CPU seconds against how many of everything there are."""
    table = Table("followers", "leaders", "verdict", "with a proof [s]", "without [s]")
    for followers, leaders in ((2, 2), (4, 2), (8, 2), (16, 2), (32, 2), (4, 1), (4, 4), (4, 8)):
        rng = np.random.default_rng(followers * 100 + leaders)
        value = rng.uniform(1, 6, (followers, leaders))
        game = Log(value=value, cost=rng.uniform(0.2, 0.9, leaders), cap=4.0)
        verdict, with_proof, without = proving(game)
        row = str(followers), str(leaders), verdict, f"{with_proof:.2f}", f"{without:.3f}"
        table.add_row(*row)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description="What proofs cost.")
    parser.add_argument("--draws", type=int, default=200, help="random markets (default 200)")
    asked = parser.parse_args()
    met = [named(), published()]
    growth()
    met.append(draws(asked.draws))
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
