"""Predicates to the definitions of Sigma detections: maps and lists of fields and values.

What a definition can hold is narrow: all of some fields, or one of several such maps. Anything
more is said by a rule's condition (`detections`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trailhound.dialects.sigma.spelling import Spelling, keyword_spellings, spellings
from trailhound.rules.ir import (
    And,
    Compare,
    Exists,
    Keyword,
    Not,
    Or,
    Predicate,
    Some,
)

Entry = tuple[str, Any]
"""Field with modifiers → value, or values."""
_ELEMENT = ((),)


class Definitions:
    """Writes definitions; `unrepaired` tells the condition that a repair was made of, if any."""

    def __init__(self, unrepaired: Callable[[Predicate], Predicate]) -> None:
        self._unrepaired = unrepaired

    def of(self, node: Predicate, *, inside: bool = False) -> Any | None:
        """Return the definition that is read as this predicate; None where there is none.

        Args:
            node: what to define.
            inside: of an array block, where what has no field is the element.
        """
        if isinstance(node, Or) and self._unrepaired(node) is node:
            return self._alternatives(node.items, inside=inside)
        items = node.items if isinstance(node, And) else (node,)
        if items and all(isinstance(item, Keyword) for item in items):
            return self._words(items)
        return self._map(items, inside=inside)

    def _map(self, items: Sequence[Predicate], *, inside: bool) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        for run in _runs(items):
            entry = self.entry(run[0] if len(run) == 1 else And(tuple(run)), inside=inside)
            if entry is None or entry[0] in found:
                return None
            found[entry[0]] = entry[1]
        return found or None

    def _words(self, items: Sequence[Predicate]) -> Any | None:
        """Words of which all must be there."""
        together = _common(items)
        if together is None:
            return None
        modifiers, values = together
        if len(values) == 1:
            return {_key("", modifiers): values[0]} if modifiers else values
        return {_key("", (*modifiers, "all")): values}

    def _alternatives(self, items: Sequence[Predicate], *, inside: bool) -> Any | None:
        listed: list[Any] = []
        for run in _runs(items):
            if isinstance(run[0], Keyword) or (inside and _place(run[0]) == ""):
                together = _common(run)
                if together is None:
                    return None
                modifiers, values = together
                listed.extend([{_key("", modifiers): values}] if modifiers else values)
                continue
            node = run[0] if len(run) == 1 else Or(tuple(run))
            if len(run) == 1 and isinstance(node, And | Or):
                definition = self.of(node, inside=inside)
            else:
                entry = self.entry(node, inside=inside)
                definition = {entry[0]: entry[1]} if entry is not None else None
            if definition is None:
                return None
            listed.append(definition)
        if len(listed) == 1 and isinstance(listed[0], dict):
            return listed[0]
        return listed or None

    def entry(self, node: Predicate, *, inside: bool = False) -> Entry | None:
        """Return the entry of a map that is read as this predicate; None where there is none."""
        node = self._unrepaired(node)
        match node:
            case Exists():
                return f"{node.field.name}|exists", True
            case Not(Exists(field)):
                return f"{field.name}|exists", False
            case Not():
                if isinstance(node.item, Not | Some):
                    return None
                negated = self.entry(node.item, inside=inside)
                return negated and (f"{negated[0]}|neq", negated[1])
            case Compare():
                if _place(node) == "" and not inside:
                    return None
                modifiers, value = spellings(node.test)[0]
                return _key(_place(node) or "", modifiers), value
            case Some():
                definition = self.of(node.item, inside=True)
                if definition is None:
                    return None
                quantifier = "all" if node.every else "any"
                listed = definition if isinstance(definition, dict | list) else [definition]
                return f"{node.field.name}[{quantifier}]", listed
            case And() | Or() if not node.label:
                return self._several(node, inside=inside)
            case _:
                return None

    def _several(self, node: And | Or, *, inside: bool) -> Entry | None:
        """Several values of one field."""
        place = _place(node.items[0]) if node.items else None
        if place is None or (place == "" and not inside):
            return None
        if any(_place(item) != place for item in node.items):
            return None
        together = _common(node.items)
        if together is None:
            return None
        modifiers, values = together
        if isinstance(node, And):
            modifiers = (*modifiers, "all")
        return _key(place, modifiers), values


def _place(node: Predicate) -> str | None:
    """Name of the field that a comparison is of; empty: the element of a list; None: no field."""
    if not isinstance(node, Compare):
        return None
    return "" if node.field.paths == _ELEMENT else node.field.name


def _runs(items: Sequence[Predicate]) -> Iterator[list[Predicate]]:
    """Neighbours that are comparisons of one field, or words, and can be written alike."""
    run: list[Predicate] = []
    alike: set[tuple[str, ...]] = set()
    for item in items:
        ways = (
            {modifiers for modifiers, _ in _ways(item)}
            if isinstance(item, Compare | Keyword)
            else set()
        )
        if run and type(run[0]) is type(item) and _place(run[0]) == _place(item) and alike & ways:
            alike &= ways
            run.append(item)
            continue
        if run:
            yield run
        run, alike = [item], ways
    if run:
        yield run


def _common(items: Sequence[Predicate]) -> tuple[tuple[str, ...], list[Any]] | None:
    """Modifiers that fit every one of some comparisons, and their values with those."""
    ways = [dict(_ways(item)) for item in items]
    for modifiers in ways[0]:
        values = [way[modifiers] for way in ways if modifiers in way]
        if len(values) == len(items):
            return modifiers, values
    return None


def _ways(item: Predicate) -> list[Spelling]:
    if isinstance(item, Keyword):
        return keyword_spellings(item.test)
    assert isinstance(item, Compare)  # noqa: S101 - what is asked here has a place
    return spellings(item.test)


def _key(name: str, modifiers: Sequence[str]) -> str:
    return "|".join((name, *modifiers))
