"""What a training records of every update: the history's rows, and TensorBoard's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.learners.many_copies import Experience, SidePolicy, Table
from stackel.learners.options import Options
from stackel.plugins import missing_packages
from stackel.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SIDES = ("leader", "follower")

NUDGE = 0.05
"""Half the step of the difference quotient that measures a slope, in scaled units."""


class Recorder:
    """Writes a row of the history after every update, and logs it if asked."""

    def __init__(self, settings: Options, game: Game, run: Run) -> None:
        """
        Args:
            settings, game, run: the training's.

        Raises:
            OptionError: TensorBoard was asked for and is not installed, or there is no backend of
                the reference's name.
            StackelError: the reference backend does not solve the market.
        """
        self.run, self.folder = run, settings.tensorboard
        self.writer: SummaryWriter | None = None
        lacking = missing_packages({"tensorboard": "learn"}) if self.folder else []
        if lacking:
            raise OptionError(f"option tensorboard = {self.folder!r} {lacking[0]}")
        self.reference = None
        if settings.reference:
            from stackel.tasks.solve import solve

            self.reference = solve(game, settings.reference)

    def __enter__(self) -> Recorder:
        if self.folder:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(self.folder, purge_step=len(self.run.history))
        return self

    def __exit__(self, *about: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def record(
        self,
        table: Table,
        sides: Sequence[Any],
        experience: Sequence[Experience],
        learned: Sequence[Mapping[str, float]],
    ) -> None:
        """Record an update.

        Args:
            table: where it was played.
            sides: leaders and followers,
            experience: what they went through,
            learned: what they report of their learning.

        Raises:
            Stop: the run's time is up.
        """
        means = [e.actions.clamp(-1.0, 1.0).mean(dim=(1, 2)) for e in experience]
        rewards = [e.rewards.mean(dim=(1, 2)).cpu().double().numpy() for e in experience]
        x, y = table.units(means[0], means[1])
        row: dict[str, Any] = {"total_reward": float(sum(r.sum() for r in rewards))}
        if self.reference is not None:
            here = replace(self.reference, leader_actions=x, follower_actions=y)
            row["distance"] = self.reference.distance(here)
        row |= {"leader_actions": x, "follower_actions": y}
        for name, side, reward, report in zip(SIDES, sides, rewards, learned, strict=True):
            row[f"{name}_rewards"] = reward
            if report:
                row[f"{name}_spread"] = float(side.spread.detach().mean())
            row |= {f"{name}_{key}": value for key, value in report.items()}
        if table.announced and learned[1]:
            row["follower_slope"] = slopes(table, sides[1], means)
        if self.writer is not None:
            self._log(self.writer, row)
        self.run.step(x, y, **row)

    def _log(self, writer: SummaryWriter, row: Mapping[str, Any]) -> None:
        step = len(self.run.history)
        for name, value in row.items():
            for index, number in np.ndenumerate(value):
                writer.add_scalar("/".join([name, *map(str, index)]), float(number), step)

    # -- checkpoints ---------------------------------------------------------------------------

    @staticmethod
    def written(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The history in plain lists and numbers."""
        return [{k: np.asarray(v).tolist() for k, v in row.items()} for row in history]

    @staticmethod
    def read(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The history that :meth:`written` wrote."""
        return [
            {k: np.array(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows
        ]


def slopes(table: Table, followers: SidePolicy, means: Sequence[Tensor]) -> np.ndarray:
    """How all followers' choices together answer each leader decision (d, J), as learned.

    The difference quotient of the policies' means around the mean play, in the game's units: the
    reaction that leaders climb by. At an equilibrium it is the true reaction's.

    Args:
        table: where it was played.
        followers: the followers' policies.
        means: mean scaled actions, leaders' (J, d) and followers' (I, n).
    """
    leading, following = (m.cpu() for m in means)
    x = leading.T.flatten()
    past = table.fading * torch.cat([x, following.flatten()])
    base = torch.cat([x, past])[None].to(table.device)
    moves = torch.eye(len(x), base.shape[1], device=table.device) * NUDGE
    seen = torch.cat([base + moves, base - moves])
    memory = followers.begin(len(seen))
    usual = base.expand(2, len(seen), -1)  # rounds of the mean play, to be remembered
    for t in range(2):
        _, _, memory = followers.act(usual[: t + 1], memory, None)
    answers, _, _ = followers.act(torch.cat([usual, seen[None]]), memory, None)
    m = table.market
    width = torch.as_tensor(m.follower_high - m.follower_low, device=table.device) / 2.0
    total = (answers.clamp(-1.0, 1.0) * width[:, None]).sum(dim=(0, 2)).cpu().double().numpy()
    change = (total[: len(x)] - total[len(x) :]) / (2.0 * NUDGE)
    step = (m.leader_high - m.leader_low) / 2.0
    return change.reshape(step.shape) / np.where(step > 0, step, 1.0)
