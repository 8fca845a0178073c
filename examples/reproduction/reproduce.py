"""All figures at once: run them, and write the report."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stackel.errors import OptionError, unknown
from stackel.examples.reproduction import fit
from stackel.examples.reproduction.experiment import (
    MANY_SEEDS,
    SEEDS,
    Answers,
    agreement,
    compared,
    trainable,
)
from stackel.examples.reproduction.experiment import certified as count_certified
from stackel.examples.reproduction.notes import NOTES
from stackel.examples.reproduction.published import printed
from stackel.examples.reproduction.report import EXPERIMENTS, PACKAGES, Experiment, Report, Section
from stackel.examples.reproduction.scripts import write
from stackel.examples.reproduction.trends import check, trends


def reproduce(
    out: Path,
    *,
    full: bool = False,
    learner: bool | None = None,
    only: Sequence[str] | None = None,
    command: str = "stackel.examples.reproduction.reproduce.reproduce",
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

    Returns:
        what was written.

    Raises:
        OptionError: an unknown figure, ``out`` is a file, or a package is missing.
    """
    known = [e.name for e in EXPERIMENTS]
    for name in only or ():
        if name not in known:
            raise OptionError(unknown("figure", name, known))
    if out.exists() and not out.is_dir():
        raise OptionError(f"out = {str(out)!r} is a file; expected a folder")
    for package in ("jinja2", "matplotlib", "xarray"):
        if find_spec(package) is None:
            raise OptionError(f'a report needs {package}: pip install "stackel[report]"')
    from stackel.examples.reproduction.pages import write_pages

    learner = trainable(learner)
    sections = []
    for experiment in EXPERIMENTS:
        if only is not None and experiment.name not in only:
            continue
        if experiment.learns and not learner:
            sections.append(Section(experiment, missing=printed(experiment.name)))
            continue
        progress(experiment.title)
        script: Any = import_module(f"stackel.examples.{experiment.module}")
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
