"""What lies outside, by name: strings and entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec


def missing_packages(requires: Mapping[str, str]) -> list[str]:
    return [
        f'needs the package {package}: pip install "stackel[{extra}]"'
        for package, extra in requires.items()
        if find_spec(package) is None
    ]
