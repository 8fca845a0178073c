"""What a point is worth: computed from the game alone, by the same code for every backend.

A certificate answers four questions. How much does any follower gain by a best reply of its own?
How much does any leader gain by moving alone, the followers re-settled? By how much is any limit
broken? Does anybody lose by taking part? An equilibrium is a point where nobody gains more than
the tolerance, a share of what is at stake for that player itself, and no limit is broken by more.

Its verdict says how that is known:

========  =======================================================================================
proved    for every player the most that it could gain over *all* its moves is at most the
          tolerance, by rigorous bounds (:mod:`stackel.certificate.proof`)
searched  nobody was found to gain: every leader's range was sampled and refined, every reply solved
local     the same, but a search was partial; ``notes`` say what was left out
unknown   something that the verdict rests on could not be settled; ``reasons`` say what
refuted   somebody gains, and ``deviation`` is a move that anybody can check; or a limit is broken
========  =======================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from stackel.certificate.measures import share
from stackel.certificate.proof import Proof
from stackel.followers.existence import Uniqueness
from stackel.leaders.anticipation import Anticipation
from stackel.leaders.deviations import Deviation
from stackel.tables import Shown, Table
from stackel.types import Array

Verdict = Literal["proved", "searched", "local", "unknown", "refuted"]

HOLDS = ("proved", "searched", "local")
"""Verdicts of points that nothing speaks against."""

TOLERANCE = 1e-6
"""Gaps and violations up to this share of their own scale still count as none."""


NOT_PROVED = (
    "followers' problems are not proved concave: their best replies come from a search of their "
    "own range"
)

NO_BOUNDS = "leaders' actions are unbounded: searched ten times as far as the point"

CANDIDATES_ALONE = "of the leaders' moves only the candidates were tried"

SEVERAL = "leaders have several decisions each: their gap is a multi-start estimate"

OF_THE_SEARCH = (NOT_PROVED, SEVERAL)
"""Notes on how far a search can be trusted: of no interest where a proof has seen everything."""


@dataclass(frozen=True)
class Certificate(Shown):
    """The worth of a point; see the module. Players are counted from 0.

    ``bool(certificate)`` is whether nothing speaks against the point: proved, searched or local.

    Attributes:
        verdict: in a word, see the module.
        follower_gaps: most that each follower gains alone (I,), in units of its payoff.
        leader_gaps: most that each leader gains alone, the followers re-settled (J,).
        follower_scales, leader_scales: what each one's gap is measured against (I,) and (J,): the
            smaller of its payoff's range over moves of its own and of what is at stake for it.
        drifts: by how much each leader's payoff at the point differs from what it has where the
            followers settle (J,): they cost themselves little by being off, but may cost it much.
        tolerance: relative gap and violation that still count as none.
        exact_replies: whether every follower's problem is proved concave, so that its best reply
            is one; otherwise replies come from a search of their whole range.
        global_search: whether each leader's whole range was searched (one decision each).
        resolution: spacing of the search over each leader's decision (J,).
        trials: leader deviations tried.
        unsettled: how many of them were left out because the followers could not be settled.
        violations: largest violation by limit, raw, in the limit's own units.
        violation: the largest of all, as a share of its limit's own size.
        individually_rational: whether everybody's payoff is at least 0 (staying out).
        losers: who has less, as ``("follower", 0)``.
        uniqueness: evidence that the followers have one equilibrium.
        anticipation: what leaders foresee when they deviate.
        deviation: the move that refutes the point, if any.
        reasons: why the point could not be judged, in words.
        notes: caveats in words.
        proof: what is proved, if that was tried.
    """

    verdict: Verdict
    follower_gaps: Array
    leader_gaps: Array
    follower_scales: Array
    leader_scales: Array
    drifts: Array
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
    reasons: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    proof: Proof | None = None

    def __bool__(self) -> bool:
        return self.holds

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the point: proved, searched or local."""
        return self.verdict in HOLDS

    @property
    def follower_gap(self) -> float:
        """The most that any follower gains, in units of payoff."""
        return float(self.follower_gaps.max())

    @property
    def leader_gap(self) -> float:
        """The most that any leader gains, in units of payoff."""
        return float(self.leader_gaps.max())

    @property
    def relative_follower_gap(self) -> float:
        """The most that any follower gains, as a share of its own scale."""
        return float(share(self.follower_gaps, self.follower_scales).max())

    @property
    def relative_leader_gap(self) -> float:
        """The most that any leader gains, as a share of its own scale."""
        return float(share(self.leader_gaps, self.leader_scales).max())

    @property
    def relative_gap(self) -> float:
        """The larger of the two."""
        return max(self.relative_follower_gap, self.relative_leader_gap)

    def evidence(self) -> Iterator[tuple[str, str]]:
        """What the verdict rests on, in words.

        Yields:
            pairs of a label and a text.
        """
        yield from (("unknown", reason) for reason in self.reasons)
        for name, gap, relative in (
            ("leader gap", self.leader_gap, self.relative_leader_gap),
            ("follower gap", self.follower_gap, self.relative_follower_gap),
        ):
            worst = f"{relative:.3g} of what is at stake; up to {self.tolerance:.3g} counts as none"
            yield name, f"{gap:.3g} ({worst})"
        broken = [f"{name} by {value:.3g}" for name, value in self.violations.items() if value > 0]
        part = f" (relative {self.violation:.3g}; up to {self.tolerance:.3g} counts as none)"
        yield "limits broken", ", ".join(broken) + part if broken else "none"
        names = [f"{player} {k}" for player, k in self.losers]
        if len(names) > 8:
            names = [*names[:8], f"{len(names) - 8} more"]
        yield "would stay out", ", ".join(names) or "nobody"
        yield "uniqueness", str(self.uniqueness)
        kind = "each leader's whole range" if self.global_search else "an estimate"
        step = f", spacing {self.resolution.max():.2g}" if self.global_search else ""
        left_out = f", {self.unsettled} of them not settled" if self.unsettled else ""
        yield "search", f"{kind}: {self.trials} trial moves{step}{left_out}"
        if self.proof is not None:
            yield "proof", f"{self.proof} in {self.proof.seconds:.2g} s"
            if self.verdict == "proved":
                yield from (("given", what) for what in self.proof.assumes)
        if self.anticipation != "equilibrium":
            yield "anticipation", self.anticipation
        for note in self.notes:
            yield "note", note

    def _tables(self) -> Iterator[Table]:
        yield Table.statements([("verdict", str(self)), *self.evidence()])

    def __str__(self) -> str:
        if self.verdict == "refuted":
            return f"refuted: {self.deviation or self._broken()}"
        if self.verdict == "unknown":
            return f"unknown: {'; '.join(self.reasons)}"
        if self.verdict == "proved":
            return f"proved: {self.proof}"
        return (
            f"{self.verdict}: no follower gains more than {self.relative_follower_gap:.2g} of what "
            f"is at stake for it, no leader more than {self.relative_leader_gap:.2g}"
        )

    def _broken(self) -> str:
        name = max(self.violations, key=lambda key: self.violations[key])
        return f"{name} breaks its limit by {self.violations[name]:.3g}"
