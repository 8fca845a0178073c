"""The command ``stackel certify``: points that there are already, measured anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from stackel.calculus.calculus import trace
from stackel.certificate.certificate import TOLERANCE, Certificate, Verdict
from stackel.cli import console, tables
from stackel.cli.console import Anticipating, Json, Quiet, Tolerance
from stackel.errors import GameError, OptionError
from stackel.files.data import read_text
from stackel.files.market import located
from stackel.files.point import PointFile, check_finite, read_point
from stackel.followers.replies import settle_best
from stackel.leaders.anticipation import check_anticipation
from stackel.results.equilibrium import Equilibrium
from stackel.run import Status
from stackel.tables import Table
from stackel.tasks.checks import check
from stackel.tasks.progress import progress

PROOF = {"auto": "auto", "yes": True, "no": False}
"""What --proof may say, and what :func:`stackel.certify` calls it."""


def certify(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What solve --save wrote, or a market file (TOML) with [point]."
        ),
    ],
    proof: Annotated[
        str,
        typer.Option(
            metavar="auto|yes|no",
            help="Prove that nobody gains: of a small game (auto, default), in any case, or not.",
        ),
    ] = "auto",
    boxes: Annotated[
        int | None, typer.Option(metavar="N", help="Most boxes of one leader's actions in a proof.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after so many seconds.")
    ] = None,
    anticipation: Anticipating = None,
    tolerance: Tolerance = None,
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Keep the point with its new certificate (JSON)."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure a kept answer or a point of your own.

    It is measured by its market's formulas alone. Nothing that a kept answer says of its worth is
    believed; whether it agrees with what is found is said. Tolerance and anticipation are the
    file's own where none are given here.

    In a market file the table [point] holds leaders = [...], one number for each leader (a row
    for each of its decisions), and followers = [[...], ...], a row for each follower; without
    these the followers' settled answer is taken.

    --json prints what --output writes, "summary" as stackel solve has it, "recheck" and, where a
    move refutes the point, "witness".

    \b
    Examples:
      stackel certify eq.json
      stackel certify point.toml --proof yes --seconds 60
      stackel certify eq.json --json | jq .witness
    """
    with console.reported():
        _check_options(proof, boxes, seconds)
        console.check_output(output)
        given, own = _read(file)
        terms = _terms(file, own, {"anticipation": anticipation, "tolerance": tolerance})
        watched = console.watched() and not quiet
        with progress(str(given.game), seconds) if watched else nullcontext() as line:
            eq = given.certify(
                **terms,
                proof=PROOF[proof],
                boxes=boxes,
                seconds=seconds,
                progress=None if line is None else line.proving,
            )
        assert eq.certificate is not None
        witness = _witness(eq.certificate)
        if as_json:
            recheck = _recheck(file, given.certificate, eq.certificate)
            console.print_json(eq, recheck=recheck, **({"witness": witness} if witness else {}))
        elif not quiet:
            stats = {name: value for name, value in eq.stats.items() if name != "tried"}
            console.show(replace(eq, stats=stats))  # what others were worth, it only claims
            said = list(_said(given, eq, proof == "yes", tolerance is None))
            if said:
                typer.echo()
                console.show(Table.statements(said))
        if output is not None:
            eq.save(output)
        if not eq.is_equilibrium:
            console.complain(f"{eq.game}: the point is {eq.certificate}")
            unknown = eq.certificate.verdict == "unknown"
            raise typer.Exit(console.Code.UNKNOWN if unknown else console.Code.NOT_EQUILIBRIUM)


# -- what is measured, and on what terms -------------------------------------------------------


def _check_options(proof: str, boxes: int | None, seconds: float | None) -> None:
    if proof not in PROOF:
        raise OptionError(f"--proof {proof}; expected auto, yes or no")
    if boxes is not None and boxes < 1:
        raise OptionError(f"--boxes {boxes}; expected a whole number of at least 1")
    if seconds is not None and not seconds > 0:
        raise OptionError(f"--seconds {seconds}; expected a positive number of seconds")


def _read(file: Path) -> tuple[Equilibrium, dict[str, Any]]:
    """The point, with whatever is said of it, and the terms that this is said on."""
    if not file.is_file():
        raise GameError(
            f"there is no file {file}; expected what stackel solve --save wrote, or a market file "
            "with a table [point]"
        )
    if not read_text(file).lstrip().startswith("{"):  # no TOML does
        point = read_point(file)
        with located(file):
            eq = _settled(point)
        known = ("anticipation", "tolerance")
        return eq, {name: v for name, v in point.solve_options.items() if name in known}
    eq = Equilibrium.load(file)
    with located(file):
        check_finite("leader_actions", eq.leader_actions)
        check_finite("follower_actions", eq.follower_actions)
        claim = eq.certificate
        if claim is None:
            return eq, {"anticipation": eq.anticipation}
        if not (isinstance(claim, Certificate) and claim.verdict in get_args(Verdict)):
            raise GameError(
                f"certificate = {claim!r}; expected one whose verdict is "
                f"{', '.join(get_args(Verdict))}"
            )
    return eq, {"anticipation": claim.anticipation, "tolerance": claim.tolerance}


def _settled(point: PointFile) -> Equilibrium:
    """A stated point; its followers settled where the file leaves them out."""
    check(point.game)
    eq = Equilibrium(point.game, "hand", point.leaders, np.empty(0), Status.GIVEN)
    if point.followers is not None:
        return replace(eq, follower_actions=point.followers)
    calculus = trace(point.game)
    with np.errstate(all="ignore"):
        answer = settle_best(calculus, point.leaders[None])[0]
    if not answer.converged:
        raise GameError(
            f"[point] leaders = {point.leaders.tolist()}: the followers could not be settled "
            "there; expected leader actions that they have an answer to, within their limits: "
            "state followers = [[...], ...], or other leaders"
        )
    return replace(
        eq,
        follower_actions=answer.y,
        multipliers=calculus.named(answer.lam, answer.mu),
        detail="the followers: their settled answer",
    )


def _terms(file: Path, own: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Anticipation and tolerance: those asked for, else the file's own."""
    asked = {name: value for name, value in asked.items() if value is not None}
    _check_terms(asked)
    with located(file):
        rest = {name: value for name, value in own.items() if name not in asked}
        _check_terms(rest, "; --tolerance states another")
    return {**own, **asked}


def _check_terms(terms: Mapping[str, Any], way_out: str = "") -> None:
    check_anticipation(terms.get("anticipation", "equilibrium"))
    tolerance = terms.get("tolerance", TOLERANCE)
    if not (isinstance(tolerance, (int, float)) and 0 < tolerance < 1):
        raise OptionError(f"tolerance = {tolerance!r}; expected a number between 0 and 1{way_out}")


# -- what is said of it ------------------------------------------------------------------------


def _witness(found: Certificate) -> dict[str, Any]:
    """The move that refutes a point, for anybody to check by the game's own formulas, or {}."""
    move = found.deviation
    if move is None:
        return {}
    out = {
        "player": move.player,
        "index": move.index,
        "action": np.asarray(move.action).tolist(),
        "answer": None if move.answer is None else move.answer.tolist(),
        "payoff": move.payoff,
        "reached": move.reached,
    }
    return {name: tables.finite(value) for name, value in out.items()}


def _recheck(file: Path, claim: Certificate | None, found: Certificate) -> dict[str, Any]:
    """What the file says, and whether it agrees; None where that cannot be said."""
    known = claim is not None and "unknown" not in (claim.verdict, found.verdict)
    known = known and not _unproved(claim, found)
    return {
        "file": str(file),
        "says": None if claim is None else claim.verdict,
        "agrees": claim.holds == found.holds if claim is not None and known else None,
    }


def _said(
    given: Equilibrium, eq: Equilibrium, proof: bool, own_tolerance: bool
) -> Iterator[tuple[str, str]]:
    """What there is to say beside the certificate, in words.

    Args:
        given: the point as the file has it.
        eq: the same, measured.
        proof: whether one was insisted on.
        own_tolerance: whether the tolerance is the file's.

    Yields:
        pairs of a label and a text.
    """
    claim, found = given.certificate, eq.certificate
    assert found is not None
    if found.deviation is not None:
        move = found.deviation
        action = np.array2string(np.asarray(move.action), precision=9, separator=", ", threshold=8)
        yield (
            "witness",
            (
                f"{move.player} {move.index} at {action} has {move.reached:.9g}, here it has "
                f"{move.payoff:.9g}; --json has everybody's actions then"
            ),
        )
    if proof and found.proof is None and found.anticipation != "equilibrium":
        yield "proof", (
            "none: there are proofs of the followers' new equilibrium only, not of anticipation "
            f"{found.anticipation!r}"
        )  # fmt: skip
    if own_tolerance and found.tolerance != TOLERANCE:
        yield "tolerance", f"{found.tolerance:g}, as in the file"
    if given.status is Status.GIVEN and claim is None:
        return
    yield "the file", _agreement(claim, found)
    yield "as saved", "status, times, history and multipliers: not re-checked, nor used"
    if given.others:
        yield "as saved", f"{len(given.others)} further equilibria: not re-checked"


def _unproved(claim: Certificate | None, found: Certificate) -> bool:
    """Whether a file promises a proof of a point that holds, and there was none this time."""
    return (
        claim is not None and claim.verdict == "proved" and found.verdict in ("searched", "local")
    )


def _agreement(claim: Certificate | None, found: Certificate) -> str:
    if claim is None:
        return "has no certificate to compare with"
    if claim.verdict == found.verdict:
        return f"agrees: it says {claim.verdict} too"
    if claim.verdict == "unknown":
        return f"could not judge the point; measured anew, {found.verdict}"
    if found.verdict == "unknown":
        return f"says {claim.verdict}, which could not be confirmed"
    if _unproved(claim, found):
        return f"says proved, which was not confirmed; measured anew, {found.verdict}"
    if claim.holds == found.holds:
        return f"agrees: it says {claim.verdict}; measured anew, {found.verdict}"
    return f"disagrees: it says {claim.verdict}; measured anew, {found.verdict}"
