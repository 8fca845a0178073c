"""Several backends on one game, side by side: do they agree, and if not, who is refuted?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.game.game import Game
from stackel.plots.comparing import comparison as draw
from stackel.results import saved
from stackel.results.equilibrium import Equilibrium
from stackel.tables import Shown, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


AGREE = 1e-4
"""Relative distance up to which two answers are the same."""


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """What several backends say of one game.

    Attributes:
        game: the market.
        answers: the equilibria by backend, certified or not.
        declined: reasons by backend, of those that refuse the game.
        failed: what went wrong by backend, of those that returned nothing.
        tolerance: relative distance up to which two answers are the same.
    """

    game: Game
    answers: Mapping[str, Equilibrium]
    declined: Mapping[str, list[str]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = AGREE

    @cached_property
    def distances(self) -> pd.DataFrame:
        """Relative distances between the answers' actions, leaders and followers together."""
        import pandas as pd

        names = list(self.answers)
        values = [[self.answers[a].distance(self.answers[b]) for b in names] for a in names]
        return pd.DataFrame(values, index=names, columns=names)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a backend: prices, payoffs, gaps, verdict, time; also who declined or failed."""
        import pandas as pd

        return pd.DataFrame([self._row(name) for name in self._names]).set_index("backend")

    def _apart(self, first: str, second: str) -> float:
        return self.answers[first].distance(self.answers[second])

    @property
    def _names(self) -> list[str]:
        return [*self.answers, *self.declined, *self.failed]

    def _row(self, name: str) -> dict[str, Any]:
        if name in self.declined:
            return {"backend": name, "verdict": "declined", "why": "; ".join(self.declined[name])}
        if name in self.failed:
            return {"backend": name, "verdict": "failed", "why": self.failed[name]}
        eq = self.answers[name]
        row: dict[str, Any] = {"backend": name}
        action = self.game.leader_action.name
        for k, value in enumerate(eq.leader_actions.ravel()[:8]):
            row[f"{action}[{k}]"] = float(value)
        row["leader payoff"] = float(eq.leader_payoffs.sum())
        row["follower payoff"] = float(eq.follower_payoffs.sum())
        certificate = eq.certificate
        if certificate is not None:
            row["gap"] = certificate.relative_gap
            row["violation"] = certificate.violation
            row["verdict"] = certificate.verdict
        row["status"] = eq.status.name.lower()
        row["seconds"] = float(eq.stats.get("seconds", np.nan))
        row["why"] = (
            ""
            if eq.is_equilibrium
            else "not certified"
            if certificate is None
            else str(certificate)
        )
        return row

    @property
    def holding(self) -> list[str]:
        """Backends whose point nothing speaks against."""
        return [name for name, eq in self.answers.items() if eq.is_equilibrium]

    @cached_property
    def groups(self) -> list[list[str]]:
        """The holding backends, grouped by the equilibrium that they found."""
        out: list[list[str]] = []
        for name in self.holding:
            for group in out:
                if self._apart(name, group[0]) <= self.tolerance:
                    group.append(name)
                    break
            else:
                out.append([name])
        return out

    @property
    def agree(self) -> bool:
        """Whether every answer is the same equilibrium (and there are at least two)."""
        return len(self.answers) > 1 and self.groups == [list(self.answers)]

    @property
    def verdict(self) -> str:
        """Agreement, or who deviates, by how much and why, in words."""
        if not self.answers:
            return "no backend gives an answer"
        if not self.holding:
            return "no backend finds an equilibrium: " + "; ".join(
                f"{n} is {eq.said}" for n, eq in self.answers.items()
            )
        parts = []
        if len(self.groups) == 1:
            names = self.groups[0]
            inside = float(self.distances.loc[names, names].to_numpy().max())
            if len(names) == 1:
                parts.append(f"{names[0]} alone finds an equilibrium")
            else:
                parts.append(f"{', '.join(names)} agree within {inside:.2g}")
        else:
            listed = " | ".join(", ".join(g) for g in self.groups)
            parts.append(f"several equilibria, all holding: {listed}")
        reference = self.holding[0]
        for name, eq in self.answers.items():
            if name not in self.holding:
                apart = self._apart(name, reference)
                why = eq.said
                parts.append(f"{name} is {apart:.2g} away and {why}")
        return "; ".join(parts)

    def _tables(self) -> Iterator[Table]:
        shown = self.table.drop(columns="why")
        yield Table.of(str(self.game), "backend", shown, gap=2, violation=2, seconds=3)
        yield Table.statements(self._statements())

    def _statements(self) -> Iterator[tuple[str, str]]:
        yield "verdict", self.verdict
        if len(self.answers) > 1:
            word = "yes" if self.agree else "no"
            yield "agree", f"{word}: up to {self.tolerance:.3g} apart counts as the same"
        yield from ((str(name), why) for name, why in self.table["why"].items() if why)

    def __repr__(self) -> str:
        return f"<Comparison of {self.game}: {self.verdict}>"

    def plot(self) -> Figure:
        """Leader actions and payoffs by backend.

        Raises:
            ImportError: matplotlib is missing; ``pip install "stackel[plot]"``.
        """
        return draw(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings."""
        return {
            "game": str(self.game),
            "verdict": self.verdict,
            "agree": self.agree,
            "tolerance": self.tolerance,
            "declined": dict(self.declined),
            "failed": dict(self.failed),
            "distances": json.loads(self.distances.to_json()),
            "table": json.loads(self.table.reset_index().to_json(orient="records")),
            "answers": {name: saved.document(eq) for name, eq in self.answers.items()},
        }

    def save(self, path: str | Path) -> Path:
        """Write :meth:`to_dict` to a JSON file; its answers can be read back one by one."""
        path = Path(path)
        path.write_text(json.dumps(self.to_dict(), allow_nan=False) + "\n", encoding="utf-8")
        return path
