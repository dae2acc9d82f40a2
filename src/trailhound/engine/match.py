"""Predicates compiled to Python functions over a document."""

import operator
from collections.abc import Callable
from typing import Any

from trailhound.engine.tests import (
    Check,
    GaveUp,
    any_of,
    any_surely,
    check_of,
    literals_of,
    needs_backtracking,
    number_of,
    on_text,
)
from trailhound.engine.texts import text_of
from trailhound.engine.values import at_once, folded_text, getter, nodes, presence, texts_of
from trailhound.rules.ir import (
    And,
    AtLeast,
    Compare,
    Exists,
    Field,
    InNetwork,
    IsNull,
    Keyword,
    Like,
    Not,
    Or,
    Predicate,
    PythonCall,
    Regex,
    SameAs,
    Some,
    Test,
)

Matcher = Callable[[Any], bool]


def matcher(predicate: Predicate) -> Matcher:
    """Compile a predicate.

    The function takes one document and may raise `engine.tests.GaveUp`. Raises `BadPattern`
    when the predicate holds a regular expression that cannot be compiled.
    """
    return _Compiler(careful=_may_give_up(predicate)).compile(predicate)


def _may_give_up(node: Predicate) -> bool:
    match node:
        case And() | Or() | AtLeast():
            return any(map(_may_give_up, node.items))
        case Not() | Some():
            return _may_give_up(node.item)
        case Compare() | Keyword():
            return isinstance(node.test, Regex) and needs_backtracking(node.test)
        case Exists() | PythonCall():
            return False


def check_patterns(predicate: Predicate) -> None:
    """Raise `ValueError` if a pattern or network in a predicate cannot be compiled."""
    match predicate:
        case And() | Or() | AtLeast():
            for item in predicate.items:
                check_patterns(item)
        case Not() | Some():
            check_patterns(predicate.item)
        case Compare() | Keyword():
            if isinstance(predicate.test, Regex | InNetwork | Like):
                check_of(predicate.test)
        case Exists() | PythonCall():
            pass


class _Compiler:
    """Compiles the nodes of one predicate."""

    def __init__(self, *, careful: bool) -> None:
        """Make a compiler.

        Args:
            careful: some test may give up; the verdict must not depend on it where the rest
                of the predicate decides.
        """
        self._careful = careful

    def compile(self, node: Predicate) -> Matcher:
        match node:
            case And():
                return self._all([self.compile(item) for item in node.items])
            case Or():
                return self._any(node.items)
            case Not():
                inner = self.compile(node.item)
                return lambda document: not inner(document)
            case AtLeast():
                return self._at_least(node)
            case Compare():
                return self._compare(node.field, (node.test,))
            case Keyword():
                return self._keywords((node.test,))
            case Exists():
                return presence(node.field)
            case Some():
                return self._some(node)
            case PythonCall():
                return lambda _document: True

    def _all(self, items: list[Matcher]) -> Matcher:
        if len(items) == 1:
            return items[0]
        if self._careful:
            return lambda document: not any_surely(lambda item: not item(document), items)
        if len(items) == 2:
            first, second = items
            return lambda document: first(document) and second(document)

        def every(document: Any) -> bool:
            for item in items:  # noqa: SIM110 - a generator would double the cost
                if not item(document):
                    return False
            return True

        return every

    def _any(self, items: tuple[Predicate, ...]) -> Matcher:
        # Alternatives on one field are read and looked up together, where the first one stood.
        grouped: dict[Field | None, list[Test]] = {}
        order: list[Field | Predicate | None] = []
        for item in items:
            if isinstance(item, Compare) and not isinstance(item.test, IsNull | SameAs):
                key: Field | None = item.field
            elif isinstance(item, Keyword):
                key = None
            else:
                order.append(item)
                continue
            if key not in grouped:
                grouped[key] = []
                order.append(key)
            test = item.test
            grouped[key].append(test)
        matchers: list[Matcher] = []
        for entry in order:
            if entry is None:
                matchers.append(self._keywords(tuple(grouped[None])))
            elif isinstance(entry, Field):
                matchers.append(self._compare(entry, tuple(grouped[entry])))
            else:
                matchers.append(self.compile(entry))
        if len(matchers) == 1:
            return matchers[0]
        if self._careful:
            return lambda document: any_surely(lambda item: item(document), matchers)

        def some(document: Any) -> bool:
            for item in matchers:  # noqa: SIM110 - as above
                if item(document):
                    return True
            return False

        return some

    def _compare(self, field: Field, tests: tuple[Test, ...]) -> Matcher:
        read = getter(field)
        if len(tests) == 1 and isinstance(tests[0], IsNull):
            # An empty list has no values either, yet it is there.
            present = presence(field)
            return at_once(
                field,
                lambda _text: False,
                lambda _integer: False,
                lambda document: None in read(document) or not present(document),
            )
        if len(tests) == 1 and isinstance(tests[0], SameAs):
            return _same_as(read, tests[0])
        check = any_of(tests)
        if self._careful:
            return lambda document: any_surely(check, read(document))

        def compare(document: Any) -> bool:
            for value in read(document):  # noqa: SIM110 - as above
                if check(value):
                    return True
            return False

        return at_once(field, on_text(tests) or check, check, compare)

    def _keywords(self, tests: tuple[Test, ...]) -> Matcher:
        check: Check = any_of(tests)

        words = literals_of(tests)
        if words is None:
            if self._careful:
                return lambda document: any_surely(check, texts_of(document))
            return lambda document: any(map(check, texts_of(document)))

        def search(document: Any) -> bool:
            text = folded_text(document)
            return any(word in text for word in words) and any(map(check, texts_of(document)))

        return search

    def _at_least(self, node: AtLeast) -> Matcher:
        items = [self.compile(item) for item in node.items]
        count = node.count

        def enough(document: Any) -> bool:
            left = count
            unknown = 0
            for item in items:
                if left <= 0:
                    break
                try:
                    left -= item(document)
                except GaveUp:
                    unknown += 1
            if 0 < left <= unknown:
                raise GaveUp
            return left <= 0

        return enough

    def _some(self, node: Some) -> Matcher:
        read = nodes(node.field)
        item = self.compile(node.item)
        every, once = node.every, node.once

        def some(document: Any) -> bool:
            elements = elements_of(read(document))
            if once:
                return _exactly_one(item, elements)
            if every:
                return bool(elements) and not any_surely(lambda e: not item(e), elements)
            return any_surely(item, elements)

        return some


def elements_of(found: list[Any]) -> list[Any]:
    """Return the elements that `Some` ranges over: those of lists; anything else is its own."""
    elements: list[Any] = []
    for node in found:
        if isinstance(node, list | tuple):
            elements.extend(node)
        else:
            elements.append(node)
    return elements


def _exactly_one(item: Matcher, elements: list[Any]) -> bool:
    held = unknown = 0
    for element in elements:
        try:
            held += item(element)
        except GaveUp:
            unknown += 1
        if held > 1:
            return False
    if unknown:
        raise GaveUp
    return held == 1


def _same_as(read: Callable[[Any], list[Any]], test: SameAs) -> Matcher:
    other = getter(test.other)
    fold = not test.cased
    relations: dict[str, Callable[[str, str], bool]] = {
        "equals": lambda a, b: a == b,
        "startswith": lambda a, b: a.startswith(b),
        "endswith": lambda a, b: a.endswith(b),
        "contains": lambda a, b: b in a,
    }
    if test.how not in relations:
        return _ordered(read, other, test.how)
    stands = relations[test.how]

    def texts(values: list[Any]) -> list[str]:
        found = [text for value in values if (text := text_of(value)) is not None]
        return [text.lower() for text in found] if fold else found

    def compare(document: Any) -> bool:
        theirs = texts(other(document))
        return any(stands(a, b) for a in texts(read(document)) for b in theirs)

    return compare


def _ordered(
    read: Callable[[Any], list[Any]], other: Callable[[Any], list[Any]], how: str
) -> Matcher:
    stands: Callable[[float, float], bool] = {
        "lt": operator.lt,
        "lte": operator.le,
        "gt": operator.gt,
        "gte": operator.ge,
    }[how]

    def numbers(values: list[Any]) -> list[int | float]:
        return [number for value in values if (number := number_of(value)) is not None]

    def compare(document: Any) -> bool:
        theirs = numbers(other(document))
        return any(stands(a, b) for a in numbers(read(document)) for b in theirs)

    return compare
