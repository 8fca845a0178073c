"""Where the paper's printed equations cannot be meant, and what is computed here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Erratum:
    """One place.

    Attributes:
        place: equation, theorem or section.
        printed: what stands there.
        used: what this library does.
        why: the reason.
    """

    place: str
    printed: str
    used: str
    why: str


ERRATA: tuple[Erratum, ...] = tuple(
    Erratum(**place)
    for place in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["erratum"]
)
"""All of them, from ``errata.toml``, in the order of the paper."""
