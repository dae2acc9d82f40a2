"""The durable queue: what was acknowledged is there, once, whatever happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.intake.arrivals import Arrival, Full
from trailhound.intake.queue import Damage, Frame, QueueReader, QueueWriter


def arrival(number: int, size: int = 10) -> Arrival:
    return Arrival(b"%d:" % number + b"x" * size, "test", number, f"p{number}", {"a": "b"})


def numbers(items: list[Frame | Damage]) -> list[int]:
    frames = [item for item in items if isinstance(item, Frame)]
    return [n for frame in frames for n in _ids(frame)]


def _ids(frame: Frame) -> list[int]:
    return [int(a.data.split(b":")[0]) for a in frame.arrivals]


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    writer = QueueWriter(tmp_path, 10**9, segment_bytes=500)
    firsts = [writer.put([arrival(n), arrival(n + 1)]).result(5) for n in range(1, 100, 2)]
    assert firsts == list(range(1, 100, 2))
    reader = QueueReader(tmp_path)
    assert numbers(list(reader.read(writer.mark))) == list(range(1, 101))
    assert list(reader.read(writer.mark)) == []
    writer.put([arrival(101)]).result(5)
    assert numbers(list(reader.read(writer.mark))) == [101]
    assert len(list(tmp_path.glob("*.queue"))) > 5
    writer.forget(60)
    assert numbers(list(QueueReader(tmp_path, 60).read(writer.mark))) == list(range(60, 102))
    writer.close()


def test_a_reader_sees_nothing_that_is_not_synced(tmp_path: Path) -> None:
    writer = QueueWriter(tmp_path, 10**9)
    before = writer.mark
    writer.put([arrival(1)]).result(5)
    assert list(QueueReader(tmp_path).read(before)) == []
    writer.close()


def test_a_full_queue_takes_nothing_until_segments_are_forgotten(tmp_path: Path) -> None:
    writer = QueueWriter(tmp_path, 3000, segment_bytes=1000)
    taken = 0

    def fill() -> None:
        nonlocal taken
        for _ in range(1000):
            writer.put([arrival(taken + 1, 100)]).result(5)
            taken += 1

    with pytest.raises(Full, match="full"):
        fill()
    assert 10 < taken < 40
    assert numbers(list(QueueReader(tmp_path).read(writer.mark))) == list(range(1, taken + 1))
    writer.forget(taken + 1)
    writer.put([arrival(taken + 1, 100)]).result(5)
    writer.close()


def test_a_disk_that_refuses_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = QueueWriter(tmp_path, 10**9)
    writer.put([arrival(1)]).result(5)
    real = os.write
    calls = 0

    def half(file: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(28, "No space left on device")
        return real(file, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr("trailhound.intake.queue.os.write", half)
        with pytest.raises(Full, match="No space left"):
            writer.put([arrival(2, 1000)]).result(5)
    writer.put([arrival(3)]).result(5)
    assert numbers(list(QueueReader(tmp_path).read(writer.mark))) == [1, 3]
    writer.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 400), data=st.data())
def test_a_torn_end_costs_nothing_that_was_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("queue")
    writer = QueueWriter(folder, 10**9)
    for n in range(1, 11):
        writer.put([arrival(n)]).result(5)
    writer.close()
    (path,) = folder.glob("*.queue")
    size = path.stat().st_size
    kept = size - min(cut, size)
    with path.open("r+b") as file:
        file.truncate(kept)
        file.seek(kept)
        file.write(data.draw(st.binary(max_size=40)))
    again = QueueWriter(folder, 10**9)
    found = numbers(list(QueueReader(folder).read(again.mark)))
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= kept * 10 // size
    first = again.put([arrival(len(found) + 1)]).result(5)
    assert first == len(found) + 1
    assert numbers(list(QueueReader(folder).read(again.mark))) == [*found, len(found) + 1]
    again.close()


def test_damage_is_told_and_the_next_segment_is_read(tmp_path: Path) -> None:
    writer = QueueWriter(tmp_path, 10**9, segment_bytes=300)
    for n in range(1, 31):
        writer.put([arrival(n)]).result(5)
    first, second = sorted(tmp_path.glob("*.queue"))[:2]
    raw = bytearray(first.read_bytes())
    raw[60] ^= 1
    first.write_bytes(raw)
    items = list(QueueReader(tmp_path).read(writer.mark))
    assert next(i for i in items if isinstance(i, Damage)).path == str(first)
    start = int(second.stem)
    assert set(range(start, 31)) <= set(numbers(items))
    writer.close()


_CHILD = """
import sys, itertools
from pathlib import Path
from trailhound.intake.arrivals import Arrival
from trailhound.intake.queue import QueueWriter
writer = QueueWriter(Path(sys.argv[1]), 10**9, segment_bytes=5000)
start = writer.next_number
for n in itertools.count(start):
    assert writer.put([Arrival(b"%d:" % n + b"y" * (n * 37 % 900), "t", n)]).result() == n
    print(n, flush=True)
"""


def test_killed_at_any_moment_it_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    acknowledged = 0
    chance = random.Random(7)
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.random() * 0.08)
        child.send_signal(signal.SIGKILL)
        printed = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        acknowledged = max([acknowledged, *map(int, printed[:-1] or [b"0"])])
    writer = QueueWriter(tmp_path, 10**9)
    found = numbers(list(QueueReader(tmp_path).read(writer.mark)))
    writer.close()
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= acknowledged > 12


def test_what_is_read_does_not_stay_on_disk(tmp_path: Path) -> None:
    writer = QueueWriter(tmp_path, 10**9)
    reader = QueueReader(tmp_path)
    for number in range(1, 40):
        assert writer.put([arrival(number)]).result(5) == number
        assert numbers(list(reader.read(writer.mark))) == [number]
        writer.forget(number)  # one is still to be kept
        time.sleep(0.001)
        assert numbers(list(QueueReader(tmp_path, number).read(writer.mark))) == [number]
        writer.forget(number + 1)
    until = time.monotonic() + 5
    while b"39:" in b"".join(path.read_bytes() for path in tmp_path.glob("*.queue")):
        assert time.monotonic() < until
        time.sleep(0.01)
    writer.close()
    again = QueueWriter(tmp_path, 10**9)
    assert again.next_number == 40
    again.close()


def test_a_batch_larger_than_the_queue_is_taken_while_half_of_it_is_free(tmp_path: Path) -> None:
    large = [Arrival(b"x" * 5_000, "p", 0)]
    writer = QueueWriter(tmp_path / "q", 1_000, 100)
    try:
        number = 1
        for _ in range(3):
            assert writer.put(large).result(20) == number
            with pytest.raises(Full) as full:
                writer.put(large)
            assert full.value.retry_after_s  # it will be taken, if it comes again
            number += 1
            writer.forget(number)
            until = time.monotonic() + 20
            while writer.held_bytes:
                assert time.monotonic() < until
                time.sleep(0.01)
    finally:
        writer.close()
    assert (
        not writer.held_bytes or list(QueueReader(tmp_path / "q", number).read(writer.mark)) == []
    )
