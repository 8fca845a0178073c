"""What may import what, read from the sources, and what `import stackel` costs."""

import ast
import graphlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTER = {  # around the core; none of them knows another
    "stackel.formulations": ROOT / "formulations",
    "stackel.solvers": ROOT / "solvers",
    "stackel.learners": ROOT / "learners",
}
FOLDERS = {"stackel": ROOT / "stackel", **OUTER}
SCRIPTS = {"stackel.examples": ROOT / "examples"}  # installed for `stackel reproduce`; they print
FLOORS = (  # of the core, from the ground up: an import goes down, or stays in its room
    {"types"},
    {"errors", "memo", "run", "tables", "version"},
    {"game", "plugins"},
    {"calculus", "catalogue", "plots"},
    {"followers", "functions"},
    {"backend", "leaders"},
    {"certificate", "files"},
    {"results"},
    {"tasks"},
    {"sweeps", "testing"},
    {"cli", "deprecated"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
JUDGE = ("stackel.leaders.equilibrium", "stackel.leaders.oracle", "stackel.leaders.stationarity")
"""The leaders' search: what it finds, the certificate measures without it."""
HEAVY = {
    "casadi",
    "cloudpickle",
    "cvxpy",
    "gymnasium",
    "h5netcdf",
    "h5py",
    "idaes",
    "jinja2",
    "loky",
    "matplotlib",
    "pandas",
    "pettingzoo",
    "pyarrow",
    "pyomo",
    "ray",
    "rich",
    "stable_baselines3",
    "tensorboard",
    "torch",
    "typer",
    "xarray",
}
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}  # public in spite of their names
MAX_LINES = 400


@dataclass(frozen=True)
class Import:
    """One imported thing: `import module` (no name) or `from module import name`."""

    module: str
    name: str | None
    bound: str  # what it is called afterwards
    level: int  # the dots of a relative import
    line: int
    eager: bool  # runs when the module is imported: not in a function, not under TYPE_CHECKING


@dataclass(frozen=True)
class Source:
    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    def at(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT)}:{line}"


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports_in(nodes: list[ast.stmt], eager: bool = True) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield Import(alias.name, None, bound, 0, node.lineno, eager)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound = alias.asname or alias.name
                module = node.module or ""
                yield Import(module, alias.name, bound, node.level, node.lineno, eager)
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            yield from imports_in(node.body, eager=False)
            yield from imports_in(node.orelse, eager)
        else:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from imports_in(inner_statements(node), eager and not is_function)


def inner_statements(node: ast.AST) -> list[ast.stmt]:
    """The statements directly inside a compound statement (its handlers and cases too)."""
    found: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            found.append(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            found += inner_statements(child)
    return found


def read(name: str, path: Path) -> Source:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return Source(name, path, tree, tuple(imports_in(tree.body)))


def read_package(package: str, folder: Path) -> Iterator[Source]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield read(".".join((package, *parts)).removesuffix(".__init__"), path)


LIBRARY = {
    source.name: source
    for package, folder in FOLDERS.items()
    for source in read_package(package, folder)
}
AROUND = [  # scripts, not modules: what they import from the library is checked too
    read(path.stem, path)
    for folder in ("examples", "benchmarks", "tests", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
EVERYTHING = [*LIBRARY.values(), *AROUND]


def module_of(found: Import) -> str:
    """The module that an import of the library reaches: `from package import module` too."""
    whole = f"{found.module}.{found.name}"
    return whole if whole in LIBRARY else found.module


def is_ours(module: str) -> bool:
    return module.partition(".")[0] == "stackel"


def package_of(module: str) -> str:
    """Which of the four packages a module lies in."""
    return next((p for p in OUTER if module == p or module.startswith(p + ".")), "stackel")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in NAMED_TUPLE


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_stackel_loads_nothing_optional() -> None:
    done = python("import sys, stackel; print(*sys.modules)", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert HEAVY.isdisjoint(done.stdout.split())


def test_imports_are_absolute() -> None:
    def wrong(found: Import) -> bool:
        # `import solvers` works in a checkout, as a second copy of stackel.solvers, and nowhere
        # else.
        return found.level > 0 or found.module.partition(".")[0] in {p.name for p in OUTER.values()}

    offences = [s.at(i.line) for s in EVERYTHING for i in s.imports if wrong(i)]
    assert not offences, "write `from stackel... import ...` here"


CORE = {name: source for name, source in LIBRARY.items() if package_of(name) == "stackel"}


def room_of(module: str) -> str:
    """The room of the core that a module stands in; of the package itself, nothing."""
    return module.partition(".")[2].partition(".")[0]


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(name) for name in CORE} - {""}
    assert rooms == set(FLOOR)


def test_imports_of_the_core_go_down() -> None:
    """Those inside functions and under TYPE_CHECKING too; rooms of one floor do not know each
    other, and nobody but the tests and users imports the package itself."""
    offences = []
    for source in CORE.values():
        for found in source.imports:
            target, here = module_of(found), room_of(source.name)
            if not here or not is_ours(target) or (room_of(target) == here):
                continue
            if target == "stackel" or FLOOR.get(room_of(target), 99) >= FLOOR[here]:
                offences.append(f"{source.at(found.line)} imports {target}")
    assert not offences, "see FLOORS; what lies outside the core is named by strings only"


def test_faces_are_for_users() -> None:
    """A room's __init__ hands its names on; the core takes them from where they stand."""
    faces = {name for name, s in CORE.items() if s.path.name == "__init__.py" and name != "stackel"}
    offences = [
        f"{source.at(found.line)} imports from {module_of(found)}"
        for source in CORE.values()
        for found in source.imports
        if source.name != "stackel" and module_of(found) in faces
    ]
    assert not offences, "import from the module that has it"


def test_a_judge_does_not_reuse_the_search() -> None:
    """Nor what it uses does."""
    seen: set[str] = set()
    queue = [name for name in CORE if room_of(name) == "certificate"]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += [module_of(i) for i in CORE[name].imports if module_of(i) in CORE]
    assert "stackel.leaders.deviations" in seen
    assert seen.isdisjoint(JUDGE)


def test_formulations_solvers_and_learners_know_only_the_core() -> None:
    offences = [
        f"{source.at(found.line)} imports {module_of(found)}"
        for source in LIBRARY.values()
        for found in source.imports
        if package_of(source.name) in OUTER
        and package_of(module_of(found)) in OUTER
        and package_of(source.name) != package_of(module_of(found))
    ]
    assert not offences


def test_nobody_imports_private_names() -> None:
    def wrong(source: Source, found: Import) -> bool:
        target = module_of(found)
        if not is_ours(target):
            return False
        hidden = any(is_private(part) for part in target.split("."))
        at_home = source.name in LIBRARY and package_of(source.name) == package_of(target)
        # A private module serves its own package; a private name, its own module.
        if hidden and not at_home:
            return True
        return target == found.module and found.name is not None and is_private(found.name)

    offences = [s.at(i.line) for s in EVERYTHING for i in s.imports if wrong(s, i)]
    assert not offences, "what two modules need has a public name"


def test_nobody_uses_private_attributes_of_what_it_imports() -> None:
    def private_uses(source: Source) -> Iterator[str]:
        ours = {i.bound for i in source.imports if is_ours(i.module) or i.level}
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.Attribute) and is_private(node.attr)):
                continue
            owner: ast.expr = node.value
            while isinstance(owner, ast.Attribute):  # stackel.game._hidden
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id in ours:
                yield f"{source.at(node.lineno)}: {ast.unparse(node)}"

    offences = [use for source in EVERYTHING for use in private_uses(source)]
    assert not offences


def test_no_circle_of_imports() -> None:
    """Of any kind: at load, inside functions, for annotations."""
    graph = {
        source.name: {module_of(found) for found in source.imports if module_of(found) in LIBRARY}
        - ({source.name} if source.path.name == "__init__.py" else set())
        for source in LIBRARY.values()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("circle of imports: " + " <- ".join(error.args[1]))


def test_the_library_never_prints() -> None:
    offences = [
        source.at(node.lineno)
        for source in LIBRARY.values()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not offences, "log, or take a callback"


def test_files_stay_short() -> None:
    lengths = {
        source.at(1): len(source.path.read_text(encoding="utf-8").splitlines())
        for source in LIBRARY.values()
    }
    assert not {place: lines for place, lines in lengths.items() if lines > MAX_LINES}


def test_every_package_is_installed_and_typed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    folders = {
        s.name if s.path.name == "__init__.py" else s.name.rpartition(".")[0]: s.path.parent
        for s in LIBRARY.values()
    }
    folders |= {
        ".".join((package, *path.parent.relative_to(folder).parts)): path.parent
        for package, folder in SCRIPTS.items()
        for path in folder.rglob("__init__.py")
    }
    found = set(folders)
    assert found == listed, "list every package under [tool.setuptools] in pyproject.toml"
    typed = FOLDERS | SCRIPTS
    assert not [p for p, folder in typed.items() if not (folder / "py.typed").is_file()]
    assert not [p for p, folder in folders.items() if not (folder / "__init__.py").is_file()]


def test_a_checkout_finds_its_subpackages() -> None:
    code = "import " + ", ".join(OUTER | SCRIPTS)
    done = python(code, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_checkout_is_not_imported_twice() -> None:
    done = python("import stackel.stackel", cwd=ROOT)
    assert "ImportError" in done.stderr


@pytest.mark.parametrize("stray", [None, '[project]\nname = "other"\n'])
def test_an_installed_package_looks_no_further(tmp_path: Path, stray: str | None) -> None:
    shutil.copytree(FOLDERS["stackel"], tmp_path / "stackel")
    if stray:
        (tmp_path / "pyproject.toml").write_text(stray, encoding="utf-8")
    done = python("import stackel; print(*stackel.__path__)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "stackel")]


def test_the_picture_of_the_floors_is_the_codes_own() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "draw_floors.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
