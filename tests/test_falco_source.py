"""What samples cannot say of Falco alerts: any value anywhere, sizes, the catalogue."""

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailhound.model.events import Envelope, Event
from trailhound.model.logsource import LogSource
from trailhound.model.records import Origin, ParseFailure, Payload
from trailhound.sources.falco import SOURCE

SAMPLES = Path(__file__).parent / "samples" / "sources" / "falco"
RULES = Path(__file__).parents[2] / "shared" / "corpora" / "falco"
HERE = Origin("log", 1)
ALERTS = [json.loads(line) for line in (SAMPLES / "syscall" / "in.jsonl").read_text().splitlines()]
ALERT: dict[str, Any] = ALERTS[0]

FIELD_NAMES = """
    evt.time evt.time.iso8601 evt.type user.name user.loginname user.uid ka.user.name
    ka.impuser.name ka.target.resource ka.target.name ka.sourceips fd.name fd.cip fd.rip
    k8s.pod.name container.name container.id proc.exepath proc.cmdline proc.pid rule time
"""
WORDS = "execve host <NA> 10.0.0.1:1->10.0.0.2:2 -> (1.2.3.4,::1) ::1 syscall Notice"

names = st.sampled_from([*ALERT, "outputFields", "uuid", *FIELD_NAMES.split()])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS.split())
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)
fields = st.dictionaries(names, values, max_size=8)


def read(document: dict[str, Any]) -> tuple[Event, list[Event | ParseFailure]]:
    event, *failures = SOURCE.reader().read(Payload(HERE, document=document))
    assert isinstance(event, Event)
    assert all(isinstance(item, ParseFailure) for item in failures)
    return event, failures


def check_types(envelope: Envelope) -> None:
    assert msgspec.convert(msgspec.to_builtins(envelope), Envelope) == envelope


@given(st.dictionaries(names, values, max_size=4), fields)
def test_any_value_anywhere_is_read(top: dict[str, Any], below: dict[str, Any]) -> None:
    document = {**ALERT, "output_fields": {**ALERT["output_fields"], **below}, **top}
    before = repr(document)
    assert isinstance(SOURCE.recognises(Payload(HERE, document=document)), bool)
    event, failures = read(document)
    check_types(event.envelope)
    assert event.document is document
    assert repr(document) == before
    assert len(failures) <= 1


@given(st.dictionaries(names, values, max_size=6))
def test_any_object_is_judged(document: dict[str, Any]) -> None:
    if SOURCE.recognises(Payload(HERE, document=document)):
        check_types(read(document)[0].envelope)


def test_ten_megabytes_in_every_place_cost_no_time() -> None:
    huge = "10.0.0.1:1->" * 1_000_000
    for key in ALERT:
        started = time.perf_counter()
        read(ALERT | {key: huge})[0].envelope  # noqa: B018 - computed when asked for
        assert time.perf_counter() - started < 1
    for name in FIELD_NAMES.split():
        document = ALERT | {"output_fields": {**ALERT["output_fields"], name: huge}}
        started = time.perf_counter()
        envelope = read(document)[0].envelope
        assert time.perf_counter() - started < 1
        assert all(len(text) <= 5000 for text in msgspec.structs.astuple(envelope)[3:7])


def test_fields_stand_in_the_view_flat_and_as_written() -> None:
    event, _ = read(ALERT)
    (view,) = event.views["falco"]
    assert view["proc.cmdline"] == "sh -i"
    assert view["output_fields"]["proc.cmdline"] == "sh -i"
    assert "proc.cmdline" not in event.document


def test_a_field_cannot_pose_as_a_part_of_the_alert() -> None:
    event, _ = read(ALERT | {"output_fields": {"rule": "harmless", "priority": "Debug"}})
    (view,) = event.views["falco"]
    assert (view["rule"], view["priority"]) == (ALERT["rule"], ALERT["priority"])


def test_the_same_alert_in_other_key_order_has_the_same_id() -> None:
    turned = dict(reversed(ALERT.items()))
    assert read(turned)[0].uid == read(ALERT)[0].uid


def test_linux_process_rules_read_exec_alerts() -> None:
    wanted = LogSource(product="linux", category="process_creation")
    assert [route.view for route in SOURCE.routes if route.serves(wanted)] == ["process_creation"]
    assert SOURCE.gate is None  # its view is not the document itself


@pytest.mark.parametrize("priority", ["Notice", "NOTICE", "notice", "Emergency", "debug"])
def test_priority_in_any_case(priority: str) -> None:
    assert SOURCE.recognises(Payload(HERE, document=ALERT | {"priority": priority}))


@pytest.mark.parametrize(
    "document",
    [
        {"rule": "x", "priority": "Notice"},
        {"rule": "x", "priority": "Notice", "time": "2026-03-04T09:00:00Z"},
        {"rule": "x", "priority": "High", "time": "2026-03-04T09:00:00Z", "output": "x"},
        {"rule": ["x"], "priority": "Notice", "time": "2026-03-04T09:00:00Z", "output": "x"},
        {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "1"},
        {},
    ],
)
def test_look_alikes_are_not_alerts(document: dict[str, Any]) -> None:
    assert not SOURCE.recognises(Payload(HERE, document=document))


def is_catalogued(name: str) -> bool:
    return any(
        field.name == name or (field.name.endswith(".*") and name.startswith(field.name[:-1]))
        for field in SOURCE.fields
        if field.view == "falco"
    )


def test_catalogue_names_every_field_of_the_samples() -> None:
    own = {name for alert in ALERTS for name in alert} - {"output_fields"}
    assert not {name for name in own if not is_catalogued(name)}
    found = {name for alert in ALERTS for name in alert["output_fields"]}
    missing = {name for name in found if not is_catalogued(name)}
    assert missing == {"ebpf_enabled", "n_drops", "n_evts"}  # metrics of Falco itself


@pytest.mark.corpora
@pytest.mark.skipif(not RULES.is_dir(), reason=f"needs {RULES}, which is absent")
def test_catalogue_names_every_field_that_public_rules_put_out() -> None:
    texts = [path.read_text() for path in sorted(RULES.rglob("*.yaml"))]
    found = {name for text in texts for name in re.findall(r"%([a-z0-9]+\.[a-zA-Z0-9._]+)", text)}
    assert len(found) > 50
    assert not {name for name in found if not is_catalogued(name)}
