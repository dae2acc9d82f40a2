"""The scan as a whole: workers, repeats, windows over a spool, rules that give up."""

import io
import json
import os
import pickle
import random
import signal
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from trailhound.engine.tests import GIVE_UPS_LIMIT
from trailhound.intake.files import InputFile, find_inputs
from trailhound.model.errors import TrailhoundError
from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.pipeline import scan as scan_module
from trailhound.pipeline import spool as spool_module
from trailhound.pipeline import units
from trailhound.pipeline.reading import UnitReader
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import Scan, run_scan
from trailhound.pipeline.tally import Tally
from trailhound.sinks import SINKS
from trailhound.sinks.contract import SinkOptions
from trailhound.sources import SOURCES

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


HEARTBEAT = """---
title: no more secrets are read
id: 22222222-2222-4222-8222-222222222229
correlation:
    type: event_count
    rules: [11111111-1111-4111-8111-111111111111]
    timespan: 1m
    condition: {eq: 0}
"""


def test_silence_until_the_end_of_the_log_is_silence(tmp_path: Path, rule: Path) -> None:
    uid = next(line.split()[1] for line in SECRET_READS.splitlines() if line.startswith("id:"))
    rule.write_text(SECRET_READS + HEARTBEAT.replace("11111111-1111-4111-8111-111111111111", uid))
    told = []
    for last in ("2026-05-01T00:00:50Z", "2026-05-01T00:03:00Z"):
        other = audit(9, objectRef={"resource": "pods", "name": "p"}) | {"stageTimestamp": last}
        other["requestReceivedTimestamp"] = last
        log = write(tmp_path / "a.jsonl", [secret(1), other])
        found, _ = scan([log], rule)
        told.append([f.reason[:13] for f in found if f.rule.title.startswith("no more")])
    assert told == [[], ["only 0 events"]]


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


def test_windows_do_not_depend_on_which_stage_was_read_first(tmp_path: Path, rule: Path) -> None:
    """A request stands in two files, with another stage of it in each; the earlier one counts."""
    stages = ("RequestReceived", "ResponseComplete")
    for stage, name in zip(stages, ("z.jsonl", "a.jsonl"), strict=True):
        late = ".500000Z" if stage == "ResponseComplete" else ".000000Z"
        documents = [
            secret(n * 3, stage=stage)
            | {
                "requestReceivedTimestamp": f"2026-05-01T00:00:{n * 3:02}.000000Z",
                "stageTimestamp": f"2026-05-01T00:00:{n * 3:02}{late}",
            }
            for n in range(8)
        ]
        write(tmp_path / name, documents)
    first, last = tmp_path / "z.jsonl", tmp_path / "a.jsonl"
    found = [scan(paths, rule)[0] for paths in ([first, last], [last, first])]
    windows = [[f for f in each if f.group] for each in found]
    assert brief(windows[0]) == brief(windows[1])
    assert [(f.event_count, {e.origins[0].path for e in f.events}) for f in windows[0]] == [
        (8, {str(first)})
    ]
    # And as single findings each request is one, whichever was read first.
    assert [len(each) for each in found] == [9, 9]


def test_an_id_that_the_client_chose_does_not_make_requests_one(tmp_path: Path, rule: Path) -> None:
    """Clients of Kubernetes may send their own audit id (header `Audit-ID`)."""
    received = [
        secret(n * 3, auditID="same")
        | {"requestReceivedTimestamp": f"2026-05-01T00:00:{n * 3:02}.000000Z"}
        for n in range(8)
    ]
    for documents in (received, [secret(n * 3, auditID="same") for n in range(8)]):
        found, _ = scan([write(tmp_path / "a.jsonl", documents)], rule)
        assert [f.rule.title for f in found].count("secret read") == 8
        assert [f.event_count for f in found if f.group] == [8]


@pytest.mark.parametrize(("blocks", "size_bytes"), [(1, 1 << 22), (3, 1 << 22), (512, 4_000)])
def test_what_was_found_in_many_blocks_is_read_in_its_order(
    blocks: int, size_bytes: int, tmp_path: Path, rule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trailhound.intake.blocks.LINE_LIMIT", 50_000)
    lines = [
        json.dumps(secret(n) if n % 3 else audit(n), separators=(",", ":")) for n in range(900)
    ]
    lines[200] = "x" * 70_000
    lines[400] = '{"verb":'
    guess = "Jan  1 10:00:00 web-1 sshd[1]: Failed password for root from 10.0.0.1 port 1 ssh2"
    lines[600:603] = [guess] * 3
    log = tmp_path / "log"
    log.write_text("\n".join(lines) + "\n")

    def told() -> tuple[list[object], object, object, object]:
        found, totals = scan([log], rule)
        return [*brief(found)], totals.failures, totals.events, totals.records_read

    usual = told()
    assert len(usual[0]) > 500
    monkeypatch.setattr("trailhound.intake.files.READ_BYTES", 4_096)
    monkeypatch.setattr("trailhound.pipeline.reading._BLOCKS_SEARCHED", blocks)
    monkeypatch.setattr("trailhound.pipeline.reading._HELD_BYTES", size_bytes)
    assert told() == usual


def test_parts_keep_their_lines_beside_lines_that_are_split(
    tmp_path: Path, rule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [json.dumps(secret(n), separators=(",", ":")) for n in range(600)]
    long = [json.dumps(secret(n)) for n in range(1000, 1060)]
    batch = '{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + ",".join(long) + "]}"
    documents[100] = batch
    documents[110] = "x" * 70_000
    documents[300] = batch
    path = tmp_path / "log"
    path.write_text("\n".join(documents) + "\n")
    monkeypatch.setattr(units, "PART_BYTES", 60_000)
    monkeypatch.setattr("trailhound.intake.blocks.SPLIT_BYTES", 20_000)
    monkeypatch.setattr("trailhound.intake.blocks.LINE_LIMIT", 50_000)
    for module in ("files", "compression"):
        monkeypatch.setattr(f"trailhound.intake.{module}.READ_BYTES", 4_096)
    plan = scan_module.plan_for(
        load_rules([str(rule)], builtin=False, placeholders={}, cache=None).ruleset.rules
    )
    (whole,) = find_inputs([str(path)])
    parts = units.parts_of(whole)
    assert len(parts) > 3

    def read(files: Sequence[InputFile]) -> tuple[list[tuple[str, str]], list[object]]:
        lines: Counter[str] = Counter()
        tally = Tally()
        found = []
        reader = UnitReader(plan, SOURCES)
        for unit in units.cut(files):
            # As workers give them: each item by itself.
            made = scan_module._read_unit(unit, reader, None, lambda _: None)
            items = (pickle.loads(pickle.dumps(item)) for item in made)
            for item in scan_module._placed(unit, items, lines):
                if isinstance(item, Tally):
                    tally.add(item)
                elif isinstance(item, Finding):
                    found.append((item.rule.title, str(item.events[0].origins[0])))
        return found, [tally.events, tally.lines, tally.failures()]

    alone, apart = read([whole]), read(parts)
    assert apart[1] == alone[1]
    assert apart[0] == alone[0]
    places = {int(place.split(":")[-1].partition("#")[0]) for _, place in alone[0]}
    assert places == {*range(1, 601)} - {111}


@pytest.mark.parametrize("outlet", ["table", "csv"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_many_findings_stay_flat(outlet: str, jobs: int, tmp_path: Path, rule: Path) -> None:
    rule.write_text(SECRET_READS.split("---", maxsplit=1)[0].replace("secret read", "read"))
    for name in ("a", "b"):
        with open(tmp_path / f"{name}.jsonl", "w") as file:
            for n in range(4_000):
                document = secret(n, auditID=f"{name}{n}", user={"username": f"u{n % 50}"})
                file.write(json.dumps(document) + "\n")
    rules = load_rules([str(rule)], builtin=False, placeholders={}, cache=None)
    files = find_inputs([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    count = 0
    with open(tmp_path / "out", "w") as stream:
        writer = SINKS[outlet].writer(stream, SinkOptions(colour=False))

        def deliver(finding: Finding) -> None:
            nonlocal count
            count += 1
            writer.write(finding)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(units, "_UNIT_BYTES", 1_000_000)
            tracemalloc.start()
            try:
                writer.close(run_scan(Scan(files, rules, jobs=jobs), deliver))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert count == 8_000
    # 8,000 events of 1.3 kB would be over 40 MB as Python objects.
    assert peak < 14 * 1024 * 1024


WINDOW = """title: Secrets
id: 6f1e0d3a-1c3f-4a0e-9d53-0c6b1c5a9e12
logsource: {product: kubernetes, service: audit}
detection: {s: {objectRef.resource: secrets}, condition: s}
---
title: Many
id: 6f1e0d3a-1c3f-4a0e-9d53-0c6b1c5a9e13
correlation: {type: event_count, rules: [6f1e0d3a-1c3f-4a0e-9d53-0c6b1c5a9e12],
  group-by: [verb], timespan: 1h, condition: {gte: 1}}
level: low
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_of_temporary_files_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    rule = tmp_path / "window.yml"
    rule.write_text(WINDOW)
    paths = [write(tmp_path / f"{n}.jsonl", [secret(n)]) for n in range(2)]
    monkeypatch.setattr(units, "_UNIT_BYTES", 1)
    for name in ("SpooledTemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, lambda *_, **__: io.FileIO("/dev/full", "r+"))
    with pytest.raises(TrailhoundError, match=r"no room left in \S+ for temporary .* set TMPDIR"):
        scan(paths, rule, jobs=jobs)


def test_a_worker_that_dies_is_told(
    tmp_path: Path, rule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / f"{n}.jsonl", [secret(n)]) for n in range(4)]
    monkeypatch.setattr(units, "_UNIT_BYTES", 1)
    monkeypatch.setattr(scan_module, "_work", die)
    with pytest.raises(TrailhoundError, match="a worker process was ended"):
        scan(paths, rule, jobs=2)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
