"""Queries on one field, to predicates.

Elasticsearch 8 reference, "Term-level queries" and "Full text queries". What a value has to
pass depends on whether its field is analysed text (`Index.analysed`).
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from trailhound.dialects.elastalert import lucene
from trailhound.dialects.elastalert.analysis import (
    UnknownExpression,
    expression,
    whole_test,
    word_pattern_test,
    word_regex_test,
    word_test,
    words_of,
)
from trailhound.dialects.elastalert.fields import derived, field_of, log_named, path_of
from trailhound.dialects.elastalert.logs import Index, Log
from trailhound.rules.ir import (
    And,
    AnyRun,
    Compare,
    Equals,
    Field,
    InNetwork,
    Keyword,
    Like,
    Number,
    Or,
    Predicate,
    Regex,
    Text,
)

TRUE, FALSE = And(()), Or(())
ANYTHING = Like((AnyRun(),))
NOT_ASKED = "so it is left out of the condition"
META = ("_type", "_index", "_id", "doc_type")
_UNSCORED = frozenset(("boost", "_name", "rewrite", "adjust_pure_negative"))


class Where(NamedTuple):
    """Where a query stands."""

    keys: tuple[str, ...]
    """Keys of the YAML document that lead to it."""
    certain: bool = True
    """Whether the rule cannot match unless it does."""

    def below(self, key: str) -> "Where":
        """Return the place below a key."""
        return Where((*self.keys, key), self.certain)

    def doubtful(self) -> "Where":
        """Return the same place for a query without which the rule may match all the same."""
        return Where(self.keys, certain=False)


class Unsupported(ValueError):
    """A filter that cannot be said in the IR, and where it stands."""

    def __init__(self, reason: str, where: Where, text: str = "", at: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys = where.keys
        self.text = text
        """The query string it stands in, where it does."""
        self.at = at
        """0-based place in `text`."""


class FieldQueries:
    """Lowers queries on one field, for one rule."""

    def __init__(self, index: Index, timestamp_field: str = "@timestamp") -> None:
        self._index = index
        self._time = timestamp_field
        self._inside = ""
        self.notes: dict[str, tuple[str, ...]] = {}
        """What a reader should know, each with the keys that lead to its place."""
        self.log: Log | None = None
        """The one log that the filters name by its data set."""

    def field(self, name: str) -> Field:
        """Return the field of that name, with its places in a record."""
        if self._inside and name.startswith(self._inside + "."):
            inner = name.removeprefix(self._inside + ".")
            return Field(inner, (path_of(inner),))
        return field_of(self._index, name)

    def by_field(self, kind: str, body: Any, at: Where) -> Predicate:
        """A query of a kind in `FIELD_QUERIES`."""
        options = ("boost", "minimum_should_match", "_name", "execution", "_cache")
        fields = {k: v for k, v in body.items() if k not in options} if _is_map(body) else {}
        if len(fields) != 1 or (kind != "terms" and len(body) != 1):
            raise Unsupported(f"{kind} needs one field", at)
        ((name, asked),) = fields.items()
        name, here = str(name), at.below(str(name))
        if name in META:
            return self._meta(name, asked, here)
        return FIELD_QUERIES[kind](self, name, asked, here)

    def term(self, name: str, asked: Any, at: Where) -> Predicate:
        """One exact value."""
        folded = False
        if _is_map(asked):
            self._only(asked, ("value", "term", "case_insensitive"), at)
            folded = asked.get("case_insensitive") is True
            asked = asked.get("value", asked.get("term"))
        if not _is_scalar(asked):
            raise Unsupported("term needs a text, a number or a boolean", at)
        known = self._derived(name, asked, at)
        if known is not None:
            return known
        if not isinstance(asked, str) or not self._index.analysed(name):
            return self._whole(name, asked, cased=not folded)
        words = words_of(asked)
        if len(words) != 1 or words[0] != asked.lower():
            self._note(
                f"term {asked!r} is never a word of an analysed text in Elasticsearch; here it "
                f"is compared with the whole value of {name} (as {name}.keyword would be)",
                at,
            )
            return self._whole(name, asked, cased=False)
        if asked != words[0]:
            self._note(
                f"term {asked!r} has capitals, which analysed text in Elasticsearch has not; "
                "here case makes no difference",
                at,
            )
        return self._has_words(name, words)

    def terms(self, name: str, asked: Any, at: Where) -> Predicate:
        """One of several exact values."""
        if not isinstance(asked, list):
            raise Unsupported("terms needs a list of values (look-ups in an index have none)", at)
        items = [self.term(name, value, at.doubtful()) for value in asked]
        return items[0] if len(items) == 1 else Or(tuple(items))

    def range_(self, name: str, asked: Any, at: Where) -> Predicate:
        """Between two values."""
        known = ("gt", "gte", "lt", "lte", "from", "to", "include_lower", "include_upper")
        self._only(asked, (*known, "format", "time_zone", "relation"), at)
        bounds = [(op, asked[op]) for op in ("gt", "gte", "lt", "lte") if op in asked]
        if asked.get("from") is not None:
            bounds.append(("gte" if asked.get("include_lower", True) else "gt", asked["from"]))
        if asked.get("to") is not None:
            bounds.append(("lte" if asked.get("include_upper", True) else "lt", asked["to"]))
        bounds = [(op, bound) for op, bound in bounds if bound is not None]
        return self._between(name, bounds, at)

    def _between(self, name: str, bounds: list[tuple[str, Any]], at: Where) -> Predicate:
        if not bounds:
            return Compare(self.field(name), ANYTHING)
        field = self.field(name)
        items: list[Predicate] = []
        for op, bound in bounds:
            number = _number(bound)
            if number is not None:
                items.append(Compare(field, Number(op, number)))  # type: ignore[arg-type]
            elif str(bound).startswith("now"):
                self._now(name, op, str(bound), at)
        if len(items) == len(bounds):
            return items[0] if len(items) == 1 else And(tuple(items))
        networks = _networks(bounds)
        if networks is not None:
            tests = tuple(Compare(field, InNetwork(str(network))) for network in networks)
            return tests[0] if len(tests) == 1 else Or(tests)
        if all(str(bound).startswith("now") for _, bound in bounds):
            return TRUE
        shown = ", ".join(f"{op} {bound!r}" for op, bound in bounds)
        raise Unsupported(
            f"a range of {name} that is neither of numbers nor of addresses: {shown}", at
        )

    def _now(self, name: str, op: str, bound: str, at: Where) -> None:
        # Over event time an event is judged when it happens: it is always recent, never future.
        recent = op in ("gt", "gte") and re.match(r"now(?:-|/|$)", bound)
        past = op in ("lt", "lte") and re.match(r"now(?:\+|/|$)", bound)
        if name != self._time or not at.certain or not (recent or past):
            raise Unsupported(f"{name} {op} {bound!r}: there is no `now` over event time", at)
        self._note(
            f"{name} {op} {bound!r} is left out: over event time every event is new when it is "
            "judged",
            at,
        )

    def wildcard(self, name: str, asked: Any, at: Where) -> Predicate:
        """`*` and `?`."""
        value, cased = self._value(asked, ("wildcard",), at)
        parts = lucene.parts_of(value)
        return self._wildcard(name, parts, at, cased=cased)

    def prefix(self, name: str, asked: Any, at: Where) -> Predicate:
        """How it begins."""
        value, cased = self._value(asked, ("prefix",), at)
        if not value:
            return Compare(self.field(name), ANYTHING)
        return self._wildcard(name, (value, lucene.Wildcard(many=True)), at, cased=cased)

    def regexp(self, name: str, asked: Any, at: Where) -> Predicate:
        """A regular expression."""
        value, _ = self._value(asked, ("flags", "flags_value", "max_determinized_states"), at)
        return self._pattern(name, value, at)

    def match(self, name: str, asked: Any, at: Where) -> Predicate:
        """Words of an analysed text, or a value."""
        operator = "or"
        if _is_map(asked):
            known = ("query", "operator", "lenient", "zero_terms_query", "analyzer")
            self._only(asked, (*known, "auto_generate_synonyms_phrase_query"), at)
            operator = str(asked.get("operator", "or")).lower()
            asked = asked.get("query")
        if not _is_scalar(asked):
            raise Unsupported("match needs a text, a number or a boolean", at)
        words = words_of(asked) if isinstance(asked, str) else []
        if len(words) < 2 or not self._index.analysed(name):
            return self._value_is(name, asked, at)
        items = tuple(self._has_words(name, [word]) for word in dict.fromkeys(words))
        return And(items) if operator == "and" else Or(items)

    def match_phrase(self, name: str, asked: Any, at: Where) -> Predicate:
        """Words one after the other."""
        if _is_map(asked):
            self._only(asked, ("query", "analyzer", "zero_terms_query"), at)
            asked = asked.get("query")
        return self._value_is(name, asked, at)

    def match_phrase_prefix(self, name: str, asked: Any, at: Where) -> Predicate:
        """The same, the last one begun."""
        value, _ = self._value(asked, ("query", "max_expansions", "analyzer"), at)
        words = words_of(value)
        if not words or not self._index.analysed(name):
            return self._wildcard(name, (value, lucene.Wildcard(many=True)), at, cased=True)
        return self._has_words(name, words, open_end=True)

    # --- leaves ----------------------------------------------------------------------------

    def _value_is(self, name: str, asked: Any, at: Where) -> Predicate:
        if not _is_scalar(asked):
            raise Unsupported("a value must be a text, a number or a boolean", at)
        known = self._derived(name, asked, at)
        if known is not None:
            return known
        if not isinstance(asked, str) or not self._index.analysed(name):
            return self._whole(name, asked, cased=True)
        words = words_of(asked)
        return self._has_words(name, words) if words else self._whole(name, asked, cased=True)

    def _derived(self, name: str, asked: Any, at: Where) -> Predicate | None:
        if self._inside or not isinstance(asked, str):
            return None
        if at.certain and (log := log_named(self._index, name, asked)) is not None:
            self.log = log
        return derived(self._index, name, asked)

    def _whole(self, name: str, asked: Any, *, cased: bool) -> Predicate:
        field = self.field(name)
        if isinstance(asked, str) and ("/" in asked or ":" in asked):
            network = _network(asked)
            if network is not None and ("/" in asked or network.version == 6):
                return Compare(field, InNetwork(str(network)))
        return Compare(field, Equals(asked, cased=cased and isinstance(asked, str)))

    def _has_words(self, name: str, words: list[str], *, open_end: bool = False) -> Predicate:
        field = self.field(name)
        test = word_test(words, open_end=open_end)
        shown = " ".join(words) + ("…" if open_end else "")
        return worded(lambda t: Compare(field, t), words, test, f"{field.name} has {shown!r}")

    def _wildcard(
        self,
        name: str,
        parts: tuple[lucene.TermPart, ...],
        at: Where,
        *,
        cased: bool,
    ) -> Predicate:
        field = self.field(name)
        if not self._index.analysed(name):
            return Compare(field, whole_test(parts, cased=cased))
        test = word_pattern_test(parts)
        if test is None:
            shown = "".join(p if isinstance(p, str) else "*?"[not p.many] for p in parts)
            self._note(
                f"{shown!r} is like no single word of an analysed text in Elasticsearch; here it "
                f"is compared with the whole value of {name}",
                at,
            )
            return Compare(field, whole_test(parts, cased=False))
        words = [part for part in parts if isinstance(part, str)]
        shown = "".join(p if isinstance(p, str) else "*?"[not p.many] for p in parts)
        return worded(
            lambda t: Compare(field, t), words, test, f"{field.name} has a word like {shown!r}"
        )

    def _pattern(self, name: str | None, pattern: str, at: Where) -> Predicate:
        try:
            inner = expression(pattern)
        except UnknownExpression as error:
            raise Unsupported(f"regular expression /{pattern}/: {error}", at) from None
        if name is None:
            return Keyword(word_regex_test(inner))
        if self._index.analysed(name):
            return Compare(self.field(name), word_regex_test(inner))
        return Compare(self.field(name), Regex(f"^(?:{inner})$", dotall=True))

    def _value(self, asked: Any, more: tuple[str, ...], at: Where) -> tuple[str, bool]:
        cased = True
        if _is_map(asked):
            self._only(asked, ("value", "case_insensitive", *more), at)
            cased = asked.get("case_insensitive") is not True
            asked = asked.get("value", asked.get(more[0]))
        if not _is_scalar(asked):
            raise Unsupported("a text is missing", at)
        return str(asked), cased

    def _only(self, body: Any, known: Iterable[str], at: Where) -> None:
        if not _is_map(body):
            raise Unsupported(f"{at.keys[-1]} must be a mapping", at)
        for key in body:
            if key not in known and key not in _UNSCORED:
                raise Unsupported(
                    f"{at.keys[-1]}: option {key!r} is not supported", at.below(str(key))
                )

    def _note(self, text: str, at: Where) -> None:
        self.notes.setdefault(text, at.keys)

    def _meta(self, name: str, value: object, at: Where) -> Predicate:
        if not at.certain:
            raise Unsupported(f"{name} {value!r}: documents have no {name} here", at)
        self._note(f"{name} {value!r}: records here have no {name}, {NOT_ASKED}", at)
        return TRUE


_ByField = Callable[..., Predicate]
FIELD_QUERIES: dict[str, _ByField] = {
    "term": FieldQueries.term,
    "terms": FieldQueries.terms,
    "range": FieldQueries.range_,
    "wildcard": FieldQueries.wildcard,
    "prefix": FieldQueries.prefix,
    "regexp": FieldQueries.regexp,
    "match": FieldQueries.match,
    "match_phrase": FieldQueries.match_phrase,
    "match_phrase_prefix": FieldQueries.match_phrase_prefix,
}


def worded(
    ask: Callable[[Any], Predicate], words: Sequence[str], test: Regex, label: str
) -> Predicate:
    """Return the condition that a text has words: a cheap one, and the exact one, in its name."""
    # The longest word is looked for first: that is cheap, and rules stand behind gates by it.
    longest = max(words, key=len, default="")
    if len(longest) < 2:
        return ask(test)
    return And((ask(contains(longest)), ask(test)), label)


def contains(text: str) -> Like:
    """Return the test that a text stands somewhere in a value."""
    return Like((AnyRun(), Text(text), AnyRun()))


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _number(bound: Any) -> int | float | None:
    if isinstance(bound, bool):
        return None
    if isinstance(bound, int | float):
        return bound if math.isfinite(bound) else None
    if isinstance(bound, str) and re.fullmatch(
        r"-?\d{1,18}(?:\.\d{1,18})?(?:[eE]-?\d{1,2})?", bound
    ):
        return int(bound) if re.fullmatch(r"-?\d+", bound) else float(bound)
    return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _networks(
    bounds: list[tuple[str, Any]],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network] | None:
    """Return the networks that cover a range of addresses; None where it is none."""
    ends: dict[str, Any] = {}
    for op, bound in bounds:
        try:
            address = ipaddress.ip_address(str(bound))
            ends[op[0]] = address + {"gt": 1, "lt": -1}.get(op, 0)
        except (ValueError, OverflowError):
            return None
    if set(ends) != {"g", "l"}:
        return None
    try:
        return list(ipaddress.summarize_address_range(ends["g"], ends["l"]))
    except (ValueError, TypeError):
        return None
