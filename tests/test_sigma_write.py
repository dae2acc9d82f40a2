"""Rules of any dialect written as Sigma and read again: the same verdicts, with any text."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sigma.types import SigmaString, SpecialChars

from rule_strategies import documents, predicates
from test_elastalert import stepped
from trailhound.dialects import DIALECTS
from trailhound.dialects.contract import RuleFile
from trailhound.dialects.sigma.spelling import Unsayable, escaped
from trailhound.dialects.sigma.write import text_of, write
from trailhound.engine.match import matcher
from trailhound.engine.plan import SourceShape, make_plan
from trailhound.model.findings import RuleInfo
from trailhound.model.levels import Level
from trailhound.model.logsource import LogSource, Route
from trailhound.pipeline.rulebooks import load_rules
from trailhound.rules.book import link
from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    AtLeast,
    Compare,
    Correlation,
    Equals,
    Exists,
    Field,
    IsNull,
    Keyword,
    Like,
    Not,
    Or,
    Order,
    Predicate,
    PythonCall,
    Regex,
    Rule,
    SameAs,
    Some,
    Step,
    Text,
)

CORPORA = Path(__file__).parents[2] / "shared" / "corpora"
SAMPLES = Path(__file__).parent / "samples" / "dialects"
STORIES = sorted(
    path.parent
    for path in SAMPLES.glob("*/*/rule.y*ml")
    if not path.with_suffix(".py").is_file()  # a rule in Python, which `REFUSED` has
)
PLACEHOLDERS = {"admins": ("root", "toor"), "hosts": ("a.b", "c.d")}
UNSAYABLE_STORIES = {
    "cloudtrail_computed": "s3.bytes is computed (sum), which Sigma cannot say",
    "cloudtrail_user": "ct.shortsrc is computed (trim-end), which Sigma cannot say",
    "constants": "jevt.rawtime is computed (time), which Sigma cannot say",
    "container_settings": "ka.req.pod.ephemeralContainers.image.repository is computed",
    "containers": "ka.req.pod.containers.image.repository is computed (json, image-repository)",
    "deprecated_fields": "ka.req.container.image.repository is computed (json, image-repository)",
    "gcp_computed": "gcp.policyDelta is computed (json), which Sigma cannot say",
    "github_webhooks": "github.repo.name is computed (trim-start), which Sigma cannot say",
    "okta_empty_texts_exist": "okta.target.user.name is computed (where, last, get)",
    "order_is_that_of_text": "Sigma does not compare texts by their order (gte)",
    "existence": "requestParameters is computed (json), which Sigma cannot say",
    "lists": "one element and no other",
    "two_keys": "Sigma does not compare two fields as numbers",
    "right_side_fields": "tolower(ka.stage) is computed (lower), which Sigma cannot say",
    "roles_and_bindings": "ka.req.binding.subjects.serviceaccount_ns_names is computed",
    "transformers": "tolower(ka.user.name) is computed (lower), which Sigma cannot say",
    "uri_parameters": "ka.uri.param[command] is computed (query-parameter)",
}
SIGMA = next(dialect for dialect in DIALECTS if dialect.name == "sigma")


def rule_of(predicate: Predicate, title: str = "A rule", **said: Any) -> Rule:
    info = RuleInfo(
        uid="6f1e0d3a-1c3f-4a0e-9d53-0c6b1c5a9e11",
        title=title,
        level=Level.HIGH,
        dialect=said.pop("dialect", "falco"),
        path="rules.yml",
        line=1,
        **said,
    )
    return Rule(info=info, logsource=LogSource(product="test"), predicate=predicate)


def through(rule: Rule, *others: Rule) -> Rule:
    """Write a rule as Sigma, and read it."""
    text = text_of(write(rule, {r.info.uid: r for r in (rule, *others)}).documents)
    book = SIGMA.read(RuleFile("written.yml", text.encode()), {})
    assert book.errors == ()
    return next(r for r in link([book]).rules if r.info.title == rule.info.title)


def field(name: str) -> Field:
    return Field(name, (tuple(name.split(".")),))


@settings(max_examples=300, deadline=None)
@given(predicates, st.lists(documents, min_size=1, max_size=5))
@example(Some(field("a"), Not(And((Exists(field("d")), Exists(field("e")))))), [{"a": [{"d": 1}]}])
@example(Compare(Field("either", (("a",), ("c", "d"))), IsNull()), [{"a": 1}, {"a": None}, {}])
def test_verdicts_are_the_same(predicate: Predicate, found: list[dict[str, Any]]) -> None:
    try:
        again = through(rule_of(predicate))
    except Unsayable:
        return
    assert again.predicate is not None
    before, after = matcher(predicate), matcher(again.predicate)
    for document in found:
        assert before(document) is after(document), document


# --- what is written ------------------------------------------------------------------------

TITLED = """title: A rule
id: 6f1e0d3a-1c3f-4a0e-9d53-0c6b1c5a9e11
logsource:
    product: test
detection:
{detection}
level: high
"""
SECTIONS = {
    "one map": "sel: {a: x, b: 1, c.d: true}\ncondition: sel",
    "values": "sel: {a: [x, '1', 1, true, null, '']}\ncondition: sel",
    "maps": "sel: [{a: x}, {b|contains: y, c: z}]\ncondition: sel",
    "words": "words: [x, 'a*b', 403]\ncondition: words",
    "all words": "words: {'|all': [x, y]}\ncondition: words",
    "words and expressions": "words: {'|re': 'x+'}\nmore: {'|cased': X}\ncondition: words or more",
    "wildcards": r"sel: {a: ['x*', '*x*y', 'x?', '\*x', 'x\\*', 'C:\Windows\', '\\\\h\s']}"
    "\ncondition: sel",
    "ends": "sel: {a|startswith: x, a|endswith: y, a|contains: [p, q]}\ncondition: sel",
    "all": "sel: {a|contains|all: [x, y], b|all: ['*1*', '*2*']}\ncondition: sel",
    "cased": "sel: {a|cased: X, b|contains|cased: Y}\ncondition: sel",
    "expressions": "sel: {a|re: '^x.*', b|re|i|m|s: 'y$'}\ncondition: sel",
    "numbers": "sel: {a|gt: 1, b|lte: 2.5, c: 1.5, d: 18446744073709551616}\ncondition: sel",
    "networks": "sel: {a|cidr: [10.0.0.0/8, '2001:db8::/32']}\ncondition: sel",
    "null and there": "sel: {a: null, b|exists: true, c|exists: false}\ncondition: sel",
    "references": "sel: {a|fieldref: b, c|fieldref|startswith: d}\ncondition: sel",
    "times": "sel: {a|hour: 3, b|minute: [1, 2]}\ncondition: sel",
    "not": "sel: {a: x}\nfilter: {b: [y, z]}\ncondition: sel and not filter",
    "not equal": "sel: {a: x, b|neq: y, c|contains|neq: [p, q]}\ncondition: sel",
    "selectors": "sel_a: {a: x}\nsel_b: {b: y}\nfilter_c: {c: z}\n"
    "condition: 1 of sel_* and not all of filter_*",
    "selectors out of order": "sel_a: {a: x}\nsel_b: {b: y}\ncondition: sel_b and 1 of sel_*",
    "them": "a: {a: x}\nb: {b: y}\ncondition: all of them",
    "brackets": "p: {a: x}\nq: {b: y}\nr: {c: z}\ncondition: not (p or q) and (r or p and q)",
    "conditions": "p: {a: x}\nq: {b: y}\ncondition: [p, q]",
    "blocks": "sel: {'a[any]': {b: x, c|contains: y}, 'd[all]': [x, y]}\ncondition: sel",
    "blocks in blocks": "sel: {'a[any]': {'b[all]': [{c: x}, {d: y, e|neq: z}]}}\ncondition: sel",
    "odd names": "sel_a.b: {a: x}\n'sel_c d': {b: y}\nof: {c: z}\ncondition: 1 of sel_* or of",
    "keys": "sel: {'a b': 1, '1': 2, 'null': 3, '<<': 4, 'é': 5, ' ': 6, '=': 7}\ncondition: sel",
    "encoded": "sel: {a|base64offset|contains: secret, b|windash: ' -x'}\ncondition: sel",
    "placeholders": "sel: {a|expand: '%admins%', b: '%admins%'}\ncondition: sel",
}


def read_sigma(text: str) -> Rule:
    book = SIGMA.read(RuleFile("rule.yml", text.encode()), PLACEHOLDERS)
    assert book.errors == ()
    (rule,) = book.rules
    return rule


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
def test_what_sigma_says_comes_back_with_its_names(section: str) -> None:
    indented = "".join(f"    {line}\n" for line in section.splitlines())
    rule = read_sigma(TITLED.format(detection=indented))
    written = write(rule, {})
    assert written.differs == ()
    again = read_sigma(text_of(written.documents))
    assert normal(again) == normal(rule)
    assert text_of(write(again, {}).documents) == text_of(written.documents)


def normal(rule: Rule) -> Any:
    """A rule without its place, nested `and` and `or` without a name as one."""
    info = (rule.info.uid, rule.info.title, rule.info.level, rule.info.tags, rule.info.status)
    return (info, rule.logsource, rule.predicate and repr(flat(rule.predicate)), rule.window)


def flat(node: Predicate) -> Predicate:
    match node:
        case And() | Or():
            kind = type(node)
            items: list[Predicate] = []
            for item in map(flat, node.items):
                alike = isinstance(item, kind) and not item.label
                items.extend(item.items if alike else (item,))  # type: ignore[union-attr]
            return (
                items[0] if len(items) == 1 and not node.label else kind(tuple(items), node.label)
            )
        case Not():
            return Not(flat(node.item))
        case Some():
            return Some(node.field, flat(node.item), node.every)
        case _:
            return node


@pytest.mark.corpora
def test_every_public_sigma_rule_comes_back() -> None:
    if not CORPORA.is_dir():
        pytest.skip(f"{CORPORA} is not here")
    loaded = load_rules([str(CORPORA / "sigma")], builtin=False, placeholders={}, cache=None)
    rules = {rule.info.uid: rule for rule in loaded.ruleset.rules}
    for rule in rules.values():
        written = write(rule, rules)
        assert written.differs == ()
        book = SIGMA.read(RuleFile("x.yml", text_of(written.documents).encode()), {})
        again = {found.info.uid: found for found in link([book]).rules}[rule.info.uid]
        assert normal(again) == normal(rule), rule.info.path


@pytest.mark.parametrize("story", STORIES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_samples_keep_their_hits_and_misses(story: Path) -> None:
    dialect = next(d for d in DIALECTS if d.name == story.parent.name)
    (path,) = story.glob("rule.y*ml")
    book = dialect.read(RuleFile(path.name, path.read_bytes()), PLACEHOLDERS)
    # Where there is a window over it, it is the events that have hits and misses.
    rule = next(found for found in link([book]).rules if found.predicate is not None)
    rule = msgspec.structs.replace(rule, logsource=LogSource(product="test"))
    if story.name in UNSAYABLE_STORIES:
        with pytest.raises(Unsayable) as refused:
            through(rule)
        assert refused.value.reason.startswith(UNSAYABLE_STORIES[story.name])
        return
    again = through(rule)
    assert again.predicate is not None
    matches = matcher(again.predicate)
    for name, expected in (("hits", True), ("misses", False)):
        for line in (story / f"{name}.jsonl").read_text().splitlines():
            assert matches(json.loads(line)) is expected, line


# --- hostile text -----------------------------------------------------------------------------

TEXTS = st.text(
    st.sampled_from("\\*?\"'#:%&|-[]{}>!@`, \n\r\t\0\x1b\x85\u2028\u202e\ufeffäK~/aB1")
    | st.characters(codec="utf-8"),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
@example("a\\", "\\*", "%x%")
@example("---\ntitle: other\n", "!!python/object:os.system", "&a [*a, *a]")
def test_hostile_texts_are_data(one: str, two: str, title: str) -> None:
    a = field("a")
    predicate = Or(
        (
            Compare(a, Equals(one)),
            Compare(a, Equals(two, cased=True)),
            Compare(a, Like((Text(one), AnyRun(), Text(two)))),
            Compare(a, Like((AnyRun(), Text(two), AnyRun(), Any1()), cased=True)),
            Compare(field("b"), Like((Any1(), Text(one)))),
            Compare(field("b"), Regex(re.escape(one) if "\0" not in one else "x")),
            Keyword(Like((AnyRun(), Text(two + "x"), AnyRun()))),
            Keyword(Equals(one, cased=True)),
        ),
        title,
    )
    rule = rule_of(predicate, title.strip() or "x", description=two.strip(), tags=(one,))
    again = through(rule)
    assert (again.info.title, again.info.description) == (rule.info.title, rule.info.description)
    assert again.predicate is not None
    before, after = matcher(predicate), matcher(again.predicate)
    for text in (one, two, one + two, two + "x", one + "-" + two, "x" + two + "y", "-" + one):
        for document in ({"a": text}, {"b": text}, {"z": text}):
            assert before(document) is after(document), document


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_fields_of_any_name_are_read_as_they_are_or_refused(name: str) -> None:
    predicate = And((Exists(field(name)), Compare(Field(name, ((name,),)), Equals("x"))))
    try:
        again = through(rule_of(predicate))
    except Unsayable:
        assert not name or "|" in name or "." in name or "[" in name
        return
    assert again.predicate is not None
    assert matcher(again.predicate)({name: "x"})
    assert not matcher(again.predicate)({name: "y"})


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_nothing_written_hides_or_moves_on_a_terminal(text: str) -> None:
    written = write(rule_of(Compare(field("a"), Equals(text)), description=text), {})
    shown = text_of(written.documents)
    assert all(char.isprintable() or char == "\n" for char in shown)


@given(TEXTS)
def test_escaped_texts_are_that_text(text: str) -> None:
    parts = SigmaString(escaped(text) + "*").s
    assert parts == ([text] if text else []) + [SpecialChars.WILDCARD_MULTI]


# --- what Sigma cannot say ----------------------------------------------------------------------

PYTHON = PythonCall("p")
REFUSED: list[tuple[Predicate, str]] = [
    (Or(()), "it never matches"),
    (PYTHON, "it asks the Python of p"),
    (Compare(Field("x", (("a",),), (Step("lower"),)), Equals("b")), "x is computed (lower)"),
    (Compare(field("a"), Order("lt", "b")), "Sigma does not compare texts by their order"),
    (Compare(field("a"), SameAs(field("b*"))), "cannot refer to a field named 'b*'"),
    (Compare(field("a"), Equals(1.0)), "does not tell the number 1.0 from 1"),
    (Compare(field("a"), Equals(2**70 + 1)), "does not hold integers of this size"),
    (Compare(field("a|b"), Equals("x")), "Sigma has no name for the field 'a|b'"),
    (Keyword(Equals("ß")), "letters beyond ASCII"),
    (Keyword(Equals(1)), "finds numbers anywhere in an event only as parts of texts"),
    (AtLeast(6, tuple(Exists(field(n)) for n in "abcdefghijkl")), "more than 64 ways"),
    (Some(field("a"), And(())), "a list that is not empty"),
    (Some(field("a"), Keyword(Equals("x"))), "text anywhere in one element of a list"),
    (Some(Field("x", (("a",), ("b",))), Exists(field("c")), every=True), "of several lists"),
    (Some(field("a"), Not(Some(field("b"), Exists(field("c"))))), "an array block does not hold"),
]


@pytest.mark.parametrize(("predicate", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_sigma_cannot_say_is_refused(predicate: Predicate, reason: str) -> None:
    with pytest.raises(Unsayable) as refused:
        through(rule_of(predicate))
    assert reason in refused.value.reason


def test_what_is_read_otherwise_in_sigma_rules_is_not_written_so() -> None:
    """Repairs of public rules, and names that a taxonomy gives another meaning."""
    kubernetes = LogSource(product="kubernetes", service="audit")
    verb, subresource = field("verb"), field("objectRef.subresource")
    exact = And((Compare(verb, Equals("create")), Compare(subresource, Equals("exec"))))
    rule = msgspec.structs.replace(rule_of(exact), logsource=kubernetes)
    again = through(rule)
    assert again.predicate is not None
    websocket = {"verb": "get", "objectRef": {"subresource": "exec"}}
    assert not matcher(again.predicate)(websocket)
    decision = Compare(field("responseStatus.code"), Equals("ALLOW"))
    with pytest.raises(Unsayable, match="read otherwise"):
        through(msgspec.structs.replace(rule_of(decision), logsource=kubernetes))
    host_path = Compare(field("hostPath"), Equals("/"))
    with pytest.raises(Unsayable, match="no name for the field 'hostPath'"):
        through(msgspec.structs.replace(rule_of(host_path), logsource=kubernetes))


def test_switched_off_rules_are_refused() -> None:
    off = msgspec.structs.replace(rule_of(Exists(field("a"))), enabled=False)
    with pytest.raises(Unsayable, match="switched off"):
        write(off, {})


# --- windows --------------------------------------------------------------------------------------

CORRELATIONS = """title: Logins
name: logins
logsource: {product: test}
detection:
    sel: {a: login}
    condition: sel
level: low
---
title: Deletes
id: 11111111-1111-4111-8111-111111111111
name: deletes
logsource: {product: test}
detection:
    sel: {a: delete}
    condition: sel
level: low
---
title: Window
id: 22222222-2222-4222-8222-222222222222
correlation:
"""
WINDOWS = {
    "count": "type: event_count\nrules: [logins]\ngroup-by: [user, c.d]\ntimespan: 90s\n"
    "condition: {gte: 10}",
    "range": "type: event_count\nrules: [logins]\ntimespan: 2d\ncondition: {gt: 10, lte: 20}",
    "values": "type: value_count\nrules: [logins, deletes]\ntimespan: 5m\n"
    "condition: {field: a.b, gt: 2.5}\ngenerate: true",
    "percentile": "type: value_percentile\nrules: [logins]\ntimespan: 1h\n"
    "condition: {field: n, gt: 2, percentile: 95}",
    "temporal": "type: temporal\nrules: [logins, deletes]\ngroup-by: [who]\ntimespan: 1M\n"
    "aliases: {who: {logins: user, deletes: actor.name}}",
    "expression": "type: temporal\nrules: [logins, deletes]\ntimespan: 1w\n"
    "condition: not (logins or deletes) and (deletes or logins)",
    "ordered": "type: temporal_ordered\nrules: [deletes, logins]\ntimespan: 1s",
}


@pytest.mark.parametrize("section", WINDOWS.values(), ids=WINDOWS)
def test_correlations_come_back(section: str) -> None:
    text = CORRELATIONS + "".join(f"    {line}\n" for line in section.splitlines())
    book = SIGMA.read(RuleFile("x.yml", text.encode()), {})
    rules = {rule.info.uid: rule for rule in link([book]).rules}
    assert not book.errors
    window = next(rule for rule in rules.values() if rule.window)
    again = through(window, *rules.values())
    assert isinstance(window.window, Correlation)
    assert isinstance(again.window, Correlation)
    logins = next(uid for uid, rule in rules.items() if rule.name == "logins")
    # A rule without an id gets one when it is written.
    new = (
        next(uid for uid in again.window.rules if not uid.startswith("1"))
        if (logins in window.window.rules)
        else logins
    )
    encoded = msgspec.json.encode(window.window).replace(logins.encode(), new.encode())
    assert msgspec.json.encode(again.window) == encoded


ELASTALERT = """name: Window
index: cloudtrail-*
priority: 1
filter:
- term: {eventName: ConsoleLogin}
realert: {minutes: %d}
"""


def elastalert(section: str, realert: int = 0) -> tuple[Rule, dict[str, Rule]]:
    dialect = next(dialect for dialect in DIALECTS if dialect.name == "elastalert")
    book = dialect.read(RuleFile("w.yml", (ELASTALERT % realert + section).encode()), {})
    assert book.errors == ()
    rules = {rule.info.uid: rule for rule in link([book]).rules}
    return next(rule for rule in rules.values() if not rule.silent), rules


ALERTS: list[tuple[str, dict[str, Any], int]] = [
    (
        "type: frequency\nnum_events: 10\ntimeframe: {minutes: 5}\nquery_key: sourceIPAddress",
        {"type": "event_count", "group-by": ["sourceIPAddress"], "condition": {"gte": 10}},
        2,
    ),
    (
        (
            "type: cardinality\ncardinality_field: eventSource\nmax_cardinality: 3\n"
            "timeframe: {hours: 1}\naggregation: {hours: 2}"
        ),
        {"type": "value_count", "condition": {"gt": 3, "field": "eventSource"}},
        2,
    ),
]


@pytest.mark.parametrize(("section", "expected", "differences"), ALERTS, ids=("count", "values"))
def test_windows_of_elastalert_that_are_correlations(
    section: str, expected: dict[str, Any], differences: int
) -> None:
    rule, rules = elastalert(section)
    written = write(rule, rules)
    found = written.documents[-1].content["correlation"]
    assert {key: found.get(key) for key in expected} == expected
    assert len(written.differs) == differences
    held, rules = elastalert(section, realert=5)
    assert "findings of a group are not held back for 300 s after one" in write(held, rules).differs


def test_a_rule_whose_window_only_holds_back_is_a_plain_rule() -> None:
    rule, rules = elastalert("type: any", realert=5)
    (document,) = write(rule, rules).documents
    assert "detection" in document.content
    assert document.content["title"] == "Window"
    assert document.content["level"] == "high"


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (
            "type: flatline\nthreshold: 1\ntimeframe: {minutes: 5}",
            "it tells too few only after its timeframe",
        ),
        ("type: new_term\nfields: [eventName]", "new value of eventName"),
        (
            "type: cardinality\ncardinality_field: a\nmin_cardinality: 3\ntimeframe: {hours: 1}",
            "it tells too few only after its timeframe",
        ),
        (
            "type: frequency\nnum_events: 2\ntimeframe: {milliseconds: 1500}",
            "Sigma counts time in whole seconds, not 1.5 s",
        ),
        (
            "type: frequency\nnum_events: 2\ntimeframe: {hours: 1}\nquery_key: source.ip",
            "a correlation reads a field in one place, not in source.ip, sourceIPAddress",
        ),
    ],
)
def test_other_windows_are_refused(section: str, reason: str) -> None:
    rule, rules = elastalert(section)
    with pytest.raises(Unsayable) as refused:
        write(rule, rules)
    assert reason in refused.value.reason


SIGN_INS = """title: Failed
name: failed
logsource: {product: azure, service: signinlogs}
detection:
    sel: {ResultType: 50126}
    condition: sel
level: low
---
title: Sprayed
id: 44444444-4444-4444-8444-444444444444
correlation:
    type: value_count
    rules: [failed]
    group-by: [CallerIPAddress, home]
    aliases: {home: {failed: AppDisplayName}}
    timespan: 10m
    condition: {field: UserPrincipalName, gte: 5}
level: high
"""


def test_correlations_find_fields_where_their_rules_do(tmp_path: Path) -> None:
    path = tmp_path / "rule.yml"
    path.write_text(SIGN_INS)
    loaded = load_rules([str(path)], builtin=False, placeholders={}, cache=None)
    rules = {rule.info.uid: rule for rule in loaded.ruleset.rules}
    rule = rules["44444444-4444-4444-8444-444444444444"]
    assert isinstance(rule.window, Correlation)
    places = [[".".join(path) for path in field.paths] for field in rule.window.group_by]
    assert places == [["callerIpAddress", "ipAddress", "IPAddress"], ["home"]]
    assert rule.window.field is not None
    assert ("userPrincipalName",) in rule.window.field.paths
    ((_, aliased),) = rule.window.aliases[0].fields
    assert ("properties", "appDisplayName") in aliased.paths
    assert any(
        "'CallerIPAddress' is read as callerIpAddress, ipAddress" in n.text for n in rule.notes
    )
    path.write_text(text_of(write(rule, rules).documents))
    again = load_rules([str(path)], builtin=False, placeholders={}, cache=None).ruleset
    window = next(found.window for found in again.rules if found.window is not None)
    assert window.group_by == rule.window.group_by
    assert window.value_fields == rule.window.value_fields


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("xyz")), max_size=25),
    st.sampled_from(
        (
            "type: frequency\nnum_events: 3\n",
            "type: cardinality\ncardinality_field: t\nmax_cardinality: 2\n",
        )
    ),
)
def test_windows_fire_for_the_same_groups(events: list[tuple[int, str]], section: str) -> None:
    """ElastAlert's and Sigma's, where no two events are just a timeframe apart."""
    dialect = next(dialect for dialect in DIALECTS if dialect.name == "elastalert")
    text = f"name: W\nindex: x\nfilter: []\nrealert: {{minutes: 0}}\n{section}"
    text += "query_key: u\ntimeframe: {minutes: 1}\n"
    linked = link([dialect.read(RuleFile("w.yml", text.encode()), {})]).rules
    rules = [msgspec.structs.replace(rule, logsource=LogSource(product="test")) for rule in linked]
    window = next(rule for rule in rules if not rule.silent)
    written = write(window, {rule.info.uid: rule for rule in rules})
    book = SIGMA.read(RuleFile("x.yml", text_of(written.documents).encode()), {})
    # 7 s, 14 s, … are never 60 s apart.
    found = [{"t": time * 7, "u": user} for time, user in sorted(events)]
    groups = []
    for each in (rules, link([book]).rules):
        plan = make_plan(each, [SourceShape("s", (Route(LogSource("test"), "v"),))])
        told = stepped(plan, found)
        silent = {rule.info.uid for rule in each if rule.silent}
        groups.append({finding.group for finding in told if finding.rule.uid not in silent})
    assert groups[0] == groups[1]
