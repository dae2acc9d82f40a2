"""Rules over a stream, kept in a file: the pipeline's side of the laws of `test_stream_laws.py`."""

import gzip
import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from test_stream_laws import CHAIN, OVER_FEW, SILENCE, VALUES, brief
from test_windows import BASES, COUNT, SECOND, event, event_of, findings, plan_of
from trailhound.engine.plan import Plan
from trailhound.engine.windows import paged, timeline
from trailhound.engine.windows.clock import Lateness
from trailhound.intake.files import find_inputs
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.findings import Finding, Status
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline import window_store
from trailhound.pipeline.kept_events import dump_event, load_event
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import Scan, plan_for, run_scan
from trailhound.pipeline.stream import Stream
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

LATE = Lateness(default_ns=3600 * SECOND)


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_store.StoredGroups.__init__, "__defaults__", (3,))
    monkeypatch.setattr(window_store.WindowStore.__init__, "__defaults__", (3,))
    for name, number in (("HELD_ENTRIES", 4), ("PAGE_ENTRIES", 3), ("PAGES_HELD", 2)):
        monkeypatch.setattr(paged, name, number)
    monkeypatch.setattr(paged, "PAGES_CACHED", 3)
    monkeypatch.setattr(window_store, "GROUPS_BYTES", 5000)
    monkeypatch.setattr(timeline, "_INLINE_BYTES", 300)
    monkeypatch.setattr(timeline, "_MARK_EVERY", 3)


def story(seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        event(
            draw.randint(100, 400),
            draw.choice(("fail", "fail", "ok", "other")),
            u=draw.choice("abcdefgh"),
            v=draw.randint(0, 5),
            n=n,
        )
        for n in range(300)
    ]


def visible(plan: Plan, found: Iterable[Finding]) -> set[Any]:
    silent = {rule.info.uid for rule in plan.rules if rule.silent}
    last: dict[str, Finding] = {}
    for finding in found:
        if finding.rule.uid not in silent and finding.reason:
            before = last.get(finding.uid)
            assert finding.revision == (0 if before is None else before.revision + 1)
            last[finding.uid] = finding
    return {brief(f) for f in last.values() if f.status is not Status.WITHDRAWN}


@pytest.mark.parametrize("seed", range(3))
def test_restarts_crashes_and_groups_on_disk_change_nothing(tmp_path: Path, seed: int) -> None:
    plan = plan_of(COUNT, CHAIN, VALUES, SILENCE, OVER_FEW)
    documents = story(seed)
    arrival = [event_of(document, n + 1) for n, document in enumerate(documents)]
    random.Random(seed).shuffle(arrival)
    path = tmp_path / "windows.db"
    told: list[Finding] = []
    for start in range(0, 300, 30):
        batch = arrival[start : start + 30]
        crashed = Stream(plan, path, LATE)
        list(crashed.take(batch, 1000 * SECOND))
        crashed.close()
        stream = Stream(plan, path, LATE)
        told += stream.take([*batch, *batch[:5]], 1000 * SECOND)
        stream.store.note("read", b"%d" % start)
        stream.save()
        stream.close()
    stream = Stream(plan, path, LATE)
    assert stream.store.noted("read") == b"270"
    told += stream.end()
    assert visible(plan, told) == visible(plan, findings(plan, documents))
    assert stream.store.take_late() == []
    assert sum(stream.store.state.spilled.values()) > 1000
    stream.save()
    stream.close()
    with closing(sqlite3.connect(path)) as file, file:
        assert file.execute("SELECT count(*) FROM pages").fetchone() == (0,)
    file.close()


def test_rules_may_come_and_go_between(tmp_path: Path) -> None:
    before, after = plan_of(COUNT, CHAIN), plan_of(COUNT, CHAIN)
    # The same windows stand elsewhere in the plan once a rule is loaded before them.
    other = BASES.split("---")[0].replace("-4000-8000-", "-4000-b000-").replace("name: fails", "")
    moved = plan_of(COUNT, CHAIN, bases=f"{other}---{BASES}")
    assert [r.info.uid for r in moved.rules if r.window] == [
        r.info.uid for r in before.rules if r.window
    ]
    documents = [*(event(t, "fail", u="a") for t in range(100, 130)), event(131, "ok", u="a")]
    first = Stream(before, tmp_path / "w", LATE)
    list(first.take(map(event_of, documents[:25]), 1000 * SECOND))
    first.save()
    first.close()
    second = Stream(moved, tmp_path / "w", LATE)
    told = [*second.take(map(event_of, documents[25:]), 1000 * SECOND), *second.end()]
    assert visible(moved, told) == visible(after, findings(after, documents))
    second.close()
    changed = Stream(plan_of(COUNT.replace("gte: 3", "gte: 2")), tmp_path / "w", LATE)
    assert list(changed.end()) == []
    changed.close()


def test_what_is_too_late_is_kept_for_a_hunt(tmp_path: Path) -> None:
    plan = plan_of(COUNT)
    stream = Stream(plan, tmp_path / "w", Lateness(by_source={"s": 10 * SECOND}))
    list(stream.take([event_of(event(100, "fail", u="a"))], 1000 * SECOND))
    list(stream.take([event_of(event(10, "fail", u="b"))], 1000 * SECOND))
    stream.save()
    stream.close()
    stream = Stream(plan, tmp_path / "w", Lateness(by_source={"s": 10 * SECOND}))
    assert sum(stream.store.state.late.values()) == 1
    ((window, late),) = stream.store.take_late()
    assert window == plan.rules[3].info.uid
    assert late.document == event(10, "fail", u="b")
    stream.close()


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_text("this is no state")
    with pytest.raises(TrailhoundError, match="not a usable window state"):
        Stream(plan_of(COUNT), path)


def demo_events() -> list[Event]:
    decoder = Decoder(all_sources())
    events: list[Event] = []
    for file in find_inputs(["examples/demo"]):
        for number, line in enumerate(lines_of(Path(file.path)), 1):
            record = RawRecord(line, Origin(file.path, number), file.modified_ns)
            events.extend(e for e in decoder.decode(record) if isinstance(e, Event))
        events.extend(e for e in decoder.flush() if isinstance(e, Event))
    return events


def lines_of(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()


def test_the_demo_as_a_stream_in_any_order_says_what_its_scan_says(tmp_path: Path) -> None:
    rules = load_rules([], builtin=True, placeholders={}, cache=None)
    scanned: list[Finding] = []
    totals = run_scan(Scan(find_inputs(["examples/demo"]), rules), scanned.append)
    assert "more events than stay in memory" in totals.rules_spilling[0].reason
    assert not totals.rule_problems
    plan = plan_for(rules.ruleset.rules)
    events = demo_events()
    for one in events:
        read = load_event(dump_event(one))
        assert (read.uid, read.envelope, read.origins) == (one.uid, one.envelope, one.origins)
        assert (read.document, read.views) == (one.document, one.views)
    random.Random(5).shuffle(events)
    stream = Stream(plan, tmp_path / "w", Lateness(default_ns=10**18))
    told: list[Finding] = []
    for start in range(0, len(events), 500):
        told += stream.take(events[start : start + 500], 2 * 10**18)
        stream.save()
    told += stream.end()
    stream.close()
    assert visible(plan, told) == visible(plan, scanned) != set()


def test_odd_values_survive_being_kept() -> None:
    document = {"t": 1, "big": 2**80, "half": "\udc80", "real": 0.1, "deep": [{"a": None}]}
    one = event_of(document)
    read = load_event(dump_event(one))
    assert (read.document, read.uid, read.views) == (document, one.uid, one.views)
