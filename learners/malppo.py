"""MALPPO: decentralised recurrent PPO for every leader and every follower of a market.

Algorithm 2 of the vehicular-twins paper, with what it takes to reach the equilibrium:

- *Announced prices.* A follower sees this round's leader actions before it acts. What a leader
  climbs is then the total derivative of its payoff, the followers' reaction included, which is
  the Stackelberg one. If followers see past rounds only (``observe="history"``, as printed), a
  round is a simultaneous game: leaders climb their own partial derivatives, up to the price cap.
- *Slow leaders.* Leaders learn several times slower, so that the followers' answers are near their
  best replies all along (a two-timescale scheme: Fiez, Chasnov and Ratliff, ICML 2020).
- *A floor under the leaders' exploration.* The reaction that a leader anticipates is learned from
  how the followers answer to prices around its own; if the leader stops moving, they forget.
- *No discounting* (gamma = 0): a round changes nothing in the next one.
- *Mirrored exploration* (:mod:`stackel.learners.noise`): others' noise cancels over the copies.

Proximal policy optimisation: Schulman et al., arXiv:1707.06347; generalised advantage estimation:
Schulman et al., arXiv:1506.02438, in place of (23), which bootstraps with the wrong state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from stackel.errors import OptionError
from stackel.game.game import Game
from stackel.learners.bounds_and_rewards import Market, scaled
from stackel.learners.checkpoints import Checkpoint
from stackel.learners.many_copies import Experience, Table
from stackel.learners.networks import Networks, State, clip_gradients
from stackel.learners.options import Options
from stackel.learners.records import Recorder
from stackel.learners.scripted import BestSide, RandomSide
from stackel.run import Point, Run, Status, check_time
from stackel.types import Array

REACH = 1.25
"""Policies' means lie within this, actions within 1: a corner can be played, and left again."""


class Side:
    """The players of one side: an actor and a critic each, and how they learn.

    Args:
        settings, rng: the training's.
        players, decisions, features: how many there are, what each decides, what each sees.

    Attributes:
        actor, critic: their networks.
        spread: standard deviation of the scaled actions, (players, 1, decisions).
    """

    PARTS = ("actor", "critic", "optimizer")
    NUMBERS = ("mean", "size", "averaged", "counted")

    def __init__(
        self, settings: Options, players: int, decisions: int, features: int, rng: torch.Generator
    ) -> None:
        device = rng.device
        self.settings, self.rng = settings, rng
        size = {"hidden": settings.hidden, "cells": settings.cells, "rng": rng}
        critics, values = (1, players) if settings.central_critic else (players, 1)
        self.actor = Networks(players, features, decisions, gain=0.01, **size)
        self.critic = Networks(critics, features, values, **size)
        first = torch.full((players, 1, decisions), math.log(settings.spread), device=device)
        self.log_spread = torch.nn.Parameter(first)
        self.floor = settings.spread
        self.mean = torch.zeros(players, 1, 1, device=device)  # of the returns so far,
        self.size = torch.zeros(players, 1, 1, device=device)  # and their standard deviation
        self.averaged: list[Tensor] = []  # the actor's parameters, averaged over the last updates,
        self.counted = 0  # of which there were so many
        self.groups = [[*self.actor.parameters(), self.log_spread], list(self.critic.parameters())]
        self.optimizer = torch.optim.Adam([p for g in self.groups for p in g], eps=1e-5, fused=True)

    # -- acting --------------------------------------------------------------------------------

    def begin(self, batch: int) -> State | None:
        return None if self.settings.window else self.actor.start(batch)

    @property
    def spread(self) -> Tensor:
        if self.settings.learn_spread:
            return self.log_spread.exp().clamp(min=self.floor)
        return torch.full_like(self.log_spread, self.floor, requires_grad=False)

    @torch.no_grad()
    def act(self, seen: Tensor, memory: Any, noise: Tensor | None) -> tuple[Tensor, Tensor, Any]:
        if memory is None:  # a window: remembered anew from its first round
            out = self.actor.windows(seen, len(seen))[:, 0]
        else:
            out, memory = self.actor.step(seen[-1], memory)
        mean = bounded(out)
        if noise is None:
            return mean, mean.new_zeros(mean.shape[:-1]), memory
        spread = self.spread
        action = mean + spread * noise
        return action, log_density(action, mean, spread), memory

    # -- learning ------------------------------------------------------------------------------

    def outputs(self, networks: Networks, seen: Tensor) -> Tensor:
        """A network's outputs (players, rounds, batch, outputs) for the rounds of an experience."""
        window = self.settings.window
        if window:
            return networks.windows(seen, window)
        return networks(seen, networks.start(seen.shape[1]))

    def values(self, seen: Tensor) -> Tensor:
        """Normalised values (players, rounds, batch)."""
        out = self.outputs(self.critic, seen)
        return out[0].movedim(-1, 0) if self.settings.central_critic else out[..., 0]

    @torch.no_grad()
    def advantages(self, e: Experience) -> tuple[Tensor, Tensor]:
        """Normalised advantages and the critics' targets, each (players, T, B)."""
        s = self.settings
        if not self.size.any():  # the first rewards set the scale
            self._learn_scale(e.rewards, 1.0)
        values = self.values(e.seen) * self.size + self.mean
        delta = e.rewards + s.gamma * values[:, 1:] - values[:, :-1]
        advantage = torch.empty_like(delta)
        ahead = torch.zeros_like(delta[:, 0])
        for t in reversed(range(delta.shape[1])):
            ahead = delta[:, t] + s.gamma * s.trace * ahead
            advantage[:, t] = ahead
        returns = advantage + values[:, :-1]
        self._learn_scale(returns, 0.05)
        spread, mean = torch.std_mean(advantage, dim=(1, 2), keepdim=True)
        return (advantage - mean) / (spread + 1e-8), (returns - self.mean) / self.size

    def _learn_scale(self, returns: Tensor, share: float) -> None:
        size, mean = torch.std_mean(returns, dim=(1, 2), keepdim=True)
        self.mean = torch.lerp(self.mean, mean, share)
        self.size = torch.lerp(self.size, size + 1e-8, share)

    @torch.no_grad()
    def average(self) -> None:
        """Count the actor, as it is, into the average (Polyak and Juditsky 1992)."""
        self.averaged = self.averaged or [p.clone() for p in self.actor.parameters()]
        self.counted += 1
        for old, new in zip(self.averaged, self.actor.parameters(), strict=True):
            old.lerp_(new, 1.0 / self.counted)

    @torch.no_grad()
    def act_on_average(self) -> None:
        """Act by the averaged actor, if there is one, from now on."""
        for p, value in zip(self.actor.parameters(), self.averaged, strict=bool(self.counted)):
            p.copy_(value)

    def begin_at(self, action: Tensor) -> None:
        """Let the policies' first means be scaled actions (players, decisions)."""
        inner = (action / REACH).clamp(-0.8, 0.8)
        with torch.no_grad():
            self.actor.out_bias.copy_(REACH * torch.atanh(inner)[:, None])

    def learn(self, e: Experience, rate: float) -> dict[str, float]:
        """Several epochs of clipped policy ascent and value regression, (21) to (27).

        Raises:
            Stop: the time is up.
        """
        s = self.settings
        advantages, targets = self.advantages(e)
        for group in self.optimizer.param_groups:
            group["lr"] = float(rate)
        copies = e.rewards.shape[2]
        kl: list[Tensor] = []
        clipped: list[Tensor] = []
        for _ in range(s.epochs):
            order = torch.randperm(copies, generator=self.rng, device=self.rng.device)
            for some in order.chunk(s.minibatches):
                check_time()
                seen = e.seen[:-1, some]
                spread = self.spread
                mean = bounded(self.outputs(self.actor, seen))
                log = log_density(e.actions[:, :, some], mean, spread)
                change = log - e.log_probability[:, :, some]
                ratio = change.exp()
                gain = advantages[:, :, some]
                bold = torch.minimum(ratio * gain, ratio.clamp(1 - s.clip, 1 + s.clip) * gain)
                value = self.values(seen)
                error = (value - targets[:, :, some]).square()
                # Means over a player's rounds, summed over players: each has its own loss.
                loss = (s.value_weight * error - bold).mean(dim=(1, 2)).sum()
                loss = loss - s.entropy_weight * spread.log().sum()
                self.optimizer.zero_grad()
                loss.backward()
                for group in self.groups:
                    clip_gradients(group, s.gradient_clip)
                self.optimizer.step()
                with torch.no_grad():
                    kl.append((ratio - 1 - change).mean())
                    clipped.append(((ratio - 1).abs() > s.clip).float().mean())
        return {"kl": float(torch.stack(kl).mean()), "clipped": float(torch.stack(clipped).mean())}

    # -- checkpoints ---------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        numbers = {name: getattr(self, name) for name in self.NUMBERS}
        return {**parts, **numbers, "log_spread": self.log_spread.detach()}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        for name in self.PARTS:
            getattr(self, name).load_state_dict(state[name])
        for name in self.NUMBERS:
            setattr(self, name, state[name])
        self.log_spread.copy_(state["log_spread"])


def bounded(out: Tensor) -> Tensor:
    """Outputs as means of scaled actions: nearly themselves inside, never far outside."""
    return REACH * torch.tanh(out / REACH)


def log_density(action: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Of unclipped Gaussian actions, summed over a player's decisions, up to a constant.

    Args:
        action, mean: scaled, (players, ..., decisions).
        spread: standard deviations (players, 1, decisions).
    """
    while spread.dim() < mean.dim():
        spread = spread.unsqueeze(1)
    return -(((action - mean) / spread).square() / 2 + spread.log()).sum(dim=-1)


class Training:
    """One training run, from its first episode or from a checkpoint's.

    Args:
        settings, game, run: what the backend was asked to do.
    """

    PARTS = ("leaders", "followers", "table")

    def __init__(self, settings: Options, game: Game, run: Run) -> None:
        self.settings, self.run = settings, run
        device = usable(settings.device)
        self.rng = torch.Generator(device).manual_seed(int(run.rng.integers(2**62)))
        self.table = Table(Market(game, settings.follower_high), settings, self.rng)
        self.leaders = self._side(settings.leaders, 0, *game.leader_shape[::-1])
        self.followers = self._side(settings.followers, 1, *game.follower_shape)
        self.sides = self.leaders, self.followers
        self.learning = [side for side in self.sides if isinstance(side, Side)]
        if run.start is not None and isinstance(self.leaders, Side):
            m = self.table.market
            first = scaled(run.start, m.leader_low, m.leader_high).T
            self.leaders.begin_at(torch.as_tensor(first, dtype=torch.float32, device=device))
        self.checkpoint = Checkpoint(settings, game)
        self.recorder = Recorder(settings, game, run)
        self.updates = 0

    def _side(self, how: str, side: int, players: int, decisions: int) -> Any:
        if how == "learn":
            features = self.table.features[side]
            return Side(self.settings, players, decisions, features, self.rng)
        if how == "best":
            return BestSide(self.table.market)
        return RandomSide(players, decisions, self.rng)

    def train(self) -> Point:
        """Train for all episodes, and give the policies' play without noise."""
        s = self.settings
        every = s.update_every or s.rounds
        in_episode = s.rounds // every
        self.resume()
        total = s.iterations()
        with self.recorder, one_thread():
            while self.updates < total:
                if self.updates % in_episode == 0:
                    self.table.reset(*self.sides)
                done = self.updates / total
                self.update(every, done)
                self.updates += 1
                if self.updates == total or self.updates % s.checkpoint_every == 0:
                    self.checkpoint.save(self.state)
        x, y = self.answer()
        self.run.keep(x, y)
        stats = {"updates": self.updates, "episodes": self.updates // in_episode}
        return Point(x, y, Status.TRAINED, stats=stats)

    def update(self, rounds: int, done: float) -> None:
        """Play some rounds and learn from them."""
        s = self.settings
        wide = falling(done, s.head_start, s.anneal)
        rate = s.rate * (s.final_rate + (1.0 - s.final_rate) * falling(done, s.hold, 1.0))
        for side, last in zip(self.sides, (s.final_leader_spread, s.final_spread), strict=True):
            side.floor = last * (s.spread / last) ** wide
        played = self.table.play(*self.sides, rounds)
        slow = s.rate * s.leader_rate if done >= s.head_start else 0.0
        lessons = zip(self.sides, played, (slow, rate), strict=True)
        learned = [side.learn(experience, step) for side, experience, step in lessons]
        if done >= 1.0 - s.average:
            for side in self.learning:
                side.average()
        self.recorder.record(self.table, self.sides, played, learned)

    def answer(self) -> tuple[Array, Array]:
        """What policies do without noise in the second half of an episode, (d, J) and (I, n).

        The end of the training: averaged actors act, and random numbers begin anew, so that the
        rounds before the first are the same for all.
        """
        for side in self.learning:
            side.act_on_average()
        self.rng.manual_seed(0)
        self.table.reset(*self.sides)
        played = self.table.play(*self.sides, self.settings.rounds, noise=False)
        last = -max(1, self.settings.rounds // 2)
        means = (e.actions[:, last:].clamp(-1.0, 1.0).mean(dim=(1, 2)) for e in played)
        return self.table.units(*means)

    # -- checkpoints ---------------------------------------------------------------------------

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = self.checkpoint.load(self.rng.device)
        if state is None:
            return
        self.updates = state["updates"]
        self.rng.set_state(state["rng"].cpu())
        for part in self.PARTS:
            getattr(self, part).restore(state[part])
        self.run.history[:] = self.recorder.read(state["history"])

    def state(self) -> dict[str, Any]:
        """All that the next update depends on, and the history so far."""
        return {
            "updates": self.updates,
            "rng": self.rng.get_state(),
            "history": self.recorder.written(self.run.history),
            **{part: getattr(self, part).state() for part in self.PARTS},
        }


def falling(done: float, start: float, end: float) -> float:
    """1 until the start, 0 from the end on, a straight line between.

    Args:
        done, start, end: shares of the training.
    """
    return 1.0 if done < start else max(0.0, (end - done) / max(end - start, 1e-9))


@contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices are multiplied faster by one thread than by several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable(device: str) -> torch.device:
    """The device of that name.

    Raises:
        OptionError: there is no such device here.
    """
    try:
        found = torch.device(device)
    except RuntimeError:
        raise OptionError(f'option device = {device!r}; expected "cpu" or "cuda"') from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            f"option device = {device!r}, but this torch finds no CUDA device; expected "
            'device="cpu", or a build of torch with CUDA and a driver'
        )
    return found
