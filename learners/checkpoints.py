"""A training's state in a file, so that a run that was killed goes on as if it had not been."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stackel import backend
from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.game.grids import SparseOperator
from stackel.learners.options import Options
from stackel.results.saved import replacing

FORMAT = 1

FREE = ("episodes", "checkpoint", "checkpoint_every", "tensorboard", "reference", "device")
"""Options that may change when a training goes on."""


class Checkpoint:
    """The file that a training keeps its state in, if it was given one."""

    def __init__(self, settings: Options, game: Game) -> None:
        """
        Args:
            settings: the training's; ``settings.checkpoint`` is the file.
            game: the market.

        Raises:
            OptionError: a path where no file can be.
        """
        self.path = Path(settings.checkpoint) if settings.checkpoint else None
        good = self.path is None or (self.path.parent.is_dir() and not self.path.is_dir())
        expected = "a file in a folder that exists"
        backend.check_range("checkpoint", settings.checkpoint, expected, good)
        high = settings.follower_high
        plain = None if high is None else np.asarray(high, dtype=float).tolist()
        options = {**backend.settings(settings), "follower_high": plain}
        for name in ("checkpoint", "tensorboard"):
            options[name] = os.fspath(options[name])
        self.settings = {k: np.asarray(v).tolist() for k, v in options.items()}  # no NumPy scalars
        kept = {k: repr(v) for k, v in self.settings.items() if k not in FREE}
        self.of = {"backend": settings.name, "game": fingerprint(game), **kept}

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write a training's state, if there is a file; it appears whole or not at all."""
        if self.path is None:
            return
        head = {"stackel": FORMAT, "of": self.of, "settings": self.settings}
        with replacing(self.path) as part, part.open("xb") as file:
            torch.save({**head, **state()}, file)
            file.flush()
            os.fsync(file.fileno())

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The state in the file; None if there is no file.

        Args:
            device: where its tensors go.

        Raises:
            OptionError: the file is no checkpoint, or another training's.
        """
        if self.path is None or not self.path.exists():
            return None
        state = read(self.path, device)
        differing = [k for k, v in self.of.items() if state["of"].get(k) != v]
        if differing:
            words = ", ".join(
                "another market" if k == "game" else f"{k} = {state['of'].get(k)}, not {self.of[k]}"
                for k in differing
            )
            raise OptionError(
                f"option checkpoint = {str(self.path)!r} is of another training ({words}); give "
                "another file, or the same market and options"
            )
        return state


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint file's contents; runs nothing that the file says.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        OptionError: no file, or not a checkpoint of this version.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        good = isinstance(state, dict) and state.get("stackel") == FORMAT
    except FileNotFoundError:
        raise OptionError(f"there is no checkpoint {path}") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        good = False
    if not good:
        raise OptionError(
            f"{path} is not a checkpoint of a learner (or it is damaged); give another file, or "
            "delete it to train anew"
        )
    return state


def fingerprint(game: Game) -> str:
    """A digest of a market's class and data, 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{type(game).__module__}:{type(game).__qualname__}".encode())
    for f in fields(game):
        value = getattr(game, f.name)
        if isinstance(value, SparseOperator):
            value = value.toarray()
        plain = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        digest.update(f.name.encode() + plain)
    return digest.hexdigest()[:16]
