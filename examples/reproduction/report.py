"""All figures of the paper at once, and one page that says how close they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stackel.examples.reproduction import fit
from stackel.examples.reproduction.experiment import Compared
from stackel.examples.reproduction.published import Printed
from stackel.examples.reproduction.trends import Checked

CLOSE = 0.1
"""A value counts as reproduced within this relative error."""

PACKAGES = ("stackel", "numpy", "scipy", "xarray", "pandas", "matplotlib", "torch")


@dataclass(frozen=True)
class Experiment:
    """A figure.

    Attributes:
        name: of its files, and of what is printed of it.
        module: its script in ``stackel.examples``.
        title, caption: above and below its picture.
        learns: whether it is about learners, and left out without them.
    """

    name: str
    module: str
    title: str
    caption: str
    learns: bool = False


DRAWS = "Means over random draws, bands one standard deviation."
PLAYERS = "Four followers, three leaders."
CROSSES = "Crosses: printed in the paper, in the colour of their line."

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
        f"{DRAWS} {CROSSES}",
    ),
    Experiment(
        "fig6",
        "fig6_cost_and_satisfaction",
        "Fig. 6: cost and satisfaction",
        f"{PLAYERS} {DRAWS} {CROSSES}",
    ),
    Experiment(
        "fig7",
        "fig7_social_ties",
        "Fig. 7: social ties",
        f"{PLAYERS} {DRAWS}",
    ),
    Experiment(
        "fig8",
        "fig8_competition",
        "Fig. 8: the cost of one leader",
        f"{PLAYERS} {DRAWS} Shaded: prices below leader 0's cost. Open circles: the highest price "
        "of any draw.",
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
        """All claims, checked."""
        return [t for s in self.sections for t in s.trends]

    @property
    def close(self) -> int:
        """How many of the values are within :data:`CLOSE`."""
        return sum(abs(c.error) <= CLOSE for c in self.values)

    def mean_error(self, *figures: str) -> float:
        """Mean of the relative errors' sizes, of some figures or of all; NaN if there are none."""
        errors = [abs(c.error) for c in self.values if not figures or c.printed.figure in figures]
        return float(np.mean(errors)) if errors else float("nan")

    @property
    def certified(self) -> tuple[int, int]:
        """How many markets' answers are certified, and how many there are."""
        held, count = zip(*(s.certified for s in self.sections), strict=True)
        return sum(held), sum(count)

    @property
    def agreement(self) -> float:
        """Largest relative difference between ADMM and the closed form."""
        return max(s.agreement for s in self.sections)
