"""Why a predicate holds for a document: the tree of its parts with the values they met.

Matching short-circuits; this evaluates every part, and is asked only about hits.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trailhound.engine.match import elements_of, matcher
from trailhound.engine.tests import GaveUp, check_of, needs_backtracking
from trailhound.engine.texts import text_of
from trailhound.engine.values import Getter, at_once, getter, leaves, nodes, presence
from trailhound.model.findings import Explanation
from trailhound.rules.describe import describe
from trailhound.rules.ir import (
    And,
    AtLeast,
    Compare,
    Exists,
    Field,
    IsNull,
    Keyword,
    Not,
    Or,
    Predicate,
    PythonCall,
    Regex,
    SameAs,
    Some,
)

_VALUE_LIMIT = 512
_WIDTH_LIMIT = 12


Explainer = Callable[[Any], Explanation]


def explain(predicate: Predicate, document: Any) -> Explanation:
    """Explain a predicate over a document, once; see `explainer`."""
    return explainer(predicate)(document)


def explainer(predicate: Predicate) -> Explainer:
    """Compile a predicate to a function that explains it over a document.

    Of an `any of` with many alternatives the explanation keeps at most 12, matching ones
    first.
    """
    match predicate:
        case And() | Or() | AtLeast():
            return _joined(predicate)
        case Not():
            inner = explainer(predicate.item)

            def negated(document: Any) -> Explanation:
                part = inner(document)
                return Explanation("not", not part.matched, children=(part,))

            return negated
        case Compare():
            return _compare(predicate)
        case Exists():
            return _exists(predicate)
        case Keyword():
            return _keyword(predicate)
        case Some():
            return _some(predicate)
        case PythonCall():
            # Only what its program said yes to is ever explained.
            said = Explanation(describe(predicate), True)  # noqa: FBT003
            return lambda _document: said


def remembering(predicate: Predicate) -> Explainer:
    """Compile a predicate like `explainer`, to a function that remembers.

    Where an event has the same values as one before in all the fields that the predicate names,
    the explanation is the very same object.
    """
    explained = explainer(predicate)
    reads = _reads_of(predicate)
    if reads is None:
        return explained
    return _Memory(explained, tuple(reads.values())).explain


_Read = Callable[[Any], str | tuple[Any, ...]]
"""Gives the values of a field, or the text where it is one and no more. What is no text has its
kind with it: 1, 1.0 and true are equal, and shown otherwise."""
_PLAIN_KINDS = frozenset((int, type(None)))


class _Memory:
    """Explanations by the values that they show."""

    _LIMIT = 256
    _TRIED = 200
    _VALUES_LIMIT = 64
    """Of an event that is remembered; a list in a log may have any number."""

    def __init__(self, explained: Explainer, reads: tuple[_Read, ...]) -> None:
        self._explained = explained
        self._reads = reads
        self._known: dict[Any, Explanation] = {}
        self._asked = self._missed = 0

    def explain(self, document: Any) -> Explanation:
        # Where values hardly ever come again, it is not worth it.
        if self._missed > self._TRIED and self._missed * 2 > self._asked:
            self._known.clear()
            return self._explained(document)
        key = tuple([read(document) for read in self._reads])
        try:
            found = self._known.get(key)
        except TypeError:  # an object among the values
            return self._explained(document)
        if found is not None:
            self._asked += 1
            return found
        found = self._explained(document)
        values = [value for part in key for value in (part if part.__class__ is tuple else (part,))]
        if len(values) <= self._VALUES_LIMIT and all(map(_is_plain, values)):
            self._asked += 1
            self._missed += 1
            if len(self._known) >= self._LIMIT:
                self._known.clear()
            self._known[key] = found
        return found


def _is_plain(value: Any) -> bool:
    if value.__class__ is str:
        return len(value) <= _VALUE_LIMIT
    return value[0] in _PLAIN_KINDS


def _reads_of(node: Predicate) -> dict[object, _Read] | None:
    """Return readers of all that an explanation depends on; None where that is not known."""
    match node:
        case And() | Or() | AtLeast():
            found: dict[object, _Read] = {}
            for item in node.items:
                inner = _reads_of(item)
                if inner is None:
                    return None
                found |= inner
            return found
        case Not():
            return _reads_of(node.item)
        case Compare(test=IsNull()):
            return {node.field: _read(node.field), ("is", node.field): _presence(node.field)}
        case Compare(test=SameAs(other=other)):
            return {field: _read(field) for field in (node.field, other)}
        case Compare(test=Regex() as test) if needs_backtracking(test):
            return None  # how long it took may differ
        case Compare():
            # Which path a value was found at is shown as well.
            paths = () if node.field.via else node.field.paths
            fields = tuple(Field("", (path,)) for path in paths) or (node.field,)
            return {field: _read(field) for field in fields}
        case Exists():
            read = nodes(node.field)
            return {("nodes", node.field): lambda document: _with_kinds(read(document))}
        case _:
            return None


def _read(field: Field) -> _Read:
    read = getter(field)
    return at_once(
        field,
        str,
        lambda integer: ((int, integer),),
        lambda document: _with_kinds(read(document)),
    )


def _with_kinds(values: list[Any]) -> tuple[Any, ...]:
    return tuple([v if v.__class__ is str else (v.__class__, v) for v in values])


def _presence(field: Field) -> _Read:
    present = presence(field)
    return lambda document: ("there" if present(document) else "",)


def _joined(node: And | Or | AtLeast) -> Explainer:
    label = describe(node)
    items = tuple(map(explainer, node.items))
    if isinstance(node, And):

        def every(document: Any) -> Explanation:
            parts = tuple([item(document) for item in items])
            return Explanation(label, all(part.matched for part in parts), children=parts)

        return every
    needed = node.count if isinstance(node, AtLeast) else 1

    def some(document: Any) -> Explanation:
        parts = [item(document) for item in items]
        matched = sum(part.matched for part in parts) >= needed
        return Explanation(label, matched, children=_chosen(parts))

    return some


def _chosen(parts: Sequence[Explanation]) -> tuple[Explanation, ...]:
    hits = tuple([part for part in parts if part.matched])
    return (hits or tuple(parts))[:_WIDTH_LIMIT]


def _compare(node: Compare) -> Explainer:
    label = describe(node)
    name = node.field.name
    test = node.test
    if isinstance(test, IsNull | SameAs):
        matches = matcher(node)
        read_all = getter(node.field)

        def relate(document: Any) -> Explanation:
            values = read_all(document)
            return Explanation(label, matches(document), name, shown(values[0]) if values else None)

        return relate
    check = check_of(test)
    if node.field.via:  # steps may draw values of several paths together
        ways = " or ".join(".".join(path) for path in node.field.paths)
        places: tuple[tuple[str, Getter], ...] = ((ways, getter(node.field)),)
    else:
        places = tuple((".".join(path), getter(Field(name, (path,)))) for path in node.field.paths)

    def compare(document: Any) -> Explanation:
        first: tuple[str, Any] = (name, None)
        found = False
        for place, read in places:
            for value in read(document):
                try:
                    if check(value):
                        return Explanation(label, True, place, shown(value))  # noqa: FBT003
                except GaveUp:
                    continue
                if not found:
                    first, found = (place, value), True
        return Explanation(label, False, first[0], shown(first[1]))  # noqa: FBT003

    return compare


def _exists(node: Exists) -> Explainer:
    label = describe(node)
    read = nodes(node.field)

    def exists(document: Any) -> Explanation:
        found = read(document)
        value = shown(found[0]) if found else None
        return Explanation(label, bool(found), node.field.name, value)

    return exists


def _keyword(node: Keyword) -> Explainer:
    label = describe(node)
    check = check_of(node.test)

    def search(document: Any) -> Explanation:
        for text in leaves(document):
            try:
                if check(text):
                    return Explanation(label, True, "", shown(text))  # noqa: FBT003
            except GaveUp:
                continue
        return Explanation(label, False)  # noqa: FBT003

    return search


def _some(node: Some) -> Explainer:
    label = describe(node)
    read = nodes(node.field)
    item = explainer(node.item)
    enough = _one if node.once else all if node.every else any

    def some(document: Any) -> Explanation:
        parts = [item(element) for element in elements_of(read(document))]
        matched = bool(parts) and enough(part.matched for part in parts)
        return Explanation(label, matched, node.field.name, children=_chosen(parts))

    return some


def _one(verdicts: Iterable[bool]) -> bool:
    return sum(verdicts) == 1


def shown(value: Any) -> Any:
    """Cut a value to what can be shown: scalars as they are, the rest as text, 512 at most."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**53) < value < 2**53:
        return value
    text = text_of(value) or ""
    return text if len(text) <= _VALUE_LIMIT else text[:_VALUE_LIMIT] + "…"
