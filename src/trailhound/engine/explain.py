"""Why a predicate holds for a document: the tree of its parts with the values they met.

Matching short-circuits; this evaluates every part, and is asked only about hits.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trailhound.engine.match import elements_of, matcher
from trailhound.engine.tests import GaveUp, check_of
from trailhound.engine.texts import text_of
from trailhound.engine.values import Getter, getter, leaves, nodes
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
