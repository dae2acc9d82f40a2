"""What samples cannot say of clouds' and identity providers' logs: any value anywhere, sizes.

One set of laws for every such source; its samples are where the fuzzing starts from.
"""

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin, ParseFailure, Payload, RawRecord
from trailhound.pipeline.coverage import coverage
from trailhound.pipeline.rulebooks import load_rules
from trailhound.sources import SOURCES
from trailhound.sources.contract import Source
from trailhound.sources.decode import Decoder

NAMES = ("okta_system", "github_audit", "gcp_audit", "google_workspace", "azure_activity")
ESSENTIAL: dict[str, set[str]] = {
    "github_audit": {"sender", "repository"},
    "gcp_audit": {"protoPayload"},
    "google_workspace": {"id", "events"},
    "azure_activity": {
        *("category", "operationName", "eventTimestamp", "eventDataId", "@odata.type"),
        *("createdDateTime", "appDisplayName", "conditionalAccessStatus", "status"),
        *("activityDisplayName", "activityDateTime", "initiatedBy", "Type", "TimeGenerated"),
        *("riskEventType", "detectionTimingType"),
    },
}
"""Keys without which some records of the samples could be anything."""
SAMPLES = Path(__file__).parent / "samples" / "sources"
RULES = Path(__file__).parents[2] / "shared" / "corpora" / "sigma" / "rules"
HERE = Origin("log", 1)
WORDS = """
    unknown SUCCESS FAILURE DENY user.session.start Success success 0 1 -1 1e400 7.5 true
    2026-11-24T02:01:03.417Z 1764000000000 / // : . .. a.b.c type/subtype/name 10.0.0.1 ::1
    10.0.0.1:443 [::1]:443 https://example.com/ {"a":1} [1] {"a": \ud83d =cmd|'x'!A0
"""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS.split())
)


@cache
def source_of(name: str) -> Source:
    return next(source for source in SOURCES if source.name == name)


@cache
def documents_of(name: str) -> tuple[dict[str, Any], ...]:
    """Records of a source's samples, wrappings taken off, hostile ones left out."""
    found: list[dict[str, Any]] = []
    for path in sorted((SAMPLES / name).glob("*/in.*")):
        if path.parent.name == "hostile":
            continue
        decoder = Decoder()
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            items = decoder.decode(RawRecord(line, Origin(path.name, number)))
            found.extend(dict(e.document) for e in items if isinstance(e, Event))
    return tuple(found)


@cache
def keys_of(name: str) -> tuple[str, ...]:
    """Every key that stands anywhere in the samples of a source."""
    found: dict[str, None] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.update(dict.fromkeys(value))
            any(map(walk, value.values()))
        elif isinstance(value, list):
            any(map(walk, value))

    any(map(walk, documents_of(name)))
    return tuple(found)


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A record of the samples with a few values replaced, at any depth."""
    keys = st.sampled_from(keys_of(name))
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )
    document = json.loads(json.dumps(draw(st.sampled_from(documents_of(name)))))
    for _ in range(draw(st.integers(1, 4))):
        here = document
        while True:
            key = draw(st.sampled_from([*here, *keys_of(name)]) if here else keys)
            if isinstance(here.get(key), dict) and draw(st.booleans()):
                here = here[key]
                continue
            here[key] = draw(values)
            break
    return document


def read(source: Source, document: dict[str, Any]) -> tuple[Event, list[ParseFailure]]:
    event, *failures = source.reader().read(Payload(HERE, document=document))
    assert isinstance(event, Event)
    kept = [item for item in failures if isinstance(item, ParseFailure)]
    assert len(kept) == len(failures)
    return event, kept


def check_types(envelope: Envelope) -> None:
    assert msgspec.convert(msgspec.to_builtins(envelope), Envelope) == envelope


def gate_accepts(source: Source, document: dict[str, Any]) -> bool:
    if source.gate is None:
        return False
    values = []
    for path in source.gate.signature:
        here: Any = document
        for step in path:
            here = here.get(step, msgspec.UNSET) if isinstance(here, dict) else msgspec.UNSET
        values.append(here)
    return source.gate.accepts(values)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_any_value_anywhere_is_read(name: str, data: st.DataObject) -> None:
    source, document = source_of(name), data.draw(spoilt(name))
    before = repr(document)
    recognised = source.recognises(Payload(HERE, document=document))
    assert recognised or not gate_accepts(source, document)
    if not recognised:
        return
    event, failures = read(source, document)
    check_types(event.envelope)
    assert event.document is document
    assert set(event.views) <= {route.view for route in source.routes}
    assert all(not failure.lost for failure in failures)
    assert repr(document) == before
    assert len(event.uid) == 32


@pytest.mark.parametrize("name", NAMES)
def test_one_spoilt_value_hides_no_record(name: str) -> None:
    source = source_of(name)
    for whole in documents_of(name):
        for key in whole.keys() - ESSENTIAL.get(name, set()):
            for value in (None, 7, [], {}, "", [[["x"]]]):
                document = {**whole, key: value}
                check_types(read(source, document)[0].envelope)
                known = [s.name for s in SOURCES if s.recognises(Payload(HERE, document=document))]
                assert known == [name], (key, value)


@pytest.mark.parametrize("name", NAMES)
def test_ten_megabytes_in_every_place_cost_no_time(name: str) -> None:
    source, huge = source_of(name), "é:/.,@" * 1_700_000
    whole = documents_of(name)[0]
    for key in whole.keys() - ESSENTIAL.get(name, set()):
        inner = dict.fromkeys(whole[key], huge) if isinstance(whole[key], dict) else huge
        document = {**whole, key: inner}
        started = time.perf_counter()
        source.recognises(Payload(HERE, document=document))
        envelope = read(source, document)[0].envelope
        assert time.perf_counter() - started < 1
        assert all(len(str(value)) <= 5000 for value in msgspec.structs.astuple(envelope))


@pytest.mark.parametrize("name", NAMES)
def test_deep_nesting_is_read(name: str) -> None:
    source = source_of(name)
    deep: Any = "x"
    for _ in range(20_000):
        deep = {"a": [deep]}
    whole = documents_of(name)[0]
    for key in whole.keys() - ESSENTIAL.get(name, set()):
        check_types(read(source, {**whole, key: deep})[0].envelope)


@pytest.mark.parametrize("name", NAMES)
def test_samples_say_who_did_what_and_when(name: str) -> None:
    for document in documents_of(name):
        envelope = read(source_of(name), document)[0].envelope
        assert envelope.time_ns > 0, document
        assert envelope.action, document
        assert envelope.class_uid, document
        assert envelope.activity_id, document


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_the_samples_is_in_the_catalogue(name: str) -> None:
    source = source_of(name)
    for document in documents_of(name):
        for view, held in read(source, document)[0].views.items():
            fields = [info.name for info in source.fields if info.view in ("", view)]
            for path in (path for written in held for path in paths_of(written)):
                assert any(covers(name_, path) for name_ in fields), f"{view}: {path}"


def paths_of(value: Any, above: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(paths_of(item, above) for item in value)) or {above}
    if isinstance(value, dict) and value:
        return set().union(
            *(paths_of(inner, f"{above}.{key}" if above else key) for key, inner in value.items())
        )
    return {above}


def covers(name: str, path: str) -> bool:
    if name.endswith(".*"):
        return path == name[:-2] or path.startswith(name[:-1])
    return path == name or name.startswith(path + ".")  # an empty object, or null for one


# --- public rules -------------------------------------------------------------------------

NEVER_THERE: dict[tuple[str, str], set[str]] = {("azure", "signinlogs"): {"ActivityDetails"}}
"""(product, service) → fields that its public rules name, and that no form of its log has."""
READ = {
    ("okta", "okta"): "identity/okta",
    ("github", "audit"): "application/github",
    ("azure", "activitylogs"): "cloud/azure",
    ("azure", "auditlogs"): "cloud/azure",
    ("azure", "signinlogs"): "cloud/azure",
    ("azure", "riskdetection"): "cloud/azure",
    ("azure", "pim"): "cloud/azure",
    ("gcp", "gcp.audit"): "cloud/gcp/audit",
    ("gcp", "google_workspace.admin"): "cloud/gcp/gworkspace",
    ("gcp", "google_workspace.login"): "cloud/gcp/gworkspace",
}
"""(product, service) → folder of the public rules for it."""


@pytest.mark.corpora
@pytest.mark.parametrize("logsource", READ, ids=" ".join)
def test_public_rules_find_their_fields(logsource: tuple[str, str]) -> None:
    folder = RULES / READ[logsource]
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is absent")
    loaded = load_rules([str(folder)], builtin=False, placeholders={}, cache=None)
    assert not loaded.ruleset.errors
    missing: set[str] = set()
    read_here = 0
    for rule in loaded.ruleset.rules:
        if (rule.logsource.product, rule.logsource.service) != logsource:
            continue
        read_here += 1
        views = coverage(rule)
        assert views, rule.info.path
        asked = {field.name for view in views for field in view.fields}
        missing |= asked - {f.name for view in views for f in view.fields if f.known}
    assert read_here
    assert missing == NEVER_THERE.get(logsource, set())


def test_there_are_laws_for_every_source_that_has_no_tests_of_its_own() -> None:
    own = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    own |= {"falco"}
    assert {source.name for source in SOURCES} - own == set(NAMES)
