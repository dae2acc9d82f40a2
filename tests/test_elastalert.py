"""ElastAlert rules: what is said of them, their query strings, and alerts over event time."""

from collections.abc import Mapping
from datetime import UTC, datetime
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
from trailhound.engine.windows.clock import Lateness
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.feeding import feeds_of
from trailhound.engine.windows.running import WindowState, finish, step
from trailhound.engine.windows.streaming import Batch
from trailhound.engine.windows.streaming import step as streaming_step
from trailhound.model.events import Envelope, Event
from trailhound.model.findings import Finding, Status
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import Origin
from trailhound.pipeline.rulebooks import load_rules
from trailhound.rules.book import RuleBook, dump_books, link, load_books
from trailhound.rules.schedule import BadSchedule, schedule_of

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


def fed_by(plan: Plan, documents: list[dict[str, Any]]) -> tuple[list[Event], list[Feed]]:
    """The events of documents, and what they feed."""
    events = [event_of(document, number + 1) for number, document in enumerate(documents)]
    feeds = [
        feed._replace(at=number)
        for number, event in enumerate(events)
        for hit in match_event(plan, event)
        for feed in feeds_of(plan, hit.rule, hit.event, hit.document)  # type: ignore[union-attr]
    ]
    return events, feeds


def stepped(plan: Plan, documents: list[dict[str, Any]]) -> list[Finding]:
    events, feeds = fed_by(plan, documents)
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
def test_alerts_at_the_end_of_a_run_are_gathered(text: str) -> None:
    documents = [*at(*range(0, 600, 60), u="x"), *at(1300, 9000, u="x"), *at(20000, u="x")]
    single = findings(text + "realert: {minutes: 0}\n", documents)
    assert len(single) > 1
    gathered = findings(text + "aggregation: {hours: 9}\n", documents)
    assert [f.event_count for f in gathered] == [len(single)]
    assert gathered[0].reason == f"{len(single):,} alerts within 9 h"


def test_alerts_are_gathered_until_the_next_time_of_a_schedule() -> None:
    text = "type: any\naggregation: {schedule: '*/10 * * * *'}\n"
    found = findings(text, at(5, 599, 600, 601, 1200.5, 5000))
    assert [f.event_count for f in found] == [3, 1, 1, 1]
    assert found[0].reason == "3 alerts until 1970-01-01 00:10:00 UTC (aggregation)"
    (error,) = read(HEAD + "type: any\naggregation: {schedule: '0 0 31 2 *'}\n").errors
    assert (error.line, error.reason) == (5, "aggregation at '0 0 31 2 *': it never comes")


@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        ("0 9 * * mon-fri", "2026-05-04 09:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("30 4 3,15 * 2", "2026-05-03 04:30"),
        ("0 1 */9 * 7", "2026-05-03 01:00"),
        ("0 0 ? jan,dec 7", "2026-12-06 00:00"),
        ("50-59/3,7 13 * * *", "2026-05-01 13:50"),
        ("40/10 * * * *", "2026-05-01 13:50"),
        ("@Hourly", "2026-05-01 14:00"),
    ],
)
def test_schedules(schedule: str, after: str) -> None:
    now = datetime(2026, 5, 1, 13, 40, 59, tzinfo=UTC)  # a Friday
    found_ns = schedule_of(schedule).after(int(now.timestamp()) * SECOND)
    assert f"{datetime.fromtimestamp(found_ns / SECOND, UTC):%Y-%m-%d %H:%M}" == after


@pytest.mark.parametrize(
    "text", ["", "* * * *", "* * * * * *", "60 * * * *", "*/0 * * * *", "0 0 L * *", "0 5-2 * * *"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(BadSchedule):
        schedule_of(text)


def test_alerts_of_numbers_are_gathered_by_query_key_alone() -> None:
    text = "type: metric_aggregation\nmetric_agg_key: n\nmetric_agg_type: max\nmax_threshold: 1\n"
    text += "query_key: u\naggregation: {hours: 9}\naggregation_key: [u, w]\n"
    documents = [{"t": t, "u": "xy"[t % 2], "w": str(t), "n": 5} for t in (*range(6), 120)]
    found = findings(text, documents)
    assert [f.group for f in found] == [(("u", "x"),), (("u", "y"),)]
    (note,) = (n for n in read(HEAD + text).rules[-1].notes if "aggregation_key" in n.text)
    assert (note.line, note.ignored) == (10, False)


def told_of(text: str, documents: list[dict[str, Any]]) -> list[tuple[float, Finding]]:
    """What a stream tells, and at which document."""
    book = read(HEAD + text)
    plan = make_plan(link([book]).rules, [SourceShape("s", (Route(LogSource("test"), "v"),))])
    events = [event_of(document, number + 1) for number, document in enumerate(documents)]
    state = WindowState(lateness=Lateness())
    told: list[tuple[float, Finding]] = []
    for number, event in enumerate(events):
        fed = [
            feed._replace(at=number)
            for hit in match_event(plan, event)
            for feed in feeds_of(plan, hit.rule, hit.event, hit.document)  # type: ignore[union-attr]
        ]
        batch = Batch(fed, {"s": [event.envelope.time_ns]})
        for item in streaming_step(plan, state, batch, events.__getitem__):
            assert isinstance(item, Finding)
            told.append((documents[number]["t"], item))
    return told


@pytest.mark.parametrize(
    "text",
    [
        "type: flatline\nthreshold: 1\ntimeframe: {minutes: 5}\n",
        "type: metric_aggregation\nmetric_agg_key: n\nmetric_agg_type: max\nmax_threshold: 1\n",
        "type: cardinality\ncardinality_field: u\nmin_cardinality: 2\ntimeframe: {minutes: 5}\n",
        "type: spike\nspike_height: 2\nspike_type: down\ntimeframe: {minutes: 3}\n",
        "type: percentage_match\nmatch_bucket_filter: [{term: {u: x}}]\nmax_percentage: 1\n",
    ],
    ids=("flatline", "metric", "cardinality", "spike", "percentage"),
)
def test_a_stream_tells_what_is_missing_while_it_is(text: str) -> None:
    text += "filter: [{term: {u: x}}]\nrealert: {hours: 9}\n"
    documents = [*at(*range(0, 400, 20), u="x", n=5), *at(*range(400, 1200, 60), u="z")]
    told = told_of(text, documents)
    assert told, "nothing was told before the stream went on"
    time, first = told[0]
    assert (first.status, time - first.time_ns / SECOND < 61) == (Status.NEW, True)


@pytest.mark.parametrize(
    "text",
    [
        "type: any\n",
        "type: frequency\nnum_events: 5\ntimeframe: {minutes: 1}\n",
        "type: change\ncompare_key: w\nignore_null: true\ntimeframe: {minutes: 1}\n",
        "type: cardinality\ncardinality_field: w\nmax_cardinality: 5\ntimeframe: {minutes: 1}\n",
        "type: spike\nspike_height: 2\nspike_type: up\ntimeframe: {minutes: 1}\n",
        "type: metric_aggregation\nmetric_agg_key: n\nmetric_agg_type: max\nmax_threshold: 9\n",
    ],
    ids=lambda text: text.partition("\n")[0],
)
def test_groups_whose_alerts_are_gathered_are_forgotten(text: str) -> None:
    book = read(HEAD + text + "query_key: u\naggregation: {minutes: 5}\naggregation_key: u\n")
    plan = make_plan(link([book]).rules, [SourceShape("s", (Route(LogSource("test"), "v"),))])
    documents = [{"t": t, "u": str(t), "w": "1", "n": 1} for t in (*range(50), 9000)]
    events, feeds = fed_by(plan, documents)
    state = WindowState()
    list(step(plan, state, sorted(feeds), events.__getitem__))
    assert {key for _, key in state.groups.names()} == {("9000",)}


def test_new_term_learns_first() -> None:
    text = "type: new_term\nfields: [u]\nterms_window_size: {hours: 1}\n"
    (found,) = findings(text, [*at(0, 3600, u="x"), *at(4000, 5000, u="y")])
    assert "u 'y' is new" in found.reason


def test_new_terms_are_held_back_by_query_key_and_say_what_is_new() -> None:
    text = "type: new_term\nfields: [u, w]\nquery_key: k\nrealert: {hours: 1}\n"
    text += "terms_window_size: {seconds: 1}\n"
    documents = [
        *at(0, u="x", w="1", k="a"),
        *at(10, u="y", w="2", k="a"),
        *at(20, u="z", w="2", k="a"),
        *at(30, u="v", w="2", k="b"),
        *at(40, u="v", w="2", k="c"),
    ]
    found = findings(text, documents)
    assert [(f.group, f.event_count) for f in found] == [((("k", "a"),), 2), ((("k", "b"),), 1)]
    assert found[0].reason == (
        "u 'y' is new in 10 s of the log; w '2' is new in 10 s of the log; "
        "1 more match held back (realert)"
    )
    windows = [rule for rule in read(HEAD + text).rules if rule.window is not None]
    assert [rule.silent for rule in windows] == [True, False]


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
