"""What is made of an object once, and kept for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """A base for objects that keep what is derived from them; pickled and copied without it."""

    def once(self, make: Callable[..., T], *arguments: Any) -> T:
        """``make(self, *arguments)``, made at the first call.

        Two threads that ask at the same time may both make it; both get the same one.

        Args:
            make: a function; with the arguments it is what the thing is kept under.
            *arguments: hashable.
        """
        made = self.__dict__.setdefault("_made", {})
        key = (make, *arguments)
        if key not in made:
            made.setdefault(key, make(self, *arguments))
        return made[key]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_made"}
