"""Windows over event time: each kind, chains, aliases, and laws."""

import itertools
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailhound.dialects import sigma
from trailhound.dialects.contract import RuleFile
from trailhound.engine.matching import match_event
from trailhound.engine.plan import Plan, SourceShape, make_plan
from trailhound.engine.windows import paged
from trailhound.engine.windows.chances import chances_in
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.feeding import feeds_of
from trailhound.engine.windows.paged import HeldPages, Shelf
from trailhound.engine.windows.running import WindowState, finish, step
from trailhound.model.events import Envelope, Event
from trailhound.model.findings import EVENTS_KEPT, Finding
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import Origin
from trailhound.rules.book import link

SECOND = 1_000_000_000
BASES = """
title: fails
id: 00000000-0000-4000-8000-000000000001
name: fails
logsource: {product: test}
detection: {s: {e: fail}, condition: s}
---
title: works
id: 00000000-0000-4000-8000-000000000002
name: works
logsource: {product: test}
detection: {s: {e: ok}, condition: s}
---
title: other
id: 00000000-0000-4000-8000-000000000003
name: other
logsource: {product: test}
detection: {s: {e: other}, condition: s}
"""


def describe(document: Mapping[str, Any]) -> Envelope:
    return Envelope(time_ns=document["t"] * SECOND)


def plan_of(*windows: str, bases: str = BASES) -> Plan:
    text = bases + "".join(
        f"---\ntitle: window {n}\nid: 00000000-0000-4000-9000-00000000000{n}\nname: w{n}\n"
        f"level: high\ncorrelation: {window}\n"
        for n, window in enumerate(windows)
    )
    rules = link([sigma.DIALECT.read(RuleFile("w.yml", text.encode()), {})])
    assert rules.errors == ()
    return make_plan(rules.rules, [SourceShape("s", (Route(LogSource("test"), "v"),))])


def event_of(document: Mapping[str, Any], line: int = 1) -> Event:
    return Event("s", document, (Origin("f", line),), {"v": (document,)}, describe)


def feeds(plan: Plan, documents: list[dict[str, Any]]) -> list[Feed]:
    found: list[Feed] = []
    for number, document in enumerate(documents):
        event = event_of(document, number + 1)
        for hit in match_event(plan, event):
            fed = feeds_of(plan, hit.rule, hit.event, hit.document)  # type: ignore[union-attr]
            found.extend(feed._replace(at=number) for feed in fed)
    return sorted(found, key=lambda feed: feed[:2])


def findings(plan: Plan, documents: list[dict[str, Any]]) -> list[Finding]:
    def kept(at: int) -> Event:
        return event_of(documents[at], at + 1)

    state = WindowState()
    found = list(step(plan, state, feeds(plan, documents), kept))
    return [*found, *finish(plan, state, kept)]


def brief(found: list[Finding]) -> list[tuple[Any, ...]]:
    return [
        (f.rule.title, f.start_ns // SECOND, f.time_ns // SECOND, f.event_count, dict(f.group))
        for f in found
    ]


def event(t: int, e: str, **more: Any) -> dict[str, Any]:
    return {"t": t, "e": e, **more}


COUNT = "{type: event_count, rules: [fails], group-by: [u], timespan: 10s, condition: {gte: 3}}"


def test_a_burst_is_one_finding_and_two_bursts_are_two() -> None:
    burst = [event(t, "fail", u="a") for t in (0, 1, 2, 3, 4, 60, 61, 62, 200)]
    assert brief(findings(plan_of(COUNT), burst)) == [
        ("window 0", 0, 4, 5, {"u": "a"}),
        ("window 0", 60, 62, 3, {"u": "a"}),
    ]


def test_long_values_are_told_apart_and_not_kept_whole() -> None:
    long = "x" * 100_000
    documents = [event(t, "fail", u=long + "ab"[t % 2]) for t in range(6)]
    found = findings(plan_of(COUNT), documents)
    names = [dict(f.group)["u"] for f in found]
    assert [f.event_count for f in found] == [3, 3]
    assert len(set(names)) == 2
    assert {len(name) for name in names} == {1024 + 33}
    assert all(name.startswith("xxxx") for name in names)
    # Who writes what such a value is shown as is somebody else.
    documents += [event(t, "fail", u=names[0]) for t in range(3)]
    assert [f.event_count for f in findings(plan_of(COUNT), documents)] == [3, 3, 3]


def test_long_values_are_the_same_to_inner_and_outer_windows() -> None:
    inner = COUNT.replace("group-by: [u]", "group-by: [ip], aliases: {ip: {fails: src}}")
    outer = (
        "{type: temporal_ordered, rules: [w0, works], group-by: [ip], timespan: 1m, "
        "aliases: {ip: {w0: ip, works: dst}}}"
    )
    long = "x" * 5000
    documents = [event(t, "fail", src=long) for t in range(3)] + [event(9, "ok", dst=long)]
    found = [f for f in findings(plan_of(inner, outer), documents) if f.rule.title == "window 1"]
    assert [(f.event_count, len(dict(f.group)["ip"])) for f in found] == [(2, 1024 + 33)]


def test_the_timespan_includes_both_ends() -> None:
    assert len(findings(plan_of(COUNT), [event(t, "fail", u="a") for t in (0, 5, 10)])) == 1
    assert findings(plan_of(COUNT), [event(t, "fail", u="a") for t in (0, 5, 11)]) == []


def test_groups_are_apart_and_an_absent_field_is_a_group() -> None:
    documents = [event(t, "fail", u="ab"[t % 2]) for t in range(4)]
    assert findings(plan_of(COUNT), documents) == []
    absent = [event(t, "fail") for t in range(3)]
    assert brief(findings(plan_of(COUNT), absent)) == [("window 0", 0, 2, 3, {"u": ""})]


def test_a_long_episode_keeps_its_first_and_last_events() -> None:
    (found,) = findings(plan_of(COUNT), [event(t, "fail", u="a") for t in range(500)])
    assert found.event_count == 500
    assert len(found.events) == EVENTS_KEPT
    assert found.events[0].document["t"] == 0
    assert found.events[-1].document["t"] == 499
    assert "500 events" in found.reason


@pytest.mark.parametrize(
    ("condition", "count", "fires"),
    [("{gt: 2, lte: 4}", 2, 0), ("{gt: 2, lte: 4}", 3, 1), ("{eq: 2}", 2, 1), ("{lt: 2}", 1, 1)],
)
def test_ranges_and_equality(condition: str, count: int, fires: int) -> None:
    window = f"{{type: event_count, rules: [fails], timespan: 10s, condition: {condition}}}"
    documents = [event(t, "fail") for t in range(count)]
    assert len(findings(plan_of(window), documents)) == fires


@pytest.mark.parametrize(
    ("kind", "condition", "values", "fires"),
    [
        ("value_count", "{field: v, gte: 3}", ["a", "a", "b", "c"], True),
        ("value_count", "{field: v, gte: 3}", ["a", "a", "b", "b"], False),
        ("value_sum", "{field: v, gt: 100}", [50, "40", 11], True),
        ("value_sum", "{field: v, gt: 100}", [50, "x", 50], False),
        ("value_avg", "{field: v, gte: 10}", [1, 1, 28], True),
        ("value_avg", "{field: v, gte: 10}", [1, 1, 27], False),
        ("value_median", "{field: v, gt: 5}", [9, 1, 6, 7], True),
        ("value_percentile", "{field: v, gte: 9, percentile: 75}", [1, 2, 8, 12], True),
        ("value_percentile", "{field: v, gt: 9, percentile: 75}", [1, 2, 8, 12], False),
    ],
)
def test_value_windows(kind: str, condition: str, values: list[Any], fires: bool) -> None:
    window = f"{{type: {kind}, rules: [fails], timespan: 1m, condition: {condition}}}"
    documents = [event(t, "fail", v=value) for t, value in enumerate(values)]
    # The condition may hold on the way; what counts here is the window at the last event.
    found = [
        f for f in findings(plan_of(window), documents) if f.time_ns // SECOND == len(values) - 1
    ]
    assert bool(found) is fires


TEMPORAL = "{{type: {kind}, rules: [fails, works], group-by: [u], timespan: 10s}}"


@pytest.mark.parametrize(
    ("kind", "order", "fires"),
    [
        ("temporal", ("fail", "ok"), 1),
        ("temporal", ("ok", "fail"), 1),
        ("temporal", ("ok", "ok"), 0),
        ("temporal_ordered", ("fail", "ok"), 1),
        ("temporal_ordered", ("ok", "fail"), 0),
        ("temporal_ordered", ("ok", "fail", "ok"), 1),
    ],
)
def test_temporal(kind: str, order: tuple[str, ...], fires: int) -> None:
    documents = [event(t, e, u="a") for t, e in enumerate(order)]
    assert len(findings(plan_of(TEMPORAL.format(kind=kind)), documents)) == fires
    late = [event(t * 11, e, u="a") for t, e in enumerate(order)]
    assert findings(plan_of(TEMPORAL.format(kind=kind)), late) == []
    apart = [event(t, e, u=str(t)) for t, e in enumerate(order)]
    assert findings(plan_of(TEMPORAL.format(kind=kind)), apart) == []


def test_an_extended_condition_can_ask_for_absence() -> None:
    window = "{type: temporal, timespan: 10s, condition: 'fails and not works'}"
    plan = plan_of(window)
    assert len(findings(plan, [event(0, "fail"), event(1, "other")])) == 1
    assert len(findings(plan, [event(0, "ok"), event(1, "fail")])) == 0


def test_a_heartbeat_that_stops_is_a_finding_when_it_is_missed() -> None:
    window = "{type: event_count, rules: [works], group-by: [u], timespan: 10s, condition: {eq: 0}}"
    chain = "{type: temporal_ordered, rules: [w0, fails], timespan: 5s}"
    plan = plan_of(window, chain)
    beats = [event(t, "ok", u="a") for t in (0, 8, 16, 40, 48)]
    found = findings(plan, [*beats, event(28, "fail"), event(48, "fail")])
    assert brief(found) == [
        ("window 0", 16, 26, 0, {"u": "a"}),
        ("window 1", 26, 28, 2, {}),
    ]
    assert found[0].reason == (
        "only 0 events within 10 s, the last one at 1970-01-01 00:00:16 UTC (rule: = 0 within 10 s)"
    )
    assert [e.document["t"] for e in found[0].events] == [16]


def test_a_group_of_more_than_memory_has_room_for_says_so_and_is_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paged, "HELD_ENTRIES", 5)
    monkeypatch.setattr(paged, "PAGE_ENTRIES", 3)
    pages = HeldPages()
    plan, state = plan_of(COUNT), WindowState(shelf=Shelf(pages))
    documents = [event(100 + n // 50, "fail", u="a", n=n) for n in range(1000)]
    list(step(plan, state, feeds(plan, documents), lambda at: event_of(documents[at])))
    assert state.spilled[3] > 100
    (found,) = finish(plan, state, lambda at: event_of(documents[at]))
    assert found.event_count == 1000
    assert len(pages) == 0


def test_aliases_join_different_fields() -> None:
    window = (
        "{type: temporal, rules: [fails, works], group-by: [ip], timespan: 10s,"
        " aliases: {ip: {fails: src, works: dst}}}"
    )
    plan = plan_of(window)
    documents = [event(0, "fail", src="1"), event(1, "ok", dst="1"), event(2, "ok", dst="2")]
    assert brief(findings(plan, documents)) == [("window 0", 0, 1, 2, {"ip": "1"})]


def test_a_window_over_a_window() -> None:
    chain = "{type: temporal_ordered, rules: [w0, works], group-by: [u], timespan: 1m}"
    plan = plan_of(COUNT, chain)
    documents = [event(t, "fail", u="a") for t in range(4)] + [event(30, "ok", u="a")]
    found = findings(plan, documents)
    assert ("window 1", 2, 30) in [(t, start, end) for t, start, end, *_ in brief(found)]
    assert findings(plan, [event(0, "ok", u="a"), *documents[:3]])[0].rule.title == "window 0"


def test_rules_that_feed_windows_are_silent_unless_generate() -> None:
    plan = plan_of(COUNT)
    silent = {rule.name: rule.silent for rule in plan.rules}
    assert silent == {"fails": True, "works": False, "other": False, "w0": False}
    generate = COUNT.replace("type:", "generate: true, type:")
    assert {rule.name: rule.silent for rule in plan_of(generate).rules}["fails"] is False


stream = st.lists(
    st.builds(
        event,
        st.integers(0, 40),
        st.sampled_from(("fail", "ok", "other")),
        u=st.sampled_from("ab"),
        v=st.integers(0, 3),
    ),
    max_size=25,
).map(
    lambda documents: [d | {"n": n} for n, d in enumerate(sorted(documents, key=lambda d: d["t"]))]
)


@given(stream)
def test_counts_agree_with_counting_by_hand(documents: list[dict[str, Any]]) -> None:
    fails = [d for d in documents if d["e"] == "fail"]
    covered = {}
    for user in "ab":
        times = [d["t"] for d in fails if d["u"] == user]
        # At each event, so many of its group lie in the ten seconds up to it.
        held = [i for i, t in enumerate(times) if sum(t - 10 <= o for o in times[: i + 1]) >= 3]
        covered[user] = [times[i] for i in held]
    found = findings(plan_of(COUNT), documents)
    for user in "ab":
        spans = [
            (f.start_ns // SECOND, f.time_ns // SECOND) for f in found if f.group[0][1] == user
        ]
        assert {t for t in covered[user] if not any(a <= t <= b for a, b in spans)} == set()
        assert all(end in covered[user] for _, end in spans)
        assert spans == sorted(spans)


@given(stream, st.sampled_from(("u", "v", "u, v")), st.sampled_from(("w0", "w0, works")))
def test_groups_without_a_chance_change_nothing_where_outer_windows_group_by_something_else(
    documents: list[dict[str, Any]], outer_by: str, rules: str
) -> None:
    inner = COUNT.replace("gte: 3", "gte: 2")
    kind = "temporal, " if "," in rules else "event_count, condition: {gte: 2}, "
    outer = f"{{type: {kind}rules: [{rules}], group-by: [{outer_by}], timespan: 20s}}"
    plan = plan_of(inner, outer)
    documents = [d | {"u": ["a", "b"]} if d["v"] == 0 else d for d in documents]

    def kept(at: int) -> Event:
        return event_of(documents[at], at + 1)

    def told(possible: Callable[[Feed], bool]) -> list[tuple[Any, ...]]:
        state = WindowState()
        found = list(step(plan, state, filter(possible, fed), kept))
        found += finish(plan, state, kept, now_ns=40 * SECOND)
        return sorted(brief([f for f in found if f.rule.title == "window 1"]), key=str)

    fed = feeds(plan, documents)
    chances = chances_in(plan)
    chances.add(fed)
    assert told(chances.possible) == told(lambda _: True)


@given(stream, st.lists(st.integers(0, 25), max_size=4))
def test_batches_and_saved_state_do_not_matter(
    documents: list[dict[str, Any]], cuts: list[int]
) -> None:
    def kept(at: int) -> Event:
        return event_of(documents[at], at + 1)

    plan = plan_of(COUNT, TEMPORAL.format(kind="temporal_ordered"))
    whole = brief(findings(plan, documents))
    state, found, fed = WindowState(), [], feeds(plan, documents)
    edges = sorted({0, *cuts, len(fed)})
    for start, end in itertools.pairwise(edges):
        found.extend(step(plan, state, fed[start:end], kept))
        state = pickle.loads(pickle.dumps(state))
    found.extend(finish(plan, state, kept))
    assert brief(found) == whole


def test_a_reference_means_the_rule_of_its_own_file_first() -> None:
    window = (
        BASES + f"---\ntitle: w\nid: 00000000-0000-4000-9000-000000000009\ncorrelation: {COUNT}\n"
    )
    thief = BASES.replace("-4000-8000-", "-4000-a000-").replace("{e: fail}", "{e: stolen}")
    files = [RuleFile("thief.yml", thief.encode()), RuleFile("own.yml", window.encode())]
    ruleset = link(sigma.DIALECT.read(file, {}) for file in files)
    assert [e.reason for e in ruleset.errors] == [
        f"same name {name!r} as thief.yml:{line}, which other files mean"
        for name, line in (("fails", 2), ("works", 8), ("other", 14))
    ]
    plan = make_plan(ruleset.rules, [SourceShape("s", (Route(LogSource("test"), "v"),))])
    assert len(findings(plan, [event(t, "fail", u="a") for t in range(3)])) == 1
    assert findings(plan, [event(t, "stolen", u="a") for t in range(3)]) == []
