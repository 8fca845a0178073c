"""Two thousand small games: is what is proved true, and is what is true proved?

    python -m benchmarks.prover [--games 2000] [--seed 0] [--kind NAME]

Games of seven kinds are drawn in turn. The leaders' equilibrium is found by brute force
(:mod:`benchmarks.prover.judge`), then certified, with three points beside it: a leader off by 1e-5
to 1e-2 of its range, and the same with the followers moved for it and against it. The exit status
is 1 if any verdict or bound contradicts brute force, if too few true equilibria of a kind are
proved (:data:`PROVED`; those at which followers are settled), or if too few points are refuted at
which somebody gains more than a hundred times the tolerance (:data:`REFUTED`).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

import stackel
from benchmarks.prover.games import KINDS, draw
from benchmarks.prover.judge import POINTS, contradictions, equilibrium, gains, points, worst
from benchmarks.timing import console

PROVED = {"quadratic": 0.8, "log": 0.8, "tied": 0.8, "limited": 0.5, "power": 0.5, "ratio": 0.5}
"""Share of the true equilibria of a kind that must be proved."""

REFUTED = 0.95
"""Share of the points with a gain beyond :data:`FAR` that must be refuted."""

FAR = 100.0
"""Gains, in tolerances, that are to be found."""

TRUE = 0.1
"""Gains, in tolerances, up to which a point is a true equilibrium."""


@dataclass
class Tally:
    """What became of one kind's games."""

    games: int = 0
    true: Counter[str] = field(default_factory=Counter)
    far: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def proved(self) -> float:
        """Share of the true equilibria that are proved."""
        return self.true["proved"] / max(self.true.total(), 1)

    @property
    def refuted(self) -> float:
        """Share of the points with large gains that are refuted."""
        return self.far["refuted"] / max(self.far.total(), 1)

    def met(self, kind: str) -> bool:
        """Whether nothing is wrong and enough is found.

        Args:
            kind: whose games they are.
        """
        enough = not self.true or self.proved >= PROVED.get(kind, 0.0)
        return not self.wrong and enough and (not self.far or self.refuted >= REFUTED)


def judge(kind: str, seed: int, index: int, tally: Tally) -> None:
    """Certify one game's points and compare what is said of them with brute force.

    Args:
        kind: one of :data:`KINDS`.
        seed, index: what the game is drawn from.
        tally: gets what is found.
    """
    rng = np.random.default_rng([seed, index])
    family = KINDS[kind][int(rng.integers(len(KINDS[kind])))]
    game = draw(family, rng)
    x = equilibrium(game)
    if x is None:
        return
    tally.games += 1
    for name, at, y in points(game, x, rng):
        began = time.process_time()
        certificate = stackel.certify(game, at, y, proof=True)
        tally.seconds.append(time.process_time() - began)
        found = gains(game, at, y)
        gained = worst(found, certificate)
        said = f"{kind} {index} ({family}), {name}: {certificate.verdict}"
        tally.wrong += [f"{said}: {why}" for why in contradictions(game, at, y, found, certificate)]
        if certificate.verdict == "refuted" and certificate.deviation is None:
            continue  # a limit is broken, as contradictions() has seen for itself
        if gained <= TRUE and name in POINTS[:2]:
            tally.true[certificate.verdict] += 1
            if certificate.verdict != "proved":
                tally.missed.append(f"{said}: {certificate.proof or certificate}")
        elif gained > FAR:
            tally.far[certificate.verdict] += 1
            if certificate.verdict != "refuted":
                tally.missed.append(f"{said}: a gain of {gained:.3g} tolerances")


def main() -> int:
    parser = argparse.ArgumentParser(description="The prover against brute force.")
    parser.add_argument("--games", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    parser.add_argument("--missed", action="store_true", help="say what was not found")
    asked = parser.parse_args()
    kinds = [asked.kind] if asked.kind else list(KINDS)
    tallies = {kind: Tally() for kind in kinds}
    for index in range(asked.first, asked.first + asked.games):
        kind = kinds[index % len(kinds)]
        before = len(tallies[kind].wrong)
        judge(kind, asked.seed, index, tallies[kind])
        for line in tallies[kind].wrong[before:]:
            console.print(line)

    table = Table("kind", "games", "true", "proved", "bar", "large gains", "refuted", "median [s]")
    table.add_column("longest [s]")
    for kind, tally in tallies.items():
        if not tally.seconds:
            continue
        row = [str(tally.games), str(tally.true.total()), f"{tally.proved:.0%}"]
        row += [f"{PROVED[kind]:.0%}" if kind in PROVED else "", str(tally.far.total())]
        row += [f"{tally.refuted:.1%}", f"{np.median(tally.seconds):.2f}"]
        table.add_row(kind, *row, f"{max(tally.seconds):.1f}")
    console.print(table)
    if asked.missed:
        for line in [line for tally in tallies.values() for line in tally.missed]:
            console.print(line)
    wrong = sum(len(tally.wrong) for tally in tallies.values())
    console.print(f"{wrong} verdicts or bounds contradict brute force")
    return 0 if all(tally.met(kind) for kind, tally in tallies.items()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
