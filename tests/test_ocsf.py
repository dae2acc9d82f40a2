"""OCSF output against the official schema, offline.

`ocsf-json-schema` carries the exports of schema.ocsf.io and turns a class with its profiles
into JSON Schema 2020-12, which `jsonschema` checks: required attributes, unknown attributes,
types, enumerations, formats given as a pattern (addresses, UUIDs), length limits, and the
constraints "at least one" and "just one". It cannot check what the schema says only in prose:
that a caption fits its number, that `type_uid` is computed, that an observable's name points
somewhere, that times are plausible. The captions, the sum and the pointers are checked here;
that a value *means* what its attribute means, nothing checks.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from sink_stories import STORIES, TEXT_FIELDS, event, finding, hostile_text, rendered, rule
from trailhound.model.events import Outcome
from trailhound.model.findings import Finding
from trailhound.model.levels import Level
from trailhound.model.totals import Totals
from trailhound.sinks.attack import Tactic, attack_of
from trailhound.sinks.contract import SinkOptions
from trailhound.sinks.ocsf import SCHEMA_VERSION

VERSIONS = ("1.5.0", "1.6.0", "1.7.0", "1.8.0")
CLASS = "detection_finding"


@cache
def schema(version: str) -> dict[str, Any]:
    return get_ocsf_schema(version)


@cache
def validator(version: str = SCHEMA_VERSION) -> Draft202012Validator:
    made = OcsfJsonSchemaEmbedded(schema(version)).get_class_schema(CLASS, ["host"])
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def problems(document: dict[str, Any], version: str = SCHEMA_VERSION) -> list[str]:
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in validator(version).iter_errors(document)
    ]


def ocsf(*findings: Finding, **options: Any) -> list[dict[str, Any]]:
    text = rendered("ocsf", list(findings), Totals(), SinkOptions(**options))
    return [json.loads(line) for line in text.splitlines()]


def attributes(
    document: dict[str, Any], name: str = CLASS
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every object of the document with the schema's attributes of its type."""
    version = document.get("metadata", {}).get("version", SCHEMA_VERSION)
    kinds = schema(version)
    known = kinds["classes"].get(name) or kinds["objects"][name]
    yield document, known["attributes"]
    for key, value in document.items():
        attribute = known["attributes"].get(key)
        if not attribute or attribute["type"] != "object_t" or attribute["object_type"] == "object":
            continue
        for item in value if isinstance(value, list) else [value]:
            yield from attributes(item, attribute["object_type"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("story", STORIES)
def test_stories_fit_the_schema(story: str, version: str) -> None:
    for document in ocsf(*STORIES[story]()[0], created_ns=1_772_600_000_000_000_000):
        assert problems(document, version) == []


@pytest.mark.parametrize("story", STORIES)
def test_captions_fit_their_numbers_and_nothing_is_deprecated(story: str) -> None:
    siblings = 0
    for document in ocsf(*STORIES[story]()[0]):
        for here, known in attributes(document):
            for key, value in here.items():
                assert "@deprecated" not in known[key], key
                sibling = known[key].get("sibling")
                caption = known[key].get("enum", {}).get(str(value), {}).get("caption")
                if sibling in here and value != 99:
                    siblings += 1
                    assert here[sibling] == caption
        assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]
        assert document["metadata"]["version"] == SCHEMA_VERSION
    assert siblings or story == "none"


@pytest.mark.parametrize("story", STORIES)
def test_observables_point_at_their_value(story: str) -> None:
    for document in ocsf(*STORIES[story]()[0]):
        for observable in document.get("observables", []):
            here: Any = document
            for step in observable["name"].replace("[", ".[").split("."):
                here = here[int(step[1:-1])] if step.startswith("[") else here[step]
            assert here == observable["value"]


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda d: d.update(colour="red"), "'colour' was unexpected"),
        (lambda d: d.pop("metadata"), "'metadata' is a required property"),
        (lambda d: d["finding_info"].pop("uid"), "'uid' is a required property"),
        (lambda d: d.update(severity_id=7), "7 is not one of"),
        (lambda d: d.update(class_uid=2005), "2004 was expected"),
        (lambda d: d.update(time="now"), "'now' is not of type 'integer'"),
        (lambda d: d["evidences"][0]["src_endpoint"].update(ip="here"), "does not match"),
        (lambda d: d["evidences"][0]["actor"].update(colour=1), "'colour' was unexpected"),
        (lambda d: d["evidences"][0].clear(), "is not valid under any of the given schemas"),
        (lambda d: d["finding_info"]["attacks"].append({"version": "19"}), "not valid under any"),
        (lambda d: d["metadata"].update(profiles="host"), "is not of type 'array'"),
        (lambda d: d.update(cloud={"provider": "AWS"}), "'cloud' was unexpected"),
    ],
)
def test_the_validator_has_teeth(break_it: Any, complaint: str) -> None:
    document = ocsf(STORIES["attack"]()[0][0])[0]
    assert problems(document) == []
    break_it(document)
    assert any(complaint in problem for problem in problems(document)), problems(document)


text = hostile_text(30)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@settings(max_examples=60, deadline=None)
@given(
    envelope=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(TEXT_FIELDS, text)
        | {
            "src_ip": text | addresses | addresses.map(lambda ip: f"{ip}%eth0"),
            "outcome": st.sampled_from(Outcome),
            "class_uid": st.sampled_from([0, 1007, 2004, 3001, 3002, 6003]),
            "activity_id": st.integers(0, 99),
            "actor_groups": st.lists(text, max_size=3).map(tuple),
        },
    ),
    at=st.integers(-(2**63), 2**63),
    level=st.sampled_from(Level),
    tags=st.lists(text | st.sampled_from(["attack.t1078.004", "attack.stealth"]), max_size=4),
)
def test_whatever_the_fields_hold_fits_the_schema(
    envelope: dict[str, Any], at: int, level: Level, tags: list[str]
) -> None:
    one = event(at=at, document={}, **envelope)
    info = rule(level=level, tags=tuple(tags))
    for document in ocsf(finding(info, one, one, reason=envelope.get("action", ""))):
        assert problems(document) == []


@given(address=st.ip_addresses(v=6) | st.ip_addresses(v=4).map(lambda v4: f"::ffff:{v4}"))
@settings(max_examples=50, deadline=None)
def test_addresses_are_addresses(address: Any) -> None:
    one = event(document={}, src_ip=str(address))
    endpoint = ocsf(finding(rule(), one))[0]["evidences"][0]["src_endpoint"]
    assert endpoint == {"ip": str(address)}


def test_a_finding_in_full() -> None:
    one = event(
        at=1_772_503_200_123_456_789,
        place="audit.log:88",
        document={"verb": "create", "user": {"username": "alice"}},
        class_uid=6003,
        activity_id=1,
        action="create",
        actor_name="alice",
        actor_groups=("dev",),
        invoked_by="eve",
        session_uid="s1",
        target_type="pods",
        target_namespace="prod",
        target_name="web",
        outcome=Outcome.FAILURE,
        outcome_detail="403",
        src_ip="10.1.2.3",
        user_agent="kubectl",
        device="cluster-1",
        request_uid="r1",
    )
    info = rule(
        "Odd pod",
        Level.CRITICAL,
        tags=("attack.execution", "attack.t1610", "attack.t1609", "cve.2021-44228"),
    )
    [document] = ocsf(finding(info, one), created_ns=1_772_600_000_000_000_000)
    assert document["severity_id"] == 5
    assert document["time"] == 1_772_503_200_123
    assert document["message"] == "Odd pod: eve as alice, create pods prod/web"
    assert document["actor"] == {
        "user": {"name": "alice", "groups": [{"name": "dev"}]},
        "session": {"uid": "s1"},
    }
    assert document["resources"] == [{"name": "web", "type": "pods", "namespace": "prod"}]
    [evidence] = document["evidences"]
    assert evidence["api"] == {
        "operation": "create",
        "request": {"uid": "r1"},
        "response": {"code": 403},
    }
    assert evidence["data"] == {
        "origins": [{"path": "audit.log", "line": 88, "element": 0}],
        "invoked_by": "eve",
        "document": {"verb": "create", "user": {"username": "alice"}},
    }
    assert json.loads(document["raw_data"]) == evidence["data"]["document"]
    tactic = {
        "uid": "TA0002",
        "name": "Execution",
        "src_url": "https://attack.mitre.org/tactics/TA0002/",
    }
    attacks = document["finding_info"]["attacks"]
    assert [attack["tactic"] for attack in attacks] == [tactic, tactic]
    assert [attack["technique"]["uid"] for attack in attacks] == ["T1610", "T1609"]
    assert document["finding_info"]["created_time"] == 1_772_600_000_000
    assert document["finding_info"]["analytic"]["uid"] == info.uid


def test_without_the_time_of_the_scan_output_depends_on_the_input_alone() -> None:
    one = finding(rule(), event())
    assert ocsf(one) == ocsf(one)
    assert "created_time" not in ocsf(one)[0]["finding_info"]


def test_the_explanation_is_kept_as_it_is() -> None:
    findings, _ = STORIES["attack"]()
    tree = ocsf(findings[2])[0]["unmapped"]["explanation"]
    assert tree["label"] == "selection"
    assert tree["children"][0]["children"][1] == {
        "label": "verb is 'get'",
        "matched": False,
        "path": "verb",
        "value": "create",
    }


def test_attack_tags() -> None:
    attack = attack_of(
        (
            "attack.privilege_escalation",
            "attack.privilege-escalation",
            "Attack.T1078.004",
            "attack.t1078",
            "attack.s0002",
            "attack.g0049",
            "attack.t10",
            "attack.nonsense",
            "cve.2021-44228",
            "attack",
            "",
        )
    )
    assert attack.tactics == (Tactic("TA0004", "Privilege Escalation"),)
    assert attack.techniques == ("T1078.004", "T1078")
    assert attack.version == ""


def test_the_version_of_attack_is_said_only_where_tags_tell() -> None:
    assert attack_of(("attack.stealth",)).version == "19"
    assert attack_of(("attack.defense-impairment",)).tactics[0].uid == "TA0112"
    assert attack_of(("attack.defense-evasion",)).version == ""
