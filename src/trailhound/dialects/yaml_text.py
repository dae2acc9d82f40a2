"""YAML with places: what a rule file says, and on which line and in which column."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from msgspec import Struct

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader12(_Loader):  # type: ignore[misc]
    """Reads `Yes`, `On`, `2026-11-26` and `1:30` as the texts that they are in YAML 1.2.

    `0644` is a number there, and not an octal one.
    """

    yaml_implicit_resolvers: Mapping[str, Any] = {
        first: [entry for entry in entries if entry[0] not in (_BOOL, _TIMESTAMP)]
        for first, entries in _Loader.yaml_implicit_resolvers.items()
    }


def _number(loader: Any, node: yaml.ScalarNode) -> int | str:
    text = str(node.value)
    if ":" in text:
        return text
    digits = text.replace("_", "").lower()
    if "0x" in digits or "0b" in digits:
        return int(loader.construct_yaml_int(node))
    return int(digits)


_Loader12.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader12.add_constructor(_INT, _number)
_NODES_LIMIT = 200_000
_DEPTH_LIMIT = 64
_DOCUMENT_START = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_NO_CONTENT = re.compile(r"(?:[ \t]*(?:[%#][^\n]*)?(?:\n|\Z))*")


Place = tuple[int, int]
"""Line and column, both from 1 on."""


class Document(Struct, frozen=True):
    """One YAML document of a rule file."""

    content: Any
    place: Place
    """Where it begins."""
    places: dict[tuple[str, ...], Place]
    """Key path → where the key stands, for mappings."""
    duplicates: tuple[tuple[str, Place], ...]
    """Keys that stand twice in one mapping: (dotted key path, place of the second)."""
    values: dict[str, Place]
    """Plain value → where its text first begins."""

    def place_of(self, *keys: str) -> Place:
        """Place of the deepest known part of a key path."""
        for end in range(len(keys), 0, -1):
            place = self.places.get(keys[:end])
            if place is not None:
                return place
        return self.place


class YamlError(Exception):
    """The text is not YAML that can be used."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


def decoded(data: bytes) -> str:
    """Return the text of a rule file. Raises `YamlError` where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        above = data[: error.start]
        column = error.start - above.rfind(b"\n")
        raise YamlError("not valid UTF-8", above.count(b"\n") + 1, column) from None


def read_documents(
    text: str, *, yes_is_text: bool = False
) -> tuple[list[Document], list[YamlError]]:
    """Read every YAML document of a text, each by itself: one that is broken spoils no other.

    YAML 1.1; with `yes_is_text`, plain values are what they are in YAML 1.2 (`_Loader12`). Only
    plain data (`yaml.SafeLoader`), no objects. What has more than 200,000 nodes, also by way of
    aliases, is refused, as a rule file has no use for it.
    """
    documents: list[Document] = []
    errors: list[YamlError] = []
    for part, above in _parts(text):
        try:
            documents.extend(_read(part, above, _Loader12 if yes_is_text else _Loader))
        except YamlError as error:
            errors.append(error)
    return documents, errors


def _parts(text: str) -> Iterator[tuple[str, int]]:
    """Cut a text before each document; with the number of lines above each part."""
    at = line = 0
    for mark in (*_DOCUMENT_START.finditer(text), None):
        end = mark.start() if mark else len(text)
        part = text[at:end]
        # Directives stand before the mark of the document that they belong to.
        if mark is None or _NO_CONTENT.fullmatch(part) is None:
            yield part, line
            at = end
            line += part.count("\n")


def _read(text: str, above: int, make: Any) -> Iterator[Document]:
    if sum(map(text.count, "\n,[{")) > _NODES_LIMIT:
        raise YamlError("too large or too deeply nested for a rule", above + 1, 1)
    try:
        loader = make(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                walk = _Walk(above)
                walk.through(node)
                start = walk.place(node)
                content = loader.construct_document(node)
                yield Document(content, start, walk.places, tuple(walk.duplicates), walk.values)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if "end of stream" in (error.problem or ""):  # what was never closed began elsewhere
            mark = error.context_mark or mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        line = min(line, text.rstrip().count("\n") + 1)
        reason = f"not valid YAML: {error.problem or error.context}"
        raise YamlError(reason, above + line, column) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = f"not valid YAML: {str(error).partition(chr(10))[0][:200]}"
        raise YamlError(reason, above + 1, 1) from None


class _Walk:
    """What is known of a document by its nodes: where what stands."""

    def __init__(self, above: int) -> None:
        self.places: dict[tuple[str, ...], Place] = {}
        self.duplicates: list[tuple[str, Place]] = []
        self.values: dict[str, Place] = {}
        self._above = above

    def through(self, root: yaml.Node) -> None:
        seen_nodes = 0
        stack: list[tuple[yaml.Node, tuple[str, ...], int]] = [(root, (), 0)]
        while stack:
            node, path, depth = stack.pop()
            seen_nodes += 1
            if seen_nodes > _NODES_LIMIT or depth > _DEPTH_LIMIT:
                raise YamlError("too large or too deeply nested for a rule", *self.place(root))
            if isinstance(node, yaml.MappingNode):
                stack.extend((item, key, depth + 1) for item, key in self._members(node, path))
            elif isinstance(node, yaml.SequenceNode):
                stack.extend((item, path, depth + 1) for item in reversed(node.value))
            else:
                line, column = self.place(node)
                quoted = getattr(node, "style", None) in ("'", '"')
                self.values.setdefault(str(node.value), (line, column + quoted))

    def _members(
        self, node: yaml.MappingNode, path: tuple[str, ...]
    ) -> Iterator[tuple[yaml.Node, tuple[str, ...]]]:
        keys: set[str] = set()
        for key_node, value_node in node.value:
            key = str(getattr(key_node, "value", "?"))
            here = (*path, key)
            if key in keys and key != "<<":
                self.duplicates.append((".".join(here), self.place(key_node)))
            keys.add(key)
            self.places.setdefault(here, self.place(key_node))
            yield value_node, here

    def place(self, node: yaml.Node) -> Place:
        """Where a node begins in the file."""
        mark = node.start_mark
        return self._above + int(mark.line) + 1, int(mark.column) + 1
