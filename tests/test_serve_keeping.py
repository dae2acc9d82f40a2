"""What `trailhound serve` keeps: redacted, in the lake and in the ledger, each thing once."""

import json
import pickle
import shlex
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving import Serving, event_list, sealed, stored
from trailhound.cli.main import main
from trailhound.intake.arrivals import Arrival
from trailhound.intake.files import find_inputs
from trailhound.lake.lake import Lake, Times
from trailhound.lake.schema import Arrival as Kept
from trailhound.lake.sql_shell import ask
from trailhound.lake.store import Writer
from trailhound.ledger.redaction import Redacted
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline.ingest import ingest
from trailhound.pipeline.serve.journal import Batch, Journal
from trailhound.pipeline.serve.judging import Judge
from trailhound.pipeline.serve.records import key_of
from trailhound.pipeline.serve.settings import (
    LakeSettings,
    LedgerSettings,
    RedactionSettings,
    Settings,
)
from trailhound.pipeline.serve.storing import Storing
from trailhound.sources.decode import Decoder

DEMO = Path(__file__).parents[1] / "examples/demo"
SECRET = "correct-horse-7"
PLAIN = "builtin = false"
LOGIN = b"Nov 12 10:00:00 web sshd[77]: Failed password for root from 203.0.113.9 port 22 ssh2"


def kubernetes(count: int) -> list[bytes]:
    return (DEMO / "kubernetes/audit.log").read_bytes().splitlines()[:count]


def with_secret(line: bytes) -> bytes:
    event = json.loads(line)
    event["auditID"] = "5d1bb1a1-0c35-4c77-9f0a-5a1d5d0e8a77"
    event["requestURI"] = f"/api/v1/namespaces/a/pods/p/exec?command=mysql&command=-p{SECRET}"
    return json.dumps(event, separators=(",", ":")).encode()


def test_everything_is_kept_redacted_and_once(tmp_path: Path, capsys) -> None:
    lines = [*kubernetes(60), with_secret(kubernetes(1)[0])]
    text = LOGIN + b"\n" + LOGIN + b"\nno source knows this\n"
    serving = Serving(tmp_path, PLAIN).start()
    serving.wait()
    for size in (61, 20):  # the same again, and the same in other requests
        for at in range(0, 61, size):
            assert (
                serving.post("/kubernetes/audit", event_list(lines[at : at + size])).status == 200
            )
        assert serving.post("/ingest", text).status == 200
        serving.wait_kept()
    assert serving.metric('records_repeated_total{intake="http"}') == 3
    assert serving.metric("sealed_total") == 64
    assert serving.metric("stored_total") == 63
    assert serving.metric("redacted_values_total") == 2
    assert serving.stop() == 0

    records = sealed(serving)
    assert len(records) == 64
    assert list(records.values())[61:] == text.splitlines()
    assert list(records.values())[:60] == lines[:60]
    events = stored(serving)
    assert Counter(event.source for event in events) == {"k8s_audit": 61, "linux_auth": 2}
    assert len({event.envelope.request_uid for event in events}) == 62
    assert b"redacted:hmac-sha256:" in records[61]
    for path in (tmp_path / "state").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    assert not any(SECRET in json.dumps(event.document) for event in events)

    state = str(tmp_path / "state")
    key = f"{state}/ledger/key.pub"
    assert main(["verify", "ledger", f"{state}/ledger", "--key", key, "--record", "63"]) == 0
    assert "64 kept records held against their entries" in capsys.readouterr().out
    assert main(["hunt", "--lake", f"{state}/lake", "src_ip:203.0.113.9"]) == 0
    assert capsys.readouterr().out.count("203.0.113.9") >= 2


def raws(serving: Serving) -> list[bytes]:
    answer = ask(Lake(serving.folder / "state/lake"), "SELECT raw FROM events")
    return [row[0] for row in answer.rows]


def judge_of(folder: Path, **settings: Any) -> Judge:
    folder.mkdir(exist_ok=True)
    whole = Settings(state=str(folder), builtin=False, **settings)
    return Judge(whole, Journal(folder / "journal.sqlite"))


def arrivals(lines: list[bytes], at_s: float, position: str = "file") -> list[Arrival]:
    at_ns = 1_796_000_000_000_000_000 + int(at_s * 10**9)
    return [Arrival(line, "files/a", at_ns, f"{position}#{n}") for n, line in enumerate(lines)]


def test_failures_of_one_line_are_told_apart() -> None:
    told = [("line too long", "x"), ("damaged compression", "x"), ("line too long", "y"), None]
    sent = [Arrival(b"", "s3/a", 0, "s3:a:7.0", {}, failure) for failure in told]
    assert len({key_of(arrival, Redacted(b"")) for arrival in sent}) == len(told)


def test_what_a_crash_cut_off_of_the_first_finding_does_not_stay(tmp_path: Path) -> None:
    told = tmp_path / "findings" / "2026-11-26.ndjson"
    told.parent.mkdir()
    told.write_text('{"uid":"of an older journal"}\n')
    judge_of(tmp_path).close()
    with told.open("a") as file:
        file.write('{"uid":"cut o')  # before any was noted as told
    torn = told.with_name("2026-11-27.ndjson")
    torn.write_text('{"uid":')
    judge_of(tmp_path).close()
    assert told.read_text() == '{"uid":"of an older journal"}\n'
    assert torn.read_text() == ""


def test_what_another_version_held_back_is_told_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge = judge_of(tmp_path)
    judge.take(1, arrivals([b"a line"], 0))
    judge.keep()
    judge.close()
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db, db:
        held = msgspec.msgpack.encode({"a": 1})
        decoder = pickle.dumps(("0.0.1", Decoder)).replace(b"Decoder", b"Encoder")
        for other in ((held, "held"), (decoder, "decoder")):
            assert db.execute("UPDATE state SET value = ? WHERE name = ?", other).rowcount == 1
    db.close()
    judge = judge_of(tmp_path)
    assert "held back are not in a form of this version" in caplog.text
    judge.take(2, arrivals([b"another line"], 1, "b"))
    judge.keep()
    judge.close()
    state = Serving(tmp_path / "s")
    (tmp_path / "s/state").symlink_to(tmp_path)
    assert list(sealed(state).values()) == [b"a line", b"another line"]


def test_a_journal_that_is_none_is_told_without_a_stack_trace(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "journal.sqlite").write_bytes(b"no database at all" * 100)
    serving = Serving(tmp_path, "builtin = false").start()
    # What it would take in then, nobody would judge.
    assert serving.wait_end() == 2
    assert f"a database in {state} cannot be used: file is not a database" in serving.log
    assert "cannot be used, so nothing would be judged: it is damaged" in serving.log
    assert "Traceback" not in serving.log


def test_a_queue_that_is_gone_is_told_before_records_are_taken_for_known(tmp_path: Path) -> None:
    state = tmp_path / "s/state"
    state.parent.mkdir()
    judge = judge_of(state)
    judge.take(1, arrivals([b"a line", b"another"], 0, "a"))
    judge.keep()
    judge.close()
    serving = Serving(tmp_path / "s", "builtin = false").start()
    assert serving.wait_end() == 2
    assert "it has judged 2 records, and its queue is new" in serving.log


def test_a_place_that_is_none_ends_it_at_the_start(tmp_path: Path) -> None:
    serving = Serving(tmp_path, 'builtin = false\n[ledger]\nforward = ["ftp://host/x"]').start()
    assert serving.wait_end() == 2
    assert "no place to forward to begins with ftp:/" in serving.log


def test_what_a_reader_holds_back_is_known_when_it_is_sent_again(tmp_path: Path) -> None:
    lines = (DEMO / "bastion/audit.log").read_bytes().splitlines()
    first = next(line for line in lines if line.startswith(b"type=SYSCALL"))
    stamp = first.split(b"msg=")[1].split(b" ")[0]
    parts = [line for line in lines if stamp in line]
    assert len(parts) > 2
    judge = judge_of(tmp_path)
    judge.take(1, arrivals(parts[:2], 0))
    judge.keep()
    judge.close()
    judge = judge_of(tmp_path)
    judge.take(3, arrivals(parts[:2], 1))
    judge.keep()
    judge.take(5, arrivals(parts, 1.5))
    judge.settle(1_796_000_000_000_000_000 + 20 * 10**9)
    judge.settle(1_796_000_000_000_000_000 + 40 * 10**9)
    judge.keep()
    judge.close()
    state = Serving(tmp_path / "s")
    (tmp_path / "s/state").symlink_to(tmp_path)
    assert list(sealed(state).values()) == parts
    (event,) = stored(state)
    assert len(event.origins) == len(parts)
    (raw,) = raws(state)
    assert raw == b"\n".join(parts)


def test_another_version_reads_again_what_was_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (DEMO / "bastion/audit.log").read_bytes().splitlines()[:40]
    for at in (0, 20):
        judge = judge_of(tmp_path)
        judge.take(at + 1, arrivals(lines[at : at + 20], at / 40, f"{at}"))
        judge.keep()
        if at:
            for later_s in (10, 20, 30):
                judge.settle(1_796_000_000_000_000_000 + later_s * 10**9)
            judge.keep()
        judge.close()
        monkeypatch.setattr("trailhound.__version__", f"{at}.another")
    (tmp_path / "log").write_bytes(b"\n".join(lines))
    with Writer(tmp_path / "other") as writer:
        ingest(writer, find_inputs([str(tmp_path / "log")]))
    whole = {event.uid for event in Lake(tmp_path / "other").select("auditd", None, Times())}
    found = [event.uid for event in Lake(tmp_path / "lake").select("auditd", None, Times())]
    assert sorted(found) == sorted(whole)


def test_clocks_that_jump_change_nothing(tmp_path: Path) -> None:
    day_s = 86_400
    batches = [kubernetes(60)[at : at + 10] for at in range(0, 60, 10)]
    judge = judge_of(tmp_path)
    number = 1
    for again in (False, True):
        jumps = (0, 400 * day_s, -3 * day_s, 1, 9000 * day_s, 2)
        for lines, at_s in zip(batches, jumps, strict=True):
            judge.take(number, arrivals(lines, at_s, f"{lines[0][:80]!r}"))
            number += len(lines)
            if again:
                judge.take(number, arrivals([LOGIN], -at_s, f"login {at_s}"))
                number += 1
            judge.keep()
            judge.keep_house()
        judge.close()
        judge = judge_of(tmp_path)
    judge.close()
    state = Serving(tmp_path / "s")
    (tmp_path / "s/state").symlink_to(tmp_path)
    assert len(sealed(state)) == 66  # what came again was known, however long ago it seemed
    assert Counter(event.source for event in stored(state)) == {"k8s_audit": 60, "linux_auth": 6}


GUESSING = """\
title: Password was wrong
id: 7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a12
name: wrong
logsource: {product: linux, service: sshd}
detection:
  keywords: ["Failed password"]
  condition: keywords
level: low
---
title: Guessing
id: 7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a13
correlation:
  type: event_count
  rules: [wrong]
  timespan: 5m
  condition: {gte: 2}
level: medium
"""


def test_what_came_too_late_is_counted_and_can_be_hunted(tmp_path: Path, capsys) -> None:
    rule = tmp_path / "guessing.yml"
    rule.write_text(GUESSING)
    serving = Serving(tmp_path, f'{PLAIN}\nrules = ["{rule}"]').start()
    serving.wait()
    stamp = "2026-11-{:02}T10:00:0{}Z web sshd[7]: Failed password for root from 203.0.113.9 port 2"
    for day in (24, 20):
        lines = [stamp.format(day, second) for second in range(3)]
        serving.post("/ingest", "\n".join(lines).encode())
        serving.wait_kept()
    (late,) = json.loads(serving.get("/status"))["late"]
    assert (late["title"], late["events"]) == ("Guessing", 3)
    assert (late["first"], late["last"]) == ("2026-11-20T10:00:00Z", "2026-11-20T10:00:02Z")
    uid = "7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a13"
    assert serving.metric(f'late_events_total{{rule="{uid}"}}') == 3
    assert serving.stop() == 0
    assert len({f["uid"] for f in serving.findings() if f["rule"]["title"] == "Guessing"}) == 1
    capsys.readouterr()
    assert main([*shlex.split(late["hunt"])[1:], "--format", "ndjson"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["time"] for one in found if one["rule"]["title"] == "Guessing"] == [
        "2026-11-20T10:00:02Z"
    ]


@pytest.mark.slow
def test_what_is_held_back_is_given_out_when_nothing_follows(tmp_path: Path) -> None:
    line = (DEMO / "bastion/audit.log").read_bytes().splitlines()[0]
    serving = Serving(tmp_path, PLAIN).start()
    serving.wait()
    serving.post("/ingest", line)
    until = time.monotonic() + 60
    while not serving.metric("stored_total"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert serving.stop() == 0
    assert len(stored(serving)) == 1


def test_the_lake_is_kept_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trailhound.pipeline.serve.storing._COMPACT_BATCHES", 12)
    day_ns = 86_400 * 10**9
    settings = LakeSettings(keep_days={"k8s_audit": 30, "k8s_audti": 1})
    decoder = Decoder()
    events = [
        event
        for number, line in enumerate(kubernetes(14), 1)
        for event in decoder.decode(RawRecord(line, Origin("a", number)))
        if isinstance(event, Event)
    ]
    newest_ns = max(event.envelope.time_ns for event in events)
    lake = Storing(tmp_path / "lake", settings, ["k8s_audit"])
    assert "names 'k8s_audti', which is no source" in caplog.text
    lake.keep_house(0, newest_ns)
    for number, event in enumerate(events, 1):
        batch = Batch(number, number + 1)
        assert lake.append([Kept(event)], batch).stored == 1
        assert lake.append([Kept(event)], batch).replayed
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 14
    lake.keep_house(899, newest_ns)
    assert Lake(tmp_path / "lake").sources()[0].files == 14
    lake.keep_house(901, newest_ns)
    assert Lake(tmp_path / "lake").sources()[0].files == 1
    place = ["lake", "hold", "case", "--lake", str(tmp_path / "lake")]
    assert main(place) == 0  # beside the writer
    lake.keep_house(3601, newest_ns + 31 * day_ns)
    assert Lake(tmp_path / "lake").sources()[0].events == 14
    assert main([*place, "--release"]) == 0
    lake.keep_house(7201, newest_ns + 31 * day_ns)
    assert not Lake(tmp_path / "lake").sources()
    lake.close()


def test_keeping_can_be_turned_off(tmp_path: Path) -> None:
    judge = judge_of(
        tmp_path,
        lake=LakeSettings(enabled=False),
        ledger=LedgerSettings(enabled=False),
        redaction=RedactionSettings(enabled=False),
    )
    judge.take(1, arrivals(kubernetes(5), 0))
    judge.keep()
    judge.keep_house()
    judge.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names.isdisjoint({"lake", "ledger", "ledger.key", "ledger.redaction-key"})


def test_a_ledger_of_something_else_is_refused(tmp_path: Path) -> None:
    seals = tmp_path / "seals"
    assert main(["ledger", "init", str(seals), "--name", "x"]) == 0
    log = tmp_path / "auth.log"
    log.write_bytes(b"\n".join([LOGIN] * 3))
    assert main(["seal", str(log), "--ledger", str(seals), "-q"]) == 0
    judge = judge_of(tmp_path / "s", ledger=LedgerSettings(path=str(seals)))
    judge.take(1, arrivals(kubernetes(5), 0))
    with pytest.raises(TrailhoundError, match="holds another record 1 than the queue"):
        judge.keep()
    judge.close()
