"""Filters of a rule, in Elasticsearch's query language, to predicates.

Elasticsearch 8 reference, "Query DSL". A rule's `filter` is a list of queries that all must
match (`elastalert.ElastAlerter.get_query`). What has no meaning over one event (scores, scripts,
look-ups in other indices) is `Unsupported`: nothing is approximated in silence.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from trailhound.dialects.elastalert import lucene
from trailhound.dialects.elastalert.analysis import (
    whole_test,
    word_pattern_test,
    word_test,
    words_of,
)
from trailhound.dialects.elastalert.leaves import (
    ANYTHING,
    FALSE,
    FIELD_QUERIES,
    META,
    TRUE,
    FieldQueries,
    Unsupported,
    Where,
    contains,
    worded,
)
from trailhound.rules.ir import (
    And,
    AtLeast,
    Compare,
    Equals,
    Keyword,
    Like,
    Not,
    Or,
    Predicate,
    Regex,
    Some,
    Test,
)


class Lowering(FieldQueries):
    """Lowers the filters of one rule."""

    def filters(self, listed: Sequence[Any], at: Where) -> Predicate:
        """Return the predicate of filters that all must match."""
        items = [self.query(item, at) for item in listed]
        return items[0] if len(items) == 1 else And(tuple(items))

    def query(self, node: Any, at: Where) -> Predicate:
        """Return the predicate of one query.

        Args:
            node: the query: a mapping of its kind to what it asks.
            at: where it stands.
        """
        if not isinstance(node, dict) or not node:
            raise Unsupported("a filter must be a mapping of a kind of query to what it asks", at)
        if len(node) > 1:
            names = ", ".join(map(str, node))
            raise Unsupported(f"several kinds of query in one filter: {names}", at)
        ((kind, body),) = node.items()
        here = at.below(str(kind))
        if kind in FIELD_QUERIES:
            return self.by_field(str(kind), body, here)
        if (lower := _KINDS.get(kind)) is not None:
            return lower(self, body, here)
        raise Unsupported(f"a query of kind {kind!r} has no meaning here", here)

    # --- queries of queries ----------------------------------------------------------------

    def wrapped(self, body: Any, at: Where) -> Predicate:
        """`query`: the form of ElastAlert before Elasticsearch 5."""
        return self.query(body, at)

    def constant_score(self, body: Any, at: Where) -> Predicate:
        """A filter."""
        self._only(body, ("filter",), at)
        return self.query(body["filter"], at.below("filter"))

    def dis_max(self, body: Any, at: Where) -> Predicate:
        """One of several queries."""
        self._only(body, ("queries", "tie_breaker"), at)
        queries = body.get("queries")
        return Or(tuple(self.query(q, at.doubtful()) for q in _listed(queries)))

    def match_all(self, body: Any, at: Where) -> Predicate:
        """Every document."""
        self._only(body if body is not None else {}, (), at)
        return TRUE

    def match_none(self, _body: Any, _at: Where) -> Predicate:
        """No document."""
        return FALSE

    def not_(self, body: Any, at: Where) -> Predicate:
        """`not` of Elasticsearch 1."""
        inner = body.get("filter", body) if isinstance(body, dict) else body
        return Not(self.query(inner, at.doubtful()))

    def and_(self, body: Any, at: Where) -> Predicate:
        """`and` of Elasticsearch 1."""
        return And(tuple(self.query(item, at) for item in _listed(body)))

    def or_(self, body: Any, at: Where) -> Predicate:
        """`or` of Elasticsearch 1."""
        return Or(tuple(self.query(item, at.doubtful()) for item in _listed(body)))

    def bool_(self, body: Any, at: Where) -> Predicate:
        """Queries that must, should or must not match."""
        known = ("must", "filter", "should", "must_not", "minimum_should_match")
        self._only(body, known, at)
        items: list[Predicate] = [
            self.query(item, at.below(kind))
            for kind in ("must", "filter")
            for item in _listed(body.get(kind))
        ]
        should = [
            self.query(item, at.below("should").doubtful()) for item in _listed(body.get("should"))
        ]
        wanted = body.get("minimum_should_match")
        least = (0 if items else 1) if wanted is None else _least(wanted, len(should), at)
        if should and least:
            items.append(should[0] if len(should) == 1 else _some_of(least, should))
        elif should:
            self._note("`should` beside `must` or `filter` only changes the order of results", at)
        items.extend(
            Not(self.query(item, at.below("must_not").doubtful()))
            for item in _listed(body.get("must_not"))
        )
        return items[0] if len(items) == 1 else And(tuple(items))

    def nested(self, body: Any, at: Where) -> Predicate:
        """All of it in one element of a list."""
        known = ("path", "query", "ignore_unmapped", "score_mode", "inner_hits")
        self._only(body, known, at)
        path, outer = body.get("path"), self._inside
        if not isinstance(path, str):
            raise Unsupported("nested needs a path", at)
        place = self.field(path)
        self._inside = path
        try:
            return Some(place, self.query(body.get("query"), at.below("query").doubtful()))
        finally:
            self._inside = outer

    def exists(self, body: Any, at: Where) -> Predicate:
        """A field that has a value."""
        self._only(body, ("field",), at)
        if not isinstance(body.get("field"), str):
            raise Unsupported("exists needs a field", at)
        return Compare(self.field(body["field"]), ANYTHING)

    def type_(self, body: Any, at: Where) -> Predicate:
        """A mapping type, which documents had before Elasticsearch 7."""
        value = body.get("value") if isinstance(body, dict) else body
        return self._meta("type", value, at)

    def query_string(self, body: Any, at: Where) -> Predicate:
        """A query string of Lucene."""
        body = {"query": body} if isinstance(body, str) else body
        known = (
            *("query", "default_field", "fields", "default_operator", "analyze_wildcard"),
            *("lenient", "allow_leading_wildcard", "auto_generate_synonyms_phrase_query"),
            *("max_determinized_states", "enable_position_increments", "use_dis_max", "type"),
            *("split_on_whitespace", "lowercase_expanded_terms", "tie_breaker", "escape"),
        )
        self._only(body, known, at)
        text = str(body.get("query") or "")
        fields = body.get("fields") or ([body["default_field"]] if "default_field" in body else [])
        names = [str(name).partition("^")[0] for name in _listed(fields)]
        if any("*" in name for name in names if name != "*"):
            raise Unsupported("a wildcard in the name of a field", at)
        operator = str(body.get("default_operator", "or")).lower()
        try:
            parsed = lucene.parse(text, default_operator="and" if operator == "and" else "or")
            if parsed is None:
                return FALSE  # Lucene: MatchNoDocsQuery
            names = [] if "*" in names else names
            return self._clause(parsed, names, at)
        except lucene.QueryError as error:
            raise Unsupported(f"query string: {error.reason}", at, text, error.at) from None

    # --- query strings ---------------------------------------------------------------------

    def _clause(self, node: lucene.Query, defaults: list[str], at: Where) -> Predicate:
        if isinstance(node, lucene.Clauses):
            return self._clauses(node, defaults, at)
        return self._leaf(node, defaults, at)

    def _leaf(self, node: lucene.Leaf, defaults: list[str], at: Where) -> Predicate:
        name = node.field
        if name is None and defaults:
            named = [_in_field(node, default) for default in defaults]
            if len(named) > 1:
                inner = [self._clause(item, [], at.doubtful()) for item in named]
                return Or(tuple(inner))
            (node,) = named
            name = node.field
        if name in ("_exists_", "_missing_") and isinstance(node, lucene.Words) and node.text:
            there = Compare(self.field(node.text), ANYTHING)
            return there if name == "_exists_" else Not(there)
        everything = isinstance(node, lucene.Words) and node.parts == (lucene.Wildcard(many=True),)
        if everything and name in (None, "*"):
            return TRUE
        if name is not None and "*" in name:
            raise lucene.QueryError("a wildcard in the name of a field", node.at)
        if name in META:
            shown = node.text if isinstance(node, lucene.Words) else "?"
            return self._meta(str(name), shown, at)
        match node:
            case lucene.Range():
                if name is None:
                    raise lucene.QueryError("a range without a field", node.at)
                return self._between(
                    name,
                    [
                        (op, bound)
                        for op, bound in (
                            ("gte" if node.with_low else "gt", node.low),
                            ("lte" if node.with_high else "lt", node.high),
                        )
                        if bound is not None
                    ],
                    at,
                )
            case lucene.Pattern():
                return self._pattern(name, node.pattern, at)
            case lucene.Words():
                if everything and name is not None:
                    return Compare(self.field(name), ANYTHING)
                return self._words(name, node, at)

    def _clauses(self, node: lucene.Clauses, defaults: list[str], at: Where) -> Predicate:
        def of(occur: str, *, sure: bool) -> list[Predicate]:
            return [
                self._clause(item, defaults, at if sure else at.doubtful())
                for how, item in node.items
                if how == occur
            ]

        must = of("must", sure=True)
        alone = len(node.items) == 1
        should = of("should", sure=alone)
        items = list(must)
        if should and not must:
            items.append(should[0] if len(should) == 1 else Or(tuple(should)))
        elif should:
            self._note(
                "a part of the query string is optional beside parts that must match, and so "
                "decides nothing: AND and OR have no precedence in Lucene; use parentheses",
                at,
            )
        items.extend(Not(item) for item in of("must_not", sure=False))
        return items[0] if len(items) == 1 else And(tuple(items))

    def _words(self, name: str | None, node: lucene.Words, at: Where) -> Predicate:
        text = node.text
        if name is None:
            return self._anywhere(node)
        if text is None:
            return self._wildcard(name, node.parts, at, cased=True)
        return self._value_is(name, text, at)

    def _anywhere(self, node: lucene.Words) -> Predicate:
        text = node.text
        if text is not None:
            words = words_of(text)
            if not words:
                return FALSE if text.strip() == "" else Keyword(contains(text))
            return worded(Keyword, words, word_test(words), f"any text has {' '.join(words)!r}")
        test = word_pattern_test(node.parts)
        whole = whole_test(node.parts, cased=False)
        return Keyword(test if test is not None else _as_keyword(whole))


_ByField = Callable[..., Predicate]
_KINDS: dict[str, _ByField] = {
    "query": Lowering.wrapped,
    "bool": Lowering.bool_,
    "query_string": Lowering.query_string,
    "exists": Lowering.exists,
    "nested": Lowering.nested,
    "constant_score": Lowering.constant_score,
    "dis_max": Lowering.dis_max,
    "match_all": Lowering.match_all,
    "match_none": Lowering.match_none,
    "type": Lowering.type_,
    "not": Lowering.not_,
    "and": Lowering.and_,
    "or": Lowering.or_,
}


def _as_keyword(test: Test) -> Equals | Like | Regex:
    assert isinstance(test, Equals | Like | Regex)  # noqa: S101 - what `whole_test` gives
    return test


def _in_field(node: lucene.Leaf, name: str) -> lucene.Leaf:
    return replace(node, field=name)


def _some_of(least: int, items: list[Predicate]) -> Predicate:
    if least == 1:
        return Or(tuple(items))
    return And(tuple(items)) if least == len(items) else AtLeast(least, tuple(items))


def _least(wanted: Any, count: int, at: Where) -> int:
    """Return what `minimum_should_match` comes to (Elasticsearch reference, of that name)."""
    text = str(wanted).strip()
    found = re.fullmatch(r"(-?)(\d+)(%?)", text)
    if found is None:
        raise Unsupported(f"minimum_should_match {wanted!r}", at)
    number = int(found[2])
    if found[3]:
        number = math.floor(count * number / 100)
    if found[1]:
        number = count - number
    return max(0, min(number, count + 1))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
