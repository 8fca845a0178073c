"""Multi-leader multi-follower Stackelberg games: stated once, solved by many methods."""

from pathlib import Path as _Path

# In a checkout, formulations/, solvers/ and learners/ lie beside this folder; installed, they lie
# inside it (the mapping is in pyproject.toml). Python puts the working directory first, so in a
# checkout this folder hides an installed stackel, and its subpackages with it. Looking for
# subpackages at the checkout's root as well makes `import stackel.solvers` and `python -m pytest`
# work there. An installed package has no pyproject.toml beside it; a stray one is not ours.
_pyproject = _Path(__file__).parents[1] / "pyproject.toml"
if _pyproject.is_file() and b'name = "stackel"' in _pyproject.read_bytes().splitlines():
    # The root holds this folder too. A second copy of every class must not arise from it.
    if __name__ != "stackel":
        raise ImportError(f"this package is stackel, not {__name__}")
    __path__.append(str(_pyproject.parent))

# The imports come last: they need the path.
# ruff: noqa: E402
from stackel import deprecated as _deprecated
from stackel.backend import Backend
from stackel.certificate.certificate import Certificate
from stackel.certificate.certify import certify, certify_points
from stackel.errors import (
    GameError,
    InfeasibleError,
    NoEquilibriumError,
    OptionError,
    Refusal,
    StackelError,
)
from stackel.game.game import Action, Game
from stackel.game.grids import Follower, Leader, Pairs, Peers
from stackel.leaders.deviations import Deviation
from stackel.results.comparison import Comparison
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Point, Run, Status
from stackel.sweeps.sweep import sweep
from stackel.tasks.compare import compare
from stackel.tasks.many import solve_many
from stackel.tasks.solve import backends, solve
from stackel.version import __version__ as __version__

_deprecated.register()

__all__ = [
    "Action",
    "Backend",
    "Certificate",
    "Comparison",
    "Deviation",
    "Equilibrium",
    "Follower",
    "Game",
    "GameError",
    "InfeasibleError",
    "Leader",
    "NoEquilibriumError",
    "NotConverged",
    "OptionError",
    "Pairs",
    "Peers",
    "Point",
    "Refusal",
    "Run",
    "StackelError",
    "Status",
    "backends",
    "certify",
    "certify_points",
    "compare",
    "solve",
    "solve_many",
    "sweep",
]
