"""Plain records by columns are what they are one by one, and no rule matches what is left out."""

from functools import cache

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_lines import BUILTIN, SAMPLES, Change, changed, changes
from test_sieve import bent, bent_lines, lines_of, plan_of
from trailhound.engine.matching import match_event
from trailhound.lake.schema import row_of
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline.scan import plan_for
from trailhound.pipeline.serve.plain import PlainReader
from trailhound.pipeline.serve.plain_reading import is_on_one_line
from trailhound.pipeline.serve.sightings import plain_sightings, sighting
from trailhound.pipeline.serve.storing import stored, stored_plain
from trailhound.sources import SOURCES
from trailhound.sources.decode import Decoder

GATED = [source.name for source in SOURCES if source.gate]
BENT = ["k8s_audit", "cloudtrail"]
PEER = "kubernetes/10.0.0.7\u00fc"
NOW_NS = 1_800_000_000_000_000_000


@cache
def reader_of(source: str, rules: str) -> PlainReader:
    plan = plan_for(()) if rules == "none" else plan_of(source, rules)
    return PlainReader(next(s for s in SOURCES if s.name == source), plan)


def compare(source: str, lines: list[bytes], rules: str = "none") -> int:
    """Read lines in both ways; return how many were plain."""
    lines = [line for line in lines if is_on_one_line(line)]
    plain = reader_of(source, rules).read(lines) if lines else None
    if plain is None:
        return 0
    numbers = [index + 1 for index in plain.at]
    paths = [PEER] * len(numbers)
    rows = list(zip(*stored_plain(plain, paths, numbers).columns, strict=True))
    repeats = [number % 2 == 0 for number in numbers]
    seen = list(plain_sightings(plain, paths, numbers, repeats, NOW_NS))
    for at, number in enumerate(numbers):
        line = lines[number - 1]
        beside = {"hostname": "node-1", "tag": "audit"} if number % 2 else {}
        (event,) = Decoder(SOURCES).decode(RawRecord(line, Origin(PEER, number), NOW_NS, beside))
        assert isinstance(event, Event)
        assert event.source == source
        assert plain.uids[at].hex() == event.uid
        assert rows[at] == row_of(stored(event, line))
        assert [type(value) for value in rows[at]] == [
            type(value) for value in row_of(stored(event, line))
        ]
        assert seen[at] == sighting(event, NOW_NS, repeat=repeats[at])
        if rules != "none":
            assert match_event(plan_of(source, rules), event) == []
    return len(numbers)


@pytest.mark.parametrize("source", BENT)
def test_most_real_lines_are_plain(source: str) -> None:
    lines = lines_of(source)
    assert compare(source, lines) > len(lines) * 0.6
    assert compare(source, lines, "builtin")


@pytest.mark.parametrize("source", BENT)
@settings(max_examples=150)
@given(recipe=bent_lines, rules=st.sampled_from(["none", "builtin", "gated"]))
def test_hostile_lines_are_what_they_are_one_by_one(
    source: str, recipe: list[tuple[int, list[Change]]], rules: str
) -> None:
    compare(source, bent(source, recipe).split(b"\n"), rules)


@pytest.mark.parametrize("source", BENT)
@settings(max_examples=150)
@given(how=changes, at=st.integers(0, 1500))
def test_so_is_one_change_among_real_lines(source: str, how: Change, at: int) -> None:
    real = lines_of(source)
    line = changed(real[at % len(real)], source, how)
    compare(source, [real[0], line, real[-1]])


@pytest.mark.parametrize("source", GATED)
def test_plain_samples_are_what_they_are_one_by_one(source: str) -> None:
    files = [*SAMPLES.glob(f"{source}/*/in.jsonl"), *BUILTIN.glob("*/*.misses.jsonl")]
    assert compare(source, [line for f in files for line in f.read_bytes().split(b"\n")])


TIMES = ("2026-11-26T07:00:00.123456Z", "2026-11-26T07:00:00Z", "1969-01-01T00:00:00.5+01:00")
VALUES: dict[str, list[object]] = {
    "verb": ["watch", "get", "create", "", "GET"],
    "stage": ["ResponseComplete", "ResponseStarted", "Panic", "RequestReceived", ""],
    "objectRef": [
        {"resource": "pods", "subresource": "exec/x", "name": "a", "namespace": "b"},
        {"resource": "pods", "subresource": "log"},
        {"resource": "", "name": ""},
        {},
    ],
    "responseStatus": [{"code": code} for code in (0, 99, 200, 403, 600, -1, 2**63 - 1, 2**63)]
    + [{"code": 403, "reason": "Forbidden"}, {"reason": ""}, {"metadata": {}}],
    "annotations": [{"authorization.k8s.io/decision": d} for d in ("forbid", "allow", "")],
    "user": [
        {"username": "system:serviceaccount:a:b", "groups": ["x", ""], "uid": ""},
        {"username": "system:node:n", "groups": []},
        {"username": "", "extra": {"accessKeyId": ["AKIA"], "x": ["y"]}},
        {"extra": {"authentication.kubernetes.io/credential-id": []}},
    ],
    "impersonatedUser": [{"username": "a"}, {"username": ""}, {"uid": "1"}, {}],
    "requestURI": ["/api/v1/pods?a=1&b=<2>", "?", "", "x" * 5000],
    "requestObject": [{"metadata": {"name": "n"}}, {"metadata": {}}, {"metadata": {"name": ""}}],
    "sourceIPs": [["10.0.0.1", "10.0.0.2"], [], [""]],
    "userAgent": ["curl", "", "y" * 4097, "\u0130", "\u0660"],
    "auditID": ["a", "", "z" * 4097],
    "stageTimestamp": [*TIMES, "", "never"],
    "requestReceivedTimestamp": [*TIMES, "", "never"],
    "user.username": ["another way to the field"],
    "extra": [[1, [2]], 1.5, 1e300, "\u0001"],
}


@settings(max_examples=200)
@given(st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in VALUES.items()}))
def test_fields_of_all_kinds_say_what_the_document_says(fields: dict[str, object]) -> None:
    line = orjson.dumps({"kind": "Event", "apiVersion": "audit.k8s.io/v1", **fields})
    compare("k8s_audit", [line, line.replace(b"&", b"\\u0026").replace(b"<", b"\\u003c")])
