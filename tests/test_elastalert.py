"""ElastAlert rules: what is said of them, their query strings, and alerts over event time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.elastalert import DIALECT, lucene
from trailhound.dialects.elastalert.analysis import words_of
from trailhound.engine.matching import match_event
from trailhound.engine.plan import Plan, SourceShape, make_plan
from trailhound.engine.windows.feeding import feeds_of
from trailhound.engine.windows.running import WindowState, finish, step
from trailhound.model.events import Envelope, Event
from trailhound.model.findings import Finding
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import Origin
from trailhound.pipeline.rulebooks import load_rules
from trailhound.rules.book import RuleBook, dump_books, link, load_books

CORPUS = Path(__file__).parents[1].parent / "shared" / "corpora" / "elastalert"
SECOND = 1_000_000_000
HEAD = "name: r\nindex: app-*\nalert: debug\n"


def read(text: str, **siblings: bytes) -> RuleBook:
    return DIALECT.read(RuleFile("r.yaml", text.encode(), siblings), {})


def describe(document: Mapping[str, Any]) -> Envelope:
    return Envelope(time_ns=int(document["t"] * SECOND))


def event_of(document: Mapping[str, Any], line: int) -> Event:
    return Event("s", document, (Origin("f", line),), {"v": (document,)}, describe)


def findings(text: str, documents: list[dict[str, Any]]) -> list[Finding]:
    book = read(HEAD + text)
    assert book.errors == ()
    assert load_books(dump_books([book])) == [book]
    rules = link([book]).rules
    plan = make_plan(rules, [SourceShape("s", (Route(LogSource("test"), "v"),))])
    found = list(stepped(plan, documents))
    silent = {rule.info.uid for rule in rules if rule.silent}
    return [finding for finding in found if finding.rule.uid not in silent]


def stepped(plan: Plan, documents: list[dict[str, Any]]) -> list[Finding]:
    events = [event_of(document, number + 1) for number, document in enumerate(documents)]
    feeds = [
        feed._replace(at=number)
        for number, event in enumerate(events)
        for hit in match_event(plan, event)
        for feed in feeds_of(plan, hit.rule, hit.event, hit.document)  # type: ignore[union-attr]
    ]
    state = WindowState()
    found = list(step(plan, state, sorted(feeds), events.__getitem__))
    return [*found, *finish(plan, state, events.__getitem__)]


def at(*times: float, **fields: Any) -> list[dict[str, Any]]:
    return [{"t": time, **fields} for time in times]


# --- alerts ----------------------------------------------------------------------------------


def test_a_minute_is_held_back_unless_the_rule_says_otherwise() -> None:
    first, second = findings("type: any\n", at(0, 10, 59, 60))
    assert (first.event_count, second.event_count) == (3, 1)
    assert first.reason == "the event matches; 2 more matches held back (realert)"


def test_alerts_are_held_back_by_query_key() -> None:
    text = "type: any\nquery_key: u\nrealert: {hours: 1}\n"
    found = findings(text, [*at(0, 5, u="x"), *at(1, u="y")])
    assert sorted((f.group, f.event_count) for f in found) == [
        ((("u", "x"),), 2),
        ((("u", "y"),), 1),
    ]


def test_exponential_realert_doubles() -> None:
    text = "type: any\nrealert: {minutes: 1}\nexponential_realert: {minutes: 4}\n"
    found = findings(text, at(*range(0, 900, 10)))
    assert [f.start_ns // SECOND for f in found] == [0, 60, 180, 420, 660]


def test_frequency_counts_anew_after_an_alert() -> None:
    text = "type: frequency\nnum_events: 3\ntimeframe: {minutes: 1}\nrealert: {minutes: 0}\n"
    found = findings(text, at(0, 1, 2, 3, 4, 5, 100))
    assert [f.event_count for f in found] == [3, 3]
    assert len({f.uid for f in found}) == 2


def test_a_silence_is_one_finding() -> None:
    text = "type: flatline\nthreshold: 1\ntimeframe: {minutes: 5}\n"
    (found,) = findings(text, [*at(0, 60, 120), *at(7200)])
    assert found.time_ns == 420 * SECOND
    assert "0 events in 5 min" in found.reason


def test_gathered_alerts_are_one_finding() -> None:
    text = "type: any\naggregation: {minutes: 10}\n"
    first, second = findings(text, at(0, 60, 600, 601))
    assert (first.event_count, second.event_count) == (3, 1)


@pytest.mark.parametrize(
    "text",
    [
        "type: flatline\nthreshold: 1\ntimeframe: {minutes: 5}\n",
        "type: metric_aggregation\nmetric_agg_key: t\nmetric_agg_type: max\nmax_threshold: 1\n",
        "type: cardinality\ncardinality_field: u\nmin_cardinality: 9\ntimeframe: {minutes: 5}\n",
        "type: spike\nspike_height: 2\nspike_type: down\ntimeframe: {minutes: 5}\n",
    ],
    ids=("flatline", "metric", "cardinality", "spike"),
)
def test_alerts_at_the_end_of_a_run_are_not_lost_where_they_should_be_gathered(text: str) -> None:
    text += "aggregation: {hours: 9}\n"
    found = findings(text, [*at(*range(0, 600, 60), u="x"), *at(1300, 9000, u="x")])
    assert found
    (note,) = (note for note in read(HEAD + text).rules[-1].notes if note.ignored)
    assert "each is a finding" in note.text


def test_new_term_learns_first() -> None:
    text = "type: new_term\nfields: [u]\nterms_window_size: {hours: 1}\n"
    (found,) = findings(text, [*at(0, 3600, u="x"), *at(4000, 5000, u="y")])
    assert "u 'y' is new" in found.reason


# --- what is said ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("type: nothing\n", (4, 1), "type must be one of"),
        ("type: my.module.Rule\n", (4, 1), "modules of Python are not run"),
        ("type: frequency\n", (4, 1), "needs num_events, timeframe"),
        ("type: any\nfilter:\n- query_string:\n    query: 'a: (b'\n", (7, 16), "not closed"),
        ("type: any\nfilter:\n- query_string:\n    query: a:b~2\n", (7, 15), "fuzziness"),
        ("type: any\nfilter:\n- script: {source: x}\n", (6, 3), "'script' has no meaning"),
        ("type: any\nfilter:\n- eql: any where true\n", (6, 3), "'eql' has no meaning"),
        ("type: any\nrealert: {fortnights: 1}\n", (5, 11), "no unit of time"),
        ("type: any\nimport: base.yaml\n", (5, 1), "'base.yaml' cannot be read"),
    ],
)
def test_errors_have_their_place(text: str, place: tuple[int, int], reason: str) -> None:
    book = read(HEAD + text)
    (error,) = book.errors
    assert not book.rules
    assert reason in error.reason
    assert (error.line, error.column) == place


def test_every_key_is_accounted_for() -> None:
    text = "type: any\nslack_webhook_url: x\nes_host: y\nnum_events: 2\nz: 1\n"
    notes = " | ".join(note.text for note in read(HEAD + text).rules[-1].notes)
    for key in ("alert (debug)", "slack_webhook_url", "es_host", "num_events", "z: is no key"):
        assert key in notes


def test_imports_and_lists_are_read_beside_the_rule(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("type: blacklist\ncompare_key: u\nalert: debug\n")
    (tmp_path / "users.txt").write_text("eve\nmallory\n")
    rule = "name: r\nindex: x\nimport: base.txt\nblacklist: ['!file users.txt', bob]\n"
    (tmp_path / "r.yaml").write_text(rule)
    loaded = load_rules([str(tmp_path)], builtin=False, placeholders={}, cache=None)
    assert loaded.ruleset.errors == ()
    assert "mallory" in str(loaded.ruleset.rules[0].predicate)


@pytest.mark.corpora
@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpora is not here")
def test_examples_of_elastalert_load() -> None:
    files = [RuleFile(path.name, path.read_bytes()) for path in sorted(CORPUS.glob("*.yaml"))]
    assert all(map(DIALECT.recognises, files))
    errors = [str(e) for e in link(DIALECT.read(file, {}) for file in files).errors]
    # ElastAlert refuses this one as well: its type needs a timeframe.
    assert errors == ["example_thehive_frequency.yaml:7:1: type frequency needs timeframe"]


# --- query strings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "occurs"),
    [
        ("a b", ["should", "should"]),
        ("a AND b OR c", ["must", "must", "should"]),
        ("a OR b AND c", ["should", "must", "must"]),
        ("a AND NOT b", ["must", "must_not"]),
        ("+a -b c", ["must", "must_not", "should"]),
        ("NOT a OR b", ["must_not", "should"]),
        ("a && !b || c", ["must", "must_not", "should"]),
    ],
)
def test_operators_say_what_must_match(text: str, occurs: list[str]) -> None:
    parsed = lucene.parse(text)
    assert isinstance(parsed, lucene.Clauses)
    assert [occur for occur, _ in parsed.items] == occurs


def test_words_are_those_of_the_standard_analyzer() -> None:
    text = "O'Neil's /var/log/auth.log 10.0.0.1 a_b kube-system v1.2, me@example.com"
    assert words_of(text) == [
        *("o'neil's", "var", "log", "auth.log", "10.0.0.1", "a_b", "kube", "system", "v1.2"),
        *("me", "example.com"),
    ]


PIECES = st.sampled_from(
    [*'abc:()[]{}"/\\*?~^+-!<>= 1', "AND ", "OR ", "NOT ", " TO ", "field:", "\n", "é", "\u3000"]
)


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_a_query_or_said_to_be_none(text: str) -> None:
    place = 0
    try:
        lucene.parse(text)
    except lucene.QueryError as error:
        place = error.at
    assert 0 <= place <= len(text)
    book = read(HEAD + "type: any\nfilter:\n- query_string: {query: " + repr_yaml(text) + "}\n")
    assert len(book.errors) + bool(book.rules) == 1
    for rule in book.rules:
        if rule.predicate is not None:
            errors = make_plan([rule], []).errors
            assert not errors or "regular expression" in str(errors[0])


def repr_yaml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text if not 0xD800 <= ord(c) < 0xE000) + '"'
