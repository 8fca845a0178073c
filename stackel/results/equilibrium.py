"""The answer: a point, why the method stopped there, what the point is worth, how it got there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stackel.calculus.calculus import trace
from stackel.calculus.yardsticks import apart
from stackel.certificate.certificate import TOLERANCE, Certificate
from stackel.certificate.certify import certify
from stackel.certificate.ranges import along_ranges
from stackel.errors import OptionError, StackelError
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation
from stackel.plots.deviations import deviations
from stackel.plots.equilibria import equilibrium as draw
from stackel.results import saved
from stackel.run import Status
from stackel.tables import Column, Shown, Table
from stackel.types import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Equilibrium(Shown):
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
        """Each leader's payoff (J,), as :meth:`stackel.Game.leader_payoff` states it: higher is
        better, in the market's unit of payoff."""
        x, y = self.leader_actions, self.follower_actions
        return np.array(trace(self.game).leader_values(x, y)[0])

    @cached_property
    def follower_payoffs(self) -> Array:
        """Each follower's payoff (I,), as :meth:`stackel.Game.follower_payoff` states it: higher
        is better, in the market's unit of payoff."""
        x, y = self.leader_actions, self.follower_actions
        return np.array(trace(self.game).follower_payoffs(y, y, x))

    def with_payoffs(self, leaders: Array, followers: Array) -> Equilibrium:
        """This answer with its payoffs (J,) and (I,), where they are known already: else the
        market's formulas would be traced to find them."""
        self.__dict__.update(leader_payoffs=leaders, follower_payoffs=followers)
        return self

    @property
    def welfare(self) -> float:
        """The sum of all payoffs, leaders' and followers'."""
        return float(self.leader_payoffs.sum() + self.follower_payoffs.sum())

    @property
    def is_equilibrium(self) -> bool:
        """Whether the certificate holds; False without one."""
        return self.certificate is not None and self.certificate.holds

    @property
    def said(self) -> str:
        """What is known of the point, in words: its certificate, or else why the method stopped."""
        return self.status.message if self.certificate is None else str(self.certificate)

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
        """Largest difference of any player's actions, as a share of its own size; symmetric."""
        game = self.game
        leaders = apart(self.leader_actions, other.leader_actions, game.leader_bounds, -2)
        return float(
            np.maximum(
                leaders,
                apart(self.follower_actions, other.follower_actions, game.follower_bounds, -1),
            )
        )

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

        sides = {}
        for table in self._players():
            player, *columns = table.columns
            numbers = {column.heading: column.values for column in columns}
            sides[player.heading] = pd.DataFrame(numbers, dtype=float)
        return pd.concat(sides, names=["player", "index"])

    def _players(self) -> Iterator[Table]:
        """What there is of every player.

        Yields:
            a table of the leaders, then one of the followers: actions, payoffs, gaps, multipliers
            of own limits.
        """
        game, c = self.game, self.certificate
        leaders = "leader", game.leader_action, self.leader_actions.T, self.leader_payoffs
        followers = "follower", game.follower_action, self.follower_actions, self.follower_payoffs
        for (player, action, values, payoffs), gaps, multipliers in (
            (leaders, None if c is None else c.leader_gaps, {}),
            (followers, None if c is None else c.follower_gaps, self.multipliers),
        ):
            columns = [Column(player, range(len(values))), *_numbered(action.name, values)]
            columns.append(Column("payoff", payoffs))
            if gaps is not None:
                columns.append(Column("gap", gaps, digits=2))
            for name, value in multipliers.items():
                if np.ndim(value) == 2 and len(value) == len(values):
                    columns += _numbered(f"{name} multiplier", np.asarray(value))
            unit = f" [{action.unit}]" if action.unit else ""
            yield Table(f"{player.capitalize()}s: {action.name}{unit}", columns)

    def _tables(self) -> Iterator[Table]:
        seconds, iterations = self.stats.get("seconds"), self.stats.get("iterations")
        cost = "" if seconds is None else f" in {seconds:.3g} s"
        if iterations is not None:
            cost += f", {iterations} iteration{'' if iterations == 1 else 's'}"
        status = self.status.name.lower().replace("_", " ")
        yield Table(f"{self.game} by {self.backend}: {status}{cost}")
        yield from self._players()
        yield Table.statements(self._statements())

    def _statements(self) -> Iterator[tuple[str, str]]:
        c = self.certificate
        yield "verdict", "not certified" if c is None else str(c)
        yield "status", f"{self.status.message}{f' ({self.detail})' if self.detail else ''}"
        if self.anticipation != ("equilibrium" if c is None else c.anticipation):
            yield "anticipation", f"{self.anticipation} in the solve"
        if c is not None:
            yield from c.evidence()
        yield "welfare", f"{self.welfare:.6g}, the sum of all payoffs"
        tried = self.stats.get("tried", ())
        if len(tried) > 1:
            yield from (("tried", str(one)) for one in tried)

    def __repr__(self) -> str:
        return f"<Equilibrium of {self.game} by {self.backend}: {self.said}>"

    def plot(self, kind: Literal["answer", "deviations"] = "answer") -> Figure:
        """A picture of the answer, or of what leaders could do instead.

        Args:
            kind: ``"answer"``, prices, purchases and, where there are ties, the graph coloured by
                purchase; ``"deviations"``, each leader's payoff along its own range with the
                followers answering, where it stands, and what is proved of it.

        Raises:
            ImportError: matplotlib is missing; ``pip install "stackel[plot]"``.
            OptionError: another kind.
        """
        if kind == "answer":
            return draw(self)
        if kind != "deviations":
            raise OptionError(f"kind is {kind!r}; expected 'answer' or 'deviations'")
        foreseen = "equilibrium" if self.certificate is None else self.certificate.anticipation
        x, y, calculus = self.leader_actions, self.follower_actions, trace(self.game)
        ranges = along_ranges(calculus, x, y, self.certificate, foreseen)
        return deviations(self, ranges, self.said, foreseen)

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


def _numbered(name: str, values: Array) -> list[Column]:
    """Columns of (players, k) numbers."""
    if values.shape[1] == 1:
        return [Column(name, values[:, 0])]
    return [Column(f"{name}[{k}]", column) for k, column in enumerate(values.T)]


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
