"""Laws of matching: gates lose nothing, explanations agree, alternatives are just faster."""

import json
import re
import tracemalloc
from collections.abc import Collection
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_strategies import documents, predicates, tests
from trailhound.engine import verdicts as verdicts_by_value
from trailhound.engine.beginnings import of_numbers
from trailhound.engine.explain import explain, remembering
from trailhound.engine.gates import Candidate, gates_for
from trailhound.engine.match import matcher
from trailhound.engine.needles import ODD, Each, Need, OneOf, choices, need_of, together
from trailhound.engine.tests import any_of, check_of
from trailhound.engine.values import getter, nodes
from trailhound.engine.verdicts import Few, Verdicts
from trailhound.model.findings import RuleInfo
from trailhound.model.levels import Level
from trailhound.rules.book import RuleBook, dump_books, load_books
from trailhound.rules.ir import (
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
    Number,
    Path,
    Predicate,
    Regex,
    Rule,
    SameAs,
    Some,
    Step,
    Test,
    Text,
)
from trailhound.sources.document import read_json

DISCRIMINATORS: tuple[Path, ...] = (("a",), ("c", "d"))


def alive(
    rules: list[Candidate],
    document: object,
    discriminators: tuple[Path, ...],
    dull: Collection[Path] = (),
) -> set[int]:
    gates = gates_for(rules, discriminators, lambda path: len(path) <= 2, dull)
    found = {rule.index for rule in (*gates.free, *gates.by_text.alive(document))}
    for gate in gates.by_fields:
        read = (getter(Field(".".join(path), (path,))) for path in gate.paths)
        found.update(rule.index for rule in gate.alive(tuple(tuple(r(document)) for r in read)))
    return found


@settings(max_examples=1000)
@given(
    st.lists(predicates, min_size=1, max_size=5),
    documents,
    st.booleans(),
    st.sets(st.sampled_from([("a",), ("b",), ("c",), ("c", "d")])),
)
def test_gates_hold_back_only_what_cannot_match(
    rules: list[Predicate], document: dict[str, object], joint: bool, dull: set[Path]
) -> None:
    candidates = [Candidate(i, rule) for i, rule in enumerate(rules)]
    matching = {rule.index for rule in candidates if rule.matches(document)}
    assert matching <= alive(candidates, document, DISCRIMINATORS if joint else (), dull)


@settings(max_examples=500)
@given(predicates, st.lists(documents, min_size=1, max_size=4))
def test_explanations_that_are_remembered_are_the_same(
    rule: Predicate, events: list[dict[str, object]]
) -> None:
    remembered = remembering(rule)
    for document in (*events, *events):
        assert repr(remembered(document)) == repr(explain(rule, document))


@settings(max_examples=500)
@given(st.lists(predicates, max_size=4), st.lists(documents, min_size=1, max_size=4))
def test_verdicts_that_are_remembered_are_the_same(
    rules: list[Predicate], events: list[dict[str, object]]
) -> None:
    candidates = [Candidate(number, rule) for number, rule in enumerate(rules)]
    verdicts: Verdicts = {}
    choices = [Few(candidates[at:], verdicts) for at in range(len(rules) + 1)]
    for document in (*events, *events):
        for few in choices:
            found = few.matching(document)
            asked = [rule.index for rule in few.rules if rule.matches(document)]
            assert found is None or [rule.index for rule in found] == asked


def test_verdicts_are_remembered_by_value_and_kind() -> None:
    a, b = Field("a", (("a",),)), Field("b", (("b",),))
    few = Few([Candidate(0, Compare(a, Equals("1"))), Candidate(1, Exists(b))], {})
    values = (1, True, 1.0, "1", None, 1)
    found = [few.matching({"a": value}) for value in values]
    assert [bool(rules) for rules in found] == [True, False, False, True, False, True]
    # Of what is only asked whether it is there, the value does not matter.
    assert few.matching({"a": "1", "b": 7}) is few.matching({"a": "1", "b": [8]})
    assert few.matching({"a": ["1"]}) is None


def test_verdicts_that_never_come_again_are_not_kept() -> None:
    few = Few([Candidate(0, Compare(Field("a", (("a",),)), Equals("b")))], {})
    tracemalloc.start()
    try:
        for number in range(5_000):
            assert not few.matching({"a": f"{number:0400}"})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_verdicts_are_not_kept_for_each_choice_of_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line chooses the rules that it is asked of, so there may be any number of choices."""
    monkeypatch.setattr(verdicts_by_value, "_LIMIT", 100)
    same = Compare(Field("a", (("a",),)), Equals("b"))
    verdicts: Verdicts = {}
    for choice in range(50):
        few = Few([Candidate(choice, same)], verdicts)
        for value in ("b", *map(str, range(9))):
            assert few.matching({"a": value}) == (few.rules if value == "b" else ())
            assert few.matching({"a": value}) is few.matching({"a": value})
    assert 0 < len(verdicts) <= 100


def test_explanations_are_remembered_by_value_and_kind() -> None:
    remembered = remembering(Compare(Field("a", (("a",),)), Number("gte", 1.0)))
    shown = [remembered({"a": value}).value for value in (1, True, 1.0, 1, "1")]
    assert list(map(repr, shown)) == ["1", "True", "1.0", "1", "'1'"]
    assert remembered({"a": 1}) is remembered({"a": 1, "b": 2})


def test_explanations_of_long_lists_are_not_remembered() -> None:
    remembered = remembering(Compare(Field("a", (("a",),)), Equals("b")))
    tracemalloc.start()
    try:
        for number in range(50):
            assert not remembered({"a": [f"{number} {item:0200}" for item in range(500)]}).matched
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


KEYS = st.sampled_from(["a", "b", "a.b", "b.a", "a.b.a", "0", "1"])
NESTED = st.recursive(
    st.sampled_from([None, 0, "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


PATHS = st.lists(st.sampled_from(["a", "b", "0"]), max_size=4).map(tuple)


def standing(node: object, path: Path) -> list[object]:
    """What stands at a path, by the definition."""
    if not path:
        return [node]
    if isinstance(node, list):
        if path[0] == "0":
            return standing(node[0], path[1:]) if node else []
        return [found for element in node for found in standing(element, path)]
    if not isinstance(node, dict):
        return []
    ways = [(".".join(path[:end]), path[end:]) for end in range(1, len(path) + 1)]
    return [found for key, rest in ways if key in node for found in standing(node[key], rest)]


@settings(max_examples=1000)
@given(NESTED, st.lists(PATHS, min_size=1, max_size=4))
def test_paths_are_followed_together_as_one_by_one(document: object, paths: list[Path]) -> None:
    each = [found for path in paths for found in standing(document, path)]
    assert nodes(Field("a", tuple(paths)))(document) == each


@settings(max_examples=500)
@given(NESTED, PATHS)
def test_values_of_a_field_are_those_of_its_nodes(document: object, path: Path) -> None:
    def flat(node: object) -> list[object]:
        return [v for item in node for v in flat(item)] if isinstance(node, list) else [node]

    field = Field(".".join(path), (path,))
    assert getter(field)(document) == [v for node in nodes(field)(document) for v in flat(node)]


@pytest.mark.parametrize(
    ("stamp", "matches", "may"),
    [
        ("1970-01-01T00:00:00Z", True, True),
        ("1969-12-31T14:00:00-10:00", True, True),
        ("1970-01-01T14:00:00+14:00", True, True),
        ("1970-W01-4T00:00:00Z", True, True),
        (["2025-03-03T11:06:40Z", "1970-01-01T00:00:00Z"], True, True),
        ("1970-06-01T00:00:00Z", False, True),
        ("2025-03-03T11:06:40Z", False, False),
        (1970, False, True),
        (None, False, False),
    ],
)
def test_a_time_compared_as_a_number_is_gated_by_its_year(
    stamp: object, matches: bool, may: bool
) -> None:
    at = Field("t", (("t",),), (Step("time", ("ns",)),))
    rule = Compare(at, Equals("0", cased=True))
    candidate = Candidate(0, rule)
    assert candidate.matches({"t": stamp}) == matches
    assert alive([candidate], {"t": stamp}, DISCRIMINATORS) == ({0} if may else set())
    line = json.dumps({"t": stamp}, separators=(",", ":")).encode()
    need = need_of(rule)
    assert need is not None
    assert met(need, line) or not matches
    assert met(need, line.replace(b'"t"', b'"t" ')) or not matches
    assert may or not met(need, line)


def stands(pattern: bytes, line: bytes) -> bool:
    return re.search(pattern, line, re.IGNORECASE) is not None


def met(need: Need, line: bytes) -> bool:
    if isinstance(need, OneOf):
        return any(stands(pattern, line) for pattern in need.patterns)
    if isinstance(need, Each):
        return all(met(part, line) for part in need.needs)
    return sum(met(part, line) for part in need.needs) >= need.count


def assert_needles(predicate: Predicate, line: bytes) -> None:
    """Whatever a predicate is true of holds its needles, or something odd."""
    need = need_of(predicate)
    if need is None or any(stands(pattern, line) for pattern in ODD):
        return
    assert met(need, line)
    for cost in (len, lambda pattern: -len(pattern)):
        for part in choices(need, cost):
            assert any(stands(pattern, line) for pattern in part)


@settings(max_examples=400)
@given(predicates, documents, st.booleans(), st.sampled_from(((",", ":"), (", ", " :\t"))))
def test_what_matches_holds_its_needles(
    predicate: Predicate, document: dict[str, object], ascii_only: bool, joints: tuple[str, str]
) -> None:
    if matcher(predicate)(document):
        line = json.dumps(document, ensure_ascii=ascii_only, separators=joints)
        assert_needles(predicate, line.encode("utf-8", "surrogatepass"))


numbers = st.one_of(
    st.integers(-1100, 1100), st.integers(), st.floats(-2000, 2000), st.integers().map(str)
)


@settings(max_examples=400)
@given(
    st.sampled_from(("lt", "lte", "gt", "gte")),
    st.one_of(st.integers(-1100, 1100), st.integers(), st.floats()),
    numbers,
    st.sampled_from(("}", ",", " ")),
)
def test_numbers_beyond_a_bound_are_told_by_their_digits(
    op: Literal["lt", "lte", "gt", "gte"], bound: float, value: float | str, end: str
) -> None:
    test = Number(op, bound)
    begun = of_numbers(test)
    if begun is None:
        assert not abs(bound) < 10**18
        return
    line = f"{json.dumps(value)}{end}".encode()
    may = any(re.match(pattern, line) for pattern in begun)
    passes = check_of(test)(value)
    assert may or not passes
    if isinstance(value, int) and value >= 0:
        assert may == passes


SPELLINGS = (
    b'{"a":"Pods/Exec"}',
    b'{"a":"x","a":["pods/exec"]}',
    b'{"a" : "pods/exec"}',
    b'{"a":\t["y",["pods/exec"]]}',
    b'{"a":"pods\\/exec"}',
    b'{"a":"pod\\u0073/exec"}',
    b'{"\\u0061":"pods/exec"}',
    b'{"a":"see pods/exec & more"}',
    b'{"a":"see pods/exec \\u0026 more"}',
    b'{"a":{"b":"pods/exec"}}',
    b'{"a":{"pods/exec":1}}',
    '{"a":"tic\N{KELVIN SIGN}et"}'.encode(),
    '{"a":"\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}d"}'.encode(),
    b'{"a":true}',
    b'{"a":"True"}',
    b'{"a":[403]}',
    b'{"a":4.03e2}',
    b'{"a":403.0}',
    b'{"a":-0}',
    b'{"a":1403}',
    b'{"a":\t403}',
    b'{"a":{"a":[403]}}',
    b'{"a":" 403 "}',
    b'{"a":"\\t403"}',
    b'{"a":{"b":100, "c":1e2}}',
    b'{"a":{"b":18446744073709551616, "c":"d\'e"}}',
    b'{"a":"arn:aws:sts::1:assumed-role/aws:x"}',
    b'{"a":"say \\"exec\\""}',
)
ASKED: tuple[Test, ...] = (
    Equals("pods/exec"),
    Equals("true"),
    Equals(True),
    Equals(403),
    Equals("403"),
    Equals(0),
    Equals("ticket"),
    Equals("i\u0307d"),
    Equals('{"b":"pods/exec"}'),
    Like((Text("pods"), AnyRun())),
    Like((Text("{"), AnyRun())),
    Like((Text("tr"), AnyRun(), Text("e"))),
    Like((Text("40"), AnyRun())),
    Like((AnyRun(), Text("exec"))),
    Like((AnyRun(), Text("s/exec"), AnyRun())),
    Like((AnyRun(), Text("exec & mo"), AnyRun())),
    Like((AnyRun(), Text('"pods/exec"'), AnyRun())),
    Like((AnyRun(), Text('"b":100'), AnyRun())),
    Like((AnyRun(), Text('100,"c":100.0'), AnyRun())),
    Like((AnyRun(), Text("': 18446744073709551616, 'c'"), AnyRun())),
    Like((AnyRun(), Text(":assumed-role/aws:"), AnyRun())),
    Like((AnyRun(), Any1(), Text("exec"), AnyRun())),
    Like((AnyRun(),)),
    Regex("pods/(exec|attach)"),
    Regex("(?i)TICKET"),
    Regex(".+:assumed-role/aws:.+"),
    Regex('say "e(x)ec'),
    Number("gte", 400),
    Number("gt", 402.5),
    Number("lt", 404),
    Number("lte", 0),
    Number("lte", -1),
)


@pytest.mark.parametrize("line", SPELLINGS, ids=lambda line: line.decode())
def test_needles_in_every_spelling(line: bytes) -> None:
    field = Field("a", (("a",),))
    as_text = Field("a", (("a",),), (Step("json"),))
    for test in ASKED:
        for reading in read_json(line).readings:
            for predicate in (
                Compare(field, test),
                Compare(as_text, test),
                Compare(Field("", ((),), (Step("json"),)), test),
                Some(field, Compare(Field("", ((),)), test)),
            ):
                if matcher(predicate)(reading):
                    assert_needles(predicate, line)
            if isinstance(test, Equals | Like | Regex) and matcher(Keyword(test))(reading):
                assert_needles(Keyword(test), line)


@settings(max_examples=300)
@given(
    st.text('ab"', min_size=1, max_size=4),
    st.text('ab"', min_size=1, max_size=4),
    st.text('ab"\n', max_size=12),
)
def test_pairs_stand_where_both_texts_do(one: str, other: str, text: str) -> None:
    """However they share characters; and nowhere else."""
    pairs = together([re.escape(one).encode()], [re.escape(other).encode()])
    for line in text.upper().split("\n"):
        found = any(stands(pattern, line.encode()) for pattern in pairs)
        assert found == (one in line.lower() and other in line.lower())
    assert any(stands(pattern, text.encode()) for pattern in pairs) == any(
        one in line and other in line for line in text.split("\n")
    )


def test_needles_are_found_for_what_rules_ask() -> None:
    field = Field("a.b", (("a", "b"),))
    for test, pattern in (
        (Equals("exec"), rb'"exec"'),
        (Equals("exec"), rb'b":"exec"'),
        (Equals(403), rb'b":-?403'),
        (Like((Text("Update"), AnyRun())), rb'"update'),
        (Number("gte", 401), rb'b":40[2-9]'),
        (Number("lt", 404), rb'b":40[0-2][^0-9]'),
        (Regex(".+:assumed-role/aws:.+"), rb"assumed\-role\/aws\:"),
    ):
        need = need_of(Compare(field, test))
        assert need is not None
        assert any(pattern in part for part in choices(need, len)), (test, need)
    need = need_of(Compare(Field("a.b", (("a", "b"),), (Step("json"),)), Equals("Exec")))
    assert need is not None
    assert {rb"exec"} in choices(need, len)


@settings(max_examples=1000)
@given(predicates, documents)
def test_the_explanation_has_the_verdict_of_the_match(
    predicate: Predicate, document: dict[str, object]
) -> None:
    assert explain(predicate, document).matched == matcher(predicate)(document)


@given(st.lists(tests, min_size=1, max_size=5), documents)
def test_alternatives_together_are_alternatives_one_by_one(
    alternatives: list[object], document: dict[str, object]
) -> None:
    simple = [test for test in alternatives if not isinstance(test, IsNull | SameAs)]
    if not simple:
        return
    together = any_of(simple)  # type: ignore[arg-type]
    for value in document.values():
        assert together(value) == any(check_of(test)(value) for test in simple)  # type: ignore[arg-type]


@given(predicates)
def test_the_ir_survives_json(predicate: Predicate) -> None:
    info = RuleInfo(uid="u", title="t", level=Level.LOW, dialect="sigma", path="p", line=1)
    books = [RuleBook("p", (Rule(info=info, predicate=predicate),))]
    assert load_books(dump_books(books)) == books


def test_long_values_are_asked_for_a_network_and_not_kept() -> None:
    check = check_of(InNetwork("10.8.0.0/16"))
    assert check("10.8.1.1")
    assert check(" " * 100_000 + "10.8.1.1")
    tracemalloc.start()
    try:
        assert not any(check(f"10.8.1.{number}{' ' * 100_000}x") for number in range(50))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
