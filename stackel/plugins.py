"""What lies outside the core, by name: ``module:attribute`` strings and entry points."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from stackel.errors import StackelError, unknown


def load(place: str) -> Any:
    """What stands at ``module:attribute``; importing the module may raise anything.

    Raises:
        ImportError: there is no such module.
        AttributeError: it has no such attribute.
    """
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    """What installed packages offer in a group, by name."""
    return {e.name: e for e in metadata.entry_points(group=group)}


@dataclass(frozen=True)
class Register:
    """Things of one kind by name: built-in ones, and those that other packages add.

    Attributes:
        kind: what errors call one of them.
        group: the entry points' group.
        built_in: name to ``module:attribute``, so that nothing is loaded before it is wanted.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]

    def names(self) -> list[str]:
        """All of them, built-in ones first."""
        return [*self.built_in, *(n for n in entry_points(self.group) if n not in self.built_in)]

    def find(self, name: str, known: Sequence[str] = ()) -> Any:
        """The thing of that name.

        Args:
            name: what is asked for.
            known: names for the error beside the registered ones.

        Raises:
            OptionError: there is none.
            StackelError: a third party's entry point does not load.
            ImportError: a built-in one's module does not import.
        """  # noqa: DOC501 - unknown() makes an OptionError
        if name in self.built_in:
            return load(self.built_in[name])
        entry = entry_points(self.group).get(name)
        if entry is None:
            raise unknown(self.kind, name, [*known, *self.names()])
        try:
            return entry.load()
        except Exception as error:
            raise StackelError(
                f"{self.kind} {name!r} is registered by {entry.value} but does not load: "
                f"{type(error).__name__}: {error}"
            ) from error


def missing_packages(requires: Mapping[str, str]) -> list[str]:
    """Packages that are not installed, each with the command that installs it.

    Args:
        requires: package to the extra of stackel that brings it.
    """
    return [
        f'needs the package {package}: pip install "stackel[{extra}]"'
        for package, extra in requires.items()
        if find_spec(package) is None
    ]
