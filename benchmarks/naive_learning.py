"""Multi-agent PPO as one writes it for one paper: a list of agents, a loop for everything.

Every agent has an actor and a critic of its own, ``nn.LSTM`` between two MLPs, each with an Adam of
its own; one market; a window of past rounds is read anew for every action and in every epoch. It
serves as the yardstick in :mod:`benchmarks.learning`, with the settings of ``preset="paper"``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from stackel.learners.bounds_and_rewards import Market

WINDOW, ROUNDS, EPOCHS = 3, 20, 5
GAMMA, TRACE, CLIP, RATE, MOST = 0.95, 0.95, 0.2, 1e-4, 0.5


class Network(nn.Module):
    """MLP, LSTM, MLP; the output after a window's last round."""

    def __init__(self, inputs: int, outputs: int, hidden: int = 128, cells: int = 64) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.lstm = nn.LSTM(hidden, cells, num_layers=2, batch_first=True)
        self.last = nn.Sequential(nn.Linear(cells, cells), nn.ReLU(), nn.Linear(cells, outputs))

    def forward(self, windows: Tensor) -> Tensor:
        remembered, _ = self.lstm(self.first(windows))
        return self.last(remembered[:, -1])


class Agent:
    def __init__(self, inputs: int, decisions: int) -> None:
        self.actor, self.critic = Network(inputs, decisions), Network(inputs, 1)
        self.log_spread = nn.Parameter(torch.full((decisions,), -1.0))
        self.actor_parameters = [*self.actor.parameters(), self.log_spread]
        self.actor_adam = torch.optim.Adam(self.actor_parameters, lr=RATE)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=RATE)

    def policy(self, windows: Tensor) -> Normal:
        return Normal(self.actor(windows), self.log_spread.exp())

    @torch.no_grad()
    def act(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        policy = self.policy(window[None])
        action = policy.sample()
        return action[0], policy.log_prob(action).sum(), self.critic(window[None])[0, 0]

    def learn(
        self, windows: Tensor, actions: Tensor, logs: Tensor, rewards: Tensor, values: Tensor
    ) -> None:
        """Values are those of the rounds played and of the one that comes after."""
        advantages, ahead = torch.zeros(len(rewards)), torch.zeros(())
        for t in reversed(range(len(rewards))):
            delta = rewards[t] + GAMMA * values[t + 1] - values[t]
            ahead = delta + GAMMA * TRACE * ahead
            advantages[t] = ahead
        returns = advantages + values[:-1]
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for _ in range(EPOCHS):
            log = self.policy(windows).log_prob(actions).sum(dim=-1)
            ratio = (log - logs).exp()
            bold = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
            self.actor_adam.zero_grad()
            (-bold.mean()).backward()
            nn.utils.clip_grad_norm_(self.actor_parameters, MOST)
            self.actor_adam.step()
            error = (self.critic(windows)[:, 0] - returns).square().mean()
            self.critic_adam.zero_grad()
            error.backward()
            nn.utils.clip_grad_norm_(self.critic.parameters(), MOST)
            self.critic_adam.step()


class Training:
    """One market whose agents see the last rounds' actions of everybody."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.leaders = market.leader_low.T.shape  # (players, decisions)
        self.followers = market.follower_low.shape
        sizes = [self.leaders[1]] * self.leaders[0] + [self.followers[1]] * self.followers[0]
        self.agents = [Agent(sum(sizes), decisions) for decisions in sizes]
        self.seen = [torch.zeros(sum(sizes)) for _ in range(WINDOW)]

    def update(self) -> None:
        """Play some rounds and learn from them."""
        windows = []
        taken: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in self.agents]
        rewards: list[list[float]] = [[] for _ in self.agents]
        for _ in range(ROUNDS):
            window = torch.stack(self.seen[-WINDOW:])
            windows.append(window)
            actions = []
            for agent, steps in zip(self.agents, taken, strict=True):
                steps.append(agent.act(window))
                actions.append(steps[-1][0].clamp(-1, 1))
            for earned, reward in zip(rewards, self.rewards(actions), strict=True):
                earned.append(reward)
            self.seen = [*self.seen[1 - WINDOW :], torch.cat(actions)]
        after = torch.stack(self.seen[-WINDOW:])
        for agent, steps, earned in zip(self.agents, taken, rewards, strict=True):
            chosen, logs, values = (torch.stack(part) for part in zip(*steps, strict=True))
            with torch.no_grad():
                values = torch.cat([values, agent.critic(after[None])[:, 0]])
            agent.learn(torch.stack(windows), chosen, logs, torch.tensor(earned), values)

    def rewards(self, actions: list[Tensor]) -> list[float]:
        u = np.stack([a.double().numpy() for a in actions[: self.leaders[0]]], axis=1)
        v = np.stack([a.double().numpy() for a in actions[self.leaders[0] :]])
        market = self.market
        theirs, mine = market.rewards(market.leader_actions(u), market.follower_actions(v))
        return [*theirs.tolist(), *mine.tolist()]
