"""YAML with line numbers: what a rule file says, and on which line."""

from typing import Any

import yaml
from msgspec import Struct

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NODES_LIMIT = 200_000


class Document(Struct, frozen=True):
    """One YAML document of a rule file."""

    content: Any
    line: int
    """1-based line on which it begins."""
    lines: dict[tuple[str, ...], int]
    """Key path → 1-based line, for mappings."""
    duplicates: tuple[tuple[str, int], ...]
    """Keys that stand twice in one mapping: (dotted key path, line of the second)."""
    values: dict[str, int]
    """Plain value → 1-based line on which it first stands."""

    def line_of(self, *keys: str) -> int:
        """Line of the deepest known part of a key path."""
        for end in range(len(keys), 0, -1):
            line = self.lines.get(keys[:end])
            if line is not None:
                return line
        return self.line


class YamlError(Exception):
    """The text is not YAML that can be used."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


def read_documents(text: str) -> list[Document]:
    """Read every YAML document of a text; `YamlError` where it is none.

    Only plain data (`yaml.SafeLoader`), no objects. Aliases that expand to more than
    200,000 nodes are refused, as a rule file has no use for them.
    """
    documents = []
    try:
        loader = _Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                lines: dict[tuple[str, ...], int] = {}
                duplicates: list[tuple[str, int]] = []
                values: dict[str, int] = {}
                _walk(node, lines, duplicates, values)
                start = node.start_mark.line + 1
                content = loader.construct_document(node)
                documents.append(Document(content, start, lines, tuple(duplicates), values))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if "end of stream" in (error.problem or ""):  # what was never closed began elsewhere
            mark = error.context_mark or mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"not valid YAML: {error.problem or error.context}", line, column) from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise YamlError(f"not valid YAML: {str(error).splitlines()[0][:200]}", 1, 1) from None
    return documents


def _walk(
    root: yaml.Node,
    lines: dict[tuple[str, ...], int],
    duplicates: list[tuple[str, int]],
    values: dict[str, int],
) -> None:
    seen_nodes = 0
    stack: list[tuple[yaml.Node, tuple[str, ...]]] = [(root, ())]
    while stack:
        node, path = stack.pop()
        seen_nodes += 1
        if seen_nodes > _NODES_LIMIT or len(path) > 64:
            raise YamlError(
                "too large or too deeply nested for a rule", root.start_mark.line + 1, 1
            )
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key_node, value_node in node.value:
                key = str(getattr(key_node, "value", "?"))
                line = key_node.start_mark.line + 1
                here = (*path, key)
                if key in keys and key != "<<":
                    duplicates.append((".".join(here), line))
                keys.add(key)
                lines.setdefault(here, line)
                stack.append((value_node, here))
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((item, path) for item in reversed(node.value))
        else:
            values.setdefault(str(node.value), node.start_mark.line + 1)
