"""Run the Python code blocks of Markdown pages, so that what the pages say stays true.

    python docs/run_code_blocks.py README.md docs/*.md

runs each page's ```python blocks in order as one program, in a temporary working directory, and
names the page and line of what fails. A block opened with ```python no-run is left out.

    python docs/run_code_blocks.py --only "bash test" README.md
    python docs/run_code_blocks.py --first python README.md

print the only block, or the first one, that opens with exactly these words.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<info>[^`]*?) *$")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    info: str  # the words after the opening fence
    line: int  # where its code starts in the page, counted from 1
    code: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    opening: re.Match[str] | None = None
    start, body = 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if opening is None:
            if fence:
                opening, start, body = fence, number + 1, []
        elif fence and not fence["info"] and fence["fence"].startswith(opening["fence"]):
            yield Block(" ".join(opening["info"].split()), start, textwrap.dedent("\n".join(body)))
            opening = None
        else:
            body.append(line)
    if opening is not None:
        raise SystemExit(f"{page}:{start - 1}: this block is never closed")


def program(page: Path) -> str:
    """The page's Python blocks, each on the lines that it has in the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def run(page: Path) -> bool:
    """Run one page; True if nothing failed."""
    code = program(page)
    if not code:
        print(f"{page}: no Python to run")
        return True
    # A program of its own, not exec: worker processes and pickled functions behave as they do for
    # a reader who copies the page into a file. Named like the page, so tracebacks point there.
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory).resolve() / page.name
        script.write_text(code, encoding="utf-8")
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=directory,
            env={"MPLBACKEND": "Agg", **os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    seconds = time.perf_counter() - started
    if done.returncode == 0:
        print(f"{page}: passed in {seconds:.1f} s")
        return True
    # The last frame in the page is the line of the page that led to the error.
    frames = re.findall(rf'File "{re.escape(str(script))}", line (\d+)', done.stdout)
    place = f"{page}:{frames[-1]}" if frames else str(page)
    print(f"{place}: failed after {seconds:.1f} s (exit status {done.returncode})")
    print(textwrap.indent(done.stdout.replace(str(script), str(page)), "    "))
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the Python code blocks of Markdown pages.")
    parser.add_argument("pages", nargs="+", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", metavar="WORDS", help="print the only block opened by these words")
    which.add_argument("--first", metavar="WORDS", help="print the first such block")
    options = parser.parse_args()

    words = options.only or options.first
    if words is None:
        passed = [run(page) for page in options.pages]  # all of them, after a failure too
        return 0 if all(passed) else 1
    found = [block for page in options.pages for block in blocks(page) if block.info == words]
    if not found or (options.only and len(found) > 1):
        names = ", ".join(map(str, options.pages))
        print(f"{len(found)} blocks open with '{words}' in {names}", file=sys.stderr)
        return 1
    print(found[0].code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
