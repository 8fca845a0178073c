"""The paper's experiments redone: its printed numbers and trends, ours beside them, and a report.

Kang, Zhang, Yang, Ye and Hossain, "When Metaverses Meet Vehicle Road Cooperation: Multi-Agent
DRL-Based Stackelberg Game for Vehicular Twins Migration". Every figure is a script of
``stackel.examples``, built from :func:`stackel.sweep`, :mod:`stackel.plots` and what is here, and
``stackel reproduce`` runs them all. Needs ``pip install "stackel[report]"``.
"""

from stackel.examples.reproduction.errata import ERRATA, Erratum
from stackel.examples.reproduction.experiment import (
    Compared,
    agreement,
    answers,
    certified,
    compared,
    draw_averages,
    expected,
    learned,
    path,
    quantities,
    tidy,
)
from stackel.examples.reproduction.published import PRINTED, Printed, marks, printed
from stackel.examples.reproduction.scripts import script
from stackel.examples.reproduction.trends import TRENDS, Checked, Trend, check, trends

__all__ = [
    "ERRATA",
    "PRINTED",
    "TRENDS",
    "Checked",
    "Compared",
    "Erratum",
    "Printed",
    "Trend",
    "agreement",
    "answers",
    "certified",
    "check",
    "compared",
    "draw_averages",
    "expected",
    "learned",
    "marks",
    "path",
    "printed",
    "quantities",
    "script",
    "tidy",
    "trends",
]
