"""A sweep's directory: every finished cell is on disk at once, and damage is found.

``sweep.json`` says what the sweep is; ``cells.log`` has one line for each finished cell: a
checksum, the cell's number and what is kept of its answer. One log that is only appended to, and
not a file for each cell: an append is one system call where a new file takes an open, a rename and
a directory entry, and ten thousand of them are a burden to every backup. A kill can damage nothing
but the log's end. A line break before and after each line keeps what befalls one line from its
neighbours. The checksum is keyed with the sweep's fingerprint: a line of another sweep does not
count.

On disk means handed to the operating system, so that a kill loses nothing. Once a second and at
the end it is forced out of its caches as well, against a loss of power.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stackel.errors import OptionError

FORMAT = 1
MANIFEST, PART, LOG = "sweep.json", "sweep.json.part", "cells.log"
SYNC = 1.0
"""Seconds between two times that the log is forced to the disk."""

SHOWN = 60
"""Characters of a value in a message."""

logger = logging.getLogger(__name__)


class Store:
    """The directory of one sweep.

    Args:
        path: the directory, made if there is none.
        fingerprint: what the sweep is.

    Raises:
        OptionError: it is no directory, holds other things, or another sweep.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: Mapping[str, Any]) -> None:
        self.path = Path(path)
        stated = {"format": FORMAT, **fingerprint}
        self._key = _key(stated)
        if self.path.exists() and not self.path.is_dir():
            raise OptionError(f"resume = {str(path)!r} is a file; expected a directory")
        self.path.mkdir(parents=True, exist_ok=True)
        self._claim(stated)
        self._synced = time.monotonic()
        self._log = (self.path / LOG).open("ab")

    def read(self) -> dict[int, str]:
        """What is kept of each finished cell, by number; without those whose line is damaged."""
        found: dict[int, str] = {}
        damaged = 0
        for line in (self.path / LOG).read_bytes().split(b"\n"):
            if not line:
                continue
            checksum, _, body = line.partition(b" ")
            if checksum.decode("ascii", "replace") != self._checksum(body):
                damaged += 1
                continue
            cell, _, text = body.decode().partition(" ")
            found[int(cell)] = text
        if damaged:
            logger.warning(
                "%s: %d lines are damaged and do not count; their cells are solved again",
                self.path / LOG,
                damaged,
            )
        return found

    def append(self, cells: Iterable[tuple[int, str]]) -> None:
        """Write finished cells.

        Args:
            cells: each as its number and JSON text without line breaks.
        """
        lines = []
        for cell, text in cells:
            body = f"{cell} {text}".encode()
            lines.append(b"\n%s %s\n" % (self._checksum(body).encode(), body))
        self._log.write(b"".join(lines))
        self._log.flush()
        if time.monotonic() - self._synced > SYNC:
            self._sync()

    def close(self) -> None:
        """Force everything to the disk."""
        self._sync()
        self._log.close()

    def _sync(self) -> None:
        os.fsync(self._log.fileno())
        self._synced = time.monotonic()

    def _checksum(self, body: bytes) -> str:
        return hashlib.blake2b(body, digest_size=8, key=self._key).hexdigest()

    def _claim(self, stated: Mapping[str, Any]) -> None:
        """Make the directory this sweep's, or find that it is.

        Raises:
            OptionError: it holds other things, or another sweep.
        """
        manifest = self.path / MANIFEST
        if manifest.exists():
            before = _read_manifest(manifest)
            if before is not None:
                changed = _differences(before, stated)
                if changed:
                    raise OptionError(
                        f"resume = {str(self.path)!r} holds another sweep:\n"
                        + "\n".join(f"  {line}" for line in changed)
                        + "\ngive another directory, or delete this one to start anew"
                    )
                return
        else:
            others = [p.name for p in self.path.iterdir() if p.name not in (PART, LOG)]
            if others:
                raise OptionError(
                    f"resume = {str(self.path)!r} holds {min(others)!r} and no sweep; expected an "
                    "empty or a new directory"
                )
        part = self.path / PART
        with part.open("w", encoding="utf-8") as file:
            json.dump({"key": self._key.hex(), "sweep": stated}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(manifest)


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """None if it is damaged: it is then written anew, and the log's checksums decide."""
    with suppress(ValueError, LookupError, TypeError):
        found = json.loads(path.read_text(encoding="utf-8"))
        stated = found["sweep"]
        if isinstance(stated, dict) and found["key"] == _key(stated).hex():
            return stated
    logger.warning("%s is damaged and is written anew", path)
    return None


def _key(stated: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(json.dumps(stated).encode(), digest_size=32).digest()


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> list[str]:
    """What has changed, one line each."""
    out: list[str] = []
    for name in [*before, *(n for n in now if n not in before)]:
        values = [side.get(name) for side in (before, now)]
        texts = list(map(json.dumps, values))
        if texts[0] == texts[1]:
            continue
        if name == "grid" and not at:  # not a grid's parameter of that name
            out += _differences(values[0] or {}, values[1] or {}, "grid.")
        elif name in ("make_game", "measure") and not at and None not in values:
            out.append(f"{at}{name}: {_code_change(*values)}")
        else:
            old = _short(texts[0]) if name in before else "absent"
            new = _short(texts[1]) if name in now else "absent"
            out.append(f"{at}{name} was {old}, is {new}")
    if not out and at == "" and json.dumps(before) != json.dumps(now):
        out.append("the order of the grid's parameters")
    return out


def _code_change(before: Any, now: Any) -> str:
    names = [side.get("name") if isinstance(side, dict) else None for side in (before, now)]
    if names[0] != names[1]:
        return f"was {names[0]}, is {names[1]}"
    return "its source, or what it uses, has changed"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
