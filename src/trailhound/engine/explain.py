"""Why a predicate holds for a document: the tree of its parts with the values they met.

Matching short-circuits; this evaluates every part, and is asked only about hits.
"""

from typing import Any

from trailhound.engine.match import elements_of, matcher
from trailhound.engine.tests import GaveUp, check_of
from trailhound.engine.values import getter, leaves, nodes, text_of
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
    SameAs,
    Some,
)

_VALUE_LIMIT = 512
_WIDTH_LIMIT = 12


def explain(predicate: Predicate, document: Any) -> Explanation:
    """Explain a predicate over a document.

    Of an `any of` with many alternatives, the matching ones are kept and at most 12 others.
    """
    match predicate:
        case And():
            parts = tuple(explain(item, document) for item in predicate.items)
            return _join(predicate, all(part.matched for part in parts), parts)
        case Or():
            parts = tuple(explain(item, document) for item in predicate.items)
            return _join(predicate, any(part.matched for part in parts), _chosen(parts))
        case AtLeast():
            parts = tuple(explain(item, document) for item in predicate.items)
            enough = sum(part.matched for part in parts) >= predicate.count
            return _join(predicate, enough, _chosen(parts))
        case Not():
            part = explain(predicate.item, document)
            return _join(predicate, not part.matched, (part,))
        case Compare():
            return _compare(predicate, document)
        case Exists():
            return _exists(predicate, document)
        case Keyword():
            return _keyword(predicate, document)
        case Some():
            return _some(predicate, document)


def _join(node: Predicate, matched: bool, parts: tuple[Explanation, ...]) -> Explanation:  # noqa: FBT001
    return Explanation(describe(node), matched, children=parts)


def _chosen(parts: tuple[Explanation, ...]) -> tuple[Explanation, ...]:
    hits = tuple(part for part in parts if part.matched)
    if hits:
        return hits[:_WIDTH_LIMIT]
    return parts[:_WIDTH_LIMIT]


def _compare(node: Compare, document: Any) -> Explanation:
    label = describe(node)
    if isinstance(node.test, IsNull | SameAs):
        matched = matcher(node)(document)
        values = getter(node.field)(document)
        return Explanation(label, matched, node.field.name, shown(values[0]) if values else None)
    check = check_of(node.test)
    first: tuple[str, Any] | None = None
    for path in node.field.paths:
        name = ".".join(path)
        for value in getter(Field(name, (path,)))(document):
            try:
                if check(value):
                    return Explanation(label, True, name, shown(value))  # noqa: FBT003
            except GaveUp:
                continue
            first = first or (name, value)
    place, value = first or (node.field.name, None)
    return Explanation(label, False, place, shown(value))  # noqa: FBT003


def _exists(node: Exists, document: Any) -> Explanation:
    found = nodes(node.field)(document)
    value = shown(found[0]) if found else None
    return Explanation(describe(node), bool(found), node.field.name, value)


def _keyword(node: Keyword, document: Any) -> Explanation:
    check = check_of(node.test)
    for text in leaves(document):
        try:
            if check(text):
                return Explanation(describe(node), True, "", shown(text))  # noqa: FBT003
        except GaveUp:
            continue
    return Explanation(describe(node), False)  # noqa: FBT003


def _some(node: Some, document: Any) -> Explanation:
    elements = elements_of(nodes(node.field)(document))
    parts = [explain(node.item, element) for element in elements]
    if node.every:
        matched = bool(parts) and all(part.matched for part in parts)
    else:
        matched = any(part.matched for part in parts)
    return Explanation(
        describe(node), matched, node.field.name, children=_chosen(tuple(parts))
    )


def shown(value: Any) -> Any:
    """Cut a value to what can be shown: scalars as they are, the rest as text, 512 at most."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**53) < value < 2**53:
        return value
    text = text_of(value) or ""
    return text if len(text) <= _VALUE_LIMIT else text[:_VALUE_LIMIT] + "…"
