"""The detector cut off at any step of its work: in the end everything is kept and told once."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from serving import Serving, sealed, stored
from test_sealed_findings import ANY
from test_serve import BUSY
from test_serve_keeping import DEMO, GUESSING, LOGIN, judge_of, kubernetes
from trailhound.intake.arrivals import Arrival
from trailhound.pipeline.serve import judging
from trailhound.pipeline.serve.judging import Judge

START_NS = 1_796_000_000_000_000_000


@pytest.fixture(autouse=True)
def _columns_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that arrive in small groups are read by columns as well."""
    monkeypatch.setattr(judging, "_WORTH_COLUMNS", 1)


class Crash(Exception):
    """The power goes."""


def queue() -> list[Arrival]:
    """Records of every kind, some of them sent again, over some minutes."""
    chance = random.Random(3)
    audit = (DEMO / "bastion/audit.log").read_bytes().splitlines()[:80]
    guesses = [LOGIN.replace(b"10:00:00", b"10:%02d:00" % minute) for minute in range(8)]
    found: list[Arrival] = []
    parts = [("k", kubernetes(70)), ("a", audit), ("g", guesses), ("x", [b"what is this?"] * 5)]
    at = dict.fromkeys("kagx", 0)
    sent: list[list[Arrival]] = []
    now_ns = START_NS
    while any(at[name] < len(lines) for name, lines in parts):
        now_ns += chance.randrange(2_000_000_000)
        name, lines = chance.choice(parts)
        group = lines[at[name] : at[name] + chance.randrange(1, 9)]
        body = [
            Arrival(line, f"http/{name}", now_ns, f"{name}{at[name]}#{n}")
            for n, line in enumerate(group)
        ]
        at[name] += len(group)
        sent.append(body)
        found += body
        if sent and chance.random() < 0.3:
            found += [Arrival(a.data, a.peer, now_ns, a.position) for a in chance.choice(sent)]
    return found


QUEUE = queue()


def steps(judge: Judge) -> list[tuple[Any, str]]:
    """What the detector does that lasts."""
    journal, sealer, lake = judge._journal, judge._sealer, judge._lake
    assert sealer is not None
    assert lake is not None
    ledger = sealer._ledger
    return [
        (journal, "begin"), (journal, "done"), (journal, "told"), (judge._telling._log, "append"),
        (ledger, "append"), (ledger, "sign_head"), (lake, "append"), (judge._windows, "save"),
        (judge._watcher, "save"),
    ]  # fmt: skip


def cut_off(judge: Judge, left: int) -> None:
    """Let so many steps pass; the next is not begun, or not known to have ended."""

    def wrap(do: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            result = do(*arguments)
            left -= 1
            if left == 0:
                raise Crash
            return result

        return step

    for owner, name in steps(judge):
        setattr(owner, name, wrap(getattr(owner, name)))


def close(judge: Judge) -> None:
    """Let go of everything as a process does that is gone."""
    assert judge._sealer is not None
    assert judge._lake is not None
    judge._sealer.close()
    judge._lake.close()
    judge._windows.close()
    judge._watcher.close()
    judge._journal.close()


def run(
    folder: Path,
    rules: Path,
    chance: random.Random | None = None,
    often: int = 60,
    queue: Sequence[Arrival] = QUEUE,
) -> int:
    """Read the queue to its end, as the detector does; return how often it was cut off.

    It is cut off after 1 to `often` steps each time.
    """
    crashes = 0
    while True:
        judge = judge_of(folder, rules=(str(rules),))
        if chance is not None:
            cut_off(judge, chance.randrange(1, often))
        try:
            _read(judge, chance, queue)
            judge.keep_house()
            assert judge._sealer is not None
            judge._sealer.sign(START_NS)
            close(judge)
        except Crash:
            crashes += 1
            close(judge)
        else:
            return crashes


def _read(judge: Judge, chance: random.Random | None, queue: Sequence[Arrival]) -> None:
    again = judge._journal.begun()
    number = judge._journal.next_number
    end = again.behind if again else 0
    while number <= len(queue):
        if number >= end:
            if judge.is_open:
                judge.keep()
            end = number + (chance.randrange(1, 90) if chance is not None else 50)
        behind = min(end, number + (chance.randrange(1, 20) if chance is not None else 10))
        judge.take(number, queue[number - 1 : behind - 1])
        number = min(behind, len(queue) + 1)
    for later_s in (10, 20, 30):
        judge.settle(queue[-1].received_ns + later_s * 10**9)
    if judge.is_open:
        judge.keep()


def outcome(folder: Path) -> tuple[list[bytes], list[str], list[tuple[str, str, int]]]:
    """Records of the ledger, events of the lake, findings that hold."""
    state = Serving(folder / "as")
    if not (folder / "as/state").exists():
        (folder / "as/state").symlink_to(folder)
    events = sorted(
        json.dumps([e.uid, [o.line for o in e.origins]], sort_keys=True) for e in stored(state)
    )
    last: dict[str, tuple[str, int]] = {}
    for finding in state.findings():
        assert finding["proofs"]["unproven"] == 0
        last[finding["uid"]] = finding["status"], finding["event_count"]
    held = [(uid, "", count) for uid, (s, count) in sorted(last.items()) if s != "withdrawn"]
    return list(sealed(state).values()), events, held


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text("".join([ANY.format(2, "auditd"), BUSY, "---\n", GUESSING]))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, rules: Path) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    run(folder, rules)
    found = outcome(folder)
    assert len(found[2]) > 15
    return found


@pytest.mark.parametrize(
    ("seed", "often"), [(0, 80), *(pytest.param(n, 60, marks=pytest.mark.slow) for n in range(12))]
)
def test_cut_off_at_any_step_it_ends_the_same(
    tmp_path: Path, rules: Path, whole: Any, seed: int, often: int
) -> None:
    assert run(tmp_path, rules, random.Random(seed), often) > 1
    for found, expected in zip(outcome(tmp_path), whole, strict=True):
        more, less = Counter(found) - Counter(expected), Counter(expected) - Counter(found)
        assert (more, less) == (Counter(), Counter())
        assert found == expected


def test_a_clock_that_jumps_changes_nothing_that_is_kept_or_found(
    tmp_path: Path, rules: Path
) -> None:
    audit = (DEMO / "bastion/audit.log").read_bytes().splitlines()[:120]
    groups: dict[bytes, list[bytes]] = {}
    for line in audit:
        groups.setdefault(line.split(b"msg=")[1].split()[0], []).append(line)
    events = list(groups.values())
    bodies = [body for pair in zip(events, kubernetes(len(events)), strict=True) for body in pair]
    chance = random.Random(5)
    steady: list[Arrival] = []
    jumping: list[Arrival] = []
    now_ns = jumped_ns = START_NS
    for number, body in enumerate(bodies):
        now_ns += 10**9
        # What belongs together is sent together; between that the clock does what it wants.
        jumped_ns += chance.choice((10**9, -(10**9), 10**11, -(10**14), 10**15, -(10**16)))
        for at_ns, queue in ((now_ns, steady), (jumped_ns, jumping)):
            lines = body if isinstance(body, list) else [body]
            queue += [
                Arrival(line, "http/m", at_ns, f"{number}#{n}") for n, line in enumerate(lines)
            ]
    run(tmp_path / "steady", rules, queue=steady)
    run(tmp_path / "jumping", rules, queue=jumping)
    for found, expected in zip(
        outcome(tmp_path / "jumping"), outcome(tmp_path / "steady"), strict=True
    ):
        assert Counter(found) == Counter(expected), (
            Counter(found) - Counter(expected),
            Counter(expected) - Counter(found),
        )
