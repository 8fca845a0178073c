"""``compare``: several backends on one game."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stackel import backend as registry
from stackel.backend import Backend
from stackel.certificate.certify import NOT_TRIED, certify_further
from stackel.errors import OptionError, Refusal, StackelError
from stackel.game.game import Game
from stackel.results.comparison import AGREE, Comparison
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Status
from stackel.tasks.attempts import BROKEN, same
from stackel.tasks.checks import check
from stackel.tasks.solve import grace, solve

INTERRUPT = "an interrupt"


def compare(
    game: Game,
    backends: Sequence[str | Backend] | None = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    agree: float = AGREE,
    progress: bool = False,
    **common: Any,
) -> Comparison:
    """Solve one game by several backends, and hold every answer against the others.

    What one backend found, every leader of another's answer tries: an answer whose own search
    overlooked it is refuted by it. One backend that declines, fails or ends without an equilibrium
    never loses the others' answers.

    Args:
        game: the market.
        backends: names or configured backends; default every registered one that accepts,
            learners aside.
        options: options by backend name, e.g. ``{"admm": {"penalty": 5}}``.
        agree: relative distance up to which two answers are the same.
        progress: show a progress line for each.
        **common: for every backend: ``anticipation``, ``start``, ``seed``, ``time_limit``,
            ``tolerance``, ``restarts``, ``proof``.

    Raises:
        GameError: the market itself cannot be.
        OptionError: an unknown backend or option.
        KeyboardInterrupt: there was no answer yet.
    """
    check(game)
    if {"throw", "certificate"} & set(common):
        raise OptionError("compare always certifies and never throws; drop throw and certificate")
    everyone = [name for name in registry.names() if name not in registry.LEARNERS]
    asked = list(everyone if backends is None else backends)
    if not asked:
        raise OptionError("backends is empty; expected names, or None for all that accept")
    options = options or {}
    labels = [b if isinstance(b, str) else b.name for b in asked]
    stray = sorted(set(options) - set(labels))
    if stray:
        raise OptionError(f"options for {', '.join(stray)}, which {', '.join(labels)} leave out")
    for label, one in zip(labels, asked, strict=True):
        if isinstance(one, str) and one not in registry.names() and one != "auto":
            registry.find(one)  # raises, with the names that are known
        if options.get(label):
            registry.make(one, options[label])
    answers: dict[str, Equilibrium] = {}
    declined: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    left: dict[str, float | None] = {}
    limit, cut = common.get("time_limit"), ""
    for k, (label, one) in enumerate(zip(labels, asked, strict=True)):
        key = label if label not in labels[:k] else f"{label} #{labels[:k].count(label) + 1}"
        began = time.perf_counter()
        try:
            answers[key] = solve(
                game, one, throw=False, progress=progress, **common, **options.get(label, {})
            )
        except Refusal as refusal:
            declined[key] = refusal.reasons
        except NotConverged as error:
            answers[key] = error.result
        except OptionError:
            raise
        except (StackelError, ArithmeticError, RuntimeError, ValueError, ImportError) as error:
            failed[key] = f"{type(error).__name__}: {error}"
        except KeyboardInterrupt:
            if not answers:
                raise
            failed[key] = cut = INTERRUPT
        if limit is not None:
            left[key] = max(limit + grace(limit) - (time.perf_counter() - began), 0.0)
        if key in answers and answers[key].status is Status.INTERRUPTED:
            cut = INTERRUPT
        if cut:
            break
    _try_each_other(answers, left, cut)
    return Comparison(game, answers, declined, failed, agree)


def _try_each_other(
    answers: dict[str, Equilibrium], left: Mapping[str, float | None], cut: str
) -> None:
    """Hold every answer that is not refuted against the others' leader actions, in place.

    Args:
        answers: by backend.
        left: of the time limit, by backend [s].
        cut: what ended the solves before their end, or ``""``: then nothing further is begun.
    """
    for key, eq in answers.items():
        x, known = eq.leader_actions, eq.certificate
        moves = [other.leader_actions for other in answers.values()]
        moves = [move for move in moves if not same(eq.game, x, move)]
        if known is None or known.verdict == "refuted" or not moves:
            continue
        why = cut
        if not cut:
            try:
                y, seconds = eq.follower_actions, left.get(key)
                known = certify_further(eq.game, x, y, known, moves, seconds=seconds)
            except KeyboardInterrupt:
                why = cut = INTERRUPT
            except BROKEN as error:
                why = f"{type(error).__name__}: {error}"
        notes = (*known.notes, NOT_TRIED.format(why)) if why else known.notes
        answers[key] = replace(eq, certificate=replace(known, notes=notes))
