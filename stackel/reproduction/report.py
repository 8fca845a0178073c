"""All figures of the paper at once, and one page that says how close they come."""

from __future__ import annotations

import importlib
import importlib.util
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from stackel.errors import OptionError, unknown
from stackel.reproduction import fit
from stackel.reproduction.experiment import (
    MANY_SEEDS,
    SEEDS,
    Answers,
    Compared,
    agreement,
    compared,
    trainable,
)
from stackel.reproduction.experiment import certified as count_certified
from stackel.reproduction.notes import NOTES
from stackel.reproduction.published import Printed, printed
from stackel.reproduction.scripts import write
from stackel.reproduction.trends import Checked, check, trends

CLOSE = 0.1
"""A value counts as reproduced within this relative error."""

PACKAGES = ("stackel", "numpy", "scipy", "xarray", "pandas", "matplotlib", "torch")


@dataclass(frozen=True)
class Experiment:
    """A figure: its script in ``stackel.examples`` and what its caption says."""

    name: str
    module: str
    title: str
    caption: str
    learns: bool = False


EXPERIMENTS = (
    Experiment(
        "fig3",
        "fig3_convergence",
        "Fig. 3: the equilibrium of three followers and two leaders, and the way there",
        "Iterations of ADMM and Newton's method from prices at cost. Crosses: printed in the "
        "paper. Diamonds: mean over random draws, bars one standard deviation.",
    ),
    Experiment(
        "fig4",
        "fig4_baselines",
        "Fig. 4: learning algorithms",
        "Total reward over the training; dashed: in the equilibrium. Bands: one standard "
        "deviation over seeds.",
        learns=True,
    ),
    Experiment(
        "fig5",
        "fig5_players",
        "Fig. 5: the number of followers and of leaders",
        "Means over random draws, bands one standard deviation. Crosses: printed in the paper, in "
        "the colour of their line.",
    ),
    Experiment(
        "fig6",
        "fig6_cost_and_satisfaction",
        "Fig. 6: cost and satisfaction",
        "Four followers, three leaders. Means over random draws, bands one standard deviation. "
        "Crosses: printed in the paper, in the colour of their line.",
    ),
    Experiment(
        "fig7",
        "fig7_social_ties",
        "Fig. 7: social ties",
        "Four followers, three leaders. Means over random draws, bands one standard deviation.",
    ),
    Experiment(
        "fig8",
        "fig8_competition",
        "Fig. 8: the cost of one leader",
        "Four followers, three leaders. Means over random draws, bands one standard deviation. "
        "Shaded: prices below leader 0's cost. Open circles: the highest price of any draw.",
    ),
    Experiment(
        "delay_limits",
        "delay_limits",
        "The delay limit",
        "The markets of Fig. 5 with and without the delay limit of Problem 1; means over random "
        "draws.",
    ),
)


@dataclass(frozen=True)
class Section:
    """One figure's part of the report.

    Attributes:
        experiment: which.
        picture: the image file; None if the experiment was left out.
        compared: printed numbers beside ours; empty if it was left out.
        missing: printed numbers that were left out.
        trends: the paper's claims, checked.
        notes: paragraphs.
        certified: markets whose answer is certified, and all.
        agreement: largest relative difference between ADMM and the closed form.
    """

    experiment: Experiment
    picture: Path | None = None
    compared: Sequence[Compared] = ()
    missing: Sequence[Printed] = ()
    trends: Sequence[Checked] = ()
    notes: Sequence[str] = ()
    certified: tuple[int, int] = (0, 0)
    agreement: float = 0.0


@dataclass(frozen=True)
class Report:
    """What all figures say together.

    Attributes:
        sections: figure by figure.
        fits: the preset's constants, the best ones, and those of the literal equations.
        provenance: versions, seeds, date, command.
    """

    sections: Sequence[Section]
    fits: dict[str, fit.Fit]
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> list[Compared]:
        """All printed values of equilibria, beside ours."""
        return [c for s in self.sections if not s.experiment.learns for c in s.compared]

    @property
    def trends(self) -> list[Checked]:
        return [t for s in self.sections for t in s.trends]

    @property
    def close(self) -> int:
        """How many of the values are within :data:`CLOSE`."""
        return sum(abs(c.error) <= CLOSE for c in self.values)

    def mean_error(self, *figures: str) -> float:
        """Mean of the relative errors' sizes, of some figures or of all."""
        errors = [abs(c.error) for c in self.values if not figures or c.printed.figure in figures]
        return float(np.mean(errors)) if errors else float("nan")

    @property
    def certified(self) -> tuple[int, int]:
        held, count = zip(*(s.certified for s in self.sections), strict=True)
        return sum(held), sum(count)

    @property
    def agreement(self) -> float:
        return max(s.agreement for s in self.sections)


def reproduce(
    out: Path,
    *,
    full: bool = False,
    learner: bool | None = None,
    only: Sequence[str] | None = None,
    command: str = "stackel.reproduction.report.reproduce",
    progress: Callable[[str], None] = lambda title: None,
) -> Report:
    """Run the figures and write NAME.png, NAME.csv, report.html and report.md.

    Args:
        out: the folder to write into; it is made.
        full: ten times as many random draws, longer training.
        learner: train the learners too, and run Fig. 4, which is theirs; by default if torch is
            installed.
        only: names of figures; all by default.
        command: what to name as the command in the report.
        progress: called with a figure's title before it is run.

    Raises:
        OptionError: an unknown figure, ``out`` is a file, or a package is missing.
    """
    known = [e.name for e in EXPERIMENTS]
    for name in only or ():
        if name not in known:
            raise OptionError(unknown("figure", name, known))
    if out.exists() and not out.is_dir():
        raise OptionError(f"out = {str(out)!r} is a file; expected a folder")
    _check_packages()
    from stackel.reproduction.pages import write_pages

    learner = trainable(learner)
    sections = []
    for experiment in EXPERIMENTS:
        if only is not None and experiment.name not in only:
            continue
        if experiment.learns and not learner:
            sections.append(Section(experiment, missing=printed(experiment.name)))
            continue
        progress(experiment.title)
        script: Any = importlib.import_module(f"stackel.examples.{experiment.module}")
        found: Answers = script.run(full=full, learner=learner)
        picture, _ = write(experiment.name, found, script.draw(found), out)
        sections.append(_section(experiment, found, picture))
    progress("The two fitted constants")
    fits = {"preset": fit.at(*fit.PRESET), "free": fit.free(), "literal": fit.at(1.0, 1.0)}
    report = Report(sections, fits, _provenance(full, command))
    write_pages(report, out)
    return report


def _section(experiment: Experiment, found: Answers, picture: Path) -> Section:
    name = experiment.name
    both = {"admm", "closed-form"} <= found.keys()
    return Section(
        experiment,
        picture,
        compared(name, found),
        trends=[check(trend, found["admm"]) for trend in trends(name)],
        notes=NOTES[name](found),
        certified=count_certified(found) if both else (0, 0),
        agreement=agreement(found) if both else 0.0,
    )


def _provenance(full: bool, command: str) -> dict[str, str]:
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # optional, or a checkout that was never installed
            continue
    draws = MANY_SEEDS if full else SEEDS
    return {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seeds": f"0 to {draws - 1}, the same at every point of a grid",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(versions),
    }


def _check_packages() -> None:
    for package in ("jinja2", "matplotlib", "xarray"):
        if importlib.util.find_spec(package) is None:
            raise OptionError(f'a report needs {package}: pip install "stackel[report]"')
