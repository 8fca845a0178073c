"""What only commands show, as tables for a terminal and as plain numbers for other programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stackel.results.equilibrium import Equilibrium
from stackel.tables import Column, Table

if TYPE_CHECKING:
    import pandas as pd

CERTIFIED = ("verdict", "leader_gap", "follower_gap", "violation")
"""What a summary takes from a certificate, as it is called there."""

ARRAYS = ("leader_actions", "follower_actions", "leader_payoffs", "follower_payoffs")
"""And from the answer itself."""


def history(eq: Equilibrium) -> Table:
    """What the method reported, a row an iteration."""
    if eq.history.empty:
        return Table("no history was recorded")
    return Table.of("History", "iteration", eq.history)


def backends(title: str, frame: pd.DataFrame) -> Table:
    """The table of :func:`stackel.backends`, for people.

    Args:
        title: of the table.
        frame: what :func:`stackel.backends` returned.
    """
    can = frame["can"].map({True: "yes", False: "no"})
    shown = frame.assign(can=can).rename(columns={"reasons": "why not"})
    return Table.of(title, "backend", shown)


def listing(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Names and what they stand for.

    Args:
        title: of the table.
        headings: one a column.
        rows: texts, as many as there are headings.
    """
    return Table(title, list(map(Column, headings, zip(*rows, strict=True))))


def summary(eq: Equilibrium) -> dict[str, Any]:
    """The answer in numbers, texts and lists; infinity and NaN become None.

    Actions and payoffs have the shapes and units that :class:`Equilibrium` says.
    """
    c = eq.certificate
    out: dict[str, Any] = {
        "game": str(eq.game),
        "backend": eq.backend,
        "status": eq.status.name.lower(),
        "seconds": eq.stats.get("seconds"),
        "is_equilibrium": eq.is_equilibrium,
        **{name: None if c is None else getattr(c, name) for name in CERTIFIED},
        "refuted_by": str(c.deviation) if c is not None and c.deviation is not None else None,
        **{name: getattr(eq, name).tolist() for name in ARRAYS},
        "welfare": eq.welfare,
    }
    return {name: finite(value) for name, value in out.items()}


def finite(value: Any) -> Any:
    """A value, or a list of them, with infinity and NaN as None: JSON has no word for them."""
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
