"""Verdicts by value: rules that read a few fields say the same of events with the same values.

What a search of the text leaves of the rules is few, and their fields are few. Most events that
get so far are like one before in all of them: ten thousand refused logins differ in address and
port, which no rule asks for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from trailhound.engine.gates import Candidate, is_short
from trailhound.engine.tests import needs_backtracking
from trailhound.rules.ir import (
    And,
    AtLeast,
    Compare,
    Exists,
    Field,
    IsNull,
    Not,
    Or,
    Predicate,
    Regex,
    SameAs,
)

_ABSENT = object()
_COMPARABLE = frozenset((bool, int, type(None), type(_ABSENT)))
_LIMIT = 10_000
"""Verdicts that all choices of rules together remember: of rules, lines can choose any."""
_TRIED = 1000

Verdicts = dict[Any, tuple[Candidate, ...]]
"""Some rules and values → those of the rules that match where these stand."""


class Few:
    """Some rules of a view, which remember what they said of values."""

    def __init__(self, rules: Sequence[Candidate], verdicts: Verdicts) -> None:
        """Take rules in the order of the plan, and a memory that they share with others."""
        self.rules = tuple(rules)
        self._which = frozenset(rule.index for rule in rules)
        self._values: tuple[str, ...] = ()
        self._present: tuple[str, ...] = ()
        self._verdicts = verdicts
        self._asked = self._missed = 0
        fields = [_reads(rule.predicate) for rule in rules]
        self._remembers = None not in fields
        if self._remembers:
            read = [item for found in fields for item in found or ()]
            values = dict.fromkeys(name for name, whole in read if whole)
            present = dict.fromkeys(name for name, whole in read if not whole)
            self._values = tuple(values)
            self._present = tuple(name for name in present if name not in values)

    def reads_any(self, names: frozenset[str]) -> bool:
        """Whether a verdict may depend on a key of these."""
        return not (
            self._remembers and names.isdisjoint(self._values) and names.isdisjoint(self._present)
        )

    def matching(self, document: Mapping[str, Any]) -> tuple[Candidate, ...] | None:
        """Return those that match a document; None where they have to be asked."""
        if not self._remembers:
            return None
        get = document.get
        # 1 and True are one key of a dictionary, and two values to a rule.
        key: list[Any] = []
        for name in self._values:
            value = get(name, _ABSENT)
            key.append(value if value.__class__ is str else (value.__class__, value))
        key.extend([name in document for name in self._present])
        case = self._which, *key
        self._asked += 1
        try:
            found = self._verdicts.get(case)
        except TypeError:  # a list or an object among them
            return None
        if found is None:
            self._missed += 1
            # Where values hardly ever come again, it is not worth it.
            if self._missed > _TRIED and self._missed * 2 > self._asked:
                self._remembers = False
            found = tuple([rule for rule in self.rules if rule.matches(document)])
            if is_short(key) and all(map(_is_comparable, key)):
                if len(self._verdicts) >= _LIMIT:
                    self._verdicts.clear()
                self._verdicts[case] = found
        return found


def _is_comparable(part: Any) -> bool:
    return not isinstance(part, tuple) or part[0] in _COMPARABLE


def _reads(node: Predicate) -> list[tuple[str, bool]] | None:
    """Return the keys of a document that a verdict depends on; None where that is not known.

    Each with whether its value counts, or only that it is there.
    """
    match node:
        case And() | Or() | AtLeast():
            found = [_reads(item) for item in node.items]
            if None in found:
                return None
            return [read for inner in found for read in inner or ()]
        case Not():
            return _reads(node.item)
        case Compare(test=IsNull()):
            return _keys(node.field, whole=True)
        case Compare(test=SameAs(other=other)):
            first, second = _keys(node.field, whole=True), _keys(other, whole=True)
            return None if first is None or second is None else first + second
        case Compare(test=Regex() as test) if needs_backtracking(test):
            return None  # how long it takes may differ
        case Compare():
            return _keys(node.field, whole=True)
        case Exists():
            return _keys(node.field, whole=False)
        case _:
            return None


def _keys(field: Field, *, whole: bool) -> list[tuple[str, bool]] | None:
    if field.via or any(len(path) != 1 for path in field.paths):
        return None
    return [(path[0], whole) for path in field.paths]
