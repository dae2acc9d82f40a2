"""Falco rule files as YAML, with the place of every character that a person may ask about."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from trailhound.rules.ir import Note

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NODES_LIMIT = 200_000
_DEPTH_LIMIT = 32
_BLOCK_STYLES = ("|", ">")


class Place(Exception):
    """Something is wrong at a place of a rule file."""

    def __init__(self, reason: str, path: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Piece:
    """A scalar as YAML reads it, and the lines of the file on which it is written."""

    text: str
    path: str
    line: int
    """1-based; where the text begins, quotes and block marks left out."""
    column: int
    source: tuple[str, ...] = ()
    """Lines of the file from `line` on, the first one from `column` on."""

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of a character: folding and quoting change blanks alone."""
        before = sum(1 for char in self.text[:offset] if not char.isspace())
        line, column = self.line, self.column
        for number, source in enumerate(self.source):
            start = self.column if number == 0 else 1
            for index, char in enumerate(source):
                if char.isspace():
                    continue
                if before == 0:
                    return self.line + number, start + index
                before -= 1
                line, column = self.line + number, start + index + 1
        return line, column


@dataclass(frozen=True, slots=True)
class Written:
    """A text put together of pieces, as `append` does, with a blank between them."""

    pieces: tuple[Piece, ...]
    text: str = field(init=False)
    _starts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Join the pieces."""
        starts = []
        at = 0
        for piece in self.pieces:
            starts.append(at)
            at += len(piece.text) + 1
        object.__setattr__(self, "text", " ".join(piece.text for piece in self.pieces))
        object.__setattr__(self, "_starts", tuple(starts))

    def __add__(self, other: "Written") -> "Written":
        return Written((*self.pieces, *other.pieces))

    def problem(self, reason: str, offset: int = 0) -> Place:
        """Return a verdict on the character at an offset."""
        index = max(bisect.bisect_right(self._starts, offset) - 1, 0)
        piece = self.pieces[index]
        line, column = piece.place(offset - self._starts[index])
        return Place(reason, piece.path, line, column)


class Entry:
    """A node of the file: what it holds, and where."""

    __slots__ = ("_file", "_node")

    def __init__(self, node: yaml.Node, file: "File") -> None:
        self._node = node
        self._file = file

    def problem(self, reason: str) -> Place:
        """Return a verdict on this node."""
        mark = self._node.start_mark
        return Place(reason, self._file.path, mark.line + 1, mark.column + 1)

    def note(self, text: str, *, ignored: bool = False) -> Note:
        """Return something to know about this node."""
        mark = self._node.start_mark
        return Note(text, mark.line + 1, mark.column + 1, ignored=ignored)

    @property
    def is_null(self) -> bool:
        """Whether nothing stands there."""
        return bool(self._node.tag == "tag:yaml.org,2002:null")

    @property
    def is_scalar(self) -> bool:
        """Whether it is a text, number or truth value; all are read as text."""
        return isinstance(self._node, yaml.ScalarNode)

    def mapping(self, what: str) -> dict[str, "Entry"]:
        """Return the members of a mapping. Raises `Place` where it is none."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.problem(f"{what} must be a mapping")
        members: dict[str, Entry] = {}
        for key, value in self._node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in members:
                raise Entry(key, self._file).problem(f"key {name!r} stands twice")
            members[name] = Entry(value, self._file)
        return members

    def items(self, what: str) -> list["Entry"]:
        """Return the items of a list. Raises `Place` where it is none."""
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.problem(f"{what} must be a list")
        return [Entry(item, self._file) for item in self._node.value]

    def text(self, what: str) -> str:
        """Return a scalar as text. Raises `Place` where it is none, or empty."""
        if not isinstance(self._node, yaml.ScalarNode) or self.is_null:
            raise self.problem(f"{what} must be a text")
        return str(self._node.value)

    def truth(self, what: str) -> bool:
        """Return a scalar as true or false. Raises `Place` where it is neither."""
        word = self.text(what).lower()
        if word in ("true", "yes", "on", "y"):
            return True
        if word in ("false", "no", "off", "n"):
            return False
        raise self.problem(f"{what} must be true or false")

    def written(self, what: str) -> Written:
        """Return a scalar with the places of its characters."""
        text = self.text(what)
        node: Any = self._node
        line, column = int(node.start_mark.line), int(node.start_mark.column)
        if node.style in _BLOCK_STYLES:
            line, column = line + 1, 0
        elif node.style in ("'", '"'):
            column += 1
        last = int(node.end_mark.line) + 1
        lines = self._file.lines[line:last] or [""]
        source = (lines[0][column:], *lines[1:])
        return Written((Piece(text, self._file.path, line + 1, column + 1, source),))


@dataclass(frozen=True, slots=True)
class File:
    """The lines of a file, for the places of what stands in it."""

    path: str
    lines: list[str]


def required(members: dict[str, Entry], key: str, entry: Entry) -> Entry:
    """Return a member of a mapping that must be there. Raises `Place`."""
    found = members.get(key)
    if found is None:
        raise entry.problem(f"no {key}")
    return found


def read_items(text: str, path: str) -> Iterator[Entry | Place]:
    """Yield the items of a rule file, or what is wrong with it.

    Only plain data is read. What is nested deeper than 32 levels or has more than 200,000
    nodes, also by way of aliases, is refused: no rule file has a use for it.
    """
    file = File(path, text.split("\n"))
    try:
        loader = _Loader(text)
        try:
            while loader.check_node():
                root = loader.get_node()
                if isinstance(root, yaml.ScalarNode) and not str(root.value).strip():
                    continue
                entry = Entry(root, file)
                if not isinstance(root, yaml.SequenceNode):
                    yield entry.problem("a Falco rule file is a list of items")
                elif _too_large(root):
                    yield entry.problem("too large or too deeply nested for a rule file")
                else:
                    yield from (item for item in entry.items("file") if not item.is_null)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        yield Place(f"not valid YAML: {error.problem or error.context}", path, line, column)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = str(error).partition("\n")[0][:200]
        yield Place(f"not valid YAML: {reason}", path, 1, 1)


def _too_large(root: yaml.Node) -> bool:
    seen = 0
    stack: list[tuple[yaml.Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        seen += 1
        if seen > _NODES_LIMIT or depth > _DEPTH_LIMIT:
            return True
        if isinstance(node, yaml.SequenceNode):
            stack.extend((item, depth + 1) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            stack.extend((item, depth + 1) for pair in node.value for item in pair)
    return False
