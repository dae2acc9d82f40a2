"""`trailhound serve` as a process: what it acknowledges is judged once, whatever happens to it."""

import json
import random
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from serving import Serving, event_list, sealed, stored

# Something to find in every batch, so that nothing can go wrong unseen.
BUSY = """\
title: Something was changed
id: 7d1b3f52-0c35-4c77-9f0a-5a1d5d0e8a11
status: test
logsource: {product: kubernetes, service: audit}
detection:
  selection: {verb: [create, patch, update], stage: ResponseComplete}
  condition: selection
level: informational
"""
DEMO = Path(__file__).parents[1] / "examples/demo/kubernetes/audit.log"


def batches(size: int, lines: Sequence[bytes]) -> list[bytes]:
    return [event_list(lines[at : at + size]) for at in range(0, len(lines), size)]


def told(serving: Serving) -> list[tuple[str, str]]:
    """What holds in the end: of each finding the last revision, unless it was withdrawn."""
    last: dict[str, tuple[int, str, str]] = {}
    for finding in serving.findings():
        revision = finding["revision"]
        assert revision > last.get(finding["uid"], (-1,))[0]  # each revision once
        last[finding["uid"]] = revision, finding["status"], finding["reason"]
    return sorted((uid, said) for uid, (_, status, said) in last.items() if status != "withdrawn")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("rules") / "busy.yml"
    path.write_text(BUSY)
    return f'rules = ["{path}"]'


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    lines = DEMO.read_bytes().splitlines()
    # A day later nothing is going on any more: what is told of every window is final.
    later = json.loads(lines[-1])
    for name in ("requestReceivedTimestamp", "stageTimestamp"):
        later[name] = later[name].replace("2026-11-12", "2026-11-14")
    return [*lines, json.dumps(later, separators=(",", ":")).encode()]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], rules: str
) -> list[tuple[str, str]]:
    serving = Serving(tmp_path_factory.mktemp("undisturbed"), rules).start()
    serving.wait()
    for body in batches(200, lines):
        assert serving.post("/kubernetes/audit", body).status == 200
    assert serving.stop() == 0
    found = told(serving)
    assert len(found) > 200
    check_kept(serving, lines)
    return found


def test_what_is_sent_again_is_found_once(
    tmp_path: Path, lines: list[bytes], rules: str, undisturbed: list[tuple[str, str]]
) -> None:
    serving = Serving(tmp_path, rules).start()
    serving.wait()
    for size in (170, 400):
        for body in batches(size, lines):
            serving.post("/kubernetes/audit", body)
    assert serving.stop() == 0
    assert told(serving) == undisturbed
    check_kept(serving, lines)


def check_kept(serving: Serving, lines: Sequence[bytes]) -> None:
    """See that every record is in the ledger once, and every event in the lake."""
    assert sorted(sealed(serving).values()) == sorted(lines)
    documents = [json.dumps(event.document, sort_keys=True) for event in stored(serving)]
    assert sorted(documents) == sorted(json.dumps(json.loads(x), sort_keys=True) for x in lines)


def _disturbed(serving: Serving, lines: list[bytes], kills: int, seed: int, pause_s: float) -> None:
    chance = random.Random(seed)
    serving.start()
    done = threading.Event()

    def send() -> None:
        bodies = batches(40, lines)
        for body in bodies:
            serving.send_until_taken("/kubernetes/audit", body, 600)
            if done.is_set():
                continue
            time.sleep(chance.random() * pause_s)
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(kills):
        time.sleep(0.4 + chance.random() * 1.5)
        if number % 4 == 3:
            serving.kill_detector()
        else:
            serving.kill()
            serving.start()
    done.set()
    sender.join()
    serving.wait(180)
    until = time.monotonic() + 180
    while serving.ask("GET", "/readyz").status != 200:
        assert time.monotonic() < until, serving.log
        time.sleep(0.1)
    assert serving.stop() == 0, serving.log


def test_killed_under_load_it_finds_what_an_undisturbed_run_finds(
    tmp_path: Path, lines: list[bytes], rules: str, undisturbed: list[tuple[str, str]]
) -> None:
    serving = Serving(tmp_path, rules)
    _disturbed(serving, lines, 4, seed=1, pause_s=0.1)
    assert told(serving) == undisturbed
    check_kept(serving, lines)


@pytest.mark.slow
def test_killed_two_hundred_times(
    tmp_path: Path, lines: list[bytes], rules: str, undisturbed: list[tuple[str, str]]
) -> None:
    for round_ in range(10):
        serving = Serving(tmp_path / str(round_), rules)
        _disturbed(serving, lines, 20, seed=round_, pause_s=0.3)
        assert told(serving) == undisturbed
        check_kept(serving, lines)


def test_two_servers_on_one_folder_is_a_mistake(tmp_path: Path) -> None:
    first = Serving(tmp_path).start()
    first.wait()
    second = Serving(tmp_path)
    second.start()
    assert second._process is not None
    assert second._process.wait(20) == 2
    assert "another trailhound serves" in second.log
    assert first.stop() == 0


def test_rules_that_are_not_there_at_the_start_are_a_mistake(tmp_path: Path) -> None:
    serving = Serving(tmp_path, f'rules = ["{tmp_path / "nowhere"}"]').start()
    assert serving._process is not None
    assert serving._process.wait(20) == 2
    assert serving.log == f"trailhound: no such rule file or folder: {tmp_path / 'nowhere'}\n"
    assert not (tmp_path / "state").exists()


def test_an_address_that_is_taken_is_told_at_once(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    with socket.create_server(("127.0.0.1", serving.port)):
        serving.start()
        assert serving._process is not None
        assert serving._process.wait(20) == 2
    assert f"trailhound: cannot listen on 127.0.0.1:{serving.port}: " in serving.log
    assert "rules; reading from record" not in serving.log
    assert not (tmp_path / "state" / "ledger.key").exists()


def test_an_address_that_others_can_reach_needs_an_access_file(tmp_path: Path) -> None:
    serving = Serving(tmp_path, arguments=["--listen", "0.0.0.0:0"]).start()
    assert serving._process is not None
    assert serving._process.wait(20) == 2
    assert "can be reached from outside" in serving.log
    assert "Traceback" not in serving.log


def test_a_full_queue_tells_senders_to_wait(tmp_path: Path, lines: list[bytes]) -> None:
    serving = Serving(tmp_path, settings="queue_bytes = 200000").start()
    serving.wait()
    answers = [serving.post("/kubernetes/audit", body) for body in batches(50, lines)]
    assert answers[0].status == 200
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in refused} == {429}
    assert int(refused[0].headers["Retry-After"]) > 0
    for body in batches(50, lines):
        serving.send_until_taken("/kubernetes/audit", body)
    assert serving.stop() == 0


def test_metrics_count_what_was_taken_and_judged(tmp_path: Path, lines: list[bytes]) -> None:
    serving = Serving(tmp_path).start()
    serving.wait()
    serving.post("/kubernetes/audit", event_list(lines[:100]))
    serving.post("/ingest", b'{"no":"source knows this"}\n')
    until = time.monotonic() + 20
    while b'trailhound_events_total{source="k8s_audit"} 100' not in serving.get("/metrics"):
        assert time.monotonic() < until, serving.get("/metrics").decode()
        time.sleep(0.1)
    text = serving.get("/metrics").decode()
    assert 'trailhound_accepted_total{intake="kubernetes"} 100' in text
    assert 'trailhound_failures_total{reason="unknown format"} 1' in text
    assert json.loads(serving.get("/readyz")) == {"ready": True}
    assert serving.stop() == 0
