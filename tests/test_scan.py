"""The scan as a whole: workers, repeats, windows over a spool, rules that give up."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from trailhound.engine.tests import GIVE_UPS_LIMIT
from trailhound.intake.files import find_inputs
from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.pipeline import scan as scan_module
from trailhound.pipeline import spool as spool_module
from trailhound.pipeline import units
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import Scan, run_scan

SECRET_READS = """title: secret read
id: 11111111-1111-4111-8111-111111111111
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
    selection: {verb: get, objectRef.resource: secrets}
    condition: selection
level: low
---
title: many secrets read
id: 22222222-2222-4222-8222-222222222222
correlation:
    type: event_count
    rules: [secret_read]
    group-by: [user.username]
    timespan: 10m
    condition: {gte: 5}
    generate: true
level: high
"""


def audit(number: int, **more: object) -> dict[str, object]:
    minute, second = divmod(number, 60)
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": f"user-{number % 3}"},
        "objectRef": {"resource": "pods", "namespace": "default", "name": f"p{number}"},
        "requestObject": {"padding": "x" * 900},
        "stageTimestamp": f"2026-05-01T{minute // 60:02}:{minute % 60:02}:{second:02}.000000Z",
        **more,
    }


def secret(number: int, **more: object) -> dict[str, object]:
    return audit(number, objectRef={"resource": "secrets", "name": f"s{number}"}, **more)


def write(path: Path, documents: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(d, separators=(",", ":")) + "\n" for d in documents))
    return path


def scan(paths: Sequence[Path], rule: Path, jobs: int = 1) -> tuple[list[Finding], Totals]:
    rules = load_rules([str(rule)], builtin=False, placeholders={}, cache=None)
    assert rules.ruleset.errors == ()
    found: list[Finding] = []
    totals = run_scan(Scan(find_inputs(list(map(str, paths))), rules, jobs=jobs), found.append)
    return found, totals


def brief(found: list[Finding]) -> list[tuple[str, str, int, tuple[str, ...]]]:
    return [
        (f.uid, f.rule.title, f.event_count, tuple(str(e.origins[0]) for e in f.events))
        for f in found
    ]


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    path = tmp_path / "rule.yml"
    path.write_text(SECRET_READS)
    return path


@pytest.mark.parametrize("many_files", [False, True])
def test_jobs_change_nothing(
    tmp_path: Path, rule: Path, monkeypatch: pytest.MonkeyPatch, many_files: bool
) -> None:
    documents = [secret(n) if n % 40 < 2 else audit(n) for n in range(3000)]
    lines = [json.dumps(document, separators=(",", ":")) for document in documents]
    lines[1500] = '{"kind":"Event", broken'
    logs = tmp_path / "logs"
    logs.mkdir()
    step = 250 if many_files else len(lines)
    for start in range(0, len(lines), step):
        (logs / f"part{start:05}.jsonl").write_text("\n".join(lines[start : start + step]) + "\n")
    size = 100_000 if many_files else 400_000
    monkeypatch.setattr(units, "_UNIT_BYTES", size)
    monkeypatch.setattr(units, "PART_BYTES", size)
    monkeypatch.setattr(scan_module, "PART_BYTES", size)
    alone, together = scan([logs], rule), scan([logs], rule, jobs=2)
    assert brief(together[0]) == brief(alone[0])
    assert len(alone[0]) > 150
    for name in ("events", "files_read", "records_read", "bytes_read", "failures", "findings"):
        assert getattr(together[1], name) == getattr(alone[1], name), name
    (failure,) = together[1].failures
    line = 1501 if not many_files else 1
    assert [example.origin.line for example in failure.examples] == [line]


def test_one_request_is_one_finding_and_counts_once(tmp_path: Path, rule: Path) -> None:
    stages = ("RequestReceived", "ResponseStarted", "ResponseComplete")
    documents = [secret(n * 3, stage=stage) for n in range(4) for stage in stages]
    found, totals = scan([write(tmp_path / "a.jsonl", documents)], rule)
    assert [f.rule.title for f in found] == ["secret read"] * 4
    assert totals.events == {"k8s_audit": 12}
    more = [*documents, *(secret(15, stage=stage) for stage in stages)]
    found, _ = scan([write(tmp_path / "b.jsonl", more)], rule)
    assert [(f.rule.title, f.event_count) for f in found][-1] == ("many secrets read", 5)


def test_windows_do_not_depend_on_the_order_of_files_and_lines(tmp_path: Path, rule: Path) -> None:
    documents = [secret(n * 7) for n in range(60)]
    shuffled = random.Random(1).sample(documents, len(documents))
    first, _ = scan([write(tmp_path / "a.jsonl", documents)], rule)
    halves = [
        write(tmp_path / "c.jsonl", shuffled[30:]),
        write(tmp_path / "b.jsonl", shuffled[:30]),
    ]
    second, _ = scan(halves, rule)
    windows = [
        [(f.uid, f.start_ns, f.time_ns, f.event_count, f.group) for f in found if f.group]
        for found in (first, second)
    ]
    assert windows[0]
    assert sorted(windows[0]) == sorted(windows[1])


def test_the_spool_sorts_what_memory_would_not_hold(
    tmp_path: Path, rule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [secret(n) for n in range(2000)]
    random.Random(2).shuffle(documents)
    path = write(tmp_path / "a.jsonl", documents)
    held, _ = scan([path], rule)
    monkeypatch.setattr(spool_module, "_RUN_BYTES", 50_000)
    spilled, _ = scan([path], rule)
    assert brief(spilled) == brief(held)
    assert [f.event_count for f in held if f.group] == [667, 667, 666]


SLOW = """title: slow
id: 33333333-3333-4333-8333-333333333333
logsource: {product: kubernetes, service: audit}
detection:
    selection: {objectRef.name|re: '(?=x)^(x|xx)+$'}
    condition: selection
level: high
"""


def test_a_rule_that_takes_too_long_is_counted_and_stops_being_tried(
    tmp_path: Path, rule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trailhound.engine.tests.BACKTRACK_SECONDS", 0.01)
    slow = tmp_path / "slow.yml"
    slow.write_text(SLOW)
    rule.write_text(f"{SECRET_READS}---\n{SLOW}")
    evil = {"resource": "secrets", "name": "x" * 40 + "yz"}
    hostile = [audit(n, objectRef=evil) for n in range(50)]
    plain = audit(60, objectRef={"resource": "secrets", "name": "xxx"})
    log = write(tmp_path / "a.jsonl", [plain, *hostile, plain | {"auditID": "later"}])
    found, totals = scan([log], rule)
    assert [f.rule.title for f in found if not f.group].count("secret read") == 52
    assert [str(f.events[0].origins[0]) for f in found if f.rule.title == "slow"] == [f"{log}:1"]
    (problem,) = totals.rule_problems
    # The last event would match; that it was not judged any more is said, not hidden.
    assert f"took too long on {50 + 1} events" in problem.reason
    assert f"{log}:2" in problem.reason
    assert GIVE_UPS_LIMIT < 50
