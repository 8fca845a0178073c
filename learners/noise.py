"""Exploration that tells players' noises apart: mirrored draws over the market copies.

A player learns from how its reward moves with its own noise; what the others' noises do to it is
disturbance, and near the end of a training most of it. So each decision draws one magnitude for
all copies, and signs over the copies from a column of a Hadamard matrix of its own. Columns are
orthogonal: to first order the others' noises cancel out, copy against copy, and so does whatever
the critic gets wrong about them. Every draw is normal, and pairs of draws in a copy are
independent. (Mirrored sampling: Brockhoff et al., Mirrored Sampling and Sequential Selection
for Evolution Strategies, PPSN 2010; orthogonal arrays: Plackett and Burman, Biometrika 1946.)
"""

from __future__ import annotations

import torch
from scipy.linalg import hadamard
from torch import Tensor


class Mirrored:
    """Standard normal noise for some decisions in some market copies.

    The design is public, like a calendar; it says nothing of anybody's data or choices.
    """

    def __init__(self, decisions: int, copies: int, rng: torch.Generator) -> None:
        """
        Args:
            decisions: of all players together. Those beyond the number of orthogonal columns (the
                copies, less one) draw their signs independently.
            copies: of the market; best a power of two, beyond the number of decisions.
            rng: the source of random numbers, on the device where the noise is to be.
        """
        self.decisions, self.copies, self.rng = decisions, copies, rng
        order = 1 << int(max(copies - 1, 0)).bit_length()
        rows = torch.as_tensor(hadamard(order)[:copies], dtype=torch.float32, device=rng.device)
        self.columns = rows[:, 1:].T.contiguous()  # without the first, which is all ones

    def draw(self) -> Tensor:
        """Noise (decisions, copies), new columns for everybody each time."""
        where = {"generator": self.rng, "device": self.rng.device}
        size = torch.randn((self.decisions, 1), **where)
        order = torch.randperm(len(self.columns), **where)[: self.decisions]
        signs = self.columns[order]
        left = self.decisions - len(signs)
        if left:
            coins = torch.randint(0, 2, (left, self.copies), **where)
            signs = torch.cat([signs, 2.0 * coins - 1.0])
        return size * signs
