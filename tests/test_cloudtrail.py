"""What samples cannot say of CloudTrail: any value anywhere, sizes, look-alikes, real logs."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin, ParseFailure, Payload
from trailhound.sources.cloudtrail import SOURCE

SAMPLES = Path(__file__).parent / "samples" / "sources" / "cloudtrail"
LOGS = Path(__file__).parents[2] / "shared" / "corpora" / "logs" / "cloudtrail"
RULES = LOGS.parents[1] / "sigma" / "rules" / "cloud" / "aws"
HERE = Origin("log", 1)

RECORD: dict[str, Any] = json.loads(
    (SAMPLES / "identities" / "in.jsonl").read_text().split("\n")[0]
)

INNER_KEYS = """
    type arn userName principalId accountId accessKeyId invokedBy sessionContext sessionIssuer
    sourceIdentity onBehalfOf userId resources ARN bucketName key instancesSet items instanceId
    accessKey ConsoleLogin insightDetails state omitted errorCode errorMessage
"""
WORDS = """
    Root IAMUser AssumedRole FederatedUser AWSService AWSAccount IdentityCenterUser AwsApiCall
    AwsConsoleSignIn AwsCloudTrailInsight ConsoleLogin AssumeRole RunInstances CreateAccessKey
    sts.amazonaws.com s3.amazonaws.com 1.08 2026-03-02T08:00:05Z Failure arn:aws:iam::1:user/a
    arn:aws:sts::1:assumed-role/r/s arn:::::/ : / .. 1.2.3.4 ::1
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
names = st.sampled_from([*RECORD, *INNER_KEYS.split()])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
spoilt_records = st.dictionaries(names, values, max_size=8).map(lambda change: RECORD | change)


def read(document: dict[str, Any]) -> tuple[Event, list[ParseFailure]]:
    items = list(SOURCE.reader().read(Payload(HERE, document=document)))
    event, *failures = items
    assert isinstance(event, Event)
    assert all(isinstance(item, ParseFailure) for item in failures)
    return event, failures  # type: ignore[return-value]


def gate_accepts(document: dict[str, Any]) -> bool:
    assert SOURCE.gate is not None
    return SOURCE.gate.accepts(
        [document.get(path[0], msgspec.UNSET) for path in SOURCE.gate.signature]
    )


def check_types(envelope: Envelope) -> None:
    assert msgspec.convert(msgspec.to_builtins(envelope), Envelope) == envelope


@given(spoilt_records)
def test_any_value_anywhere_is_read(document: dict[str, Any]) -> None:
    before = repr(document)
    recognised = SOURCE.recognises(Payload(HERE, document=document))
    if gate_accepts(document):
        assert recognised
    event, failures = read(document)
    check_types(event.envelope)
    assert event.views == {"cloudtrail": (document,)}
    assert all(not failure.lost for failure in failures)
    assert repr(document) == before


@given(st.dictionaries(names, values, max_size=6))
def test_any_object_is_judged_by_gate_and_source_alike(document: dict[str, Any]) -> None:
    recognised = SOURCE.recognises(Payload(HERE, document=document))
    assert isinstance(recognised, bool)
    assert recognised or not gate_accepts(document)


@pytest.mark.parametrize("key", sorted(RECORD))
def test_one_spoilt_value_hides_no_record(key: str) -> None:
    for value in (None, 7, [], {}, "", [[["x"]]]):
        document = RECORD | {key: value}
        assert SOURCE.recognises(Payload(HERE, document=document)), (key, value)
        check_types(read(document)[0].envelope)


def test_ten_megabytes_in_every_place_cost_no_time() -> None:
    huge = "é:/->" * 2_000_000
    for key in (*RECORD, "errorCode"):
        document = RECORD | {key: huge}
        started = time.perf_counter()
        recognised = SOURCE.recognises(Payload(HERE, document=document))
        envelope = read(document)[0].envelope
        assert time.perf_counter() - started < 1
        assert recognised
        assert all(len(value) <= 5000 for value in msgspec.structs.astuple(envelope)[3:12])
    identity = RECORD["userIdentity"] | {"type": "AssumedRole", "arn": huge, "principalId": huge}
    envelope = read(RECORD | {"userIdentity": identity})[0].envelope
    assert len(envelope.actor_name) <= 5000


def test_deep_nesting_is_read() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = {"userIdentity": [deep]}
    for key in RECORD:
        check_types(read(RECORD | {key: deep})[0].envelope)


@pytest.mark.parametrize(
    "document",
    [
        # Event notifications of S3 and DynamoDB.
        {
            **RECORD,
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
        },
        {
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "eventName": "INSERT",
            "dynamodb": {},
        },
        # A digest file, and the file that holds records.
        {"awsAccountId": "111122223333", "digestStartTime": "2026-03-02T08:00:00Z", "logFiles": []},
        {"Records": [RECORD]},
        {"eventVersion": "version one", "eventSource": "iam.amazonaws.com"},
        {"eventVersion": "1.08"},
        {},
    ],
)
def test_look_alikes_are_not_records(document: dict[str, Any]) -> None:
    assert not SOURCE.recognises(Payload(HERE, document=document))
    assert not gate_accepts(document)


def test_text_is_not_a_record() -> None:
    assert not SOURCE.recognises(Payload(HERE, text="eventVersion eventSource"))


def test_the_same_record_elsewhere_has_the_same_id() -> None:
    reader = SOURCE.reader()
    there = Payload(Origin("other", 9, 3), document=dict(reversed(RECORD.items())))
    first, second = (next(iter(reader.read(p))) for p in (Payload(HERE, document=RECORD), there))
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.uid == second.uid


# --- real logs ---------------------------------------------------------------------------

needs_corpora = pytest.mark.skipif(not LOGS.is_dir(), reason=f"needs {LOGS}, which is absent")


def real_records() -> Iterator[tuple[Origin, dict[str, Any]]]:
    for path in sorted(LOGS.glob("*.json")):
        for number, document in enumerate(json.loads(path.read_bytes())["Records"], 1):
            yield Origin(path.name, 1, number), document


@pytest.mark.corpora
@needs_corpora
def test_every_real_record_becomes_one_event_with_a_time_and_an_actor() -> None:
    reader = SOURCE.reader()
    count = 0
    for origin, document in real_records():
        payload = Payload(origin, document=document)
        assert SOURCE.recognises(payload)
        assert gate_accepts(document)
        (event,) = reader.read(payload)
        assert isinstance(event, Event)
        envelope = event.envelope
        check_types(envelope)
        assert envelope.time_ns > 0
        assert envelope.actor_name, origin
        assert envelope.actor_type
        assert envelope.action == document["eventName"]
        assert envelope.activity_id
        assert envelope.outcome
        behind = f"{envelope.actor_name} {envelope.actor_uid} {envelope.invoked_by}"
        assert envelope.src_ip or any(word in behind for word in (".amazonaws.com", "AWS Internal"))
        assert envelope.device.startswith("123837392027/")
        count += 1
    assert count == 1233
    assert list(reader.flush()) == []


def leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path


def is_catalogued(name: str) -> bool:
    for field in SOURCE.fields:
        stem = field.name.removesuffix(".*")
        below = field.name != stem and (name == stem or name.startswith(stem + "."))
        # An object that holds nothing, or null, stands for the fields below it.
        if below or name == field.name or field.name.startswith(name + "."):
            return True
    return False


@pytest.mark.corpora
@needs_corpora
def test_catalogue_names_every_field_of_real_records() -> None:
    missing = {name for _, document in real_records() for name in leaves(document)}
    assert not {name for name in missing if not is_catalogued(name)}


@pytest.mark.corpora
@pytest.mark.skipif(not RULES.is_dir(), reason=f"needs {RULES}, which is absent")
def test_catalogue_names_every_field_of_public_rules() -> None:
    named: set[str] = set()
    for path in sorted(RULES.rglob("*.yml")):
        detection = yaml.safe_load(path.read_text())["detection"]
        for part in detection.values():
            for item in part if isinstance(part, list) else [part]:
                named.update(key.split("|")[0] for key in item if isinstance(item, dict))
    assert "userIdentity.sessionContext.sessionIssuer.type" in named
    # aws_delete_saml_provider.yml asks for `status: success`, which no record has.
    assert {name for name in named if not is_catalogued(name)} == {"status"}


def test_catalogue_names_every_field_of_the_samples() -> None:
    documents = [
        json.loads(line)
        for story in ("identities", "sign_in", "stolen_key", "other_events")
        for line in (SAMPLES / story / "in.jsonl").read_text().splitlines()
    ]
    missing = {name for document in documents for name in leaves(document)}
    assert not {name for name in missing if not is_catalogued(name)}
