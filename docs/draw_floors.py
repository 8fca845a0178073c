"""Draw the rooms of the core, floor over floor, from what they import.

    python docs/draw_floors.py            writes docs/images/floors.svg
    python docs/draw_floors.py --check    fails if that picture is not what the code says

A room is a file at the top of stackel/ or a folder there. It stands one floor above the highest
room that it imports, inside functions and for annotations included; an arrow that follows from
others is left out. What a room is for is the first sentence of its docstring.
"""

import argparse
import ast
import graphlib
import sys
import textwrap
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "floors.svg"
OUTSIDE = ("formulations", "solvers", "learners")
"""Packages around the core, which know nothing but it."""

WIDTH, HEIGHT = 196, 74  # of a room
ACROSS, DOWN = 24, 46  # between two rooms, and between two floors
MARGIN = 20
GAP = 8  # of an arrow that passes a floor
LETTERS = 29  # in a line of a room's text
SWEEPS = 8

STYLE = """
  text { font: 12px sans-serif; fill: #333 }
  .name { font: bold 14px monospace; fill: #111 }
  rect { fill: #f4f6f8; stroke: #6b7a89 }
  .outside rect { fill: #fff; stroke-dasharray: 5 4 }
  path { fill: none; stroke: #8a99a8; stroke-width: 1.2; marker-end: url(#tip) }
"""

TIP = """<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
  orient="auto">
<path d="M0 0 8 4 0 8z" style="fill:#8a99a8;stroke:none"/></marker>"""


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]


def imported(path: Path) -> set[str]:
    """Rooms of the core that a file imports, wherever it does."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("stackel.")}


def purpose(room: Path) -> str:
    """The first sentence of a room's docstring."""
    face = room / "__init__.py" if room.is_dir() else room
    text = ast.get_docstring(ast.parse(face.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("``", "").partition(". ")[0].rstrip(".")


def rooms() -> dict[str, Path]:
    core = ROOT / "stackel"
    found = [p for p in core.iterdir() if (p / "__init__.py").is_file() or p.suffix == ".py"]
    return {p.stem: p for p in sorted(found) if p.stem != "__init__"}


def graph(places: dict[str, Path]) -> dict[str, set[str]]:
    """The rooms that each room imports, from the ground up.

    Raises:
        graphlib.CycleError: they import each other in a circle.
    """
    needs = {}
    for name, place in places.items():
        found = {room for path in modules(place) for room in imported(path)}
        needs[name] = sorted(found & set(places) - {name})  # sorted, that the picture stays
    return {name: set(needs[name]) for name in graphlib.TopologicalSorter(needs).static_order()}


def storeys(needs: dict[str, set[str]]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Each room's floor, and the arrows that do not follow from others."""
    height: dict[str, int] = {}
    reach: dict[str, set[str]] = {}
    for name, below in needs.items():
        height[name] = 1 + max((height[b] for b in below), default=-1)
        reach[name] = below.union(*(reach[b] for b in below))
    return height, [
        (name, b)
        for name, below in needs.items()
        for b in sorted(below)
        if not any(b in reach[other] for other in below - {b})
    ]


def laid_out(
    height: dict[str, int], arrows: list[tuple[str, str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """The floors from the top, and the stops of each arrow: its ends, and a gap on every floor
    that it passes. Each floor is ordered by where its neighbours stand, so that few arrows cross.
    """
    top = max(height.values())
    floors = [sorted(n for n in height if height[n] == top - k) for k in range(top + 1)]
    ways = []
    for name, below in arrows:
        gaps = {h: f"{name}>{below}@{h}" for h in range(height[name] - 1, height[below], -1)}
        ways.append([name, *gaps.values(), below])
        for h, gap in gaps.items():
            floors[top - h].append(gap)
    pairs = [pair for way in ways for pair in pairwise(way)]
    for _ in range(SWEEPS):
        for order in (floors, floors[::-1]):
            place = {n: (k + 0.5) / len(row) for row in floors for k, n in enumerate(row)}
            for row in order:
                row.sort(key=lambda n: (middle(n, pairs, place), n))
                place |= {n: (k + 0.5) / len(row) for k, n in enumerate(row)}
    return floors, ways


def middle(name: str, pairs: list[tuple[str, str]], place: dict[str, float]) -> float:
    beside = [place[b if a == name else a] for a, b in pairs if name in (a, b)]
    return sum(beside) / len(beside) if beside else 0.5


def picture() -> str:
    places = rooms()
    floors, ways = laid_out(*storeys(graph(places)))
    floors.insert(0, list(OUTSIDE))
    wide = {n: WIDTH if n in places or n in OUTSIDE else GAP for row in floors for n in row}
    full = max(sum(wide[n] + ACROSS for n in row) - ACROSS for row in floors)
    at: dict[str, tuple[float, float]] = {}
    for h, row in enumerate(floors):
        x = MARGIN + (full - sum(wide[n] + ACROSS for n in row) + ACROSS) / 2
        for name in row:
            at[name] = x + wide[name] / 2, MARGIN + h * (HEIGHT + DOWN)
            x += wide[name] + ACROSS
    size = full + 2 * MARGIN, len(floors) * (HEIGHT + DOWN) - DOWN + 2 * MARGIN
    box = f'viewBox="0 0 {size[0]:g} {size[1]:g}" width="{size[0]:g}" height="{size[1]:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
        "<title>The rooms of the core: each imports only what stands below it</title>",
        f"<style>{STYLE}</style>",
        TIP,
        '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
    ]
    for way in ways:
        x, y = at[way[0]]
        line = f"M{x:g} {y + HEIGHT:g}"
        for stop in way[1:]:
            y += HEIGHT
            to_x, to_y = at[stop]
            line += f"C{x:g} {y + DOWN / 2:g} {to_x:g} {to_y - DOWN / 2:g} {to_x:g} {to_y:g}"
            line += f"v{HEIGHT}" if stop != way[-1] else ""
            x, y = to_x, to_y
        lines.append(f'<path d="{line}"/>')
    for name in (n for row in floors for n in row if n in places or n in OUTSIDE):
        x, y = at[name][0] - WIDTH / 2, at[name][1]
        place = places.get(name, ROOT / name)
        shown = f"{name}/" if place.is_dir() else f"{name}.py"
        lines.append(f'<g class="{"outside" if name in OUTSIDE else "core"}">')
        lines.append(f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>')
        lines.append(f'<text class="name" x="{x + 10:g}" y="{y + 20:g}">{shown}</text>')
        texts = textwrap.wrap(purpose(place), LETTERS, max_lines=3, placeholder=" …")
        for k, text in enumerate(texts):
            down = y + 37 + 15 * k
            lines.append(f'<text x="{x + 10:g}" y="{down:g}">{escape(text)}</text>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the rooms of the core.")
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    drawn = picture()
    if parser.parse_args().check:
        if PICTURE.read_text(encoding="utf-8") == drawn:
            return 0
        print(f"{PICTURE.relative_to(ROOT)} is out of date: run python docs/draw_floors.py")
        return 1
    PICTURE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
