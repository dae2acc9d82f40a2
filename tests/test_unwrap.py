"""Wrappings of clouds and shippers, and records that take several lines or say two things.

`tests/samples/unwrap/<wrapping>/in.*` goes through a `Decoder` that knows one format, the
probe: objects with a key `probe`, lines that begin with `probe`. `payloads.jsonl` says what
reached it, `errors.jsonl` what did not. `python tests/test_unwrap.py` writes both.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound import sources as registry
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin, ParseFailure, Payload, RawRecord
from trailhound.sources import SOURCES
from trailhound.sources.container_lines import HELD_BYTES, cri_line, stamped_line
from trailhound.sources.contract import Source
from trailhound.sources.decode import Decoder

ROOT = Path(__file__).parent / "samples" / "unwrap"
STORIES = sorted(path.parent for path in ROOT.glob("*/in.*"))


def describe(_: Any) -> Envelope:
    return Envelope(time_ns=0)


class ProbeReader:
    def __init__(self) -> None:
        self.payloads: list[Payload] = []

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        self.payloads.append(payload)
        if (payload.document or {}).get("probe") == "raise":
            raise ZeroDivisionError("probe")
        document = payload.document or {"text": payload.text}
        yield Event("probe", document, (payload.origin,), {"probe": (document,)}, describe)

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


def is_probe(payload: Payload) -> bool:
    if payload.document is not None:
        return "probe" in payload.document
    return (payload.text or "").startswith(("probe", "[probe"))


def probe_source(reader: ProbeReader) -> Source:
    return Source("probe", "Probe", is_probe, lambda: reader, (), ())


def decoded(lines: Iterable[bytes], sources: tuple[Source, ...]) -> list[Event | ParseFailure]:
    decoder = Decoder(sources)
    items = [
        item
        for number, line in enumerate(lines, 1)
        for item in decoder.decode(RawRecord(data=line, origin=Origin("in", number)))
    ]
    return [*items, *decoder.flush()]


def probed(*lines: bytes) -> tuple[list[Payload], list[Event], list[ParseFailure]]:
    reader = ProbeReader()
    items = decoded(lines, (probe_source(reader),))
    events = [item for item in items if isinstance(item, Event)]
    return reader.payloads, events, [item for item in items if isinstance(item, ParseFailure)]


def lines_of(story: Path) -> Iterator[bytes]:
    for path in sorted(story.glob("in.*")):
        data = path.read_bytes().removesuffix(b"\n")
        yield from [data] if path.suffix == ".json" else data.split(b"\n")


def shown(story: Path) -> tuple[list[Any], list[Any]]:
    payloads, _, failures = probed(*lines_of(story))
    shown_payloads = [
        {
            "origin": str(payload.origin),
            "wrapping": list(payload.wrapping),
            "context": payload.context,
            **(
                {"text": payload.text}
                if payload.document is None
                else {"document": payload.document}
            ),
        }
        for payload in payloads
    ]
    shown_failures = [
        {
            "origin": str(item.origin),
            "reason": item.reason,
            "detail": item.detail,
            "lost": item.lost,
        }
        for item in failures
    ]
    return shown_payloads, shown_failures


def expected(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_wrapping_comes_off(story: Path) -> None:
    payloads, failures = shown(story)
    assert payloads == expected(story / "payloads.jsonl")
    assert failures == expected(story / "errors.jsonl")


# --- lines --------------------------------------------------------------------------------


def test_cri_lines() -> None:
    stamp = "2024-01-01T00:00:00.123456789Z"
    assert cri_line(f"{stamp} stdout F a  b ") == (
        {"time": stamp, "stream": "stdout"},
        False,
        "a  b ",
    )
    assert cri_line(f"{stamp} stderr P:tag ") == ({"time": stamp, "stream": "stderr"}, True, "")
    assert cri_line(f"{stamp} stdout F") == ({"time": stamp, "stream": "stdout"}, False, "")
    for text in (f"{stamp} stdin F x", f"{stamp} stdout X x", "2024 stdout F x", "x", ""):
        assert cri_line(text) is None


def test_stamped_lines() -> None:
    assert stamped_line("2024-01-01T00:00:00.000Z {}") == (
        {"timestamp": "2024-01-01T00:00:00.000Z"},
        "{}",
    )
    assert stamped_line("2024-01-01T00:00:00.000Z") is None
    assert stamped_line("2024-01-01 00:00:00 {}") is None


def test_json_behind_a_syslog_header_is_asked_for_in_bounded_time() -> None:
    repeats = ",".join(f'"a":{number}' for number in range(20))
    text = '{"other":1}'
    for _ in range(6):
        text = json.dumps({"log": text})[:-1] + f",{repeats}}}"
    line = f"Mar  4 10:00:00 web1 app: {text}".encode()
    payloads, events, failures = probed(line)
    assert not payloads
    assert not events
    assert [failure.reason for failure in failures] == ["unknown format"]


def test_streams_of_different_files_do_not_mix() -> None:
    reader = ProbeReader()
    decoder = Decoder((probe_source(reader),))
    for path, tag, text in (("a", "P", "probe 1"), ("b", "P", "probe 2"), ("b", "F", "b")):
        line = f"2024-01-01T00:00:00.000000000Z stdout {tag} {text}".encode()
        assert len(list(decoder.decode(RawRecord(data=line, origin=Origin(path, 1))))) == (
            tag == "F"
        )
    assert [payload.text for payload in reader.payloads] == ["probe 2b"]
    (failure,) = decoder.flush()
    assert isinstance(failure, ParseFailure)
    assert (failure.origin, failure.reason, failure.lost) == (Origin("a", 1), "partial line", True)
    assert list(decoder.flush()) == []


def test_endless_line_in_pieces_is_dropped_and_said_once() -> None:
    piece = b"2024-01-01T00:00:00Z stdout P " + b"x" * (HELD_BYTES // 4)
    end = b"2024-01-01T00:00:00Z stdout F x"
    good = b"2024-01-01T00:00:00Z stdout F probe"
    payloads, _, failures = probed(*[piece] * 9, end, good)
    assert [payload.text for payload in payloads] == ["probe"]
    assert [failure.reason for failure in failures] == ["partial line"]
    assert failures[0].origin == Origin("in", 1)


def test_line_begun_longest_ago_gives_way() -> None:
    first = b'{"log":"probe 1","logtag":"P","container_id":"a"}'
    flood = [
        orjson.dumps({"log": "x" * 1_000_000, "logtag": "P", "container_id": "b"})
        for _ in range(17)
    ]
    last = b'{"log":"end","logtag":"F","container_id":"a"}'
    payloads, _, failures = probed(first, *flood, last)
    assert payloads == []
    assert [failure.origin.line for failure in failures] == [1, 2]


# --- what a record says -------------------------------------------------------------------


def test_a_record_that_a_source_knows_is_no_wrapping() -> None:
    payloads, _, _ = probed(b'{"probe":1,"log":"probe","Records":[{"probe":2}]}')
    assert [payload.document for payload in payloads] == [
        {"probe": 1, "log": "probe", "Records": [{"probe": 2}]}
    ]


def test_wrappings_are_taken_off_to_a_depth() -> None:
    def wrapped(times: int) -> bytes:
        text = '{"probe":1}'
        for _ in range(times):
            text = json.dumps({"log": text})
        return text.encode()

    assert len(probed(wrapped(8))[1]) == 1
    _, events, failures = probed(wrapped(9))
    assert events == []
    assert [failure.detail for failure in failures] == ["more than 8 wrappings inside one another"]


def test_repeated_keys_are_read_in_every_way() -> None:
    _, (event,), failures = probed(b'{"probe":1,"x":1,"x":2,"x":3}')
    assert [document["x"] for document in event.views["probe"]] == [3, 1, 2]
    assert event.document["x"] == 3
    assert event.notes == ("repeats keys; judged in 3 readings",)
    assert [(item.reason, item.lost) for item in failures] == [("duplicate key", False)]


def test_repeated_keys_in_a_wrapping() -> None:
    _, events, _ = probed(b'[{"probe":1},{"probe":2,"x":[],"x":{}},{"probe":3}]')
    assert [[str(d.get("x")) for d in event.views["probe"]] for event in events] == [
        ["None"],
        ["{}", "[]"],
        ["None"],
    ]
    assert [str(event.origins[0]) for event in events] == ["in:1#1", "in:1#2", "in:1#3"]


def test_types_that_compare_equal_are_different_readings() -> None:
    _, (event,), _ = probed(b'{"probe":1,"x":1,"x":true,"x":1.0}')
    assert [repr(document["x"]) for document in event.views["probe"]] == ["1.0", "1", "True"]


def test_a_record_cannot_hide_behind_a_repeated_key() -> None:
    for text in (
        b'{"probe":1,"log":"{\\"probe\\":2}","log":"nothing"}',
        b'{"log":"{\\"probe\\":2}","log":"nothing"}',
        b'{"log":"nothing","log":"{\\"probe\\":2}"}',
        b'{"log":{"probe":1},"log":7}',
        b'{"Records":[{"probe":1}],"Records":[]}',
        b'{"Records":[],"Records":[{"probe":1}]}',
        b'{"log":"probe","log":"{"}',
    ):
        assert len(probed(text)[1]) == 1, text


KUBERNETES = b'"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get"'
CLOUDTRAIL = b'"eventVersion":"1.09","eventSource":"iam.amazonaws.com","eventName":"CreateUser"'


@pytest.mark.parametrize(
    ("line", "source", "verbs"),
    [
        (b"{%s,%s,%s}" % (KUBERNETES, b'"kind":"x","verb":"create"', CLOUDTRAIL), 0, "create get"),
        (b"{%s,%s,%s}" % (CLOUDTRAIL, b'"kind":"x"', KUBERNETES), 1, "get"),
        (b"{%s,%s}" % (b'"eventSource":"x","kind":"x"', KUBERNETES), 0, "get"),
        (b"{%s,%s}" % (KUBERNETES, b'"verb":"create","apiVersion":"x"'), 0, "create get"),
    ],
)
def test_a_record_that_repeats_what_tells_its_source_has_one(
    line: bytes, source: int, verbs: str
) -> None:
    """That of its first reading; and no reading of it is lost."""
    known = [s for name in ("k8s_audit", "cloudtrail") for s in SOURCES if s.name == name]
    items = decoded([line], tuple(known))
    (event,) = (item for item in items if isinstance(item, Event))
    assert event.source == known[source].name
    (documents,) = event.views.values()
    assert " ".join(dict.fromkeys(d["verb"] for d in documents)) == verbs


def test_a_line_in_a_wrapping_that_repeats_keys_is_read_once() -> None:
    payloads, _, _ = probed(b'{"log":"probe","x":1,"x":2}')
    assert len(payloads) == 1
    payloads, _, _ = probed(
        b'{"log":"probe ","logtag":"P","x":1,"x":2}', b'{"log":"end","logtag":"F","x":1,"x":2}'
    )
    assert [payload.text for payload in payloads] == ["probe end"]


def test_both_lines_of_a_repeated_key_are_read() -> None:
    payloads, _, _ = probed(b'{"log":"probe 1","log":"probe 2"}')
    assert [payload.text for payload in payloads] == ["probe 2", "probe 1"]


def test_joined_objects_are_read_one_by_one() -> None:
    _, events, failures = probed(b'{"probe":1}{"probe":2} {"Records":[{"probe":3}]}{"probe":')
    assert [str(event.origins[0]) for event in events] == ["in:1#1", "in:1#2", "in:1#4"]
    assert [(str(item.origin), item.reason) for item in failures] == [("in:1#5", "invalid JSON")]


def test_a_line_that_begins_like_json_may_be_text() -> None:
    payloads, _, failures = probed(b"[probe] of a kernel", b"[other] line", b'{"a":1')
    assert [payload.text for payload in payloads] == ["[probe] of a kernel"]
    assert [item.reason for item in failures] == ["invalid JSON", "invalid JSON"]


def test_odd_bytes_around_a_record() -> None:
    payloads, _, failures = probed(
        b"",
        b"   \r",
        b"\0\0",
        b"\xef\xbb\xbfprobe",
        b"\0\0probe\0",
        b'\xef\xbb\xbf {"probe":1}',
        b"probe \xff",
    )
    assert [payload.text or payload.document for payload in payloads] == [
        "probe",
        "probe",
        {"probe": 1},
        "probe \ufffd",
    ]
    assert [(item.origin.line, item.reason, item.lost) for item in failures] == [
        (5, "control character", False),
        (7, "invalid UTF-8", False),
    ]


def test_unknown_records_say_what_they_look_like() -> None:
    _, _, failures = probed(
        b'{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}', b"x" * 200, b"{}", b'"text"', b"[null]"
    )
    assert [item.detail for item in failures] == [
        "no source knows an object with the keys 'a', 'b', 'c', 'd', 'e', ...",
        f"no source knows a line that begins '{'x' * 80}'",
        "an object without keys",
        "no source knows a line that begins '\"text\"'",
        "array holds null where a record belongs",
    ]
    assert {item.reason for item in failures} == {"unknown format"}
    assert all(item.lost for item in failures)


def test_a_bug_in_a_source_stops_nothing() -> None:
    def broken(payload: Payload) -> bool:
        raise KeyError(payload.text)

    reader = ProbeReader()
    faulty = Source("faulty", "Faulty", broken, ProbeReader, (), ())
    items = decoded(
        [b'{"probe":"raise"}', b'{"probe":1}', b"probe"], (faulty, probe_source(reader))
    )
    failure, *events = items
    assert isinstance(failure, ParseFailure)
    assert (failure.reason, failure.lost) == ("reader error", True)
    assert failure.detail == "the reader of probe failed: ZeroDivisionError: probe"
    assert [type(event) for event in events] == [Event, Event]


def test_formats_may_change_from_line_to_line() -> None:
    samples = Path(__file__).parent / "samples" / "sources"
    native = (samples / "k8s_audit" / "native" / "in.jsonl").read_bytes().splitlines()[0]
    trail = (samples / "cloudtrail" / "sign_in" / "in.jsonl").read_bytes().splitlines()[0]
    alert = (samples / "falco" / "syscall" / "in.jsonl").read_bytes().splitlines()[0]
    audit = b"type=USER_LOGIN msg=audit(1709262000.123:77): pid=1 uid=0 auid=4294967295 res=failed"
    syslog = (
        b"Mar  1 03:12:41 web1 sshd[812]: Accepted publickey for root from 192.0.2.1 port 1 ssh2"
    )
    lines = [native, trail, audit, syslog, alert, b"", native, syslog, b"noise", trail, alert]
    items = decoded(lines, SOURCES)
    events = sorted((item for item in items if isinstance(item, Event)), key=lambda e: e.origins)
    assert [(event.source, event.origins[0].line) for event in events] == [
        ("k8s_audit", 1),
        ("cloudtrail", 2),
        ("auditd", 3),
        ("linux_auth", 4),
        ("falco", 5),
        ("k8s_audit", 7),
        ("linux_auth", 8),
        ("cloudtrail", 10),
        ("falco", 11),
    ]
    assert [item.reason for item in items if isinstance(item, ParseFailure) and item.lost] == [
        "unknown format"
    ]


def test_same_event_in_every_wrapping_has_the_same_id() -> None:
    native = Path(__file__).parent / "samples" / "sources" / "k8s_audit" / "native" / "in.jsonl"
    line = native.read_text().splitlines()[0]
    document = json.loads(line)
    wrapped = [
        line,
        json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [document]}),
        json.dumps({"messageType": "DATA_MESSAGE", "logEvents": [{"message": line}]}),
        json.dumps({"records": [{"category": "kube-audit", "properties": {"log": line}}]}),
        json.dumps({"records": [{"category": "kube-audit", "properties": {"log": document}}]}),
        json.dumps({"log": line + "\n", "kubernetes": {}}),
        f"2024-01-01T00:00:00.123Z {line}",
        f"2024-01-01T00:00:00.123456789Z stdout F {line}",
    ]
    items = decoded((text.encode() for text in wrapped), SOURCES)
    assert [type(item) for item in items] == [Event] * len(wrapped)
    assert len({item.uid for item in items if isinstance(item, Event)}) == 1


# --- entry points -------------------------------------------------------------------------

OFFERED = Source("offered", "Offered", is_probe, ProbeReader, (), ())


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [EntryPoint(f"p{n}", value, registry.ENTRY_POINTS) for n, value in enumerate(values)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    monkeypatch.setattr(registry, "_may_be_offered", lambda: True)
    monkeypatch.setitem(sys.modules, "offering", sys.modules[__name__])
    registry.all_sources.cache_clear()


def test_packages_may_offer_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "offering:OFFERED")
    assert registry.all_sources() == (*SOURCES, OFFERED)
    registry.all_sources.cache_clear()


def test_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "offering-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1\n")
    entry = f"[{registry.ENTRY_POINTS}]\noffered = offering:OFFERED\n"
    (installed / "entry_points.txt").write_text(entry)
    monkeypatch.setitem(sys.modules, "offering", sys.modules[__name__])
    registry.all_sources.cache_clear()
    assert registry.all_sources() == SOURCES
    monkeypatch.syspath_prepend(tmp_path)
    registry.all_sources.cache_clear()
    assert registry.all_sources() == (*SOURCES, OFFERED)
    registry.all_sources.cache_clear()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:SOURCE", "the source p1 .* fails: No module named"),
        ("offering:describe", "offering:describe, offered as a source, is none"),
        ("offering:OFFERED", "offers a second source named offered"),
    ],
)
def test_what_cannot_be_used_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    offer(monkeypatch, "offering:OFFERED", value)
    with pytest.raises(TrailhoundError, match=message):
        registry.all_sources()
    registry.all_sources.cache_clear()


# --- fuzzing ------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def sample_lines() -> list[bytes]:
    found = [*ROOT.glob("*/in.*"), *(ROOT.parent / "sources" / "k8s_audit").glob("*/in.*")]
    lines = {line for path in found for line in path.read_bytes().splitlines()}
    return sorted(line for line in lines if 2 < len(line) < 8000)


def sample_documents() -> list[Any]:
    documents = []
    for line in sample_lines():
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict) and document:
            documents.append(document)
    return documents


LINES = sample_lines()
DOCUMENTS = sample_documents()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in members:
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))
        else:
            yield (*path, key)


def check(items: Iterable[Event | ParseFailure]) -> None:
    for item in items:
        if isinstance(item, Event):
            assert len(item.uid) == 32
            assert -(1 << 63) <= item.envelope.time_ns < 1 << 63
        else:
            assert item.reason != "reader error", item.detail


@settings(deadline=None)
@given(st.lists(st.binary(), max_size=5))
def test_no_bytes_raise(lines: list[bytes]) -> None:
    check(decoded(lines, SOURCES))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(LINES), st.data())
def test_no_mutation_of_a_line_raises(line: bytes, data: st.DataObject) -> None:
    text = bytearray(line)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=4))
    check(decoded([bytes(text), line], SOURCES))


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(DOCUMENTS), st.data())
def test_no_odd_value_in_a_document_raises(document: Any, data: st.DataObject) -> None:
    document = orjson.loads(orjson.dumps(document))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([p for p in places(document) if p]))
        here = document
        for step in path:
            here = here[step]
        here[last] = data.draw(VALUES)
    check(decoded([json.dumps(document).encode()], SOURCES))


def accept() -> None:
    for story in STORIES:
        for name, found in zip(("payloads", "errors"), shown(story), strict=True):
            path = story / f"{name}.jsonl"
            path.unlink(missing_ok=True)
            if found or name == "payloads":
                path.write_text("".join(json.dumps(item) + "\n" for item in found))
        sys.stdout.write(f"{story}\n")


if __name__ == "__main__":
    accept()
