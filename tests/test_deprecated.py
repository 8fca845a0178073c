"""Former import paths work for one version, and say what has taken their place."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from stackel.deprecated import MOVED

ROOT = Path(__file__).parents[1]
NAMES = [(old, name) for old, names in MOVED.items() for name in names]


@pytest.mark.parametrize(("old", "name"), NAMES)
def test_a_former_path_hands_on_and_names_the_new_one(old: str, name: str) -> None:
    new = MOVED[old][name]
    with pytest.warns(DeprecationWarning, match=rf"{old}\.{name} is now {new}\.{name}") as seen:
        found = getattr(importlib.import_module(old), name)
    assert found is getattr(importlib.import_module(new), name)
    assert [Path(warning.filename) for warning in seen] == [Path(__file__)]


@pytest.mark.parametrize("old", MOVED)
def test_a_former_path_has_no_other_names(old: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{old}' has no attribute 'nothing'"):
        getattr(importlib.import_module(old), "nothing")  # noqa: B009 - as users' code fails


def test_every_way_to_write_it_works() -> None:
    lines = (
        "import stackel",
        "import stackel.response",
        "from stackel.response import settle",
        "from stackel import equilibrium",
        "from stackel.market_file import read_market",
        "assert stackel.response.settle is settle is stackel.followers.settle",
        "assert equilibrium.Equilibrium is stackel.Equilibrium",
        "from stackel.response import *",
        "assert sensitivity is stackel.followers.sensitivity",
    )
    done = run("\n".join(lines))
    assert done.returncode == 0, done.stderr
    for old in ("response.settle", "equilibrium.Equilibrium", "market_file.read_market"):
        assert f"DeprecationWarning: stackel.{old} is now" in done.stderr


def test_importing_stackel_warns_of_nothing() -> None:
    done = run("import stackel", "-W", "always")
    assert "is now" not in done.stderr


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
