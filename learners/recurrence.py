"""The recurrence of an LSTM layer over short windows, for several players' networks at once.

The numbers are those of ``torch.nn.LSTM``, to rounding. The library's LSTM runs one network a call,
which for whole episodes is as fast as anything; for a few steps its preparations take longer than
the products. Here a step of all players is one batched product and some elementwise operations on
memory set aside beforehand, and the backward pass is written out instead of being recorded.

Long short-term memory: Hochreiter and Schmidhuber, Neural Computation 9(8), 1997; with forget
gates: Gers, Schmidhuber and Cummins, Neural Computation 12(10), 2000.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stackel.run import check_time


def recur(inputs: Tensor, weights: Tensor) -> Tensor:
    """Hidden states (players, steps, batch, cells) of one layer, from an empty memory.

    Args:
        inputs: what enters the gates from the layer below, biases included
            (players, steps, batch, 4 cells); the gates are i, f, g, o, as in torch.
        weights: from the last hidden state to the gates (players, 4 cells, cells).
    """
    hidden: Tensor = _Recurrence.apply(inputs, weights)
    return hidden


class _Recurrence(torch.autograd.Function):
    """Views of single steps are made by unbind, once: slicing in a loop is slow."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor) -> Tensor:
        players, steps, batch, width = inputs.shape
        gates = torch.empty_like(inputs)
        hidden, cell, squashed = inputs.new_empty(3, players, steps, batch, width // 4).unbind()
        h, c, tanh_c, sums = (x.unbind(1) for x in (hidden, cell, squashed, gates))
        i, f, g, o = (part.unbind(1) for part in gates.chunk(4, dim=-1))
        i_and_f = gates[..., : width // 2].unbind(1)
        across = weights.transpose(1, 2)
        for t, entering in enumerate(inputs.unbind(1)):
            check_time()
            if t == 0:
                sums[t].copy_(entering)
            else:
                torch.baddbmm(entering, h[t - 1], across, out=sums[t])
            i_and_f[t].sigmoid_()
            g[t].tanh_()
            o[t].sigmoid_()
            torch.mul(i[t], g[t], out=c[t])
            if t > 0:
                c[t].addcmul_(f[t], c[t - 1])
            torch.tanh(c[t], out=tanh_c[t])
            torch.mul(o[t], tanh_c[t], out=h[t])
        ctx.save_for_backward(weights, gates, hidden, cell, squashed)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        weights, gates, hidden, cell, squashed = ctx.saved_tensors
        players, steps, _, cells = hidden.shape
        i, f, g, o = gates.chunk(4, dim=-1)
        # Slope of each gate times its factor in the cell's state, or in the output.
        sums = torch.empty_like(gates)
        by_i, by_f, by_g, by_o = sums.chunk(4, dim=-1)
        torch.mul(g, i - i * i, out=by_i)
        torch.mul(i, 1.0 - g * g, out=by_g)
        torch.mul(squashed, o - o * o, out=by_o)
        by_f[:, 0] = 0.0
        late = f[:, 1:]
        torch.mul(cell[:, :-1], late - late * late, out=by_f[:, 1:])
        through = o - hidden * squashed  # of the output by the cell's state
        # Times the loss's derivative by the cell's state and by the output, last step first.
        by_state = sums.unflatten(-1, (4, cells))[..., :3, :].unbind(1)
        by_sums, by_output, forget, into_output, above = (
            x.unbind(1) for x in (sums, by_o, f, through, grad)
        )
        d_cell = torch.zeros_like(cell[:, 0])
        for t in reversed(range(steps)):
            check_time()
            d_hidden = above[t]
            if t < steps - 1:
                d_hidden = torch.baddbmm(d_hidden, by_sums[t + 1], weights)
                d_cell.mul_(forget[t + 1])
            d_cell.addcmul_(d_hidden, into_output[t])
            by_state[t].mul_(d_cell.unsqueeze(-2))
            by_output[t].mul_(d_hidden)
        after = sums[:, 1:].reshape(players, -1, 4 * cells)
        by_weights = torch.bmm(after.transpose(1, 2), hidden[:, :-1].reshape(players, -1, cells))
        return sums, by_weights
