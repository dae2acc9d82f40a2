"""SQL and engine come to the same verdict, or SQL says that it has none."""

import ipaddress
import json
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rule_strategies import documents, predicates
from test_content import RULE_FILES, cases
from test_dialects import STORIES, read_rule
from test_dialects import documents as sample_documents
from trailhound.engine.match import matcher
from trailhound.engine.plan import Plan
from trailhound.engine.values import leaves
from trailhound.lake.json_text import encode
from trailhound.lake.prelude import PRELUDE
from trailhound.lake.quoting import Unquotable, identifier, literal
from trailhound.lake.sql import SqlExpression, Unsupported, lower
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    InNetwork,
    IsNull,
    Keyword,
    Like,
    Not,
    Number,
    Order,
    Predicate,
    Regex,
    SameAs,
    Some,
    Step,
    Text,
    TimePart,
)
from trailhound.sources.decode import Decoder


@cache
def connection() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect(config={"threads": 1})
    made.execute(PRELUDE)
    return made


def verdicts(expressions: list[str], found: list[Any]) -> list[tuple[Any, ...]]:
    rows = [encode(document)[0] for document in found]
    query = f"SELECT {', '.join(expressions)} FROM (SELECT unnest($1::VARCHAR[])::JSON AS document)"
    return connection().execute(query, [rows]).fetchall()


def agree(rules: Predicate | list[Predicate], found: list[Any]) -> None:
    """Ask SQL and the engine about documents, about those at least that SQL reads exactly."""
    exact = [document for document in found if encode(document)[1]]
    said: list[tuple[str, Predicate]] = []
    for predicate in rules if isinstance(rules, list) else [rules]:
        lowered = lower(predicate)
        if isinstance(lowered, Unsupported):
            assert lowered.reason
        else:
            said.append((lowered.text, predicate))
    if not said or not exact:
        return
    rows = verdicts([text for text, _ in said], exact)
    for column, (text, predicate) in zip(zip(*rows, strict=True), said, strict=True):
        matches = matcher(predicate)
        assert list(column) == [matches(document) for document in exact], (predicate, text)


def field(name: str) -> Field:
    return Field(name, (tuple(name.split(".")),))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(predicates, st.lists(documents, min_size=1, max_size=6))
def test_random_predicates_agree(predicate: Predicate, found: list[dict[str, Any]]) -> None:
    agree(predicate, found)


# Values that are odd in some way, each read by every kind of test.
ODD_VALUES: list[Any] = [
    *("", " ", "403", " 403\t", "403.0", "4_03", "+403", "0403", "1e3", "inf", "-Infinity", "nan"),
    *(".5", "5.", "1__0", "true", "True", "null", "a\nb", "ab\n", "a\tb", "ÄÖ", "straße", "ﬁ"),
    *("a%b", "a_b", "a\\b", "a'b", 'a"b', "^a.b$", "\N{GRINNING FACE}x", "\u00a0x\u00a0", "a;--"),
    *(403, 403.0, 403.5, -0.0, 0, 1, 10**15, 2**53 + 1, 2**64 - 1, -(2**63), True, False, None),
    *([], [1], ["403", 403], {}, {"k": "v"}, {"a.b": 1, "n": [1, {"x": "é/\\"}]}),
]
ODD_TESTS = [
    *(Equals(v) for v in ("", "403", "TRUE", "ä", "STRASSE", "a'b", 403, 403.0, 403.5, 0, 0.0)),
    *(Equals(v, cased=True) for v in ("True", "true", "ÄÖ", 403, 403.0, True)),
    *(Equals(v) for v in (True, False, 1, 2**53 + 1, 10**15, 2**64 - 1, -(2**63))),
    Like((AnyRun(),)),
    Like((Any1(),)),
    Like((Text("A"), Any1(), Text("b"))),
    Like((Text("A"), AnyRun(), Text("B"))),
    Like((Text("a%"), AnyRun())),
    Like((AnyRun(), Text("_"), AnyRun())),
    Like((AnyRun(), Text("\\"), AnyRun())),
    Like((AnyRun(), Text("\n"))),
    Like((Text("Ä"), AnyRun()), cased=True),
    Like((AnyRun(), Text('"k":"V"'), AnyRun())),
    Regex("^a.b$"),
    Regex("^a.b$", dotall=True),
    Regex("AB$", ignore_case=True),
    Regex("^b$", multiline=True),
    Regex(r"\d+"),
    Regex(r"^\w+$"),
    *(Number(op, bound) for op in ("lt", "lte", "gt", "gte") for bound in (0, 403, 403.5, -1)),
    IsNull(),
    SameAs(field("b")),
    SameAs(field("b"), how="contains"),
    SameAs(field("b"), how="startswith", cased=True),
    SameAs(field("b"), how="endswith"),
]


@pytest.mark.parametrize("test", ODD_TESTS, ids=repr)
def test_odd_values_agree(test: Any) -> None:
    found: list[Any] = [{"a": value, "b": "403"} for value in ODD_VALUES]
    found += [{"a": [value, "x"], "b": [value]} for value in ODD_VALUES]
    found += [{"b": "a"}, {"a": {"b": "c"}, "b": {}}]
    agree([Compare(field("a"), test), Not(Compare(field("a"), test))], found)
    assert isinstance(lower(Compare(field("a"), test)), SqlExpression)


PATHS: list[dict[str, Any]] = [
    {"a": {"b": {"c": "x"}}},
    {"a.b": {"c": "x"}},
    {"a": {"b.c": "x"}},
    {"a.b.c": "x"},
    {"a": [{"b": {"c": "x"}}, {"b": [{"c": "y"}, {"c": ["z", "x"]}]}]},
    {"a": [{"b.c": ["x"]}], "a.b": [{"c": None}]},
    {"a": {"b": {"c": None}}},
    {"a": {"b": {"c": []}}},
    {"a": {"b": {"c": {}}}},
    {"a": {"b": {}}},
    {"a": "x"},
    {"a": [{"c": "x"}, "x", None]},
    {"a": ["q", {"b": {"c": "x"}}]},
    {"a": {"1": {"c": "x"}}},
    {"a": [{"c": "y"}, {"c": "x"}]},
    {"": {"": "x"}, "~": {"/": "x"}, "'": {'"': "x"}, "é": {"\\": "x"}, "$": {"*": "x"}},
    {"note": "a.b and b.c", "a": {"b": {"c": "x"}}},
]


@pytest.mark.parametrize(
    "path",
    [
        *(("a",), ("a", "b"), ("a", "b", "c"), ("a", "1", "c"), ("a", "0", "b", "c"), ("a.b", "c")),
        *(("", ""), ("~", "/"), ("'", '"'), ("é", "\\"), ("$", "*"), ("*",), ("$",), ()),
    ],
    ids=repr,
)
def test_paths_agree(path: tuple[str, ...]) -> None:
    at = Field(".".join(path), (path,))
    asked: list[Predicate] = []
    for where in (at, Field("either", (path, ("a.b.c",), ("n",)))):
        for test in (Equals("x"), IsNull(), Like((AnyRun(),)), SameAs(field("a.b.c"))):
            asked.append(Compare(where, test))  # noqa: PERF401 - one of several kinds
        asked.append(Exists(where))
        for every in (False, True):
            asked.append(Some(where, Compare(field("c"), Equals("x")), every))
            asked.append(Some(where, Compare(Field("", ((),)), Equals("x")), every))
            asked.append(Some(where, Not(Exists(field("b"))), every))
    agree(asked, PATHS)


ADDRESSES = [
    *("10.0.0.1", " 10.0.0.1\n", "10.0.0.01", "10.0.0.256", "10.0.0", "[10.1.2.3]", "10.0.0.1/8"),
    *(
        "::ffff:10.0.0.1",
        "::FFFF:0a00:0001",
        "::10.0.0.1",
        "::ffff:10.0.0.300",
        "0:0:0:0:0:ffff:a00:1",
    ),
    *("2001:db8::1", "2001:DB8:0:0:0:0:0:1", "[2001:db8::1]", "2001:db8::1%eth0", "2001:db8::1%"),
    *("fe80::1%a%b", "2001:db8:::1", "2001::db8::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::"),
    *(
        "::1",
        "::",
        ":",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::1",
        "g::1",
        "1:2:3:4:5:6:7:8::",
    ),
    *("::2:3:4:5:6:7:8", "2001:db8::1/64", "", "x", "1.2.3.4:80", "1::1.2.3.4", "1.2.3.4::"),
    *("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "١.2.3.4", ":1:2:3:4:5:6:7", "fe80::a%b/c"),
    *(167772161, None, True, 2130706433),
]
NETWORKS = [
    *("10.0.0.0/8", "10.0.0.1/32", "10.0.0.0/13", "0.0.0.0/0", "8.0.0.0/5", "2001:db8::/32"),
    *("2001:db8::/29", "::/0", "::1/128", "fe80::/10", "::ffff:0:0/96", "1::/16", "10.0.0.7/30"),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_addresses_agree(network: str) -> None:
    agree(Compare(field("a"), InNetwork(network)), [{"a": address} for address in ADDRESSES])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f:.]{2,20}", fullmatch=True)),
    st.ip_addresses(),
    st.integers(0, 128),
)
def test_random_addresses_agree(found: list[str], at: Any, prefix: int) -> None:
    network = ipaddress.ip_network((at, min(prefix, at.max_prefixlen)), strict=False)
    agree(
        Compare(field("a"), InNetwork(str(network))),
        [{"a": address} for address in (*found, str(at))],
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("0123456789._+-eE \tinfa", max_size=8), min_size=1, max_size=20))
@example(["1_0", "_1", "1_", "1._0", "1e_0", "1e1_0", "1e999", "-1e999", "1e-999", "0e999"])
def test_numbers_in_texts_agree(found: list[str]) -> None:
    asked: list[Predicate] = [Compare(field("a"), Number("gt", n)) for n in (0, 5, -1.5)]
    agree(asked, [{"a": text} for text in found])


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=4))
def test_texts_agree(wanted: str, found: list[str]) -> None:
    """Unicode: lower case, characters, quoting; `İ` and `Σ` are told by `encode`."""
    documents = [{"a": text} for text in (*found, wanted, wanted.upper(), f"<{wanted.title()}>")]
    infix = Like((AnyRun(), Text(wanted or "x"), AnyRun()))
    between = Like((Any1(), Text(wanted or "x"), Any1()))
    asked: list[Predicate] = [Compare(field("a"), t) for t in (Equals(wanted), infix, between)]
    agree([*asked, Keyword(infix), Keyword(between)], documents)


def test_lower_case_is_the_same_letter_by_letter() -> None:
    """`encode` leaves out the letters in which DuckDB and Python differ."""
    rows = connection().execute(
        "SELECT i, lower(chr(i::INTEGER)) FROM range(128, 1114112) t(i) "
        "WHERE i NOT BETWEEN 55296 AND 57343"
    )
    differ = {chr(i) for i, low in rows.fetchall() if chr(i).lower() != low}
    assert {c for c in differ if encode({"a": c})[1]} == set()


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        *((v, True) for v in ("x", "é", 1.5, 2**64 - 1, -(2**63), [1, {"a": [2]}], "1e5", "[x]")),
        *((v, False) for v in ("\0", "\x1f", "\ud800", "İ", "ΑΣ", "٣", 1e16, 1e-7, 2**64, [[1]])),
        (2**60000, False),
    ],
    ids=lambda v: "huge" if isinstance(v, int) and v > 2**64 else ascii(v)[:20],
)
def test_what_sql_reads_exactly(value: Any, exact: bool) -> None:
    text, said = encode({"a": value})
    assert said is exact
    valid = connection().execute("SELECT json_valid($1)", [text]).fetchall()
    assert valid == [(True,)]
    if exact:
        assert json.loads(text) == {"a": value}


@settings(max_examples=50, deadline=None)
@given(documents)
def test_leaves_agree(document: dict[str, Any]) -> None:
    text, exact = encode(document)
    if exact:
        ((found,),) = connection().execute("SELECT th_leaves($1::JSON)", [text]).fetchall()
        assert sorted(found) == sorted(leaves(document))


@given(st.text())
def test_quoted_texts_are_data(text: str) -> None:
    """Whatever a rule holds, SQL reads it as one text or one name, or it is refused."""
    try:
        quoted, name = literal(text), identifier(text)
    except Unquotable:
        assert "\0" in text
        return
    assert connection().execute(f"SELECT {quoted}").fetchall() == [(text,)]
    if text:
        query = connection().execute(f"SELECT {name} FROM (SELECT 1 AS {name})")
        assert query.description[0][0] == text


@settings(max_examples=50, deadline=None)
@given(st.text("'\"\\;-/*$%_\n()[]{}.x ", max_size=20), st.text("'\"\\;-/.x\n", max_size=10))
def test_rules_cannot_inject(value: str, name: str) -> None:
    at = Field(name, (tuple(name.split(".")),))
    found = [{name: value}, {name: value + "x"}, {"x": 1}]
    asked: list[Predicate] = []
    for test in (
        Equals(value),
        Like((Text(value or "'"), AnyRun())),
        Like((Any1(), Text(value + "'"))),
    ):
        asked += [Compare(at, test), Some(at, Compare(at, test))]
    agree(asked, found)


@pytest.mark.parametrize(
    ("predicate", "reason"),
    [
        (
            Compare(field("a"), Regex("(?!x)e")),
            "its pattern needs backtracking, which RE2 does not do",
        ),
        (Compare(field("a"), TimePart("hour", 3)), "parts of a time are not read in SQL"),
        (
            Compare(field("a"), Number("gt", 2**60)),
            "the bound is beyond the numbers that SQL compares exactly",
        ),
        (Compare(field("a"), Equals(1e30)), "numbers with an exponent are not compared in SQL"),
        (Compare(field("a"), Equals("\0")), "it holds a NUL character"),
        (Compare(field("a"), Equals("\ud800")), "it holds half of a surrogate pair"),
        (Exists(field("a\0b")), "the name of a field holds a NUL character"),
        (Exists(Field("d", (("a",) * 17,))), "a path of more than 16 steps"),
        (Exists(field("a.07")), "an index that is not written in plain digits"),
        (Compare(field("a"), Order("lt", "b")), "SQL does not know the test Order"),
        (
            Exists(Field("a", (("a",),), (Step("lower"),))),
            "the steps of field a (lower) are not taken in SQL",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_sql_cannot_say(predicate: Predicate, reason: str) -> None:
    assert lower(predicate) == Unsupported(reason, predicate)
    inside = And((Exists(field("b")), Not(predicate)))
    assert lower(inside) == Unsupported(reason, predicate)


def test_nodes_yet_unknown_are_unsupported() -> None:
    class Later:
        pass

    node: Any = Later()
    assert lower(node) == Unsupported("SQL does not know the node Later", node)


@pytest.mark.parametrize("story", STORIES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_samples_agree(story: Path) -> None:
    predicate = read_rule(story).predicate
    assert predicate is not None
    found = [d for name in ("hits", "misses") for d in sample_documents(story / f"{name}.jsonl")]
    agree(predicate, found)


@cache
def builtin_plan() -> Plan:
    return plan_for(load_rules([], builtin=True, placeholders={}, cache=None).ruleset.rules)


def events_in(log: bytes) -> list[Event]:
    decoder = Decoder()
    items = [
        i for line in log.splitlines() for i in decoder.decode(RawRecord(line, Origin("-", 1)))
    ]
    return [item for item in (*items, *decoder.flush()) if isinstance(item, Event)]


@pytest.mark.parametrize("product", sorted({path.parent.name for path in RULE_FILES}))
def test_builtin_rules_agree(product: str) -> None:
    """Every built-in rule, over its own hits and misses."""
    plan = builtin_plan()
    total = odd = 0
    for path in (path for path in RULE_FILES if path.parent.name == product):
        found: dict[tuple[str, str], list[Any]] = {}
        for kind in ("hits", "misses"):
            for _, _, log in cases(path, kind):
                for event in events_in(log):
                    for view, read in event.views.items():
                        found.setdefault((event.source, view), []).extend(read)
        for key, seen in found.items():
            total += len(seen)
            odd += sum(not encode(document)[1] for document in seen)
            rules = [plan.rules[i] for i in (plan.views[key].indices if key in plan.views else ())]
            own = [r.predicate for r in rules if r.info.path == str(path) and r.predicate]
            assert all(isinstance(lower(predicate), SqlExpression) for predicate in own)
            agree(own, seen)
    assert odd <= total // 20, "what is left to the engine has to be rare"
