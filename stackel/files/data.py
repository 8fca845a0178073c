"""Market data from files beside a market file: columns, matrices, edge lists and graphs.

Followers are numbered by their place in the data, so a graph must say which node is which
follower. Nodes named by whole numbers come in numeric order; other names in the order in which
the file lists its nodes, or in the order given by ``nodes``. An edge list lists no nodes: its
ends are numbers counted from 0, or ``nodes`` says their order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx
import numpy as np

from stackel.errors import GameError, unknown

ENDS = ("source", "target")

MALFORMED = (nx.NetworkXException, ParseError, AttributeError, LookupError, TypeError, ValueError)
"""What networkx's readers raise of a file that is not in their format."""


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        GameError: there is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets write the mark that sig drops
    except FileNotFoundError:
        raise GameError(f"there is no file {path}") from None
    except UnicodeDecodeError as error:
        raise GameError(f"{path} is not text in UTF-8: {error.reason}; save it as UTF-8") from None
    except OSError as error:
        raise GameError(f"{path} cannot be read: {error.strerror or error}") from None


class Table:
    """A CSV file: a header, unless all its cells are numbers, and rows of equal length.

    Cells are separated by whichever of comma, semicolon and tab the first line has most of.

    Args:
        path: the file.

    Attributes:
        header: the columns' names, or None.
        lines: number of the line in the file, and its cells, one a row.

    Raises:
        GameError: no file, no rows, rows of different length, or no CSV.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = read_text(path)
        first = text.lstrip().partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
        try:
            lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(row)]
        except csv.Error as error:
            raise GameError(f"{path}, line {reader.line_num}: {error}") from None
        if not lines:
            raise GameError(f"{path} is empty; expected rows of numbers")
        head = lines[0][1]
        for number, row in lines:
            if len(row) != len(head):
                raise GameError(
                    f"{path} is ragged: line {number} has {len(row)} cells, line {lines[0][0]} "
                    f"has {len(head)}"
                )
        numeric = all(map(_is_number, head))
        self.header: list[str] | None = None if numeric else head
        self.lines = lines if numeric else lines[1:]
        if not self.lines:
            raise GameError(f"{path} has a header but no rows")

    def position(self, column: str) -> int:
        """Where a column stands, counted from 0.

        Raises:
            GameError: there is no header, or no such column in it.
        """
        if self.header is None:
            raise GameError(f"{self.path} has no header line, so no column {column!r}; add one")
        if column not in self.header:
            raise GameError(f"{self.path}: {unknown('column', column, self.header)}")
        return self.header.index(column)

    def texts(self, column: str) -> list[str]:
        """A column's cells.

        Raises:
            GameError: as :meth:`position`.
        """
        k = self.position(column)
        return [row[k] for _, row in self.lines]

    def numbers(self, column: str) -> np.ndarray:
        """A column (rows,) of numbers.

        Raises:
            GameError: as :meth:`position`, or a cell is no number.
        """
        k = self.position(column)
        return np.array([self._number(line, row, k) for line, row in self.lines])

    def matrix(self) -> np.ndarray:
        """All cells (rows, columns); a first column without a heading holds labels and is left out.

        Raises:
            GameError: a cell is no number.
        """
        width = len(self.lines[0][1])
        start = 1 if self.header is not None and self.header[0] == "" else 0
        return np.array(
            [[self._number(line, row, k) for k in range(start, width)] for line, row in self.lines]
        )

    def _number(self, line: int, row: Sequence[str], k: int) -> float:
        if _is_number(row[k]):
            return float(row[k])
        column = f"column {self.header[k]!r}" if self.header is not None else f"column {k + 1}"
        found = repr(row[k]) if row[k] else "nothing"
        raise GameError(f"{self.path}, line {line}, {column}: expected a number, found {found}")


def edge_list(path: Path, directed: bool = False) -> nx.Graph:
    """The graph of a CSV file with columns source, target and, if it likes, weight.

    An undirected tie may stand once or both ways round, but not with two weights.

    Args:
        path: the file.
        directed: whether a tie goes one way only.

    Raises:
        GameError: the file is no such table, or a tie has two weights.
    """
    table = Table(path)
    ends = [table.texts(name) for name in ENDS]
    weighted = "weight" in (table.header or ())
    weights = table.numbers("weight") if weighted else np.ones(len(table.lines))
    graph: nx.Graph = nx.DiGraph() if directed else nx.Graph()
    for (line, _), u, v, w in zip(table.lines, *ends, weights.tolist(), strict=True):
        if graph.has_edge(u, v) and weighted and graph[u][v]["weight"] != w:
            raise GameError(
                f"{path}, line {line}: the tie of {u} and {v} has weight {w:g} here and "
                f"{graph[u][v]['weight']:g} before; expected one weight"
            )
        graph.add_edge(u, v, **({"weight": w} if weighted else {}))
    return graph


def graph_file(path: Path) -> tuple[nx.Graph, bool]:
    """A graph in one of networkx's formats, and whether the format lists its nodes in order.

    Args:
        path: the file; its ending is one of :data:`FORMATS`.

    Raises:
        GameError: another ending, no file, or a file that is not of that format.
    """
    if path.suffix not in FORMATS:
        raise GameError(
            f"{path} has the ending {path.suffix or 'none'!r}; expected one of "
            f"{', '.join(FORMATS)}, or {{ edges = ... }} for a CSV of edges"
        )
    read_text(path)  # a missing or unreadable file, in our words
    read, listed = FORMATS[path.suffix]
    try:
        return read(path), listed
    except MALFORMED as error:
        raise GameError(
            f"{path} is not a graph in {path.suffix[1:]} format: {type(error).__name__}: {error}"
        ) from error


def tie_matrix(
    graph: nx.Graph,
    listed: bool,
    nodes: int | Sequence[Any] | None = None,
    weight: float = 1.0,
) -> Any:
    """The graph's weights as a sparse (I, I) matrix; see the module for the order.

    Args:
        graph: edges with an optional ``weight``.
        listed: whether the graph's own order of nodes was chosen by its author.
        nodes: how many followers (nodes are numbers counted from 0), or their names in order.
        weight: of the edges that state none.

    Raises:
        GameError: no nodes, nodes in no known order or named twice, one that is not among those
            named, or a weight that is no number.
    """
    graph = nx.relabel_nodes(graph, {n: str(n) for n in graph})
    if nodes is None:
        order = _own_order(list(graph), listed)
    elif isinstance(nodes, int):
        order = [str(k) for k in range(nodes)]
    else:
        order = [str(n) for n in nodes]
        if len(set(order)) < len(order):
            twice = next(n for n in order if order.count(n) > 1)
            raise GameError(f"nodes name {twice!r} twice; expected each follower once")
    known = set(order)
    for node in graph:
        if node not in known:
            few = order if len(order) <= 12 else [*order[:5], "...", order[-1]]
            raise GameError(f"node {node!r} is not one of the {len(order)} nodes {', '.join(few)}")
    graph.add_nodes_from(order)
    for _, _, data in graph.edges(data=True):
        value = data.setdefault("weight", weight)
        if isinstance(value, str) or not np.isreal(value):
            raise GameError(f"an edge has the weight {value!r}; expected a number")
    return nx.to_scipy_sparse_array(graph, nodelist=order, dtype=np.dtype(float))


def _own_order(labels: list[str], listed: bool) -> list[str]:
    if not labels:
        raise GameError("the graph has no nodes; expected one for each follower")
    whole = all(label.isdecimal() for label in labels)
    if listed:
        return sorted(labels, key=int) if whole else labels
    if not whole:
        name = next(label for label in labels if not label.isdecimal())
        raise GameError(
            f"an edge ends at {name!r}, and an edge list does not say which follower that is; "
            'number followers from 0, or give their names in order: nodes = ["...", ...] or '
            'nodes = { csv = "followers.csv", column = "name" }'
        )
    order = [str(k) for k in range(max(map(int, labels)) + 1)]
    present = set(labels)
    missing = next((k for k in order if k not in present), None)
    if missing is not None:
        raise GameError(
            f"edges go up to follower {order[-1]} (counted from 0), but none ends at follower "
            f"{missing}; if some followers have no ties, say how many followers there are, e.g. "
            f"nodes = {len(order)}"
        )
    return order


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_gml(path: Path) -> nx.Graph:
    try:
        return nx.read_gml(path)
    except nx.NetworkXError:
        return nx.read_gml(path, label="id")  # nodes without labels


def _read_lines(path: Path) -> nx.Graph:
    """``a b``, ``a b 0.5`` or ``a b {'weight': 0.5}`` on every line."""
    try:
        return nx.read_edgelist(path)
    except TypeError:
        return nx.read_weighted_edgelist(path)


def _read_node_link(path: Path) -> nx.Graph:
    data = json.loads(read_text(path))
    graph: nx.Graph = nx.DiGraph() if data.get("directed") else nx.Graph()
    graph.add_nodes_from(node["id"] for node in data["nodes"])
    for edge in data["links"] if "links" in data else data["edges"]:  # older and newer networkx
        own = {"weight": edge["weight"]} if "weight" in edge else {}
        graph.add_edge(edge["source"], edge["target"], **own)
    return graph


FORMATS: dict[str, tuple[Callable[[Path], nx.Graph], bool]] = {
    ".graphml": (nx.read_graphml, True),
    ".gml": (_read_gml, True),
    ".gexf": (nx.read_gexf, True),
    ".json": (_read_node_link, True),
    ".edgelist": (_read_lines, False),
    ".txt": (_read_lines, False),
}
"""Ending to reader, and whether the format lists its nodes."""
