"""Findings carry their proofs: whoever has the public key checks them, without anything else."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from test_serve import BUSY
from test_serve_keeping import DEMO, LOGIN, arrivals, judge_of, kubernetes
from trailhound.cli.main import main
from trailhound.intake.arrivals import Arrival
from trailhound.ledger.audit import leaves
from trailhound.ledger.keys import read_verifier
from trailhound.ledger.leaf import read_context
from trailhound.ledger.log import kept_record
from trailhound.ledger.notes import Signer
from trailhound.pipeline.sealed_findings import check_findings

ANY = """\
title: Something of Linux
id: 7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a1{}
logsource: {{product: linux, service: {}}}
detection:
  keywords: ["root"]
  condition: keywords
level: low
---
"""
OFTEN = """\
---
title: Often
id: 7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a19
correlation:
  type: event_count
  rules: [7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a11]
  timespan: 1d
  condition: {gte: 30}
  generate: true
level: medium
"""


@pytest.fixture(scope="module", params=["ndjson", "ocsf"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Findings and a public key, as somebody else was given them."""
    folder = tmp_path_factory.mktemp("served")
    rules = folder / "rules.yml"
    rules.write_text("".join([ANY.format(2, "auditd"), ANY.format(3, "sshd"), BUSY, OFTEN]))
    judge = judge_of(folder / "s", rules=(str(rules),), findings_format=request.param)
    number = 1
    audit = (DEMO / "bastion/audit.log").read_bytes().splitlines()[:120]
    for at_s, lines in (
        (0, [*kubernetes(200), b'{"no":"source"}']),
        (1, audit),
        (2, [LOGIN, LOGIN, b"\xff" + LOGIN]),
        (30, kubernetes(300)[200:]),
    ):
        judge.take(number, arrivals(lines, at_s, f"at {at_s}"))
        number += len(lines)
        if at_s:
            judge.keep()
    judge.settle(1_796_000_100_000_000_000)
    judge.keep()
    judge.close()
    other = tmp_path_factory.mktemp("other")
    shutil.copy(folder / "s/ledger/key.pub", other / "key.pub")
    with (other / "findings").open("wb") as whole:
        for part in sorted((folder / "s/findings").iterdir()):
            assert part.name.endswith(".ocsf.ndjson") == (request.param == "ocsf")
            whole.write(part.read_bytes())
    shutil.rmtree(folder)
    return other / "findings"


def key(findings: Path) -> Path:
    return findings.with_name("key.pub")


def test_they_are_verified_anywhere(findings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "findings", str(findings), "--key", str(key(findings))]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "verified"
    assert main(["verify", "findings", str(findings), "--key", str(key(findings)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verified"]
    by_rule: dict[str, list[Any]] = {}
    for one in report["findings"]:
        by_rule.setdefault(one["rule"], []).append(one)
    assert {"Something was changed", "Something of Linux", "Often"} <= by_rule.keys()
    assert all(one["events_read_again"] == 1 for one in by_rule["Something was changed"])
    assert all(one["events_read_again"] == 1 for one in by_rule["Something of Linux"])
    often = by_rule["Often"][-1]
    assert (often["events"], often["events_read_again"]) == (20, 3)


def test_another_key_verifies_nothing(
    findings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = read_verifier(str(key(findings))).name
    (tmp_path / "key.pub").write_text(str(Signer.generate(name).verifier))
    assert main(["verify", "findings", str(findings), "--key", str(tmp_path / "key.pub")]) == 1
    out = capsys.readouterr().out
    assert "DOES NOT HOLD: not signed by" in out
    assert out.splitlines()[-1] == "NOT VERIFIED"


def test_a_file_that_holds_no_findings_is_told_in_a_line(
    findings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "auth.log"
    log.write_text("no\nfinding\n\nat all\n")
    arguments = ["verify", "findings", str(log), str(findings), "--key", str(key(findings))]
    assert main(arguments) == 1
    told, *_, verdict = capsys.readouterr().out.splitlines()
    assert told == (
        f"{log}:1 (and 2 lines more): no finding: DOES NOT HOLD: the line is no finding"
    )
    assert verdict == "NOT VERIFIED"


def test_what_carries_no_proof_is_not_verified(tmp_path: Path, findings: Path) -> None:
    logs = str(DEMO / "bastion")
    out = tmp_path / "scan.ndjson"
    assert main(["scan", logs, "--format", "ndjson", "-o", str(out)]) in (0, 1)
    verifier = read_verifier(str(key(findings)))
    assert {one.reason for one in check_findings(out, verifier)} == {"it carries no proofs"}


def parts(document: dict[str, Any]) -> tuple[Any, Any]:
    if "unmapped" in document:
        events = [{"uid": e["uid"], **e["data"]} for e in document["evidences"]]
        return events, document["unmapped"]["proofs"]
    return document["events"], document["proofs"]


def test_any_change_is_found(findings: Path, tmp_path: Path) -> None:
    verifier = read_verifier(str(key(findings)))
    lines = findings.read_bytes().splitlines()
    chance = random.Random(7)
    changed = tmp_path / "changed"
    found = 0
    for _ in range(400):
        line = bytearray(chance.choice(lines))
        at = chance.randrange(len(line))
        line[at] = chance.choice((line[at] ^ 1, line[at] ^ 32, chance.randrange(32, 127)))
        changed.write_bytes(bytes(line).replace(b"\n", b""))
        (one,) = check_findings(changed, verifier)
        if one.reason:
            found += 1
            continue
        # What is not covered: words of the rule, notes; of a window, what comes from all events.
        events, proofs = parts(json.loads(changed.read_bytes()))
        match = [old for old in lines if parts(json.loads(old))[1]["records"] == proofs["records"]]
        assert match
        for event, old in zip(events, parts(json.loads(match[0]))[0], strict=True):
            assert (event["uid"], event["origins"]) == (old["uid"], old["origins"])
            assert event.get("document") in (old.get("document"), None)
    assert found > 200


def test_what_is_derived_from_an_event_is_covered(findings: Path, tmp_path: Path) -> None:
    verifier = read_verifier(str(key(findings)))
    document = json.loads(findings.read_bytes().splitlines()[3])
    assert len(parts(document)[0]) == 1
    derived = ["actor", "device", "time", "start", "start_time", "target", "action", "raw_data"]
    present = [name for name in derived if document.get(name)]
    assert len(present) >= 4
    for name in present:
        (tmp_path / "f").write_text(json.dumps({**document, name: "nobody"}))
        (one,) = check_findings(tmp_path / "f", verifier)
        assert one.reason == f"{name} is not what its events say"


def test_records_that_are_not_carried_are_read_where_they_are_kept(
    findings: Path, tmp_path: Path
) -> None:
    verifier = read_verifier(str(key(findings)))
    document = json.loads(findings.read_bytes().splitlines()[3])
    (carried,) = parts(document)[1]["records"]
    record = carried.pop("record").encode()
    (tmp_path / "f").write_text(json.dumps(document))
    (one,) = check_findings(tmp_path / "f", verifier, {carried["index"]: record}.get)
    assert (one.reason, one.read_again, one.summed_again) == ("", 1, True)
    (one,) = check_findings(tmp_path / "f", verifier, lambda _: record + b" ")
    assert "is not what was sealed" in one.reason


def swapped(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        record[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swapped("record", "{}"), "is not what was sealed"),
        (swapped("index", 0), "is not what the head was signed over"),
        (swapped("hashes", []), "the path does not fit"),
        (swapped("hashes", ["zz"]), "no hexadecimal"),
        (swapped("line", 1), "was sealed as files/a:"),
        (swapped("entry", "x"), "is not what the head was signed over"),
        (lambda record: record.pop("record"), "shown without its record"),
        (lambda record: record.clear(), "no finding: Object missing required field"),
    ],
)
def test_reasons(findings: Path, tmp_path: Path, change: Any, reason: str) -> None:
    verifier = read_verifier(str(key(findings)))
    document = json.loads(findings.read_bytes().splitlines()[3])
    change(parts(document)[1]["records"][0])
    (tmp_path / "f").write_text(json.dumps(document))
    (one,) = check_findings(tmp_path / "f", verifier)
    assert reason in one.reason


SUDO = ANY.format(4, "sudo")


def test_what_came_beside_a_record_is_redacted_sealed_and_proven(tmp_path: Path, capsys) -> None:
    (tmp_path / "rules.yml").write_text(SUDO)
    judge = judge_of(tmp_path / "s", rules=(str(tmp_path / "rules.yml"),))
    line = b"<86>1 2026-11-12T20:15:00Z - sudo 7 - - root : TTY=pts/0 ; PWD=/ ; COMMAND=x"
    beside = {"hostname": "db-1", "fields.password": "correct horse battery"}
    arrival = Arrival(line, "splunk/x", 1_796_000_000_000_000_000, "1", beside)
    judge.take(1, [arrival])
    judge.keep()
    judge.close()
    ledger, out = tmp_path / "s/ledger", tmp_path / "findings"
    (finding,) = (tmp_path / "s/findings").iterdir()
    out.write_bytes(finding.read_bytes())
    assert all(b"horse" not in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    leaf = dict(leaves(ledger, 1))[0]
    record, context = leaf.split(kept_record(ledger, 1, 0) or b"")
    assert record == line
    sealed_beside = read_context(context)
    assert sealed_beside["hostname"] == "db-1"
    assert sealed_beside["fields.password"].startswith("redacted:hmac-sha256:")
    document = json.loads(out.read_text())
    assert document["events"][0]["document"]["host"] == "db-1"
    command = ["verify", "findings", str(out), "--key", str(ledger / "key.pub")]
    assert main(command) == 0
    # Whoever makes it another host's is found, wherever he says so.
    text = out.read_text()
    for forged in (
        text.replace("db-1", "db-2"),
        text.replace('"host":"db-1"', '"host":"db-2"'),
        text.replace('\\"hostname\\":\\"db-1', '\\"hostname\\":\\"db-2'),
    ):
        assert forged != text
        out.write_text(forged)
        assert main(command) == 1
    capsys.readouterr()


@pytest.mark.parametrize("text", ["no findings\n", '{"a": 1}\n{"b": 2}\n', "[1]\n\xff\n"])
def test_a_file_of_something_else_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "x.ndjson"
    file.write_bytes(text.encode("latin-1"))
    verifier = str(Signer("x", bytes(32)).verifier)
    assert main(["verify", "findings", str(file), "--key", verifier]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"trailhound: {file} holds no findings as `serve` writes them, one a line\n"
