"""Finding IPOPT, and running it on Pyomo models.

In this order: the executable that ``idaes get-extensions`` installs, ``ipopt`` on the PATH, the
IPOPT inside the casadi wheel. All three read the model as an .nl file, whose order of variables
and constraints its writer reports; values and multipliers come back in that order.
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.repn.plugins.nl_writer import NLWriter

from stackel.errors import OptionError
from stackel.run import limit_for_solver
from stackel.types import Array

MISSING = (
    'needs IPOPT, and found none: pip install "stackel[mpec]" brings one inside casadi; an '
    "executable from `idaes get-extensions` or on the PATH is used before it"
)

DEFAULTS: Mapping[str, Any] = {
    "tol": 1e-10,
    "constr_viol_tol": 1e-10,
    "compl_inf_tol": 1e-10,
    "acceptable_tol": 1e-8,
    "bound_relax_factor": 0.0,  # formulas may blow up beyond a bound
    "max_iter": 400,
}
"""IPOPT's options (coin-or.github.io/Ipopt/OPTIONS.html) unless the user sets them."""

SLACK_IN_TIME = 0.9
"""A solver compiled for a time limit serves until this share of the limit is left."""


GRACE = 0.5
"""Seconds past its time limit after which an executable is stopped: IPOPT looks at its clock only
between iterations."""


@dataclass(frozen=True)
class Ipopt:
    """One IPOPT.

    Attributes:
        source: ``"idaes"``, ``"path"`` or ``"casadi"``.
        executable: the file, unless it lives inside casadi.
    """

    source: str
    executable: Path | None = None

    def __str__(self) -> str:
        if self.executable is not None:
            return f"{self.source}: {self.executable}"
        return f"casadi {metadata.version('casadi')}"


def idaes_folder() -> Path | None:
    """Where ``idaes get-extensions`` puts executables; None if no home is known.

    The rule of idaes.config.get_data_directory, without its import, which takes seconds and
    changes the logging.
    """
    if "IDAES_DATA" in os.environ:
        return Path(os.environ["IDAES_DATA"]) / "bin"
    home = "LOCALAPPDATA" if os.name == "nt" else "HOME"
    if home not in os.environ:
        return None
    return Path(os.environ[home]) / ("idaes" if os.name == "nt" else ".idaes") / "bin"


def locate() -> Ipopt | None:
    """The first IPOPT found, or None."""
    # In no folder ("") nothing is found; None is the PATH.
    for source, folder in (("idaes", str(idaes_folder() or "")), ("path", None)):
        found = shutil.which("ipopt", path=folder)
        if found:
            return Ipopt(source, Path(found))
    return Ipopt("casadi") if find_spec("casadi") is not None else None


@dataclass(frozen=True)
class Outcome:
    """What a solve ended in. The point itself is in the Pyomo model.

    Attributes:
        solved: whether IPOPT's test (or its acceptable one) is met.
        message: IPOPT's own words.
    """

    solved: bool
    message: str


class Program:
    """A Pyomo model that is solved again and again from other values and bounds.

    Fixed variables stay variables of the written problem, with both bounds at their value, so
    that fixing, freeing and moving them needs no new file; IPOPT takes them out itself and still
    prices them. After a solve the model's variables hold the point, and ``model.dual`` and
    ``model.rc``, where the model has them, the multipliers in Pyomo's signs: the objective's
    gradient is the sum of dual times a constraint's gradient, plus the reduced costs.

    Args:
        model: the model, to be minimised.
        ipopt: which one.
        options: IPOPT's, over :data:`DEFAULTS`.
        without: blocks of the model to leave out.
    """

    def __init__(
        self,
        model: Any,
        ipopt: Ipopt,
        options: Mapping[str, Any] | None = None,
        without: Sequence[Any] = (),
    ) -> None:
        self.model, self.ipopt, self.without = model, ipopt, list(without)
        self.options = {**DEFAULTS, **(options or {})}
        self._compiled: tuple[float, Any] | None = None

    def solve(self) -> Outcome:
        """Solve from where the model stands, in what is left of the time; the point reached is
        loaded whatever the outcome.

        Raises:
            OptionError: the IPOPT inside casadi does not take its options.
            RuntimeError: an executable does not run, or returns no solution.
        """
        if self.ipopt.executable is None:
            return self._solve_inside()
        with tempfile.TemporaryDirectory(prefix="stackel-") as folder:
            return self._solve_outside(Path(folder))

    # -- the written problem -------------------------------------------------------------------

    def _write(self, file: Path) -> Any:
        """Write the .nl file; the writer's report has its variables and constraints in order."""
        variables = list(self.model.component_data_objects(pyo.Var))
        held = [(v, v.value, v.lb, v.ub) for v in variables if v.fixed]
        for block in self.without:
            block.deactivate()
        try:
            for v, value, _, _ in held:
                v.unfix()
                v.setlb(value)
                v.setub(value)
            with file.open("w", newline="\n", encoding="ascii") as stream:
                return NLWriter().write(
                    self.model,
                    stream,
                    linear_presolve=False,
                    scale_model=False,
                    export_defined_variables=False,
                )
        finally:
            for v, value, low, high in held:
                v.setlb(low)
                v.setub(high)
                v.fix(value)
            for block in self.without:
                block.activate()

    def _load(self, written: Any, values: Array, dual: Array, reduced: Array) -> None:
        for v, value in zip(written.variables, values, strict=True):
            if not v.fixed:
                v.set_value(float(value), skip_validation=True)
        for name, owners, numbers in (
            ("dual", written.constraints, dual),
            ("rc", written.variables, reduced),
        ):
            suffix = self.model.component(name)
            if suffix is not None and len(numbers) == len(owners):
                suffix.clear()
                suffix.update(zip(owners, map(float, numbers), strict=True))

    def _bad_option(self, said: str) -> OptionError:
        given = {k: v for k, v in self.options.items() if DEFAULTS.get(k) != v}
        return OptionError(f"IPOPT does not take its options {given}: {said}")

    # -- inside casadi -------------------------------------------------------------------------

    @cached_property
    def _read(self) -> tuple[dict[str, Any], Any, Any]:
        """casadi's problem, its builder, and the Pyomo objects in its order."""
        import casadi

        builder = casadi.NlpBuilder()
        with tempfile.TemporaryDirectory(prefix="stackel-") as folder:
            file = Path(folder, "model.nl")
            written = self._write(file)
            builder.import_nl(str(file), {"verbose": False})
        problem = {"x": casadi.vcat(builder.x), "f": builder.f, "g": casadi.vcat(builder.g)}
        return problem, builder, written

    @property
    def _limit(self) -> float:
        """IPOPT's limit of time [s]: no later than its options have it."""
        return limit_for_solver(self.options.get("max_wall_time", math.inf))

    def _solver(self) -> Any:
        """casadi takes options at compilation only: compiled anew as the time runs out."""
        import casadi

        problem, limit = self._read[0], self._limit
        if self._compiled is not None and (
            self._compiled[0] == limit or SLACK_IN_TIME * self._compiled[0] <= limit < math.inf
        ):
            return self._compiled[1]
        options: dict[str, Any] = {f"ipopt.{k}": v for k, v in self.options.items()}
        options |= {"ipopt.print_level": 0, "ipopt.sb": "yes", "print_time": False}
        options |= {"show_eval_warnings": False, "expand": True}
        if limit < math.inf:
            options["ipopt.max_wall_time"] = limit
        try:
            solver = casadi.nlpsol("ipopt", "ipopt", problem, options)
        except RuntimeError as error:
            raise self._bad_option(str(error).splitlines()[-1].rpartition(".cpp:")[2]) from None
        self._compiled = limit, solver
        return solver

    def _solve_inside(self) -> Outcome:
        _, built, written = self._read
        solver = self._solver()
        start, low, high = (
            np.array(part) for part in zip(*map(_box, written.variables), strict=True)
        )
        with _held_interrupt():
            found = solver(x0=start, lbx=low, ubx=high, lbg=built.g_lb, ubg=built.g_ub)
        message = solver.stats()["return_status"].replace("_", " ")
        if message == "Invalid Option":
            raise self._bad_option(message)
        values, dual, reduced = (np.array(found[k]).ravel() for k in ("x", "lam_g", "lam_x"))
        if np.isfinite(values).all():
            self._load(written, values, -dual, -reduced)
        return Outcome(message in ("Solve Succeeded", "Solved To Acceptable Level"), message)

    # -- as an executable ----------------------------------------------------------------------

    def _solve_outside(self, folder: Path) -> Outcome:
        file = folder / "model.nl"
        written = self._write(file)
        options, limit = {**self.options, "print_level": 0, "sb": "yes"}, self._limit
        if limit < math.inf:
            options["max_wall_time"] = limit
        settings = folder / "ipopt.opt"
        settings.write_text("".join(f"{k} {v}\n" for k, v in options.items()), encoding="ascii")
        command = [str(self.ipopt.executable), str(file), "-AMPL", f"option_file_name={settings}"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=None if limit == math.inf else limit + GRACE,
            )
        except subprocess.TimeoutExpired:
            return Outcome(False, "ran past its time limit and was stopped")
        except OSError as error:
            raise RuntimeError(f"{self.ipopt.executable} does not run: {error}") from error
        answer = file.with_suffix(".sol")
        if not answer.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise RuntimeError(
                f"{self.ipopt.executable} returned no solution (exit {done.returncode})"
                + (f": {said[-1]}" if said else "")
            )
        solution = read_solution(answer.read_text(encoding="ascii", errors="replace"))
        if len(solution.values) == len(written.variables):
            rc = np.zeros(len(written.variables))
            for name in ("ipopt_zL_out", "ipopt_zU_out"):
                for index, value in solution.suffixes.get(name, {}).items():
                    rc[index] += value
            self._load(written, solution.values, solution.dual, rc)
        return Outcome(0 <= solution.code < 200 and len(solution.values) > 0, solution.message)


@contextmanager
def _held_interrupt() -> Iterator[None]:
    """Hold Ctrl-C back until the solve ends: casadi would print it and go on as if it were a
    failed evaluation."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if caught:
        usual(*caught[0])


def _box(v: Any) -> tuple[float, float, float]:
    """Value and bounds of a Pyomo variable, a fixed one between its value and itself."""
    value = float(v.value) if v.value is not None else 0.0
    if v.fixed:
        return value, value, value
    low, high = v.lb, v.ub
    return value, -np.inf if low is None else low, np.inf if high is None else high


@dataclass(frozen=True)
class Solution:
    """The content of a .sol file (D. Gay, Writing .nl files, 2005, section on .sol).

    Attributes:
        message: the solver's own words.
        code: its result code; below 200 it has solved the problem.
        values: of the variables, in the order of the .nl file.
        dual: the constraints' multipliers, in that order.
        suffixes: by name, numbers by place.
    """

    message: str
    code: int
    values: Array
    dual: Array
    suffixes: Mapping[str, Mapping[int, float]]


def read_solution(text: str) -> Solution:
    """Read a .sol file.

    Args:
        text: its content.

    Raises:
        RuntimeError: it is not one.
    """
    lines = iter([line.strip() for line in text.splitlines()])

    def take(count: int) -> list[str]:
        taken = list(itertools.islice(lines, count))
        if len(taken) < count:
            raise ValueError("the file ends too soon")
        return taken

    try:
        said = itertools.takewhile(lambda line: line != "Options", lines)
        message = " ".join(line for line in said if line)
        options = int(*take(1))
        extra = options > 4  # then two of them are no lines, and a tolerance follows the sizes
        take(options - 2 * extra)
        _, duals, _, primals = map(int, take(4))
        take(extra)
        dual, values = (np.array(take(count), dtype=float) for count in (duals, primals))
        code, suffixes = 0, {}
        for line in lines:
            word = line.split()
            if word[:1] == ["objno"]:
                code = int(word[2])
            elif word[:1] == ["suffix"]:
                name, *_ = take(1 + int(word[5]))  # and a table
                rows = (row.split() for row in take(int(word[2])))
                suffixes[name] = {int(i): float(v) for i, v in rows}
    except (ValueError, IndexError) as error:
        raise RuntimeError(f"IPOPT's solution cannot be read: {error}") from error
    return Solution(message, code, values, dual, suffixes)
