"""Reading fields out of documents, and values as text."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from trailhound.engine.steps import taken
from trailhound.engine.texts import text_of
from trailhound.rules.ir import Field, Path

T = TypeVar("T")
Getter = Callable[[Any], list[Any]]

_ABSENT = object()
_NUMBER = re.compile(r"\d{1,6}")
_number = itemgetter(0)


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
    read_all = _nodes_at(field.paths)
    return lambda document: [value for node in read_all(document) for value in _flat(node)]


@lru_cache(maxsize=4096)
def presence(field: Field) -> Callable[[Any], bool]:
    """Return a function that tells whether a field is there, null and empty lists included."""
    read = nodes(field)
    return lambda document: bool(read(document))


@lru_cache(maxsize=4096)
def nodes(field: Field) -> Getter:
    """Return a function to what stands at a field, with lists left whole."""
    read = _node_at(field.paths[0]) if len(field.paths) == 1 else _nodes_at(field.paths)
    if not field.via:
        return read
    take = taken(field.via)
    return lambda document: take(read(document))


def at_once(
    field: Field,
    of_text: Callable[[str], T],
    of_integer: Callable[[int], T],
    otherwise: Callable[[Any], T],
) -> Callable[[Any], T]:
    """Return a function of a document that is quick where a field is plainly one value.

    Args:
        field: where it stands.
        of_text: what comes of a text that stands there alone.
        of_integer: the same of an integer.
        otherwise: what comes of a document in which anything else may stand there.
    """
    if field.via or len(field.paths) != 1 or len(field.paths[0]) not in (1, 2):
        return otherwise
    first, *rest = field.paths[0]
    if not rest:

        def outer(document: Any) -> T:
            if document.__class__ is dict:
                value = document.get(first)
                if value.__class__ is str:
                    return of_text(value)
                if value.__class__ is int:
                    return of_integer(value)
            return otherwise(document)

        return outer
    (second,) = rest
    joined = f"{first}.{second}"

    def inner(document: Any) -> T:
        if document.__class__ is dict and joined not in document:
            node = document.get(first)
            if node.__class__ is dict:
                value = node.get(second)
                if value.__class__ is str:
                    return of_text(value)
                if value.__class__ is int:
                    return of_integer(value)
        return otherwise(document)

    return inner


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

        walk = _nodes_at((path,))
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

        walk = _nodes_at((path,))
        return read_two
    read = _node_at(path)

    def read_deep(document: Any) -> list[Any]:
        found = read(document)
        if len(found) == 1 and not isinstance(found[0], list | tuple):
            return found
        return [value for node in found for value in _flat(node)]

    return read_deep


@lru_cache(maxsize=4096)
def _node_at(path: Path) -> Getter:
    """Return a function to what stands at one path, with lists left whole."""
    start = _ways((path,))
    if not path:
        return lambda document: [document]
    *outer, last = path
    # What stands further down may also stand under a key with dots in it. Until one does, or a
    # list comes, there is one way.
    steps: list[tuple[str, frozenset[str], _Way]] = []
    way = start
    for step in outer:
        steps.append((step, frozenset(way.keys) - {step}, way))
        way = way.keys[step]

    def read(document: Any) -> list[Any]:
        node = document
        for step, others, way in steps:
            if not isinstance(node, dict) or not node.keys().isdisjoint(others):
                return [found for _, found in _walk(node, way)]
            node = node.get(step)
            if node is None:
                return []
        if isinstance(node, dict):
            value = node.get(last, _ABSENT)
            return [] if value is _ABSENT else [value]
        return [found for _, found in _walk(node, final)]

    final = way
    return read


@lru_cache(maxsize=4096)
def _nodes_at(paths: tuple[Path, ...]) -> Getter:
    """Return a function to what stands at paths, by their order, with lists left whole."""
    way = _ways(paths)

    def read(document: Any) -> list[Any]:
        found = _walk(document, way)
        if len(found) > 1:
            found.sort(key=_number)
        return [node for _, node in found]

    return read


class _Way:
    """Where paths lead from one place in a document."""

    __slots__ = ("elements", "ends", "keys", "numbered")

    def __init__(self) -> None:
        self.ends: tuple[int, ...] = ()
        """The paths that end here."""
        self.keys: dict[str, _Way] = {}
        """By the keys of an object, of which one may join several steps; shorter ones first."""
        self.elements: _Way | None = None
        """From each element of a list."""
        self.numbered: tuple[tuple[int, _Way], ...] = ()
        """From one element of a list."""


def _ways(paths: Sequence[Path]) -> _Way:
    """Return the way of paths from a document on: what they share is gone once."""
    start = frozenset((number, 0) for number in range(len(paths)))
    ways = {start: _Way()}
    waiting = [start]

    def to(places: Iterable[tuple[int, int]]) -> _Way:
        there = frozenset(places)
        if there not in ways:
            ways[there] = _Way()
            waiting.append(there)
        return ways[there]

    while waiting:
        places = waiting.pop()
        here = ways[places]
        here.ends = tuple(sorted(n for n, step in places if step == len(paths[n])))
        going = [(n, step) for n, step in places if step < len(paths[n])]
        keys: dict[str, list[tuple[int, int]]] = {}
        for n, step in going:
            for end in range(step + 1, len(paths[n]) + 1):
                keys.setdefault(".".join(paths[n][step:end]), []).append((n, end))
        here.keys = {key: to(keys[key]) for key in sorted(keys, key=len)}
        numbers = [(n, step) for n, step in going if _NUMBER.fullmatch(paths[n][step])]
        here.numbered = tuple((int(paths[n][step]), to([(n, step + 1)])) for n, step in numbers)
        rest = [place for place in going if place not in numbers]
        here.elements = to(rest) if rest else None
    return ways[start]


def _walk(document: Any, way: _Way) -> list[tuple[int, Any]]:
    """Return what stands at the ends of ways, with the number of each path."""
    found: list[tuple[int, Any]] = []
    stack = [(document, way)]
    while stack:
        node, way = stack.pop()
        if way.ends:
            found += [(number, node) for number in way.ends]
        keys = way.keys
        if not keys:
            continue
        if isinstance(node, dict):
            here = node.keys() & keys.keys()
            if len(here) > 1:
                stack += [(node[key], keys[key]) for key in reversed(keys) if key in here]
            else:
                stack += [(node[key], keys[key]) for key in here]
        elif isinstance(node, list | tuple):
            stack += [(node[at], after) for at, after in way.numbered if at < len(node)]
            if way.elements is not None:
                onward = way.elements
                stack += [(element, onward) for element in reversed(node)]
    return found
