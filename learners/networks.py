"""Recurrent networks, one for each player of a side, their parameters stacked.

Every player has networks of its own (nothing is shared, nothing is averaged over players), but
they have the same shape, so parameter w of all players is one tensor (players, ...) and a layer
of all of them is one batched matrix product. Gradients of different players do not mix, since no
output of one player's network depends on another's parameters.

A network is MLP, LSTM, MLP (Section V-B of the vehicular-twins paper): two hidden layers, two
recurrent ones, and an output layer with a hidden one before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from stackel.learners.recurrence import recur
from stackel.run import check_time

State = tuple[Tensor, Tensor]
"""Hidden and cell state of the recurrent layers, each (players, layers, batch, cells)."""


class Networks(nn.Module):
    """The networks of one side's players."""

    def __init__(
        self,
        players: int,
        inputs: int,
        outputs: int,
        *,
        hidden: int = 128,
        cells: int = 64,
        gain: float = 1.0,
        rng: torch.Generator | None = None,
    ) -> None:
        """
        Args:
            players: how many networks.
            inputs, outputs: of each.
            hidden: width of the two hidden layers of the first MLP.
            cells: width of the two recurrent layers and of the last MLP's hidden layer.
            gain: scale of the output layer's initial weights.
            rng: source of the initial weights, on the device where they are to be.
        """
        super().__init__()
        self.players, self.cells = players, cells
        device = rng.device if rng is not None else None

        def weights(rows: int, columns: int, scale: float) -> nn.Parameter:
            w = torch.empty(players, rows, columns, device=device)
            for one in w:
                check_time()  # of thousands of players it takes minutes
                nn.init.orthogonal_(one, scale, generator=rng)
            return nn.Parameter(w)

        def zeros(width: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(players, 1, width, device=device))

        relu = math.sqrt(2.0)  # keeps a signal's size through a rectifier
        widths = (inputs, hidden, hidden)
        self.first = nn.ParameterList([weights(a, b, relu) for a, b in pairwise(widths)])
        self.first_bias = nn.ParameterList([zeros(hidden) for _ in range(2)])
        # Recurrent weights as torch's LSTM lays them out: gates i, f, g, o along the rows.
        self.seen = nn.ParameterList([weights(4 * cells, k, 1.0) for k in (hidden, cells)])
        self.carried = nn.ParameterList([weights(4 * cells, cells, 1.0) for _ in range(2)])
        self.gates = nn.ParameterList([zeros(4 * cells) for _ in range(2)])
        self.last = weights(cells, cells, relu)
        self.last_bias = zeros(cells)
        self.out = weights(cells, outputs, gain)
        self.out_bias = zeros(outputs)
        self.register_buffer("_nothing", torch.zeros(4 * cells, device=device), persistent=False)

    def start(self, batch: int) -> State:
        """The state that nothing was seen in, (players, 2, batch, cells) twice."""
        zero = self.out.new_zeros(self.players, 2, batch, self.cells)
        return zero, zero.clone()

    def forward(self, seen: Tensor, state: State) -> Tensor:
        """Outputs (players, steps, batch, outputs) for whole sequences.

        Args:
            seen: what is seen, the same for all players (steps, batch, inputs), or by each
                (players, steps, batch, inputs).
            state: the state before the first step.
        """
        steps, batch = seen.shape[-3:-1]
        features = self._features(seen.reshape(*seen.shape[:-3], steps * batch, -1))
        features = features.view(self.players, steps, batch, -1)
        # One call a player: the LSTM of the library runs a whole sequence in fused kernels, faster
        # than any batched cell of our own.
        layers = chain.from_iterable(zip(self.seen, self.carried, self.gates, strict=True))
        each = zip(*(stacked.unbind() for stacked in (features, *state, *layers)), strict=True)
        none = self._nothing
        outputs = [
            torch.lstm(
                f, (h, c), (a, b, g[0], none, A, B, G[0], none), True, 2, 0.0, True, False, False
            )
            for f, h, c, a, b, g, A, B, G in each
        ]
        remembered = torch.stack([o[0] for o in outputs])
        return self._output(remembered.flatten(1, 2)).view(self.players, steps, batch, -1)

    def windows(self, seen: Tensor, length: int) -> Tensor:
        """Outputs (players, rounds, batch, outputs) after each window of rounds, read from its
        first round with an empty memory.

        Args:
            seen: what is seen, the same for all players (length - 1 + rounds, batch, inputs).
            length: of a window.
        """
        steps, batch = seen.shape[:2]
        rounds = steps + 1 - length
        # A round is in several windows, but what enters the gates is the same in all of them.
        features = self._features(seen.flatten(0, 1))
        sums = torch.baddbmm(self.gates[0], features, self.seen[0].transpose(1, 2))
        cut = sums.view(self.players, steps, batch, -1).unfold(1, length, 1)
        cut = cut.permute(0, 4, 1, 2, 3).reshape(self.players, length, rounds * batch, -1)
        below = recur(cut, self.carried[0])
        sums = torch.baddbmm(self.gates[1], below.flatten(1, 2), self.seen[1].transpose(1, 2))
        top = recur(sums.view(cut.shape), self.carried[1])
        return self._output(top[:, -1]).view(self.players, rounds, batch, -1)

    def step(self, seen: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: outputs (players, batch, outputs) and the state after it.

        Args:
            seen: what is seen (batch, inputs) or (players, batch, inputs).
            state: the state before it; left as it is.
        """
        signal = self._features(seen)
        hidden, cell = [], []
        for layer in range(2):
            h, c = state[0][:, layer], state[1][:, layer]
            sums = torch.baddbmm(self.gates[layer], signal, self.seen[layer].transpose(1, 2))
            sums = torch.baddbmm(sums, h, self.carried[layer].transpose(1, 2))
            i, f, g, o = sums.chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            signal = torch.sigmoid(o) * torch.tanh(c)
            hidden.append(signal)
            cell.append(c)
        out = self._output(signal)
        return out, (torch.stack(hidden, dim=1), torch.stack(cell, dim=1))

    def _features(self, seen: Tensor) -> Tensor:
        if seen.dim() == 2:
            seen = seen.expand(self.players, *seen.shape)
        for weight, bias in zip(self.first, self.first_bias, strict=True):
            seen = torch.baddbmm(bias, seen, weight).relu_()
        return seen

    def _output(self, signal: Tensor) -> Tensor:
        hidden = torch.baddbmm(self.last_bias, signal, self.last).relu_()
        return torch.baddbmm(self.out_bias, hidden, self.out)


def clip_gradients(parameters: Sequence[Tensor], most: float) -> None:
    """Scale each player's gradient to a norm of at most ``most``, on its own.

    Args:
        parameters: stacked over players (players, ...); those without a gradient are left out.
        most: the largest norm.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
    factor = (most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp_(max=1.0)
    for g in gradients:
        g.mul_(factor.view(-1, *(1,) * (g.dim() - 1)))
