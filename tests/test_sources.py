"""Every log source against its samples: what goes in, and what must come out.

A story is a folder `tests/samples/sources/<source>/<story>/` with

- `in.*`: the log; `.json` is one record, every other suffix one record a line;
- `events.jsonl`: one event a line, in order: source, origins, envelope without its default
  values (`time` stands for `time_ns`), views, notes;
- `errors.jsonl`: one `ParseFailure` a line: origin, reason, lost. No file: no failure.

`python tests/test_sources.py --accept tests/samples/sources/falco` writes the two expected
files of every story below that folder. Read them before you commit them.
"""

import json
import pickle
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin, ParseFailure, Payload, RawRecord
from trailhound.sources import SOURCES
from trailhound.sources.decode import Decoder
from trailhound.sources.document import JsonFailure, read_json

ROOT = Path(__file__).parent / "samples" / "sources"
STORIES = sorted(path.parent for path in ROOT.glob("*/*/in.*"))
NO_TIME = Envelope(time_ns=0)


def raw_records(story: Path) -> Iterator[RawRecord]:
    for path in sorted(story.glob("in.*")):
        data = path.read_bytes()
        lines = [data] if path.suffix == ".json" else data.split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        for number, line in enumerate(lines, 1):
            yield RawRecord(data=line.removesuffix(b"\r"), origin=Origin(path.name, number))


@cache
def outcome_of(story: Path) -> tuple[tuple[Event, ...], tuple[ParseFailure, ...]]:
    decoder = Decoder()
    items = [item for record in raw_records(story) for item in decoder.decode(record)]
    items.extend(decoder.flush())
    events = tuple(item for item in items if isinstance(item, Event))
    failures = tuple(item for item in items if isinstance(item, ParseFailure))
    assert len(events) + len(failures) == len(items)
    return events, failures


def shown_time(time_ns: int) -> str | int:
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"
    except (ValueError, OverflowError):
        return time_ns


def shown_envelope(envelope: Envelope) -> dict[str, Any]:
    shown: dict[str, Any] = {"time": shown_time(envelope.time_ns)}
    for name in Envelope.__struct_fields__[1:]:
        value = getattr(envelope, name)
        if value != getattr(NO_TIME, name):
            shown[name] = value.name.lower() if name == "outcome" else value
    return shown


def shown_event(event: Event) -> dict[str, Any]:
    return {
        "source": event.source,
        "origins": [str(origin) for origin in event.origins],
        "envelope": shown_envelope(event.envelope),
        "views": event.views,
        "notes": event.notes,
    }


def shown_failure(failure: ParseFailure) -> dict[str, Any]:
    return {"origin": str(failure.origin), "reason": failure.reason, "lost": failure.lost}


def lines_of(items: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(item) for item in items]


def expected(path: Path) -> list[Any]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def as_json(items: list[dict[str, Any]]) -> list[Any]:
    return [json.loads(line) for line in lines_of(items)]


def story_name(story: Path) -> str:
    return f"{story.parent.name}/{story.name}"


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_events_and_failures_are_as_expected(story: Path) -> None:
    events, failures = outcome_of(story)
    shown = as_json([shown_event(event) for event in events])
    wanted = expected(story / "events.jsonl")
    for have, want in zip(shown, wanted, strict=False):
        assert have == want
    assert len(shown) == len(wanted)
    assert as_json([shown_failure(item) for item in failures]) == expected(story / "errors.jsonl")
    assert all(item.detail for item in failures), "a failure says what is wrong"


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_events_of_a_source_have_views_that_its_routes_name(story: Path) -> None:
    offered = {source.name: {route.view for route in source.routes} for source in SOURCES}
    for event in outcome_of(story)[0]:
        assert event.source in offered
        assert event.views
        assert set(event.views) <= offered[event.source]
        assert all(event.views.values()), "a view holds at least one document"
        assert event.origins


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_same_input_gives_same_content_ids(story: Path) -> None:
    events, _ = outcome_of(story)
    again = outcome_of.__wrapped__(story)[0]
    assert [event.uid for event in events] == [event.uid for event in again]


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_events_sent_to_another_process_are_the_same(story: Path) -> None:
    for event in outcome_of(story)[0]:
        assert event.written in (None, orjson.dumps(event.document) if event.written else None)
        for known in (event, pickle.loads(pickle.dumps(event))):
            again = pickle.loads(pickle.dumps(known))
            assert shown_event(again) == shown_event(event)
            assert (again.uid, again.request) == (event.uid, event.request)
            assert again.document == event.document
            assert [[one is again.document for one in held] for held in again.views.values()] == [
                [one is event.document for one in held] for held in event.views.values()
            ]


class CarefulDecoder(Decoder):
    def _quickly(self, record: RawRecord) -> None:
        return None

    def _plainly(self, document: dict[str, Any], written: bytes, outer: Payload) -> None:
        return None


def all_of(decoder: Decoder, records: list[RawRecord]) -> list[Any]:
    items = [item for record in records for item in decoder.decode(record)]
    items.extend(decoder.flush())
    return [
        {**shown_event(item), "uid": item.uid}
        if isinstance(item, Event)
        else {**shown_failure(item), "detail": item.detail}
        for item in items
    ]


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_lines_read_quickly_are_read_the_same(story: Path) -> None:
    records = list(raw_records(story))
    assert all_of(Decoder(), records) == all_of(CarefulDecoder(), records)


ODD_ENDS = (b"", b" ", b"\r", b"\0", b"\r\n", b"\xff", b"\xe2\x80\xa8", b"\x1c", b'{"a":1}')


@pytest.mark.parametrize("end", ODD_ENDS)
@pytest.mark.parametrize("start", [b"", b" ", b"\0", b"\xef\xbb\xbf", b"\xc2\xa0", b"<6>", b"["])
def test_odd_lines_read_quickly_are_read_the_same(start: bytes, end: bytes) -> None:
    lines = [
        b"Mar  1 10:00:00 h sshd[1]: Accepted password for a from 192.0.2.1 port 1 ssh2",
        b"2026-03-01T10:00:00Z h su: (to root) a on pts/1",
        b"2026-03-01T10:00:00Z stdout F 2026-03-01T10:00:00Z h su: (to root) a on pts/1",
        b"type=CWD msg=audit(1772359200.000:1): cwd=/",
        b"",
    ]
    odd = [line for plain in lines for line in (plain, start + plain + end)]
    records = [RawRecord(line, Origin("in", number), 7) for number, line in enumerate(odd, 1)]
    assert all_of(Decoder(), records) == all_of(CarefulDecoder(), records)


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_gate_takes_only_plain_records_of_its_source(story: Path) -> None:
    """The fast path may skip `Decoder` for such lines, so both must see the same event."""
    for record in raw_records(story):
        try:
            document = read_json(record.data).readings[0]
        except JsonFailure:
            continue
        if not isinstance(document, dict):
            continue
        for source in SOURCES:
            gate = source.gate
            if gate is None or not gate.accepts([unset_or(document, p) for p in gate.signature]):
                continue
            payload = Payload(origin=record.origin, document=document)
            assert source.recognises(payload)
            found = [item for item in Decoder().decode(record) if isinstance(item, Event)]
            assert [event.source for event in found] == [source.name]
            assert document in found[0].views[gate.view]


def unset_or(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(document, dict) or step not in document:
            return msgspec.UNSET
        document = document[step]
    return document


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_no_record_is_claimed_by_two_sources(story: Path) -> None:
    for record in raw_records(story):
        payload = Payload(origin=record.origin, text=record.data.decode(errors="replace"))
        try:
            document = read_json(record.data).readings[0]
        except JsonFailure:
            document = None
        if isinstance(document, dict):
            payload = Payload(origin=record.origin, document=document)
        assert len([source.name for source in SOURCES if source.recognises(payload)]) <= 1


def test_names_of_sources_are_their_modules() -> None:
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    for source in SOURCES:
        module = sys.modules[f"trailhound.sources.{source.name}"]
        assert module.SOURCE is source


@pytest.mark.corpora
def test_kubernetes_demo_log() -> None:
    path = Path(__file__).parents[2] / "shared" / "corpora" / "logs" / "kubernetes" / "demo.log"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    decoder = Decoder()
    items = [
        item
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        for item in decoder.decode(RawRecord(data=line, origin=Origin("demo.log", number)))
    ]
    assert [type(item) for item in items] == [Event] * 37
    assert {item.source for item in items} == {"k8s_audit"}
    assert all(item.envelope.actor_name and item.envelope.time_ns for item in items)


def accept(folder: Path) -> None:
    for story in sorted({path.parent for path in folder.resolve().rglob("in.*")}):
        events, failures = outcome_of(story)
        (story / "events.jsonl").write_text(
            "".join(line + "\n" for line in lines_of([shown_event(event) for event in events]))
        )
        errors = story / "errors.jsonl"
        errors.unlink(missing_ok=True)
        if failures:
            shown = lines_of([shown_failure(item) for item in failures])
            errors.write_text("".join(line + "\n" for line in shown))
        sys.stdout.write(f"{story}: {len(events)} events, {len(failures)} failures\n")
        for failure in failures:
            sys.stdout.write(f"  {failure.origin}: {failure.reason}: {failure.detail!r}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--accept":
        sys.exit("usage: python tests/test_sources.py --accept FOLDER")
    accept(Path(sys.argv[2]))
