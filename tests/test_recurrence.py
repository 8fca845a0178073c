"""The recurrence of the learners' networks, against the library's LSTM and difference quotients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason='needs torch: pip install "stackel[learn]"')

from stackel.learners.networks import Networks  # noqa: E402
from stackel.learners.recurrence import recur  # noqa: E402

PLAYERS, STEPS, BATCH, CELLS = 2, 4, 3, 5


def drawn(*shape: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()


def test_derivatives_are_those_of_difference_quotients() -> None:
    inputs, weights = drawn(PLAYERS, STEPS, BATCH, 4 * CELLS), drawn(PLAYERS, 4 * CELLS, CELLS)
    assert torch.autograd.gradcheck(recur, (inputs, weights))


@pytest.mark.parametrize("steps", [1, STEPS])
def test_hidden_states_are_those_of_the_library(steps: int) -> None:
    inputs, weights = drawn(PLAYERS, steps, BATCH, 4 * CELLS), drawn(PLAYERS, 4 * CELLS, CELLS)
    found = recur(inputs, weights)
    for player in range(PLAYERS):
        lstm = torch.nn.LSTM(4 * CELLS, CELLS, batch_first=False, dtype=torch.float64)
        with torch.no_grad():
            lstm.weight_ih_l0.copy_(torch.eye(4 * CELLS))
            lstm.weight_hh_l0.copy_(weights[player])
            lstm.bias_ih_l0.zero_()
            lstm.bias_hh_l0.zero_()
        torch.testing.assert_close(found[player], lstm(inputs[player])[0])


def test_windows_are_sequences_from_an_empty_memory() -> None:
    """Values and gradients are those of the library run on every window anew."""
    rng = torch.Generator().manual_seed(0)
    nets = Networks(3, 4, 2, hidden=16, cells=8, rng=rng)
    seen = torch.randn(7, 5, 4, generator=rng)
    found = nets.windows(seen, 3)
    again = torch.stack(
        [nets(seen[t : t + 3], nets.start(5))[:, -1] for t in range(5)],
        dim=1,
    )
    torch.testing.assert_close(found, again)
    parameters = list(nets.parameters())
    weights = torch.randn(found.shape, generator=rng)
    gradients = (torch.autograd.grad((out * weights).sum(), parameters) for out in (found, again))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
