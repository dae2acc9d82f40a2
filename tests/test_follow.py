"""Files that grow and rotate: every line once, whatever rotation does, and over restarts."""

import asyncio
import gzip
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.intake.arrivals import Arrival, Full
from trailhound.intake.follow import Chunk, Follower, follow


class Reading:
    """A follower that may be ended and begun again, and what it gave."""

    def __init__(self, folder: Path, pattern: str = "log*") -> None:
        self.folder = folder
        self.pattern = str(folder / pattern)
        self.state = folder / "positions.json"
        self.now = 1_800_000_000.0
        self.given: dict[str, bytes] = {}
        """Position → line: what is given twice under one position counts once."""
        self.follower = Follower([self.pattern], self.state)

    def poll(self, seconds: float = 1.0, *, crash: bool = False) -> None:
        self.now += seconds
        chunks: list[Chunk] = []
        for chunk in self.follower.poll(self.now):
            chunks.append(chunk)
            offset = chunk.offset
            for line in chunk.lines:
                position = f"{chunk.known.uid}@{offset}"
                assert self.given.get(position, line) == line
                self.given[position] = line
                offset += len(line)
            self.follower.done(chunk)
        if crash:
            self.follower.close()
            self.follower = Follower([self.pattern], self.state)
        elif chunks:
            self.follower.save()

    @property
    def lines(self) -> list[bytes]:
        return sorted(line.rstrip(b"\n") for line in self.given.values())


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    made = Reading(tmp_path)
    yield made
    made.follower.close()


def write(path: Path, *lines: str, end: str = "\n") -> None:
    with path.open("ab") as file:
        file.write("".join(line + end for line in lines).encode())


def test_what_grows_is_read_once_and_half_lines_wait(tmp_path: Path, reading: Reading) -> None:
    write(tmp_path / "log", "one", "two")
    reading.poll()
    write(tmp_path / "log", "thr", end="")
    reading.poll()
    assert reading.lines == [b"one", b"two"]
    write(tmp_path / "log", "ee")
    reading.poll()
    assert reading.lines == [b"one", b"three", b"two"]


def test_a_document_without_a_line_end_is_read_when_it_has_come_to_rest(
    tmp_path: Path, reading: Reading
) -> None:
    write(tmp_path / "log.json", '{"Records":[]}', end="")
    os.utime(tmp_path / "log.json", (reading.now, reading.now))
    reading.poll()
    assert reading.lines == []
    reading.poll(60)
    reading.poll(60)
    assert reading.lines == [b'{"Records":[]}']
    reading.poll(60)
    assert len(reading.given) == 1


def test_what_was_removed_while_unread_is_read_to_its_end(tmp_path: Path, reading: Reading) -> None:
    log = tmp_path / "log"
    write(log, "one")
    reading.poll()
    write(log, "two", "half", end="\n")
    with log.open("ab") as file:
        file.write(b"rest")
    log.unlink()
    reading.poll()
    reading.poll(10)
    reading.poll(10)
    assert reading.lines == [b"half", b"one", b"rest", b"two"]
    assert not reading.follower._open


def test_truncated_and_written_anew_is_another_file(tmp_path: Path, reading: Reading) -> None:
    reading.follower = Follower([str(tmp_path / "log")], reading.state)
    write(tmp_path / "log", "one", "two")
    reading.poll()
    os.truncate(tmp_path / "log", 0)
    write(tmp_path / "log", "three is longer than both before it")
    reading.poll()
    reading.poll(10)
    assert reading.lines == [b"one", b"three is longer than both before it", b"two"]


def test_a_line_without_end_does_not_fill_memory(
    tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trailhound.intake.follow.LINE_BYTES", 3_000_000)
    write(tmp_path / "log", "x" * 7_000_000)
    reading.poll()
    assert [len(line) for line in sorted(reading.given.values(), key=len)] == [
        1_000_001, 3_000_000, 3_000_000,
    ]  # fmt: skip


def _rotate(folder: Path, how: str) -> None:
    log, first, second = folder / "log", folder / "log.1", folder / "log.2.gz"
    if not log.exists() or not log.stat().st_size:
        return
    if first.exists():
        second.unlink(missing_ok=True)
        if how.endswith("gzip"):
            second.write_bytes(gzip.compress(first.read_bytes()))
        first.unlink()
    if how.startswith("rename"):
        log.rename(first)
    else:
        shutil.copyfile(log, first)
        os.truncate(log, 0)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["write", "write", "poll", "poll", "crash", "rename", "copy", "rename gzip",
             "copy gzip"]
        ),
        min_size=3,
        max_size=40,
    )
)  # fmt: skip
def test_nothing_is_lost_and_nothing_comes_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    reading = Reading(tmp_path_factory.mktemp("follow"))
    try:
        written = _live(reading, steps)
    finally:
        reading.follower.close()
    assert reading.lines == sorted(written)
    assert len(reading.given) == len(written)


def _live(reading: Reading, steps: list[str]) -> list[bytes]:
    written: list[bytes] = []
    unread_rotations = 0
    for step in steps:
        match step:
            case "write":
                line = f"line {len(written)} " + "y" * (len(written) * 37 % 900)
                write(reading.folder / "log", line)
                written.append(line.encode())
            case "poll" | "crash":
                reading.poll(crash=step == "crash")
                unread_rotations = 0
            case _:
                # Two rotations between two looks may remove what nobody has seen.
                if unread_rotations:
                    reading.poll()
                _rotate(reading.folder, step)
                unread_rotations = 1
    reading.poll()
    reading.poll(10)
    return written


def test_positions_that_cannot_be_saved_stop_nothing(tmp_path: Path, caplog) -> None:
    taken: list[bytes] = []
    place = tmp_path / "positions.json"

    async def accept(arrivals: Sequence[Arrival]) -> None:
        taken.extend(arrival.data for arrival in arrivals)

    async def run() -> None:
        write(tmp_path / "log", "one")
        task = asyncio.create_task(follow(Follower([str(tmp_path / "log")], place), accept))

        async def until(done: Callable[[], bool]) -> None:
            async with asyncio.timeout(10):
                while not done() and not task.done():
                    await asyncio.sleep(0.01)

        await until(lambda: taken == [b"one"])
        (tmp_path / "positions.new").mkdir()
        write(tmp_path / "log", "two")
        await until(lambda: "cannot be saved now" in caplog.text)
        (tmp_path / "positions.new").rmdir()
        before = place.read_bytes()
        await until(lambda: place.read_bytes() != before)
        write(tmp_path / "log", "three")
        await until(lambda: taken == [b"one", b"two", b"three"])
        task.cancel()

    asyncio.run(run())
    assert taken == [b"one", b"two", b"three"]


def test_a_name_that_is_no_text_stops_nothing(tmp_path: Path) -> None:
    taken: list[Arrival] = []

    async def accept(arrivals: Sequence[Arrival]) -> None:
        msgspec.msgpack.encode(arrivals)
        taken.extend(arrivals)

    async def run() -> None:
        write(tmp_path / os.fsdecode(b"log-\xff"), "odd")
        write(tmp_path / "log-z", "plain")
        follower = Follower([str(tmp_path / "log*")], tmp_path / "positions.json")
        task = asyncio.create_task(follow(follower, accept))
        async with asyncio.timeout(10):
            while len(taken) < 2 and not task.done():
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert {(arrival.peer, arrival.data) for arrival in taken} == {
        (f"files/{tmp_path}/log-\\xff", b"odd"),
        (f"files/{tmp_path}/log-z", b"plain"),
    }


def test_followed_while_it_runs(tmp_path: Path) -> None:
    taken: list[Arrival] = []
    refuse = [True]

    async def accept(arrivals: Sequence[Arrival]) -> None:
        if refuse.pop() if refuse else False:
            raise Full("wait", 1)
        taken.extend(arrivals)

    async def run() -> None:
        write(tmp_path / "log", "one", "", "two\r")
        follower = Follower([str(tmp_path / "log*")], tmp_path / "positions.json")
        task = asyncio.create_task(follow(follower, accept))
        async with asyncio.timeout(10):
            while len(taken) < 2:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert [arrival.data for arrival in taken] == [b"one", b"two"]
    assert taken[0].peer == f"files/{tmp_path / 'log'}"
    assert taken[0].position != taken[1].position
