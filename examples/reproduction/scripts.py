"""What the figures' scripts share: their command line, and the files that they write."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stackel.examples.reproduction.experiment import Answers, compared, tidy, trainable
from stackel.examples.reproduction.trends import check, trends

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Run = Callable[..., Answers]
Draw = Callable[[Answers], "Figure"]


def script(name: str, run: Run, draw: Draw, arguments: Sequence[str] | None = None) -> str:
    """Run one figure from the command line: write NAME.png and NAME.csv.

    Args:
        name: of the figure, ``"fig5"``.
        run, draw: the script's own: solve, and draw what was found.
        arguments: of the command line; those of the process by default.

    Returns:
        what to print: the numbers and trends of the paper beside ours, and the files.

    Raises:
        OptionError: the learner is asked for, but torch is missing.
    """
    parser = argparse.ArgumentParser(description=f"Redo {name} of the paper.")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where files go")
    parser.add_argument("--full", action="store_true", help="ten times as many random draws")
    parser.add_argument(
        "--learner",
        action=argparse.BooleanOptionalAction,
        help="train the learner too (minutes); by default if torch is installed",
    )
    given = parser.parse_args(arguments)
    if given.out.exists() and not given.out.is_dir():
        parser.error(f"--out {given.out} is a file; expected a folder")
    found = run(full=given.full, learner=trainable(given.learner))
    files = write(name, found, draw(found), given.out)
    return "\n".join([*lines(name, found), *(f"wrote {file}" for file in files)])


def write(name: str, found: Answers, figure: Figure, folder: Path) -> tuple[Path, Path]:
    """The figure as NAME.png and its numbers as NAME.csv.

    Args:
        name: of the figure, ``"fig5"``.
        found: its numbers.
        figure: its picture.
        folder: where to; it is made.

    Returns:
        the two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture, table = folder / f"{name}.png", folder / f"{name}.csv"
    figure.savefig(picture, dpi=200)
    tidy(name, found).to_csv(table, index=False, float_format="%.8g")
    return picture, table


def lines(name: str, found: Answers) -> list[str]:
    """Printed numbers and trends beside ours, as text.

    Args:
        name: of the figure, ``"fig5"``.
        found: what its script found.
    """
    out = [
        f"{c.printed.quantity:17} {c.printed.setting:45} paper {c.printed.text:>6}   "
        f"ours {c.mean:8.4g} ± {c.std:7.2g}   {c.error:+7.1%}"
        for c in compared(name, found)
    ]
    for trend in trends(name):
        held = check(trend, found["admm"])
        out.append(f"{'holds' if held.holds else 'FAILS':5}  {trend.claim}")
    return out
