"""Measuring points, whoever found them: many at once, a single one as a batch of one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from stackel.calculus.calculus import Calculus, trace
from stackel.certificate.certificate import OF_THE_SEARCH, TOLERANCE, Certificate
from stackel.certificate.measured import Measured
from stackel.certificate.proof import Progress, prove, worth_trying
from stackel.errors import OptionError
from stackel.followers.existence import Uniqueness
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.leaders.deviations import Deviation
from stackel.run import Stop, within
from stackel.types import Array

NOT_TRIED = "{} came before the candidates were tried"

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
    candidates: Any = None,
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
        points: size of the first grid over each leader's decision; 0 tries the candidates alone.
        candidates: leader actions (K, d, J) that are tried too: every leader's own part of each,
            its rivals held; moved into the leaders' bounds.
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
        OptionError: actions of another shape, no such anticipation, or nothing to try.
        ValueError: candidates that are not finite.
    """
    if proof not in ("auto", True, False):
        raise OptionError(f"proof = {proof!r}; expected 'auto', True or False")
    if not 0 <= tolerance < 1:
        raise OptionError(f"tolerance = {tolerance!r}; expected a number between 0 and 1")
    x = _actions("leader", x, game.leader_shape, game.n_leaders)
    y = _actions("follower", y, game.follower_shape, game.n_followers)
    options: Any = {"anticipation": anticipation, "tolerance": tolerance, "points": points}
    if candidates is not None:
        options["candidates"] = np.asarray(candidates, dtype=float).reshape(-1, *game.leader_shape)
    calculus = trace(game)
    with within(seconds):
        try:
            found = certify_points(calculus, x[None], y[None], **options)[0]
        except Stop:
            return _cut_short(calculus, anticipation, tolerance)
        wanted = proof is True or (proof == "auto" and worth_trying(calculus))
        wanted &= _has_values(calculus, x, y)
        if not wanted or anticipation != "equilibrium" or found.verdict == "refuted":
            return found
        try:
            return _proved(calculus, x, y, found, boxes, progress)
        except (Stop, KeyboardInterrupt) as stop:
            cut = "the time limit" if isinstance(stop, Stop) else "an interrupt"
            return replace(found, notes=(*found.notes, f"{cut} ended the proof before its end"))


def _actions(player: str, given: Any, shape: tuple[int, ...], players: int) -> Array:
    """Actions as an array of their shape; axes of length 1 may be left out.

    Raises:
        OptionError: they are of another shape, or no numbers.
    """
    try:
        array = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{player} actions = {given!r}; expected numbers {shape}") from error
    if [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        axes = "(decisions, leaders)" if player == "leader" else "(followers, decisions)"
        raise OptionError(
            f"{player} actions have shape {array.shape}; expected {shape}, {axes}: the market has "
            f"{players} {player}{'' if players == 1 else 's'}"
        )
    return array.reshape(shape)


def _has_values(calculus: Calculus, x: Array, y: Array) -> bool:
    """Whether everybody's payoff is a number at a point: else nothing can be said of it."""
    with np.errstate(all="ignore"):
        payoffs = calculus.follower_payoffs(y, y, x), calculus.leader_values(x, y)[0]
    return all(bool(np.isfinite(values).all()) for values in payoffs)


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
        notes = tuple(note for note in found.notes if note not in OF_THE_SEARCH)
        return replace(found, verdict="proved", reasons=(), notes=notes, proof=proof)
    return replace(found, proof=proof)


def certify_points(
    game: Game | Calculus,
    x: Any,
    y: Any,
    *,
    anticipation: Anticipation = "equilibrium",
    tolerance: float = TOLERANCE,
    points: int = POINTS,
    candidates: Any = None,
) -> list[Certificate]:
    """Measure many points of one market: each certificate is what :func:`certify` says of its
    point alone, to the bit.

    Args:
        game: the market; or a batch of as many markets as there are points.
        x: leader actions (B, d, J).
        y: follower actions (B, I, n).
        anticipation, tolerance, points: as in :func:`certify`.
        candidates: leader actions (K, d, J) that are tried at every point, or (B, K, d, J) at each
            its own.

    Returns:
        one certificate for each point.

    Raises:
        GameError: as :func:`certify`.
        OptionError: no such anticipation, or nothing to try.
        ValueError: actions of other shapes, or of other points than the batch's; candidates that
            are not finite.
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
    moves = _moves(calculus, candidates, count)
    if moves is None and not points:
        raise OptionError("points = 0 tries the candidates alone, and there are none")
    at_once = max(1, NUMBERS // (calculus.n_leaders**2 * math.prod(calculus.follower_shape)))
    out: list[Certificate] = []
    for start in range(0, len(x), at_once):
        some = np.arange(start, min(start + at_once, len(x)))
        with np.errstate(all="ignore"):
            own = None if moves is None else moves[some]
            one = Measured(calculus.at(some), x[some], y[some], anticipation, points, own)
            out += one.certificates(tolerance)
    return out


def _moves(calculus: Calculus, candidates: Any, count: int) -> Array | None:
    """Candidates of each point (B, K, d, J), within the leaders' bounds; None if there are none.

    Raises:
        ValueError: another shape, or numbers that are not finite.
    """
    if candidates is None:
        return None
    moves = np.asarray(candidates, dtype=float)
    whole = (count, moves.shape[-3] if moves.ndim > 2 else 0, *calculus.leader_shape)
    if moves.shape not in (whole, whole[1:]):
        expected = "(K, {}, {}) or ({}, K, {}, {})".format(*whole[2:], count, *whole[2:])
        raise ValueError(f"candidates have shape {moves.shape}; expected {expected}")
    if not np.isfinite(moves).all():
        raise ValueError("candidates are not finite")
    low, high = (np.expand_dims(b, -3) for b in calculus.leader_bounds)
    moves = np.clip(np.broadcast_to(moves, whole), low, high)
    return moves if moves.shape[1] else None


def certify_further(
    game: Game,
    x: Any,
    y: Any,
    known: Certificate,
    candidates: Any,
    *,
    seconds: float | None = None,
) -> Certificate:
    """A certificate held against further moves of the leaders: neither its search nor its proof is
    done again.

    Args:
        game: the market.
        x: leader actions (d, J).
        y: follower actions (I, n).
        known: what :func:`certify` says of the point.
        candidates: leader actions (K, d, J), K at least 1, as in :func:`certify`.
        seconds: time limit [s].

    Returns:
        a refutation, if a leader gains by its own part of a candidate; that the point is unknown,
        if it was searched and the followers could not be settled there; else what was known, with
        more trials, or a note that the time was up.

    Raises:
        ValueError: as :func:`certify`.
    """
    found = certify(
        game,
        x,
        y,
        anticipation=known.anticipation,
        tolerance=known.tolerance,
        points=0,
        candidates=candidates,
        proof=False,
        seconds=seconds,
    )
    if not found.trials:
        return replace(known, notes=(*known.notes, NOT_TRIED.format("the time limit")))
    trials, notes = known.trials + found.trials, known.notes
    if found.deviation is not None or (found.unsettled and known.verdict in ("searched", "local")):
        gaps = np.fmax(found.leader_gaps, known.leader_gaps)
        unsettled, resolution = known.unsettled + found.unsettled, known.resolution
        return replace(
            found,
            leader_gaps=gaps,
            trials=trials,
            unsettled=unsettled,
            resolution=resolution,
            notes=notes,
        )
    return replace(known, trials=trials)


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
