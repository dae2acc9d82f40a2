"""Predicates that Sigma can say to the section `detection` of a rule: named parts, a condition."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeGuard

from trailhound.dialects.sigma.definitions import Definitions
from trailhound.dialects.sigma.sayable import joined, unlabelled
from trailhound.rules.ir import And, Exists, Field, Not, Or, Predicate

_SELECTOR = re.compile(r"(?P<how>1|any|all) of (?P<which>[A-Za-z0-9*_]+)")
_NO_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]+")
_RESERVED = ("and", "or", "not", "all", "any", "1", "condition")
_LABEL_LENGTH = 40
_TOGETHER = 32
"""Conditions without a name that are put into one part."""
_LOOSE, _OR, _AND, _NOT = range(4)
"""How tightly the words of a condition bind."""

_THERE = Exists(Field("id", (("id",),)))
ALWAYS = Or((_THERE, Not(_THERE)))
"""Holds for every event; a rule without any condition cannot be written."""


def detection_of(
    predicate: Predicate,
    definitions: Definitions,
    joins: Callable[[And], bool] = lambda _: True,
) -> dict[str, Any]:
    """Return the section `detection` that is read as a predicate.

    Parts that have a name keep it, as far as it can be one.

    Args:
        predicate: what `sayable` made.
        definitions: writes the maps and lists.
        joins: whether conditions that hold together may stand in one map.
    """
    writer = _Detections(definitions, joins, selectors=True)
    section = writer.section(predicate)
    if not writer.selectors_hold():
        section = _Detections(definitions, joins, selectors=False).section(predicate)
    return section


class _Detections:
    """Collects the named parts of one rule."""

    def __init__(
        self, definitions: Definitions, joins: Callable[[And], bool], *, selectors: bool
    ) -> None:
        self._definitions = definitions
        self._joins = joins
        self._selectors = selectors
        self._named: dict[str, Any] = {}
        self._selected: list[tuple[str, list[str]]] = []

    def section(self, predicate: Predicate) -> dict[str, Any]:
        if self._selectors:
            # `1 of x_*` reads parts in the order in which they stand.
            for node in _selections(predicate):
                for item in node.items:
                    self._part(item, negated=False, selected=True)
        condition = self._text(predicate, _LOOSE)
        return {**self._named, "condition": condition}

    def selectors_hold(self) -> bool:
        """Whether every `1 of x_*` means the parts that it was written for, and no other."""
        return all(
            names == [name for name in self._named if _selects(pattern, name)]
            for pattern, names in self._selected
        )

    def _text(self, node: Predicate, around: int, *, negated: bool = False) -> str:
        if _is_negation(node):
            return f"not {self._text(node.item, _NOT, negated=True)}"
        if isinstance(node, And | Or):
            if (selector := self._selector(node)) is not None:
                return selector
            binding = _AND if isinstance(node, And) else _OR
            name = self._part(node, negated=negated)
            if name is not None:
                return name
            word = " and " if binding == _AND else " or "
            texts = [
                self._text(part, binding, negated=negated)
                for part in self._parts(type(node), node.items)
            ]
            joined = word.join(texts)
            return f"({joined})" if len(texts) > 1 and binding <= around else joined
        name = self._part(node, negated=negated)
        assert name is not None, node  # noqa: S101 - every single condition has a definition
        return name

    def _part(self, node: Predicate, *, negated: bool, selected: bool = False) -> str | None:
        """Name a part, if it can be one. What is `selected` is never named in a condition."""
        label = getattr(node, "label", "")
        if not selected or label in _RESERVED:
            label = _identifier(label)
        if isinstance(node, And | Or):
            # What has a name of its own keeps it, unless it is inside of what has one.
            if not label and any(getattr(item, "label", "") for item in node.items):
                return None
            node = joined(type(node), map(unlabelled, node.items), node.label)
        if isinstance(node, And) and (_has_negations(node) or not self._joins(node)):
            return None
        definition = self._definitions.of(node)
        if definition is None:
            return None
        return self._name(label or ("filter" if negated else "selection"), definition)

    def _parts(self, kind: type[And] | type[Or], items: Sequence[Predicate]) -> list[Predicate]:
        """Put neighbours without a name of their own together, as far as one part can hold them."""
        parts: list[Predicate] = []
        run: list[Predicate] = []
        for item in items:
            longer = kind((*run, item))
            simple = not _is_negation(item) and not getattr(item, "label", "")
            joins = len(run) < _TOGETHER and (
                kind is Or or not run or self._joins(And(longer.items))
            )
            if simple and joins and self._definitions.of(longer) is not None:
                run.append(item)
                continue
            parts.extend(_single(kind, run))
            run = [item] if simple and self._definitions.of(item) is not None else []
            if not run:
                parts.append(item)
        parts.extend(_single(kind, run))
        return parts

    def _selector(self, node: And | Or) -> str | None:
        found = _SELECTOR.fullmatch(node.label)
        if not self._selectors or found is None:
            return None
        if (found["how"] == "all") is not isinstance(node, And):
            return None
        names = []
        for item in node.items:
            label = getattr(item, "label", "")
            if not label or self._part(item, negated=False, selected=True) != label:
                return None
            names.append(label)
        pattern = "*" if found["which"] == "them" else found["which"]
        self._selected.append((pattern, names))
        return node.label

    def _name(self, wanted: str, definition: Any) -> str:
        name, number = wanted, 1
        # Python takes 1 for True; the text of a definition tells them apart.
        while name in self._named and repr(self._named[name]) != repr(definition):
            number += 1
            name = f"{wanted}_{number}"
        self._named[name] = definition
        return name


def _single(kind: type[And] | type[Or], run: list[Predicate]) -> Iterator[Predicate]:
    if run:
        yield run[0] if len(run) == 1 else kind(tuple(run))


def _has_negations(node: And) -> bool:
    """Whether a map would need `neq`, which few readers of Sigma know: the condition says it."""
    return not node.label and any(map(_is_negation, node.items))


def _is_negation(node: Predicate) -> TypeGuard[Not]:
    return isinstance(node, Not) and not isinstance(node.item, Exists)


def _selections(node: Predicate) -> Iterator[And | Or]:
    match node:
        case And() | Or():
            if _SELECTOR.fullmatch(node.label):
                yield node
            else:
                for item in node.items:
                    yield from _selections(item)
        case Not():
            yield from _selections(node.item)
        case _:
            pass


def _selects(pattern: str, name: str) -> bool:
    fits = re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None
    return fits and (pattern.startswith("_") or not name.startswith("_"))


def _identifier(label: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+", label) and label not in _RESERVED:
        return label
    name = _NO_IDENTIFIER.sub("_", label).strip("_")[:_LABEL_LENGTH].strip("_")
    return f"{name}_" if name in _RESERVED else name
