"""``compare``: several backends on one game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackel import backend as registry
from stackel.backend import Backend
from stackel.errors import OptionError, Refusal, StackelError
from stackel.game.game import Game
from stackel.results.comparison import AGREE, Comparison
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Status
from stackel.tasks.checks import check
from stackel.tasks.solve import solve


def compare(
    game: Game,
    backends: Sequence[str | Backend] | None = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    agree: float = AGREE,
    progress: bool = False,
    **common: Any,
) -> Comparison:
    """Solve one game by several backends.

    One backend that declines, fails or ends without an equilibrium never loses the others' answers.

    Args:
        game: the market.
        backends: names or configured backends; default every registered one that accepts,
            learners aside.
        options: options by backend name, e.g. ``{"admm": {"penalty": 5}}``.
        agree: relative distance up to which two answers are the same.
        progress: show a progress line for each.
        **common: for every backend: ``anticipation``, ``start``, ``seed``, ``time_limit``,
            ``tolerance``, ``restarts``.

    Raises:
        GameError: the market itself cannot be.
        OptionError: an unknown backend or option.
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
    for k, (label, one) in enumerate(zip(labels, asked, strict=True)):
        key = label if label not in labels[:k] else f"{label} #{labels[:k].count(label) + 1}"
        try:
            eq = solve(
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
        else:
            answers[key] = eq
            if eq.status is Status.INTERRUPTED:
                break
    return Comparison(game, answers, declined, failed, agree)
