"""The answer: a point, why the method stopped there, what the point is worth, how it got there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.calculus.calculus import trace
from stackel.certificate.certificate import TOLERANCE, Certificate
from stackel.certificate.certify import certify
from stackel.errors import StackelError
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation
from stackel.plots.equilibria import equilibrium as draw
from stackel.results import saved
from stackel.run import Status
from stackel.types import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A backend's answer to a game.

    ``status`` and ``certificate`` are two things: a method that ran out of iterations may hold a
    perfect point, one that says it converged a bad one.

    Attributes:
        game: the market.
        backend: the backend's name.
        leader_actions: (d, J), in the unit of ``game.leader_action``.
        follower_actions: (I, n), in the unit of ``game.follower_action``.
        status: why the method stopped.
        certificate: what the point is worth; None if it was not asked for.
        multipliers: of the limits, by name: own ones (I, m), shared ones as stated.
        records: one mapping an iteration; ``history`` is the same as a table.
        stats: times [s], counts, options, versions.
        detail: the status, in more words.
        anticipation: what the leaders were taken to foresee.
        others: further equilibria, if several starts were asked for.
    """

    game: Game
    backend: str
    leader_actions: Array
    follower_actions: Array
    status: Status
    certificate: Certificate | None = None
    multipliers: Mapping[str, Array] = field(default_factory=dict)
    records: tuple[Mapping[str, Any], ...] = ()
    stats: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""
    anticipation: Anticipation = "equilibrium"
    others: tuple[Equilibrium, ...] = ()

    @cached_property
    def leader_payoffs(self) -> Array:
        """(J,)"""
        x, y = self.leader_actions, self.follower_actions
        return np.array(trace(self.game).leader_values(x, y)[0])

    @cached_property
    def follower_payoffs(self) -> Array:
        """(I,)"""
        x, y = self.leader_actions, self.follower_actions
        return np.array(trace(self.game).follower_payoffs(y, y, x))

    def with_payoffs(self, leaders: Array, followers: Array) -> Equilibrium:
        """This answer with its payoffs (J,) and (I,), where they are known already: else the
        market's formulas would be traced to find them."""
        self.__dict__.update(leader_payoffs=leaders, follower_payoffs=followers)
        return self

    @property
    def welfare(self) -> float:
        """The sum of all payoffs."""
        return float(self.leader_payoffs.sum() + self.follower_payoffs.sum())

    @property
    def is_equilibrium(self) -> bool:
        """Whether the certificate holds; False without one."""
        return self.certificate is not None and self.certificate.holds

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an iteration; array entries become one column for each player."""
        import pandas as pd  # slow to import, and few calls need it

        rows = []
        for record in self.records:
            row: dict[str, Any] = {}
            for name, value in record.items():
                array = np.asarray(value)
                if array.ndim == 0:
                    row[name] = value
                else:
                    row |= {f"{name}[{k}]": v for k, v in enumerate(array.ravel())}
            rows.append(row)
        frame = pd.DataFrame(rows)
        frame.index = pd.RangeIndex(1, len(frame) + 1, name="iteration")
        return frame

    def distance(self, other: Equilibrium) -> float:
        """Largest difference of any action, relative to 1 + the largest action of its kind."""
        pairs = (
            (self.leader_actions, other.leader_actions),
            (self.follower_actions, other.follower_actions),
        )
        return max(float(np.abs(a - b).max() / (1.0 + np.abs(a).max())) for a, b in pairs)

    def certify(self, **options: Any) -> Equilibrium:
        """This answer with a (new) certificate; options of :func:`stackel.certify`."""
        certificate = certify(
            self.game,
            self.leader_actions,
            self.follower_actions,
            **{"anticipation": self.anticipation, "tolerance": TOLERANCE, **options},
        )
        return replace(self, certificate=certificate)

    def to_frame(self) -> pd.DataFrame:
        """One row a player: actions, payoff, gap, multipliers."""
        import pandas as pd

        return pd.DataFrame([*_rows(self, "leader"), *_rows(self, "follower")]).set_index(
            ["player", "index"]
        )

    def summary(self) -> str:
        """The answer as text, for a terminal."""
        seconds = self.stats.get("seconds", float("nan"))
        lines = [
            f"{self.game} by {self.backend}: {self.status.name.lower()} in {seconds:.3g} s",
            "",
            self.to_frame().to_string(float_format=lambda v: f"{v:.6g}", na_rep=""),
            "",
            f"welfare {self.welfare:.6g}",
        ]
        if self.detail:
            lines.append(f"status: {self.detail}")
        if self.certificate is None:
            lines.append("certificate: none")
        else:
            c = self.certificate
            lines += [f"certificate: {c}", f"  uniqueness: {c.uniqueness}"]
            lines += [f"  violation of {k}: {v:.3g}" for k, v in c.violations.items() if v > 0]
            if c.losers:
                names = ", ".join(f"{p} {k}" for p, k in c.losers)
                lines.append(f"  individual rationality fails: {names} would rather stay out")
            lines += [f"  note: {n}" for n in c.notes]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Equilibrium of {self.game} by {self.backend}: {self.certificate or self.status}>"

    def _repr_html_(self) -> str:
        from html import escape

        verdict = "not certified" if self.certificate is None else str(self.certificate)
        table = self.to_frame().to_html(float_format=lambda v: f"{v:.6g}", na_rep="")
        head = f"{self.game} by {self.backend}: {self.status.name.lower()}"
        return f"<p><b>{escape(head)}</b><br>{escape(verdict)}</p>{table}"

    def plot(self) -> Figure:
        """Prices, purchases and, where there are ties, the graph coloured by purchase.

        Raises:
            ImportError: matplotlib is missing; ``pip install "stackel[plot]"``.
        """
        return draw(self)

    def save(self, path: str | Path) -> Path:
        """Write everything to a JSON file that :meth:`load` reads back exactly."""
        return saved.save(self, path)

    @staticmethod
    def load(path: str | Path) -> Equilibrium:
        """Read what :meth:`save` wrote.

        Raises:
            GameError: the file is not a saved equilibrium, or its market's class is gone.
        """
        return saved.load(path)


def _rows(eq: Equilibrium, player: str) -> list[dict[str, Any]]:
    leader = player == "leader"
    action = eq.game.leader_action if leader else eq.game.follower_action
    values = eq.leader_actions.T if leader else eq.follower_actions
    payoffs = eq.leader_payoffs if leader else eq.follower_payoffs
    certificate = eq.certificate
    rows = []
    for k, own in enumerate(values):
        row: dict[str, Any] = {"player": player, "index": k}
        names = [action.name] if len(own) == 1 else [f"{action.name}[{c}]" for c in range(len(own))]
        row |= dict(zip(names, map(float, own), strict=True))
        row["payoff"] = float(payoffs[k])
        if certificate is not None:
            gaps = certificate.leader_gaps if leader else certificate.follower_gaps
            row["gap"] = float(gaps[k])
        if not leader:
            for name, value in eq.multipliers.items():
                array = np.asarray(value)
                if array.ndim == 2 and array.shape == (len(values), 1):
                    row[f"{name} multiplier"] = float(array[k, 0])
        rows.append(row)
    return rows


class NotConverged(StackelError):
    """The answer is not an equilibrium within tolerance; ``result`` carries what was computed.

    Attributes:
        result: the :class:`~stackel.Equilibrium` with its status, certificate and history.
    """

    def __init__(self, result: Equilibrium, why: str) -> None:
        self.result = result
        self.why = why
        super().__init__(
            f"{why}\nThe point reached is kept in this exception's .result; "
            "solve(..., throw=False) returns it instead of raising."
        )

    def __reduce__(self) -> tuple[type, tuple[Equilibrium, str]]:
        return type(self), (self.result, self.why)
