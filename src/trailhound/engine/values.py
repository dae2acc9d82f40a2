"""Reading fields out of documents, and values as text."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from trailhound.engine.steps import taken
from trailhound.engine.texts import text_of
from trailhound.rules.ir import Field, Path

Getter = Callable[[Any], list[Any]]

_ABSENT = object()


@lru_cache(maxsize=4096)
def getter(field: Field) -> Getter:
    """Return a function from a document to all values of a field.

    A path goes down through objects; a list on the way is entered at every element (or at
    one, where the step is a number), and a list at the end gives its elements. A key that
    itself contains dots (`authorization.k8s.io/decision`) is found as well: every way to
    read the path is followed, so that a planted key cannot hide another one.
    Absent fields have no values; a field that is null has the value None. Steps, where the
    field has them, are taken last.
    """
    if field.via:
        read = nodes(field)
        return lambda document: [value for node in read(document) for value in _flat(node)]
    if len(field.paths) == 1:
        return _path_getter(field.paths[0])
    parts = [_path_getter(path) for path in field.paths]

    def read_all(document: Any) -> list[Any]:
        return [value for part in parts for value in part(document)]

    return read_all


@lru_cache(maxsize=4096)
def presence(field: Field) -> Callable[[Any], bool]:
    """Return a function that tells whether a field is there, null and empty lists included."""
    read = nodes(field)
    return lambda document: bool(read(document))


@lru_cache(maxsize=4096)
def nodes(field: Field) -> Getter:
    """Return a function to what stands at a field, with lists left whole."""
    reads = [_nodes_at(path) for path in field.paths]
    if field.via:
        take = taken(field.via)
        return lambda document: take([node for read in reads for node in read(document)])
    if len(reads) == 1:
        return reads[0]
    return lambda document: [node for read in reads for node in read(document)]


def leaves(document: Any) -> Iterator[str]:
    """Yield every text, number and boolean of a document as text, in document order."""
    stack = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            stack.extend(reversed(list(node.values())))
        elif isinstance(node, list | tuple):
            stack.extend(reversed(node))
        else:
            text = text_of(node)
            if text is not None:
                yield text


class _Texts:
    """The texts of the document that was asked for last: many rules in turn ask for them."""

    document: Any = None
    texts: Sequence[str] = ()
    folded: str = ""


def texts_of(document: Any) -> Sequence[str]:
    """Return `leaves`, remembered for the document at hand."""
    if _Texts.document is not document:
        flat = isinstance(document, dict)
        texts = [v for v in document.values() if v.__class__ is str] if flat else []
        if not flat or len(texts) != len(document):
            texts = list(leaves(document))
        _Texts.texts = texts
        _Texts.folded = "\n".join(texts).lower()
        _Texts.document = document
    return _Texts.texts


def folded_text(document: Any) -> str:
    """Return all texts of a document in lower case, a line each; remembered as well."""
    texts_of(document)
    return _Texts.folded


def _flat(node: Any) -> list[Any]:
    if not isinstance(node, list | tuple):
        return [node]
    flat: list[Any] = []
    stack = list(reversed(node))
    while stack:
        item = stack.pop()
        if isinstance(item, list | tuple):
            stack.extend(reversed(item))
        else:
            flat.append(item)
    return flat


def _path_getter(path: Path) -> Getter:
    if len(path) == 1:
        key = path[0]

        def read_one(document: Any) -> list[Any]:
            if isinstance(document, dict):
                value = document.get(key, _ABSENT)
                if value is _ABSENT:
                    return []
                return _flat(value) if isinstance(value, list | tuple) else [value]
            return [value for node in walk(document) for value in _flat(node)]

        walk = _walker(path)
        return read_one
    if len(path) == 2:
        first, second = path
        both = f"{first}.{second}"

        def read_two(document: Any) -> list[Any]:
            if isinstance(document, dict) and both not in document:
                outer = document.get(first)
                if isinstance(outer, dict):
                    value = outer.get(second, _ABSENT)
                    if value is _ABSENT:
                        return []
                    return _flat(value) if isinstance(value, list | tuple) else [value]
            return [value for node in walk(document) for value in _flat(node)]

        walk = _walker(path)
        return read_two
    read = _nodes_at(path)

    def read_deep(document: Any) -> list[Any]:
        found = read(document)
        if len(found) == 1 and not isinstance(found[0], list | tuple):
            return found
        return [value for node in found for value in _flat(node)]

    return read_deep


@lru_cache(maxsize=4096)
def _nodes_at(path: Path) -> Getter:
    """Return a function to what stands at a path, with lists left whole."""
    walk = _walker(path)
    if not path:
        return walk
    *outer, last = path
    # What stands further down may also stand under a key with dots in it.
    steps = [
        (step, tuple(".".join(path[at:end]) for end in range(at + 2, len(path) + 1)))
        for at, step in enumerate(outer)
    ]

    def read(document: Any) -> list[Any]:
        node = document
        for step, dotted in steps:
            if not isinstance(node, dict) or any(map(node.__contains__, dotted)):
                break
            node = node.get(step)
        else:
            if isinstance(node, dict):
                value = node.get(last, _ABSENT)
                return [] if value is _ABSENT else [value]
        return walk(document)

    return read


def _walker(path: Path) -> Callable[[Any], list[Any]]:
    # ways[i]: the keys that may be read at step i, each with the step it leads to.
    ways = [
        [(".".join(path[i:j]), j) for j in range(i + 1, len(path) + 1)] for i in range(len(path))
    ]
    end = len(path)
    numbers = [int(step) if re.fullmatch(r"\d{1,6}", step) else None for step in path]

    def walk(document: Any) -> list[Any]:
        found: list[Any] = []
        stack = [(document, 0)]
        while stack:
            node, step = stack.pop()
            if step == end:
                found.append(node)
            elif isinstance(node, dict):
                for key, following in reversed(ways[step]):
                    value = node.get(key, _ABSENT)
                    if value is not _ABSENT:
                        stack.append((value, following))
            elif isinstance(node, list | tuple):
                index = numbers[step]
                if index is None:
                    stack.extend((item, step) for item in reversed(node))
                elif index < len(node):
                    stack.append((node[index], step + 1))
        return found

    return walk
