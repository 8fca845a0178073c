"""Measuring points, whoever found them: many at once, a single one as a batch of one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from stackel.calculus.calculus import Calculus, trace
from stackel.certificate.certificate import TOLERANCE, Certificate
from stackel.certificate.measured import Measured
from stackel.certificate.proof import Progress, prove, worth_trying
from stackel.followers.existence import Uniqueness
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.leaders.deviations import (
    Deviation,
)
from stackel.run import Stop, within
from stackel.types import Array

Asked = Literal["auto", True, False]
"""Whether a proof is asked for."""

POINTS = 97
"""Trial decisions on each leader's first grid."""

NUMBERS = 3_000
"""Points whose leaders' trial actions are answered together, times followers' decisions, times the
square of how many leaders there are: how the memory for them grows."""


def certify(
    game: Game,
    x: Any,
    y: Any,
    *,
    anticipation: Anticipation = "equilibrium",
    tolerance: float = TOLERANCE,
    points: int = POINTS,
    proof: Asked = "auto",
    boxes: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Measure a point, whoever found it.

    Args:
        game: the market.
        x: leader actions (d, J), in the unit of ``game.leader_action``.
        y: follower actions (I, n), in the unit of ``game.follower_action``.
        anticipation: what a deviating leader foresees: ``"equilibrium"``, the followers' new
            equilibrium; ``"own_response"``, each one's own reply; ``"none"``, nothing.
        tolerance: gaps and violations up to this share of their scale count as none.
        points: size of the first grid over each leader's decision.
        proof: whether to prove that nobody gains: ``"auto"``, of a game that is small enough to;
            True, in any case, and say what was lacking; False, not.
        boxes: most boxes of a leader's actions to look at for it; default by the game's size.
        seconds: time limit [s]; a point that is not judged by then is unknown, one that is not
            proved by then what the search says.
        progress: called with the boxes looked at so far and the player that they are about.

    Returns:
        gaps in units of payoff, violations in the limits' own units, and a verdict.

    Raises:
        GameError: a formula does not differentiate.
        OptionError: no such anticipation.
        ValueError: actions of another shape.
    """
    x = np.asarray(x, dtype=float).reshape(game.leader_shape)
    y = np.asarray(y, dtype=float).reshape(game.follower_shape)
    options: Any = {"anticipation": anticipation, "tolerance": tolerance, "points": points}
    calculus = trace(game)
    with within(seconds):
        try:
            found = certify_points(calculus, x[None], y[None], **options)[0]
        except Stop:
            return _cut_short(calculus, anticipation, tolerance)
        wanted = proof is True or (proof == "auto" and worth_trying(calculus))
        if not wanted or anticipation != "equilibrium" or found.verdict == "refuted":
            return found
        try:
            return _proved(calculus, x, y, found, boxes, progress)
        except (Stop, KeyboardInterrupt) as stop:
            cut = "the time limit" if isinstance(stop, Stop) else "an interrupt"
            return replace(found, notes=(*found.notes, f"{cut} ended the proof before its end"))


def _proved(
    calculus: Calculus,
    x: Array,
    y: Array,
    found: Certificate,
    boxes: int | None,
    progress: Progress | None,
) -> Certificate:
    """A certificate with the proof of its point, or with what a proof found against it."""
    scales, tolerance = (found.leader_scales, found.follower_scales), found.tolerance
    proof = prove(calculus, x, y, scales, tolerance=tolerance, boxes=boxes, progress=progress)
    refuting = proof.refuting
    if refuting is not None:
        assert refuting.action is not None
        assert refuting.answer is not None
        if refuting.player == "follower":
            has = calculus.follower_payoffs(y, y, x)
            reached = calculus.follower_payoffs(refuting.answer, y, x)
        else:
            moved = np.array(x)
            moved[:, refuting.index] = refuting.action
            has = calculus.leader_values(x, y)[0]
            reached = calculus.leader_values(moved, refuting.answer)[0]
        deviation = Deviation(
            refuting.player,
            refuting.index,
            refuting.action,
            float(has[refuting.index]),
            float(reached[refuting.index] - has[refuting.index]),
            refuting.answer,
        )
        return replace(found, verdict="refuted", deviation=deviation, proof=proof)
    if proof.proved and found.violation <= tolerance:
        return replace(found, verdict="proved", reasons=(), proof=proof)
    return replace(found, proof=proof)


def certify_points(
    game: Game | Calculus,
    x: Any,
    y: Any,
    *,
    anticipation: Anticipation = "equilibrium",
    tolerance: float = TOLERANCE,
    points: int = POINTS,
) -> list[Certificate]:
    """Measure many points of one market: each certificate is what :func:`certify` says of its
    point alone, to the bit.

    Args:
        game: the market; or a batch of as many markets as there are points.
        x: leader actions (B, d, J).
        y: follower actions (B, I, n).
        anticipation, tolerance, points: as in :func:`certify`.

    Returns:
        one certificate for each point.

    Raises:
        GameError, OptionError: as :func:`certify`.
        ValueError: actions of other shapes, or of other points than the batch's.
    """
    check_anticipation(anticipation)
    calculus = trace(game)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    count = len(calculus.follower_bounds[0]) if calculus.batched else len(np.atleast_1d(x))
    for name, actions, core in (
        ("x", x, calculus.leader_shape),
        ("y", y, calculus.follower_shape),
    ):
        if actions.shape != (count, *core):
            raise ValueError(f"{name} has shape {actions.shape}; expected {(count, *core)}")
    at_once = max(1, NUMBERS // (calculus.n_leaders**2 * math.prod(calculus.follower_shape)))
    out: list[Certificate] = []
    for start in range(0, len(x), at_once):
        some = np.arange(start, min(start + at_once, len(x)))
        with np.errstate(all="ignore"):
            one = Measured(calculus.at(some), x[some], y[some], anticipation, points)
            out += one.certificates(tolerance)
    return out


def _cut_short(calculus: Calculus, anticipation: Anticipation, tolerance: float) -> Certificate:
    """What is known of a point when the time is up: nothing."""
    I, J = calculus.n_followers, calculus.n_leaders
    return Certificate(
        verdict="unknown",
        follower_gaps=np.full(I, np.inf),
        leader_gaps=np.full(J, np.inf),
        follower_scales=np.zeros(I),
        leader_scales=np.zeros(J),
        drifts=np.full(J, np.nan),
        tolerance=tolerance,
        exact_replies=False,
        global_search=False,
        resolution=np.full(J, np.inf),
        trials=0,
        unsettled=0,
        violations={},
        violation=np.nan,
        individually_rational=True,
        losers=(),
        uniqueness=Uniqueness(np.nan, np.nan, False),
        anticipation=anticipation,
        reasons=("the time limit came before the point was judged",),
    )
