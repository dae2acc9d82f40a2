"""Panther's rules as a user scans with them: alerts, what Python says, costs, and fails at."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trailhound.intake.files import find_inputs
from trailhound.lake.lake import Lake, Times
from trailhound.lake.store import Writer
from trailhound.model.events import Event
from trailhound.model.findings import Finding, Status
from trailhound.model.levels import Level
from trailhound.model.records import Origin, RawRecord
from trailhound.model.totals import Totals
from trailhound.pipeline.hunt import hunt_rules
from trailhound.pipeline.ingest import ingest
from trailhound.pipeline.rulebooks import LoadedRules, load_rules
from trailhound.pipeline.scan import Scan, plan_for, run_scan
from trailhound.pipeline.stream import Stream
from trailhound.sinks.native import totals_document
from trailhound.sinks.totals_text import totals_lines
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

RULE = """
    AnalysisType: rule
    RuleID: {id}
    Enabled: true
    LogTypes: [{log}]
    Severity: Medium
    Description: What it is.
"""


def cloudtrail(number: int, name: str, minute: int, **more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.08",
        "userIdentity": {"type": "IAMUser", "userName": "anna", "accountId": "111122223333"},
        "eventTime": f"2026-05-01T{12 + minute // 60}:{minute % 60:02}:00Z",
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "aws-cli",
        "eventID": f"11111111-1111-4111-8111-{number:012}",
        "eventType": "AwsApiCall",
        "recipientAccountId": "111122223333",
        **more,
    }


def write(folder: Path, **files: str) -> None:
    """Write files: `a__yml` is `a.yml`."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(textwrap.dedent(text))


def rule(rule_id: str, *more: str, log: str = "AWS.CloudTrail") -> str:
    head = textwrap.dedent(RULE.format(id=rule_id, log=log))
    return head + "".join(map(textwrap.dedent, more))


def loaded(folder: Path) -> LoadedRules:
    return load_rules([str(folder)], builtin=False, placeholders={}, cache=None)


def scan(folder: Path, *records: Any, jobs: int = 1) -> tuple[dict[str, list[Finding]], Totals]:
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    found: dict[str, list[Finding]] = {}
    totals = run_scan(
        Scan(find_inputs([str(log)]), loaded(folder), jobs=jobs),
        lambda finding: found.setdefault(finding.rule.uid, []).append(finding),
    )
    return found, totals


STOPPED = """
    def rule(event):
        return event.get("eventname") == "StopLogging"

    def title(event):
        return "Trail stopped by " + event.deep_get("userIdentity", "userName")

    def dedup(event):
        return event.get("awsRegion")

    def severity(event):
        if event.get("sourceIPAddress") == "198.51.100.7":
            return "CRITICAL"
        return "DEFAULT"

    def description(event):
        return f"At {event.event_time_epoch()}, {event.get('p_log_type')}."

    def reference(event):
        return "https://example.com/" + event.udm("actor")

    def runbook(event):
        return event.get("nothing")["at all"]

    def destinations(event):
        return ["pager", "mail"]

    def alert_context(event):
        return {"who": event.udm("actor"), "odd": "\\x1b[31m", "all": {"a": [1]}}
"""
MODEL = """
    AnalysisType: datamodel
    DataModelID: Own.CloudTrail
    Enabled: true
    LogTypes: [AWS.CloudTrail]
    Mappings:
      - {Name: actor, Path: userIdentity.userName}
"""


def test_an_alert_says_what_its_python_says(tmp_path: Path) -> None:
    write(tmp_path, a__yml=rule("Stopped", "Filename: a.py\n"), a__py=STOPPED, m__yml=MODEL)
    found, totals = scan(
        tmp_path,
        cloudtrail(1, "StopLogging", 0),
        cloudtrail(2, "StopLogging", 5, sourceIPAddress="203.0.113.9"),
        cloudtrail(3, "StopLogging", 6, awsRegion="eu-west-1", sourceIPAddress="203.0.113.9"),
        cloudtrail(4, "StartLogging", 7),
        cloudtrail(5, "StopLogging", 60),
    )
    first, other, later = sorted(found["Stopped"], key=lambda finding: finding.start_ns)
    assert first.message == "Trail stopped by anna"
    assert first.rule.level is Level.CRITICAL
    assert first.group == (("dedup", "eu-central-1"),)
    assert (first.event_count, other.event_count, later.event_count) == (2, 1, 1)
    assert other.rule.level is Level.MEDIUM
    assert first.rule.description == "At 1777636800, AWS.CloudTrail."
    assert first.rule.references == ("https://example.com/anna",)
    assert dict(first.values) == {
        "alert_context.who": "anna",
        "alert_context.odd": "\\x1b[31m",
        "alert_context.all": '{"a":[1]}',
        "destinations": "pager, mail",
    }
    (problem,) = totals.rule_problems
    assert problem.path == str(tmp_path / "a.py")
    assert problem.line == STOPPED[: STOPPED.index('event.get("nothing")')].count("\n") + 1
    assert problem.reason.startswith("runbook() failed on 4 events: TypeError")
    # `eventname` finds `eventName`, also in the test before it.
    (cost,) = totals.python
    assert (cost.rule, cost.asked, cost.matched, cost.failed) == ("Stopped", 4, 4, 4)
    assert cost.cpu_ns > 0
    (told,) = totals_document(totals)["python"]
    assert (told["rule"], told["asked"]) == ("Stopped", 4)
    text = [line for _, lines in totals_lines(totals) for _, line in lines]
    assert any(line.startswith("1 rule in Python: asked 4 times, yes 4") for line in text)


def test_a_rule_that_dies_hangs_or_raises_harms_only_itself(tmp_path: Path) -> None:
    bodies = {
        "Dies": "import os\n\ndef rule(event):\n    os._exit(3)\n    return True\n",
        "Hangs": "def rule(event):\n    while True:\n        pass\n    return True\n",
        "Raises": "def rule(event):\n    return event['no'] + 1\n",
        "Loads": "1 / 0\n\ndef rule(event):\n    return True\n",
        "Works": "def rule(event):\n    return True\n",
    }
    for name, source in bodies.items():
        (tmp_path / f"{name}.yml").write_text(rule(name, f"Filename: {name}.py\n"))
        (tmp_path / f"{name}.py").write_text(source)
    found, totals = scan(tmp_path, cloudtrail(1, "A", 0))
    assert list(found) == ["Works"]
    assert found["Works"][0].event_count == 1
    told = {problem.rule: problem for problem in totals.rule_problems}
    assert sorted(told) == ["Dies", "Hangs", "Loads", "Raises"]
    assert "1 event, not judged" in told["Dies"].reason
    assert told["Raises"].reason.startswith("rule() failed on 1 event, not judged: KeyError: 'no'")
    assert (told["Raises"].line, told["Hangs"].line) == (2, 2)
    assert "ZeroDivisionError" in told["Loads"].reason
    assert {cost.rule for cost in totals.python} == set(bodies)


def test_thresholds_count_matches_or_values(tmp_path: Path) -> None:
    simple = """
        Threshold: 3
        DedupPeriodMinutes: 10
        Detection:
          - {KeyPath: eventName, Condition: Equals, Value: GetUser}
    """
    unique = """
        def rule(event):
            return event.get("eventName") == "GetUser"

        def dedup(event):
            return "one"

        def unique(event):
            return event.get("awsRegion")
    """
    write(
        tmp_path,
        a__yml=rule("Matches", simple),
        b__yml=rule("Values", "Threshold: 2\nFilename: b.py\n"),
        b__py=unique,
    )
    records = [cloudtrail(n, "GetUser", n) for n in range(4)]
    found, _ = scan(tmp_path, *records, cloudtrail(9, "GetUser", 30))
    assert [finding.event_count for finding in found.pop("Matches")] == [4]
    assert not found
    found, _ = scan(tmp_path, *records[:2], cloudtrail(9, "GetUser", 3, awsRegion="eu-west-1"))
    assert [finding.event_count for finding in found["Values"]] == [3]
    assert found["Values"][0].reason == ("3 matches within 1 h (rule: at least 2 different values)")


def test_an_activity_of_workspace_has_several_events(tmp_path: Path) -> None:
    source = """
        def rule(event):
            return (
                event.deep_get("id", "applicationName") == "admin"
                and event.get("name") == "CHANGE_SETTING"
                and event.deep_get("parameters", "NEW_VALUE") == "off"
            )
    """
    log = "GSuite.ActivityEvent"
    write(tmp_path, a__yml=rule("Setting", "Filename: a.py\n", log=log), a__py=source)
    simple = """
        Detection:
          - {KeyPath: name, Condition: Equals, Value: CHANGE_SETTING}
          - {KeyPath: parameters.NEW_VALUE, Condition: Equals, Value: "off"}
    """
    write(tmp_path, b__yml=rule("Simple", simple, log=log))

    def event(value: str) -> dict[str, Any]:
        parameters = [{"name": "NEW_VALUE", "value": value}]
        return {"type": "X", "name": "CHANGE_SETTING", "parameters": parameters}

    activity = {
        "kind": "admin#reports#activity",
        "id": {
            "time": "2026-05-01T12:00:00Z",
            "uniqueQualifier": "-6",
            "applicationName": "admin",
            "customerId": "C0",
        },
        "actor": {"email": "lin@example.com", "profileId": "1"},
        "events": [event("on"), event("off"), event("off")],
    }
    found, totals = scan(tmp_path, activity)
    assert {uid: [f.event_count for f in each] for uid, each in found.items()} == {
        "Setting": [1],
        "Simple": [1],
    }
    (cost,) = totals.python
    assert cost.matched == 2


def folder_of_rules(folder: Path) -> None:
    sequence = """
        AnalysisType: correlation_rule
        RuleID: Chain
        Enabled: true
        Severity: High
        Detection:
          - Sequence:
              - {ID: Key, RuleID: Key, MinMatchCount: 2}
              - {ID: Stop, RuleID: Stopped}
            Transitions:
              - From: Key
                To: Stop
                WithinTimeFrameMinutes: 20
                Match:
                  - From: p_alert_context.user
                    To: p_alert_context.who
            LookbackWindowMinutes: 60
            Schedule: {RateMinutes: 5, TimeoutMinutes: 1}
    """
    key = """
        CreateAlert: false
        Detection:
          - {KeyPath: eventName, Condition: Equals, Value: CreateAccessKey}
        AlertContext:
          - {KeyName: user, KeyValue: {KeyPath: userIdentity.userName}}
    """
    write(
        folder,
        a__yml=rule("Stopped", "Filename: a.py\n"),
        a__py=STOPPED,
        m__yml=MODEL,
        k__yml=rule("Key", key),
        c__yml=sequence,
    )


RECORDS = [
    cloudtrail(1, "CreateAccessKey", 0),
    cloudtrail(2, "CreateAccessKey", 4),
    cloudtrail(3, "StopLogging", 10),
    cloudtrail(4, "StopLogging", 90),
    cloudtrail(5, "CreateAccessKey", 91),
    cloudtrail(6, "StopLogging", 92, userIdentity={"type": "IAMUser", "userName": "bert"}),
]


def told(findings: list[Finding]) -> set[tuple[Any, ...]]:
    return {
        (f.rule.uid, f.rule.level, f.start_ns, f.time_ns, f.event_count, f.message, f.values)
        for f in findings
    }


def scanned(folder: Path, jobs: int = 1) -> list[Finding]:
    found, _ = scan(folder, *RECORDS, jobs=jobs)
    return [finding for each in found.values() for finding in each]


def hunted(folder: Path) -> list[Finding]:
    found: list[Finding] = []
    with Writer(folder / "lake") as writer:
        ingest(writer, find_inputs([str(folder / "log.jsonl")]))
    result = hunt_rules(Lake(folder / "lake"), loaded(folder), Times(), found.append)
    assert [cost.rule for cost in result.totals.python] == ["Stopped"]
    assert {what.reason for _, what in result.unsupported} == {
        "its Python is asked afterwards, of what the rest of it selects"
    }
    return found


def streamed(folder: Path) -> list[Finding]:
    ruleset = loaded(folder).ruleset
    decoder = Decoder(all_sources())
    stream = Stream(plan_for(ruleset.rules), folder / "w", programs=ruleset.programs)
    last: dict[str, Finding] = {}
    for number, record in enumerate(reversed(RECORDS)):
        raw = RawRecord(json.dumps(record).encode(), Origin("s", number + 1))
        events = [item for item in decoder.decode(raw) if isinstance(item, Event)]
        for finding in stream.take(events, 0):
            last[finding.uid] = finding
    last.update((finding.uid, finding) for finding in stream.end())
    stream.close()
    return [finding for finding in last.values() if finding.status is not Status.WITHDRAWN]


@pytest.mark.parametrize("way", [hunted, streamed], ids=["hunt", "stream"])
def test_every_way_finds_the_same(tmp_path: Path, way: Callable[[Path], list[Finding]]) -> None:
    folder_of_rules(tmp_path)
    expected = told(scanned(tmp_path))
    assert [finding[0] for finding in sorted(expected)] == ["Chain", *["Stopped"] * 2]
    assert told(way(tmp_path)) == expected


def test_rules_from_the_cache_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    folder_of_rules(folder)
    both = [
        load_rules([str(folder)], builtin=False, placeholders={}, cache=tmp_path / "cache")
        for _ in range(2)
    ]
    assert both[0] == both[1]
    (folder / "a.py").write_text("def rule(event):\n    return False\n")
    changed = load_rules([str(folder)], builtin=False, placeholders={}, cache=tmp_path / "cache")
    assert changed.ruleset.programs["Stopped"].source.endswith("False\n")
