"""What can go wrong, each error naming the field, the value, what was expected and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class StackelError(Exception):
    """Base of every error that this library raises on purpose."""


class GameError(StackelError, ValueError):
    """A market that cannot be: wrong shape, wrong value, a formula that does not differentiate."""


class OptionError(StackelError, ValueError):
    """An unknown backend, an unknown option, or an option's value that makes no sense."""


class InfeasibleError(GameError):
    """No follower action meets the followers' limits."""


class NoEquilibriumError(GameError):
    """The followers have no equilibrium to settle at, known before any iteration."""


class Refusal(StackelError):
    """A backend declines a game.

    Attributes:
        backend: the backend's name.
        game: the game in a few words.
        reasons: why it declines, one sentence each.
        alternatives: names of the backends that accept the game.
    """

    def __init__(
        self, backend: str, game: str, reasons: Sequence[str], alternatives: Sequence[str] = ()
    ) -> None:
        self.backend = backend
        self.game = game
        self.reasons = list(reasons)
        self.alternatives = list(alternatives)
        lines = [f"backend {backend!r} cannot solve {game}:"]
        lines += [f"  - {reason}" for reason in self.reasons]
        lines += [f"backends that can: {', '.join(self.alternatives) or 'none'}"]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type, tuple[str, str, list[str], list[str]]]:
        return type(self), (self.backend, self.game, self.reasons, self.alternatives)


def unknown(kind: str, name: object, known: Sequence[str] | Mapping[str, object]) -> OptionError:
    """An :class:`OptionError` for a name that is not on the list, with the nearest one that is.

    Args:
        kind: what it should be the name of, e.g. ``"backend"``.
        name: what was given.
        known: the list.
    """
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return OptionError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})")
