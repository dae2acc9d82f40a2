"""Gates: which rules can still match, when only a few fields of an event are known.

Most events match no rule, and a few fields tell. For every rule the plan finds a *necessary*
condition on those fields; an event is read whole only when it meets one. Nothing here may be
wrong on the side of "cannot match": where in doubt, a rule stays a candidate.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import re2

from trailhound.engine.beginnings import years_of
from trailhound.engine.match import Matcher, matcher
from trailhound.engine.tests import Check, GaveUp, any_of, literals_of, needs_backtracking, utf8
from trailhound.engine.texts import text_of
from trailhound.engine.values import folded_text
from trailhound.rules.ir import (
    And,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    IsNull,
    Keyword,
    Like,
    Not,
    Or,
    Path,
    Predicate,
    PythonCall,
    Regex,
    SameAs,
    Some,
    Test,
    Text,
)

Known = dict[Path, list[Any]]
"""Values of the fields that are known; what is not a key is not known."""

Maybe = Callable[[Known], bool]
"""False only when the predicate cannot hold, whatever the unknown fields are."""

_ANCHORS_LIMIT = 32
_FIELDS_LIMIT = 8
_REMEMBERED_LENGTH = 400


def _ALWAYS(_known: Known) -> bool:  # noqa: N802 - stands among verdicts as a constant
    return True


def is_text(value: Any) -> bool:
    """Whether a value is no number: a text, null, or a mark for nothing at all."""
    return not isinstance(value, int | float)


def is_short(values: Iterable[Any]) -> bool:
    """Whether values are worth remembering: long ones rarely come again, and fill memory."""
    return sum(len(value) for value in values if isinstance(value, str)) <= _REMEMBERED_LENGTH


class Candidate:
    """A rule as the gates and the match loop see it; compiled when it is first asked."""

    __slots__ = ("asks", "index", "matches", "predicate")

    def __init__(self, index: int, predicate: Predicate) -> None:
        self.index = index
        """Position of the rule in the plan."""
        self.predicate = predicate
        self.matches: Matcher = self._first
        self.asks = program_of(predicate) is not None
        """Whether a match is to be asked of a program."""

    def _first(self, document: Any) -> bool:
        # Most rules of a large set are never asked.
        self.matches = matcher(self.predicate)
        return self.matches(document)


def program_of(predicate: Predicate) -> PythonCall | None:
    """Return what a predicate asks of a program, if it is one that does."""
    items = predicate.items if isinstance(predicate, And) else (predicate,)
    for item in items:
        found = item if isinstance(item, PythonCall) else None
        if isinstance(item, And):
            found = program_of(item)
        if found is not None:
            return found
    return None


class Gate:
    """One group of fields and the rules that they can rule out.

    Verdicts are remembered by the fields' values, so that the number of rules hardly matters
    for events that look alike; the memory is bounded.
    """

    MEMORY = 10_000

    def __init__(
        self,
        paths: tuple[Path, ...],
        rules: Sequence[tuple[Candidate, "Maybe"]],
        literals: frozenset[str] | None = None,
    ) -> None:
        """Make a gate of rules, each with the question whether the fields let it match."""
        self.paths = paths
        self.literals = literals
        """For a gate of one field: lower-case texts of which a text value must hold one, in
        lower case, to keep any rule alive. None where no such texts are known."""
        self.rules = tuple(rule for rule, _ in rules)
        self._maybe = {rule.index: maybe for rule, maybe in rules}
        self._exact: dict[Path, dict[str, list[Candidate]]] = {path: {} for path in paths}
        self._others: list[Candidate] = []
        for rule in self.rules:
            anchor = _exact_anchor(rule.predicate, paths)
            if anchor is None:
                self._others.append(rule)
                continue
            path, texts = anchor
            for text in texts:
                self._exact[path].setdefault(text, []).append(rule)
        self._memory: dict[Any, tuple[Candidate, ...]] = {}

    def alive(self, values: tuple[tuple[Any, ...], ...]) -> tuple[Candidate, ...]:
        """Return the rules that may match, given the values of each field of the group."""
        try:
            found = self._memory.get(values)
        except TypeError:  # an object among the values, which cannot be a key
            return self._decide(values)
        if found is None:
            found = self._decide(values)
            # 1, 1.0 and True are one key of a dictionary, and three values to a rule.
            flat = [value for field in values for value in field]
            if all(map(is_text, flat)) and is_short(flat):
                if len(self._memory) >= self.MEMORY:
                    self._memory.clear()
                self._memory[values] = found
        return found

    def _decide(self, values: tuple[tuple[Any, ...], ...]) -> tuple[Candidate, ...]:
        known: Known = {path: list(found) for path, found in zip(self.paths, values, strict=True)}
        pool = list(self._others)
        for path, found in known.items():
            exact = self._exact[path]
            if exact:
                for text in {(text_of(value) or "").lower().strip() for value in found}:
                    pool.extend(exact.get(text, ()))
        alive = {rule.index: rule for rule in pool if self._maybe[rule.index](known)}
        return tuple(alive[index] for index in sorted(alive))


class TextGate:
    """Rules that look for words anywhere in an event, told apart by one search over its text."""

    def __init__(self, rules: Sequence[tuple[Candidate, tuple[Test, ...]]]) -> None:
        """Make a gate of rules, each with tests of which some text must pass one."""
        self.rules = tuple(rule for rule, _ in rules)
        self._words: list[tuple[Candidate, frozenset[str] | None]] = [
            (rule, literals_of(tests)) for rule, tests in rules
        ]
        known = [words for _, words in self._words if words is not None]
        self._always = tuple(rule for rule, words in self._words if words is None)
        union = sorted(frozenset().union(*known))
        self._any = re2.compile("|".join(map(re2.escape, union))) if union else None

    def alive(self, document: Any) -> tuple[Candidate, ...]:
        """Return the rules that may match."""
        if self._any is None:
            return self._always
        text = folded_text(document)
        if self._any.search(utf8(text)) is None:
            return self._always
        return tuple(
            rule
            for rule, words in self._words
            if words is None or any(word in text for word in words)
        )


class Gates(NamedTuple):
    """The rules of a view, sorted by what can hold them back."""

    by_fields: tuple[Gate, ...]
    by_text: TextGate
    free: tuple[Candidate, ...]
    """Rules that nothing can hold back: they see every event."""


def gates_for(
    rules: Sequence[Candidate],
    discriminators: tuple[Path, ...],
    usable: Callable[[Path], bool],
    dull: Collection[Path] = (),
) -> Gates:
    """Sort rules into gates.

    Args:
        rules: rules of one view.
        discriminators: fields with few values; they form one gate together.
        usable: whether a field can be read cheaply enough to be a gate of its own.
        dull: fields of which most events have the same value, which tell little.
    """
    joint: list[tuple[Candidate, Maybe]] = []
    single: dict[Path, list[tuple[Candidate, Maybe]]] = {}
    tested: dict[Path, list[Test]] = {}
    free: list[Candidate] = []
    worded: list[tuple[Candidate, tuple[Test, ...]]] = []
    together = frozenset(discriminators)
    choices = [
        [anchor for anchor in anchors(rule.predicate) if all(map(usable, anchor))] for rule in rules
    ]
    # What many rules ask (`type: EXECVE`) is true of many events; what few ask tells more. Where
    # a format names its discriminators, those do that work, and rules name telling fields first.
    asked = Counter(item for options in choices for anchor in options for item in anchor.items())
    for rule, options in zip(rules, choices, strict=True):
        best = min(
            options,
            key=lambda anchor: (
                len(anchor.keys() - together),
                any(path in dull for path in anchor),
                len(anchor),
                0 if together else max(asked[item] for item in anchor.items()),
            ),
            default=None,
        )
        if best is None or any(path in dull for path in best):
            excluding = _excluding(rule.predicate, usable, dull)
            if excluding is not None:
                path, through = excluding
                single.setdefault(path, []).append((rule, through))
                # Without the field it may match, so no text can be asked for.
                tested.setdefault(path, []).append(IsNull())
                continue
        if best is None:
            words = keyword_anchor(rule.predicate)
            if words is None:
                free.append(rule)
            else:
                worded.append((rule, words))
        elif best.keys() <= together:
            joint.append((rule, possible(rule.predicate, together)))
        else:
            for path, tests in best.items():
                # The rule may hold by another field of the anchor, which has a gate as well:
                # here only this field's tests count.
                through = _passes(path, tests)
                if len(best) == 1:
                    through = _every([through, possible(rule.predicate, frozenset((path,)))])
                single.setdefault(path, []).append((rule, through))
                tested.setdefault(path, []).extend(tests)
    gates = [Gate(discriminators, joint)] if joint else []
    gates.extend(Gate((path,), held, literals_of(tested[path])) for path, held in single.items())
    return Gates(tuple(gates), TextGate(worded), tuple(free))


def _excluding(
    predicate: Predicate, usable: Callable[[Path], bool], dull: Collection[Path]
) -> tuple[Path, Maybe] | None:
    """Return a field whose values alone can rule a predicate out that says what must not be."""
    for node in predicate.items if isinstance(predicate, And) else (predicate,):
        for path in _denied(node, usable):
            through = possible(predicate, frozenset((path,)))
            if path not in dull and through is not _ALWAYS:
                return path, through
    return None


def _denied(node: Predicate, usable: Callable[[Path], bool]) -> Iterator[Path]:
    match node:
        case Not(Compare(field=asked)) | Not(Or((Compare(field=asked), *_))):
            yield from filter(usable, asked.paths)
        case And():
            for item in node.items:
                yield from _denied(item, usable)
        case _:
            return


def fields_asked(predicate: Predicate) -> Iterator[Path]:
    """Yield the fields of which `possible` can make something, some perhaps twice."""
    match predicate:
        case And() | Or():
            for item in predicate.items:
                yield from fields_asked(item)
        case Not():
            yield from fields_asked(predicate.item)
        case Compare() if not predicate.field.via and not isinstance(predicate.test, SameAs):
            yield from predicate.field.paths
        case _:
            return


Anchor = Mapping[Path, tuple[Test, ...]]
"""A necessary condition: some value of one of these fields passes one of its tests."""


def anchors(predicate: Predicate) -> list[Anchor]:
    """Return conditions that each hold whenever the predicate does; none where none is known."""
    match predicate:
        case And():
            found = [anchor for item in predicate.items for anchor in anchors(item)]
            return found[:_ANCHORS_LIMIT]
        case Or() | AtLeast():
            if isinstance(predicate, AtLeast) and predicate.count < 1:
                return []
            # One anchor of each alternative. All combinations would be too many, so those
            # that favour one field, and the one with the fewest fields.
            per_item = [anchors(item) for item in predicate.items]
            if not per_item or not all(per_item):
                return []
            fields = dict.fromkeys(path for anchor in per_item[0] for path in anchor)
            choices = [[_favouring(path, options) for options in per_item] for path in fields]
            choices.append([min(options, key=len) for options in per_item])
            return _distinct([_merged(choice) for choice in choices])
        case Compare():
            if isinstance(predicate.test, IsNull) or _is_slow(predicate.test):
                return []
            if predicate.field.via:
                return _dated(predicate)
            return [dict.fromkeys(predicate.field.paths, (predicate.test,))]
        case _:
            return []


def _dated(compare: Compare) -> list[Anchor]:
    """Return what the text of a time must hold where it is compared as a number."""
    years = years_of(compare)
    if years is None:
        return []
    tests = tuple(Like((AnyRun(), Text(f"{year:04}"), AnyRun())) for year in years)
    return [dict.fromkeys(compare.field.paths, tests)]


def keyword_anchor(predicate: Predicate) -> tuple[Test, ...] | None:
    """Return tests of which some text of the event must pass one; None where none is known."""
    match predicate:
        case And():
            found = [keyword_anchor(item) for item in predicate.items]
            known = [tests for tests in found if tests is not None and literals_of(tests)]
            return min(known, key=len, default=None)
        case Or():
            found = [keyword_anchor(item) for item in predicate.items]
            if not found or any(tests is None for tests in found):
                return None
            return tuple(test for tests in found if tests is not None for test in tests)
        case Keyword():
            return (predicate.test,)
        case _:
            return None


def _favouring(path: Path, options: list[Anchor]) -> Anchor:
    return min(options, key=lambda anchor: (len(anchor.keys() - {path}), len(anchor)))


def _merged(parts: Sequence[Anchor]) -> Anchor:
    merged: dict[Path, tuple[Test, ...]] = {}
    for part in parts:
        for path, tests in part.items():
            merged[path] = (*merged.get(path, ()), *tests)
    return merged


def _distinct(found: list[Anchor]) -> list[Anchor]:
    kept = {frozenset(anchor): anchor for anchor in reversed(found) if len(anchor) <= _FIELDS_LIMIT}
    return list(reversed(kept.values()))[:_ANCHORS_LIMIT]


def _passes(path: Path, tests: tuple[Test, ...]) -> Maybe:
    if any(isinstance(test, SameAs) for test in tests):
        return lambda known: bool(known[path])
    return _leaf((path,), tests)[0]


def possible(predicate: Predicate, known: frozenset[Path]) -> Maybe:
    """Compile the question whether a predicate can hold, given the fields in `known`."""
    positive, _ = _bounds(predicate, known)
    return positive


def _bounds(node: Predicate, known: frozenset[Path]) -> tuple[Maybe, Maybe]:
    # (can it hold, can it fail), each True where in doubt.
    match node:
        case And():
            parts = [_bounds(item, known) for item in node.items]
            return _every([p for p, _ in parts]), _some([n for _, n in parts])
        case Or():
            parts = [_bounds(item, known) for item in node.items]
            if parts and all(isinstance(item, Compare) for item in node.items):
                return _alternatives(node, known, parts)
            return _some([p for p, _ in parts]), _every([n for _, n in parts])
        case Not():
            positive, negative = _bounds(node.item, known)
            return negative, positive
        case Compare() if (
            not isinstance(node.test, SameAs)
            and not node.field.via
            and not _is_slow(node.test)
            and all(path in known for path in node.field.paths)
        ):
            return _leaf(node.field.paths, (node.test,))
        case AtLeast() | Compare() | Keyword() | Some():
            return _ALWAYS, _ALWAYS
        case _:
            return _ALWAYS, _ALWAYS


def _alternatives(
    node: Or, known: frozenset[Path], parts: list[tuple[Maybe, Maybe]]
) -> tuple[Maybe, Maybe]:
    first = node.items[0]
    same = [
        item.test
        for item in node.items
        if isinstance(item, Compare)
        and isinstance(first, Compare)
        and item.field == first.field
        and not item.field.via
        and not isinstance(item.test, IsNull | SameAs)
        and not _is_slow(item.test)
    ]
    if (
        len(same) == len(node.items)
        and isinstance(first, Compare)
        and all(path in known for path in first.field.paths)
    ):
        return _leaf(first.field.paths, tuple(same))
    return _some([p for p, _ in parts]), _every([n for _, n in parts])


def _is_slow(test: Test) -> bool:
    # What may take its time on a value is asked of the whole event only, where that is counted.
    return isinstance(test, Regex) and needs_backtracking(test)


def _leaf(paths: tuple[Path, ...], tests: tuple[Test, ...]) -> tuple[Maybe, Maybe]:
    if isinstance(tests[0], IsNull):

        def null(known: Known) -> bool:
            values = [value for path in paths for value in known[path]]
            return not values or None in values

        # An empty list reads like an absent field here but is none: never rule out "fails".
        return null, _ALWAYS
    check: Check = any_of(tests)

    def holds(known: Known) -> bool:
        try:
            return any(check(value) for path in paths for value in known[path])
        except GaveUp:
            return True

    def fails(known: Known) -> bool:
        try:
            return not any(check(value) for path in paths for value in known[path])
        except GaveUp:
            return True

    return holds, fails


def _every(parts: list[Maybe]) -> Maybe:
    live = [part for part in parts if part is not _ALWAYS]
    if not live:
        return _ALWAYS
    return lambda known: all(part(known) for part in live)


def _some(parts: list[Maybe]) -> Maybe:
    if any(part is _ALWAYS for part in parts):
        return _ALWAYS
    return lambda known: any(part(known) for part in parts)


def _exact_anchor(
    predicate: Predicate, paths: tuple[Path, ...]
) -> tuple[Path, tuple[str, ...]] | None:
    """Return a field of `paths` and the texts of which it must have one, if there is such."""
    match predicate:
        case And():
            found = [_exact_anchor(item, paths) for item in predicate.items]
            usable = [anchor for anchor in found if anchor is not None]
            return min(usable, key=lambda anchor: len(anchor[1]), default=None)
        case Or():
            found = [_exact_anchor(item, paths) for item in predicate.items]
            if not found or any(anchor is None for anchor in found):
                return None
            listed = [anchor for anchor in found if anchor is not None]
            if len({anchor[0] for anchor in listed}) != 1:
                return None
            texts = tuple(dict.fromkeys(text for _, texts in listed for text in texts))
            return listed[0][0], texts
        case Compare() if (
            isinstance(predicate.test, Equals)
            and not predicate.field.via
            and len(predicate.field.paths) == 1
            and predicate.field.paths[0] in paths
            # A number also equals its other forms (403.0), which the index would miss.
            and (isinstance(predicate.test.value, str | bool))
        ):
            text = (text_of(predicate.test.value) or "").lower()
            return (predicate.field.paths[0], (text,)) if text == text.strip() else None
        case _:
            return None
