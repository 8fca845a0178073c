"""Two thousand ordinary markets: is every point that passes an equilibrium?

    python -m benchmarks.ordinary [--markets 2000] [--seed 0] [--family NAME]

Each market is drawn from one of the families in turn and solved by plain ``solve``; the point is
then judged by brute force (:mod:`benchmarks.ordinary.truth`): followers settled by formulas worked
out by hand for each family, each leader's range searched by a grid that closes in. The exit status
is 1 if a point passes at which somebody gains more than twice the tolerance, or if a market that
ends as a cycle takes longer than ten seconds to say so.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

import stackel
from benchmarks.ordinary.families import FAMILIES
from benchmarks.ordinary.truth import truth
from benchmarks.timing import console

WRONG = 2e-6
"""A point that passes is wrong if somebody gains more than this share: twice the tolerance."""

RIGHT = 2e-7
"""A point is right if nobody gains more than this share."""

PATIENCE = 10.0
"""Longest that a market may take to say that it ends as a cycle [s]."""


@dataclass
class Tally:
    """What became of one family's markets."""

    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def judge(name: str, seed: int, index: int, tally: Tally) -> None:
    """Solve one market and compare what is said of its point with the truth."""
    game = FAMILIES[name](np.random.default_rng([seed, index]))
    began = time.process_time()
    try:
        eq = stackel.solve(game, throw=False)
    except stackel.StackelError as error:
        tally.verdicts["error"] += 1
        tally.failed.append(f"{name} {index}: {type(error).__name__}: {error}")
        return
    took = time.process_time() - began
    tally.seconds.append(took)
    assert eq.certificate is not None
    verdict, holds = eq.certificate.verdict, bool(eq.certificate)
    tally.verdicts[verdict] += 1
    found = truth(game, eq.leader_actions, eq.follower_actions)
    said = f"{name} {index}: {verdict} ({eq.status}) in {took:.1f} s, brute force finds {found}"
    if holds and not found.worst <= WRONG:
        tally.wrong.append(said)
    if not holds and found.worst <= RIGHT:
        tally.refused.append(f"{said}; {'; '.join(eq.certificate.reasons)}")
    if eq.status == "cycle" and took > PATIENCE:
        tally.late.append(said)


def main() -> int:
    parser = argparse.ArgumentParser(description="Ordinary markets against brute force.")
    parser.add_argument("--markets", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    asked = parser.parse_args()
    names = [asked.family] if asked.family else list(FAMILIES)
    tallies = {name: Tally() for name in names}
    for index in range(asked.first, asked.first + asked.markets):
        name = names[index % len(names)]
        before = len(tallies[name].wrong) + len(tallies[name].late)
        judge(name, asked.seed, index, tallies[name])
        for line in (tallies[name].wrong + tallies[name].late)[before:]:
            console.print(line)

    words = ("proved", "searched", "local", "unknown", "refuted", "error")
    table = Table("family", *words, "wrong", "refused", "median [s]", "longest [s]")
    for name, tally in tallies.items():
        if not tally.seconds:
            continue
        counts = [str(tally.verdicts[word] or "") for word in words]
        times = [f"{np.median(tally.seconds):.2f}", f"{max(tally.seconds):.1f}"]
        wrong, refused = len(tally.wrong), len(tally.refused)
        table.add_row(name, *counts, str(wrong or ""), str(refused or ""), *times)
    console.print(table)
    for line in [line for t in tallies.values() for line in t.refused + t.failed]:
        console.print(line)
    passed = sum(t.verdicts[w] for t in tallies.values() for w in words[:3])
    wrong = sum(len(t.wrong) for t in tallies.values())
    late = sum(len(t.late) for t in tallies.values())
    console.print(f"{passed} points pass, {wrong} of them wrong; {late} cycles said late")
    return 1 if wrong or late else 0


if __name__ == "__main__":
    raise SystemExit(main())
