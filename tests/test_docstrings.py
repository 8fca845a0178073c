"""Docstrings explain arguments and say what is raised: read from the sources, beside ruff.

Ruff (rules D and DOC in pyproject.toml) finds what has no docstring, and exceptions that one leaves
out. It does not ask for a section Args where there is none, and does not know names given together,
as in ``x, y: actions``.
"""

import ast
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("stackel", "formulations", "solvers", "learners", "examples/reproduction")
COMMANDS = tuple(  # typer's: options are explained in the signature, errors end as messages
    f"stackel/cli/{name}.py"
    for name in ("certify", "compare", "main", "markets", "reproduce", "solve", "sweep")
)

MANY = 3
"""From so many arguments on, a function explains all of them."""

ENTRY = re.compile(r" {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): \S")
"""``name: text`` or, of several at once, ``x, y: text``."""


@dataclass(frozen=True)
class Function:
    """A public function, or a public method of a public class."""

    path: str
    node: ast.FunctionDef
    owner: ast.ClassDef | None = None

    def __str__(self) -> str:
        owner = "" if self.owner is None else f"{self.owner.name}."
        return f"{self.path}:{self.node.lineno}: {owner}{self.node.name}"


class Sources:
    """Python files by path, and the classes and the public functions in them."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.trees = {path: ast.parse(text) for path, text in texts.items()}
        self.classes = {
            node.name: (path, node)
            for path, tree in self.trees.items()
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        }

    def functions(self) -> Iterator[Function]:
        for path, tree in self.trees.items():
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and is_public(node.name):
                    yield Function(path, node)
                elif isinstance(node, ast.ClassDef) and is_public(node.name):
                    yield from (Function(path, m, node) for m in methods(node) if is_public(m.name))

    def above(self, function: Function) -> list[str]:
        """Docstrings of the method in its class's bases, and in the protocols of its folder."""
        folder = Path(function.path).parent
        queue = [] if function.owner is None else bases(function.owner)
        if function.owner is not None:
            queue += [
                name
                for name, (path, node) in self.classes.items()
                if "Protocol" in bases(node) and Path(path).parent == folder
            ]
        found = []
        for name in queue:
            if name in self.classes:
                base = self.classes[name][1]
                found += [docstring(m) for m in methods(base) if m.name == function.node.name]
                queue += [more for more in bases(base) if more not in queue]
        return [text for text in found if text]

    def missing(self, function: Function, errors: set[str]) -> list[str]:
        """What a function's docstring lacks, in words."""
        own = [docstring(function.node)]
        about = "Args"
        if function.node.name == "__init__" and function.owner is not None:
            own, about = [*own, docstring(function.owner)], "Args|Attributes"
        wanted, above = arguments(function.node), self.above(function)
        explained = section(own, "Args")
        gone = sorted(explained - arguments(function.node, starred=True))
        lacking = [f"{function} explains what it does not take, {name}" for name in gone]
        if (len(wanted) >= MANY and not above) or explained:
            left = sorted(wanted - section(own, about))
            lacking += [f"{function} does not explain {name}" for name in left]
        silent = sorted((raised(function.node) & errors) - section([*own, *above], "Raises"))
        return [*lacking, *(f"{function} does not say that it raises {name}" for name in silent)]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]


def bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


def docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def section(docstrings: list[str], names: str) -> set[str]:
    """What sections of these names have entries for."""
    found: set[str] = set()
    for text in docstrings:
        inside = False
        for line in text.splitlines():
            if line and not line.startswith(" "):
                inside = bool(re.fullmatch(f"(?:{names}):", line))
            elif inside and (entry := ENTRY.match(line)):
                found |= {one.strip("* ") for one in entry[1].split(",")}
    return found


def arguments(node: ast.FunctionDef, starred: bool = False) -> set[str]:
    """Without ``self`` and ``cls``; those with stars, ``*args`` and ``**kwargs``, if asked for."""
    a = node.args
    found = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    found += [star for star in (a.vararg, a.kwarg) if starred and star is not None]
    return {arg.arg for arg in found} - {"self", "cls"}


def raised(node: ast.AST) -> set[str]:
    """Names of what a function itself raises, not what is defined in it does."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(child, ast.Raise) and child.exc is not None:
            thrown = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            name = ast.unparse(thrown).rpartition(".")[2]
            found.add("OptionError" if name == "unknown" else name)  # what unknown() makes
        found |= raised(child)
    return found


def errors_of(sources: Sources) -> set[str]:
    """StackelError and all that descends from it."""
    found = {"StackelError"}
    while True:
        more = {n for n, (_, node) in sources.classes.items() if found & set(bases(node))} - found
        if not more:
            return found
        found |= more


def test_arguments_are_explained_and_errors_named() -> None:
    texts = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    sources = Sources(texts)
    errors = errors_of(sources)
    seen = [f for f in sources.functions() if not f.path.startswith(COMMANDS)]
    assert {"GameError", "OptionError", "Refusal", "NotConverged"} <= errors
    assert {f.path.partition("/")[0] for f in seen} == {f.partition("/")[0] for f in FOLDERS}
    assert len(seen) > 400
    assert sum(len(arguments(f.node)) >= MANY for f in seen) > 80
    assert sum(bool(raised(f.node) & errors) for f in seen) > 40
    offences = [what for function in seen for what in sources.missing(function, errors)]
    assert not offences, "\n" + "\n".join(offences)


BANK = """
class Bank:
    def lend(self, amount, rate, years):
        '''Lend money.

        Args:
            amount, rate: how much, and for what [1/year].
            years: how long.

        Raises:
            GameError: there is none.
        '''
"""
ABC = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("source", "lacking"),
    [
        ("def f(a, b, c): 'None explained.'", ABC),
        ("def f(a, /, b, *, c, **more): 'None explained.'", ABC),
        ("def f(a, b, *more): 'Few.'", []),
        ("def _f(a, b, c): raise GameError", []),
        ("def f(a, b, c):\n '''F.\n\n Args:\n     a, c: both.\n '''", ["b"]),
        ("def f(a, b):\n '''F.\n\n Args:\n     a: one.\n '''", ["b"]),
        ("def f(a, **b):\n '''F.\n\n Args:\n     a, **b, c: too many.\n '''", ["c"]),
        ("def f(a):\n 'F.'\n if a: raise OptionError('no')", ["OptionError"]),
        ("def f(a):\n 'F.'\n raise errors.unknown('a', a)", ["OptionError"]),
        ("def f():\n 'F.'\n def g(): raise GameError", []),
        ("def f():\n 'F.'\n raise ValueError", []),
        ("class C:\n def f(self, a, b, c): ...", ABC),
        ("class C:\n def __init__(self, a, b, c): ...", ABC),
        ("class C:\n '''C.\n\n Args:\n     a: one.\n '''\n def __init__(self, a): ...", []),
        ("class C(Bank):\n def lend(self, amount, rate, years): raise GameError", []),
        ("class C(Bank):\n def lend(self, amount, rate, years): raise Refusal", ["Refusal"]),
        ("class C(Bank):\n def take(self, a, b, c): ...", ABC),
    ],
)
def test_what_is_missing_is_found(source: str, lacking: list[str]) -> None:
    sources = Sources({"bank.py": BANK, "one.py": source})
    errors = {"GameError", "OptionError", "Refusal"}
    offences = [what for f in sources.functions() for what in sources.missing(f, errors)]
    assert [what.rpartition(" ")[2] for what in offences] == lacking


REFERENCE = re.compile(r":(?:mod|class|func|meth|attr|data):`~?(stackel[\w.]*)`")


def test_what_is_referred_to_exists() -> None:
    lost, count = [], 0
    for path in (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))):
        for name in REFERENCE.findall(path.read_text(encoding="utf-8")):
            count += 1
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                lost.append(f"{path.relative_to(ROOT)}: {name}")
    assert count > 30
    assert not lost
