"""An agent of Stable-Baselines3, trained in our environment, against the solvers' answer."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "outside_agent.py"


@pytest.mark.slow
def test_an_agent_of_another_library_reaches_the_equilibrium_price(
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = importlib.util.spec_from_file_location("outside_agent", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert abs(example.main(seed=1)) < 0.05
    assert "exploitability" in capsys.readouterr().out
