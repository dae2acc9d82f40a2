"""The lake keeps each event once, whatever happens to the writer."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from trailhound.intake.files import find_inputs
from trailhound.lake.catalogue import Hold
from trailhound.lake.lake import Lake, Times
from trailhound.lake.schema import Arrival
from trailhound.lake.select import of_rules
from trailhound.lake.store import GRACE_S, Appended, Writer
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin
from trailhound.pipeline.ingest import ingest
from trailhound.rules.ir import Compare, Equals, Field

DAY_NS = 86_400 * 10**9


def describe(document: Any) -> Envelope:
    return Envelope(time_ns=document["t"], request_uid=document.get("id", ""), action="act")


def made(number: int, *, day: int = 0, **more: Any) -> Event:
    document = {"t": day * DAY_NS + number, "n": number, **more}
    return Event("test", document, (Origin("log", number + 1),), {"v": (document,)}, describe)


def arrivals(*numbers: int, day: int = 0, **more: Any) -> list[Arrival]:
    return [Arrival(made(number, day=day, **more)) for number in numbers]


def kept(folder: Path, source: str = "test") -> list[Event]:
    return list(Lake(folder).select(source, None, Times()))


def test_an_event_comes_out_as_it_went_in(tmp_path: Path) -> None:
    documents: list[dict[str, Any]] = [
        {"t": 5, "é'\"\\": ["x", {"y": None}], "big": 2**70, "f": 1e-9, "nul": "a\0b"},
        {"t": 7, "id": "r", "deep": [[1]]},
        {"t": 2**80},
    ]
    with Writer(tmp_path) as writer:
        for document in documents:
            views = {"v": (document,), "w": ({"a": 1}, {"a": [2]})}
            origins = (Origin("p\ud800", 3, 1), Origin("q", 4))
            event = Event("test", document, origins, views, describe, ("note",))
            writer.append([Arrival(event, b"raw \xff")])
    found = kept(tmp_path)
    assert [event.document for event in found] == documents
    assert [event.uid for event in found[:2]] == [
        Event("test", d, (Origin("", 0),), {}, describe).uid for d in documents[:2]
    ]
    assert dict(found[0].views) == {"v": (documents[0],), "w": ({"a": 1}, {"a": [2]})}
    assert found[0].origins == (Origin("p?", 3, 1), Origin("q", 4))
    assert found[0].notes == ("note",)
    assert found[1].envelope == describe(documents[1])
    (raw,) = duckdb.sql(f"SELECT DISTINCT raw FROM '{tmp_path}/events/**/*.parquet'").fetchall()
    assert raw == (b"raw \xff",)


def test_the_same_event_is_stored_once(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        assert writer.append(arrivals(1, 2, 2, 3)) == Appended(3, 1)
        assert writer.append(arrivals(3, 4)) == Appended(1, 1)
        again = [Arrival(made(4), copy="2"), Arrival(made(4), copy="2"), Arrival(made(4))]
        assert writer.append(again) == Appended(1, 2)
        # The sender's own id settles it, whatever the number of the copy.
        assert writer.append(arrivals(9, id="r")) == Appended(1, 0)
        assert writer.append([Arrival(made(9, id="r"), copy="2")]) == Appended(0, 1)
    with Writer(tmp_path) as writer:
        assert writer.append(arrivals(1, 2)) == Appended(0, 2)
        writer.compact()
        assert writer.append(arrivals(1, 2)) == Appended(0, 2)
    assert [event.document["n"] for event in kept(tmp_path)] == [1, 2, 3, 4, 4, 9]


def test_a_batch_is_stored_once(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        assert not writer.append(arrivals(1), "b1").replayed
        assert writer.append(arrivals(2), "b1").replayed
        assert not writer.append([], "b2").replayed
    with Writer(tmp_path) as writer:
        assert writer.append(arrivals(3), "b2").replayed
    assert len(kept(tmp_path)) == 1


def test_one_writer_many_readers(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        with pytest.raises(TrailhoundError, match="another process is writing"):
            Writer(tmp_path)
        for number in range(5):
            writer.append(arrivals(number))
        reading = Lake(tmp_path).select("test", None, Times())
        first = next(reading)
        writer.compact()
        # Files that were merged stay for readers that have begun.
        assert [first.document["n"], *(e.document["n"] for e in reading)] == [0, 1, 2, 3, 4]
        assert len(Lake(tmp_path).files()) == 1
        writer.compact(now_ns=2 * 10**18 * 2)
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert [event.document["n"] for event in kept(tmp_path)] == [0, 1, 2, 3, 4]


def test_holds_beat_retention(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        for day in (1, 2, 3, 10):
            writer.append(arrivals(1, 2, day=day))
        writer.catalogue.place(Hold("case", "test", 2 * DAY_NS, 2 * DAY_NS + DAY_NS - 1, "why", 0))
        with pytest.raises(TrailhoundError, match="already"):
            writer.catalogue.place(Hold("case", "", None, None, "", 0))
        assert writer.retain(11 * DAY_NS).files_deleted == 0
        writer.keep("*", 5)
        done = writer.retain(11 * DAY_NS)
        assert (done.files_deleted, done.events_deleted, done.files_held) == (2, 4, 1)
        assert {file.day for file in Lake(tmp_path).files()} == {"1970-01-03", "1970-01-11"}
        writer.catalogue.release("case")
        writer.keep("test", 100)
        assert writer.retain(11 * DAY_NS).files_deleted == 0
        writer.keep("test", None)
        assert writer.retain(11 * DAY_NS).files_deleted == 1
        writer.retain(11 * DAY_NS + (GRACE_S + 1) * 10**9)
        with pytest.raises(TrailhoundError, match="no hold named"):
            writer.catalogue.release("case")
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.append(arrivals(1, 2))
        path = tmp_path / "events/source=test/day=1970-01-01/old.parquet"
        duckdb.sql(
            'COPY (SELECT make_timestamp_ns(7) AS time, uuid() AS uid, \'{"t":7,"n":7}\' AS '
            f"document, ['v'] AS same_views, true AS exact) TO '{path}' (FORMAT parquet)"
        )
        writer.catalogue._db.execute(
            "INSERT INTO files (path, source, day, events, size_bytes, first_ns, last_ns, strange, "
            "schema) VALUES (?, 'test', '1970-01-01', 1, 1, 7, 7, 0, 0)",
            [str(path.relative_to(tmp_path))],
        )
        selection = of_rules([Compare(Field("n", (("n",),)), Equals(7))], "test", "v")
        (found,) = Lake(tmp_path).select("test", selection, Times())
        assert found.document == {"t": 7, "n": 7}
        assert len(kept(tmp_path)) == 3
        writer.compact()
    assert [event.document["n"] for event in kept(tmp_path)] == [1, 2, 7]
    assert [e.document["n"] for e in Lake(tmp_path).select("test", selection, Times())] == [7]


_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_lake_store import arrivals
from trailhound.lake.store import Writer
with Writer(Path({folder!r})) as writer:
    for number in range(10_000):
        writer.append(arrivals(2 * number, 2 * number + 1, day=number % 3), f"b{{number}}")
        print(number, flush=True)
        if number % 4 == 3:
            writer.compact()
"""


def killed(folder: Path, after: int) -> int:
    """Run a writer, kill it a little after it said `after`; return the last it said."""
    code = _KILLED.format(tests=str(Path(__file__).parent), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = -1
    for line in process.stdout:
        said = int(line)
        if said >= after:
            os.kill(process.pid, signal.SIGKILL)
            break
    said = max([said, *(int(line) for line in process.stdout)])
    process.wait()
    process.stdout.close()
    return said


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_any_point(tmp_path: Path, kills: int) -> None:
    """What was acknowledged is there once; a batch is there whole or not at all."""
    said = -1
    for kill in range(kills):
        said = max(said, killed(tmp_path, said + 1 + kill % 3))
        found = sorted(event.document["n"] for event in kept(tmp_path))
        # A batch may be on disk whose acknowledgement the kill cut off.
        assert found in (list(range(2 * said + 2)), list(range(2 * said + 4)))
    with Writer(tmp_path) as writer:
        known = writer.catalogue.paths()
        on_disk = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet*")}
        assert on_disk == known


def test_a_full_disk_stores_nothing_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Writer(tmp_path) as writer:
        writer.append(arrivals(1), "b1")
        real = os.replace
        calls = 0

        def full(*arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise OSError(28, "No space left on device")
            real(*arguments)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(TrailhoundError, match="No space left"):
            writer.append([*arrivals(2), *arrivals(3, day=1)], "b2")
        monkeypatch.undo()
        assert len(kept(tmp_path)) == 1
        assert writer.append([*arrivals(2), *arrivals(3, day=1)], "b2") == Appended(2, 0)


def test_logs_are_stored_once_and_whole(tmp_path: Path) -> None:
    log = tmp_path / "auth.log"
    line = "Nov 12 17:20:01 node-1 sshd[77]: Failed password for root from 192.0.2.7 port 4 ssh2"
    other = line.replace("root", "bob")
    # Twice the same line is two events; the same log again, under any name, is the same events.
    log.write_text(f"{line}\n{line}\nnonsense\n{other}\n")
    with Writer(tmp_path / "lake") as writer:
        done = ingest(writer, find_inputs([str(log)]))
        assert (done.stored, done.repeated, done.lost) == (3, 0, 1)
        log.rename(tmp_path / "auth.log.1")
        os.utime(tmp_path / "auth.log.1", (os.stat(tmp_path / "auth.log.1").st_mtime,) * 2)
        log.write_text(f"{other.replace('bob', 'eve')}\n")
        done = ingest(writer, find_inputs([str(tmp_path / "auth.log.1"), str(log)]))
        assert (done.stored, done.repeated) == (1, 3)
    (source,) = Lake(tmp_path / "lake").sources()
    assert (source.source, source.events) == ("linux_auth", 4)
    raws = duckdb.sql(f"SELECT raw FROM '{tmp_path}/lake/events/**/*.parquet'").fetchall()
    assert line in {raw.decode() for (raw,) in raws}


def test_the_lines_of_a_binary_file_are_not_counted_one_by_one(tmp_path: Path) -> None:
    good = "Nov 12 17:20:01 node-1 sshd[77]: Failed password for root from 192.0.2.7 port 4 ssh2"
    (tmp_path / "a.log").write_bytes(b"\x7fELF\x02\x01\x01\0" + bytes(range(256)) * 40 + b"\n")
    with (tmp_path / "a.log").open("a") as log:
        log.write(f"{good}\n")
    (tmp_path / "b.log").write_text(f"nonsense\n{good.replace('root', 'bob')}\n")
    with Writer(tmp_path / "lake") as writer:
        done = ingest(writer, find_inputs([str(tmp_path / "a.log"), str(tmp_path / "b.log")]))
    told = {failure.reason: failure.lost for failure in done.failures}
    assert (done.stored, told) == (2, {"binary file": 1, "unknown format": 1})


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(TrailhoundError, match="is no lake"):
        Lake(tmp_path)
