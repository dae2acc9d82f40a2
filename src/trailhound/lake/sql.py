"""Predicates of rules, lowered to SQL over stored documents.

`lower` is a pure function from a predicate to a condition in DuckDB's SQL, or to the reason why
there is none. On every document that `json_text.encode` calls exact the condition is true where
the engine's `match` is, and else false, never NULL. It calls the macros of `prelude`.
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trailhound.lake.quoting import Unquotable, literal, pointer
from trailhound.lake.sql_tests import Beyond, Value, lower_tests
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
    Path,
    Predicate,
    PythonCall,
    SameAs,
    Some,
)

_STEPS_MAX = 16


@dataclass(frozen=True, slots=True)
class Column:
    """A field that has a column of its own. NULL: it is absent; else its one value."""

    sql: str
    """The column, quoted."""
    kind: Literal["text", "integer"]
    """What the one value is. Rows in which the field is anything else must not be asked."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a condition reads from."""

    document: str = "document"
    """SQL expression of the JSON document."""
    columns: Mapping[Path, Column] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SqlExpression:
    """A condition; never NULL."""

    text: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Why a predicate has no condition."""

    reason: str
    node: object
    """The part of the predicate that it lies in."""


def lower(predicate: Predicate, reading: Reading = Reading()) -> SqlExpression | Unsupported:
    """Lower a predicate to a condition."""
    try:
        return SqlExpression(_Lowering(reading.columns).node(predicate, reading.document))
    except _Cannot as error:
        return Unsupported(error.reason, error.node)
    except RecursionError:
        return Unsupported("the rule nests too deep", predicate)


class _Cannot(Exception):
    def __init__(self, reason: str, node: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = node


class _Lowering:
    """Lowers the nodes of one predicate."""

    def __init__(self, columns: Mapping[Path, Column]) -> None:
        self._columns = columns
        self._names = (f"v{number}" for number in itertools.count())

    def node(self, node: Predicate, document: str) -> str:
        """Lower one node over the document that an expression gives."""
        match node:
            case And():
                return _joined([self.node(item, document) for item in node.items], "AND", "true")
            case Or():
                return _joined(self._alternatives(node.items, document), "OR", "false")
            case Not():
                return f"(NOT {self.node(node.item, document)})"
            case AtLeast():
                if node.count <= 0:
                    return "true"
                counted = [f"{self.node(item, document)}::INTEGER" for item in node.items]
                return f"({' + '.join(counted) or '0'} >= {int(node.count)})"
            case Compare():
                return self._compare(node, node.field, [node.test], document)
            case Keyword():
                return self._keywords(node, [node.test], document)
            case Exists():
                return self._exists(node.field, document, node)
            case Some():
                return self._some(node, document)
            case PythonCall():
                reason = "its Python is asked afterwards, of what the rest of it selects"
                raise _Cannot(reason, node)
            case _:
                raise _Cannot(f"SQL does not know the node {type(node).__name__}", node)

    def _alternatives(self, items: Iterable[Predicate], document: str) -> list[str]:
        # Alternatives on one field read it once.
        grouped: dict[Field | None, list[Any]] = {}
        firsts: dict[Field | None, Predicate] = {}
        others: list[str] = []
        for item in items:
            if isinstance(item, Compare) and not isinstance(item.test, IsNull | SameAs):
                key: Field | None = item.field
            elif isinstance(item, Keyword):
                key = None
            else:
                others.append(self.node(item, document))
                continue
            grouped.setdefault(key, []).append(item.test)
            firsts.setdefault(key, item)
        return [
            self._keywords(firsts[key], tests, document)
            if key is None
            else self._compare(firsts[key], key, tests, document)
            for key, tests in grouped.items()
        ] + others

    def _compare(self, node: object, at: Field, tests: Sequence[Any], document: str) -> str:
        if isinstance(tests[0], IsNull):
            return self._is_null(at, document, node)
        if isinstance(tests[0], SameAs):
            return self._same_as(node, at, tests[0], document)
        column = self._column(at)
        if column is not None:
            return self._tests(node, tests, _of_column(column))
        v = next(self._names)
        each = self._tests(node, tests, _of_json(v))
        general = f"(len(list_filter({self._values(at, document, node)}, lambda {v}: {each})) > 0)"
        if len(at.paths) != 1 or not at.paths[0]:
            return general
        path = at.paths[0]
        there = _pointer(path, node)
        plain = self._tests(
            node,
            tests,
            Value(f"json_extract_string({document}, {there})", f"json_type({document}, {there})"),
        )
        return f"CASE WHEN {_is_plain(path, document, node)} THEN {plain} ELSE {general} END"

    def _tests(self, node: object, tests: Sequence[Any], value: Value) -> str:
        try:
            return lower_tests(tests, value)
        except Beyond as error:
            raise _Cannot(str(error), node) from None

    def _is_null(self, at: Field, document: str, node: object) -> str:
        column = self._column(at)
        if column is not None:
            return f"({column.sql} IS NULL)"
        v, w = next(self._names), next(self._names)
        # An empty list has no values either, yet it is there.
        return (
            f"list_transform([{self._nodes(at, document, node)}], lambda {v}: len({v}) = 0 OR "
            f"len(list_filter(th_spread({v}), lambda {w}: json_type({w}) = 'NULL')) > 0)[1]"
        )

    def _same_as(self, node: object, at: Field, test: SameAs, document: str) -> str:
        if test.how in ("lt", "lte", "gt", "gte"):
            raise _Cannot("SQL does not compare two fields as numbers", node)
        a, b = next(self._names), next(self._names)
        mine = self._texts(at, document, node, fold=not test.cased)
        theirs = self._texts(test.other, document, node, fold=not test.cased)
        relation = {
            "equals": f"{a} = {b}",
            "startswith": f"starts_with({a}, {b})",
            "endswith": f"ends_with({a}, {b})",
            "contains": f"contains({a}, {b})",
        }[test.how]
        return (
            f"(len(list_filter({mine}, lambda {a}: "
            f"len(list_filter({theirs}, lambda {b}: {relation})) > 0)) > 0)"
        )

    def _texts(self, at: Field, document: str, node: object, *, fold: bool) -> str:
        v = next(self._names)
        text = f"json_extract_string({v}, '$')"
        return (
            f"list_transform({self._values(at, document, node)}, "
            f"lambda {v}: {f'lower({text})' if fold else text})"
        )

    def _keywords(self, node: object, tests: Sequence[Any], document: str) -> str:
        v = next(self._names)
        each = self._tests(node, tests, Value(v, "'VARCHAR'"))
        if any(not isinstance(getattr(test, "value", ""), str) for test in tests):
            raise _Cannot("a keyword that is no text", node)
        return f"(len(list_filter(th_leaves({document}), lambda {v}: {each})) > 0)"

    def _exists(self, at: Field, document: str, node: object) -> str:
        column = self._column(at)
        if column is not None:
            return f"({column.sql} IS NOT NULL)"
        general = f"(len({self._nodes(at, document, node)}) > 0)"
        if len(at.paths) != 1 or not at.paths[0]:
            return general
        # What stands at the plain path is there, whatever else is.
        plain = f"json_type({document}, {_pointer(at.paths[0], node)}) IS NOT NULL"
        return f"CASE WHEN {plain} THEN true ELSE {general} END"

    def _some(self, node: Some, document: str) -> str:
        if node.once:
            raise _Cannot("SQL does not count the elements that match", node)
        v, w = next(self._names), next(self._names)
        inner = _Lowering({})
        inner._names = self._names
        elements = f"th_spread({self._nodes(node.field, document, node)})"
        holds = inner.node(node.item, v)
        if not node.every:
            return f"(len(list_filter({elements}, lambda {v}: {holds})) > 0)"
        return (
            f"list_transform([{elements}], lambda {w}: len({w}) > 0 AND "
            f"len(list_filter({w}, lambda {v}: NOT {holds})) = 0)[1]"
        )

    def _column(self, at: Field) -> Column | None:
        if at.via or len(at.paths) != 1:
            return None
        return self._columns.get(at.paths[0])

    def _values(self, at: Field, document: str, node: object) -> str:
        return f"th_spread({self._nodes(at, document, node)})"

    def _nodes(self, at: Field, document: str, node: object) -> str:
        """What stands at a field, lists left whole: a list of JSON values."""
        if at.via:
            steps = ", ".join(step.name for step in at.via)
            raise _Cannot(f"the steps of field {at.name} ({steps}) are not taken in SQL", node)
        if not at.paths:
            return "[]::JSON[]"
        return " || ".join(self._walk(path, document, node) for path in at.paths)

    def _walk(self, path: Path, document: str, node: object) -> str:
        """Follow a path in every way it can be read, as `engine.values` does.

        Step by step, a list of what can be reached after each step grows, so that a key that
        joins several steps (`authorization.k8s.io/decision`) can go on from any of them. The
        steps are nested as arguments: DuckDB binds the body of a lambda more than once.
        """
        start = f"[({document})::JSON]"
        if not path:
            return start
        if len(path) > _STEPS_MAX:
            raise _Cannot(f"a path of more than {_STEPS_MAX} steps", node)
        entered = [step if _is_index(step, node) else None for step in path]
        s = next(self._names)
        steps = f"[{start if entered[0] else f'th_spread({start})'}]"
        for last in range(len(path)):
            reached = " || ".join(
                f"th_at({s}[{first + 1}], {_pointer((_joined_key(path, first, last),), node)})"
                for first in range(last + 1)
            )
            if last + 1 < len(path):
                following = reached if entered[last + 1] else f"th_spread({reached})"
                reached = f"{s} || [{following}]"
            steps = f"list_transform([{steps}], lambda {s}: {reached})[1]"
        return steps


def _of_column(column: Column) -> Value:
    if column.kind == "integer":
        return Value(f"{column.sql}::VARCHAR", "'BIGINT'")
    return Value(column.sql, "'VARCHAR'")


def _of_json(name: str) -> Value:
    return Value(f"json_extract_string({name}, '$')", f"json_type({name})")


def _joined(conditions: list[str], word: str, empty: str) -> str:
    return f"({f' {word} '.join(conditions)})" if conditions else empty


def _joined_key(path: Path, first: int, last: int) -> str:
    return ".".join(path[first : last + 1])


def _pointer(keys: Path, node: object) -> str:
    try:
        return pointer(*keys)
    except Unquotable as error:
        raise _Cannot(f"the name of a field holds {error}", node) from None


def _is_index(step: str, node: object) -> bool:
    if re.fullmatch(r"\d{1,6}", step) is None:
        return False
    if str(int(step)) != step:
        raise _Cannot("an index that is not written in plain digits", node)
    return True


def _is_plain(path: Path, document: str, node: object) -> str:
    """Condition under which a path leads to one value at most, in one way: no lists, no dots."""
    prefixes = [_pointer(path[: end + 1], node) for end in range(len(path))]
    if len(path) == 1:
        return f"json_type({document}, {prefixes[0]}) IS DISTINCT FROM 'ARRAY'"
    # A key that joins two steps holds both and the dot between them.
    joints = [json.dumps(f"{a}.{b}", ensure_ascii=False)[1:-1] for a, b in itertools.pairwise(path)]
    conditions = [f"NOT contains(({document})::VARCHAR, {literal(joint)})" for joint in joints]
    conditions.append(f"NOT list_contains(json_type({document}, [{', '.join(prefixes)}]), 'ARRAY')")
    return f"({' AND '.join(conditions)})"
