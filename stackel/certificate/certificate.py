"""What a point is worth: computed from the game alone, by the same code for every backend.

A certificate answers four questions. How much does any follower gain by a best reply of its own?
How much does any leader gain by moving alone, the followers re-settled? By how much is any limit
broken? Does anybody lose by taking part? An equilibrium is a point where nobody gains more than
the tolerance and no limit is broken by more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from stackel.certificate import measures
from stackel.followers.existence import Uniqueness
from stackel.leaders.anticipation import Anticipation
from stackel.leaders.deviations import Deviation
from stackel.tables import Shown, Table
from stackel.types import Array

Verdict = Literal["certified", "local", "refuted"]

TOLERANCE = 1e-6
"""Gaps and violations up to this share of their scale still count as none."""


NOT_PROVED = (
    "followers' problems are not proved concave: their best replies come from optimality "
    f"conditions, compared with {measures.SAMPLES} sampled actions each"
)

NO_BOUNDS = "leaders' actions are unbounded: searched ten times as far as the point"


@dataclass(frozen=True)
class Certificate(Shown):
    """The worth of a point; see the module. Players are counted from 0.

    Attributes:
        verdict: ``"certified"``: nobody gains, leaders searched globally; ``"local"``: nobody
            was found to gain, but some search was only an estimate; ``"refuted"``.
        follower_gaps: most that each follower gains alone (I,), in units of payoff.
        leader_gaps: most that each leader gains alone, the followers re-settled (J,).
        follower_scale, leader_scale: payoffs' sizes that the gaps are measured against.
        tolerance: relative gap and violation that still count as none.
        exact_replies: whether every follower's problem is proved concave, so that its best reply
            is one; otherwise replies are compared with samples.
        global_search: whether each leader's whole range was searched (one decision each).
        resolution: spacing of the search over each leader's decision (J,).
        trials: leader deviations tried.
        unsettled: how many of them were left out because the followers could not be settled.
        violations: largest violation by limit, raw, in the limit's own units.
        violation: largest violation of all, as a relative distance to feasibility.
        individually_rational: whether everybody's payoff is at least 0 (staying out).
        losers: who has less, as ``("follower", 0)``.
        uniqueness: evidence that the followers have one equilibrium.
        anticipation: what leaders foresee when they deviate.
        deviation: the move that refutes the point, if any.
        notes: caveats in words.
    """

    verdict: Verdict
    follower_gaps: Array
    leader_gaps: Array
    follower_scale: float
    leader_scale: float
    tolerance: float
    exact_replies: bool
    global_search: bool
    resolution: Array
    trials: int
    unsettled: int
    violations: Mapping[str, float]
    violation: float
    individually_rational: bool
    losers: tuple[tuple[str, int], ...]
    uniqueness: Uniqueness
    anticipation: Anticipation
    deviation: Deviation | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def follower_gap(self) -> float:
        """The most that any follower gains, in units of payoff."""
        return float(self.follower_gaps.max())

    @property
    def leader_gap(self) -> float:
        """The most that any leader gains, in units of payoff."""
        return float(self.leader_gaps.max())

    @property
    def relative_gap(self) -> float:
        """The larger of the two gaps, each as a share of its side's payoff scale."""
        follower = self.follower_gap / self.follower_scale
        return max(follower, self.leader_gap / self.leader_scale)

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the point."""
        return self.verdict != "refuted"

    def _broken(self) -> str:
        name = max(self.violations, key=lambda key: self.violations[key])
        return f"{name} breaks its limit by {self.violations[name]:.3g}"

    def evidence(self) -> Iterator[tuple[str, str]]:
        """What the verdict rests on, in words.

        Yields:
            pairs of a label and a text.
        """
        for name, gap, scale in (
            ("leader gap", self.leader_gap, self.leader_scale),
            ("follower gap", self.follower_gap, self.follower_scale),
        ):
            yield name, f"{gap:.3g}; up to {self.tolerance * scale:.3g} counts as none"
        broken = [f"{name} by {value:.3g}" for name, value in self.violations.items() if value > 0]
        share = f" (relative {self.violation:.3g}; up to {self.tolerance:.3g} counts as none)"
        yield "limits broken", ", ".join(broken) + share if broken else "none"
        names = [f"{player} {k}" for player, k in self.losers]
        if len(names) > 8:
            names = [*names[:8], f"{len(names) - 8} more"]
        yield "would stay out", ", ".join(names) or "nobody"
        yield "uniqueness", str(self.uniqueness)
        kind = "each leader's whole range" if self.global_search else "an estimate"
        step = f", spacing {self.resolution.max():.2g}" if self.global_search else ""
        left_out = f", {self.unsettled} of them not settled" if self.unsettled else ""
        yield "search", f"{kind}: {self.trials} trial moves{step}{left_out}"
        if self.anticipation != "equilibrium":
            yield "anticipation", self.anticipation
        for note in self.notes:
            yield "note", note

    def _tables(self) -> Iterator[Table]:
        yield Table.statements([("verdict", str(self)), *self.evidence()])

    def __str__(self) -> str:
        if self.verdict == "refuted":
            return f"refuted: {self.deviation or self._broken()}"
        return (
            f"{self.verdict}: no follower gains more than {self.follower_gap:.2g}, "
            f"no leader more than {self.leader_gap:.2g}"
        )
