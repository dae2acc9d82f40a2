"""Whatever outlives the program says its format: a later one is refused, not misread."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from test_stream import LATE
from test_windows import COUNT, SECOND, event, event_of, plan_of
from trailhound.intake.queue import QueueWriter
from trailhound.lake.catalogue import Catalogue
from trailhound.ledger.log import SETTINGS, create, read_settings
from trailhound.ledger.notes import Signer
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.journal import Journal
from trailhound.pipeline.serve.watcher import FILE, Watcher
from trailhound.pipeline.stream import Stream
from trailhound.pipeline.window_store import WindowStore

Use = Callable[[Path], None]


def use_windows(folder: Path) -> None:
    store = WindowStore(folder / "windows.sqlite", plan_of(COUNT), LATE)
    store.save()
    store.close()


def use_journal(folder: Path) -> None:
    Journal(folder / "journal.sqlite").close()


def use_watch(folder: Path) -> None:
    Watcher(folder / FILE, 1).close()


def use_lake(folder: Path) -> None:
    Catalogue(folder, writing=True).close()


def use_queue(folder: Path) -> None:
    QueueWriter(folder, 1 << 20).close()


def use_ledger(folder: Path) -> None:
    if not (folder / SETTINGS).exists():
        create(folder, Signer.generate("test.example"), keep_records=True)
    read_settings(folder)


def later_database(folder: Path) -> None:
    (path,) = (path for path in folder.iterdir() if path.suffix == ".sqlite")
    with closing(sqlite3.connect(path)) as file, file:
        (now,) = file.execute("PRAGMA user_version").fetchone()
        assert now > 0
        file.execute(f"PRAGMA user_version = {now + 1}")


def later_queue(folder: Path) -> None:
    (folder / "format").write_text("2\n")


def later_ledger(folder: Path) -> None:
    settings = json.loads((folder / SETTINGS).read_bytes())
    settings["version"] += 1
    (folder / SETTINGS).write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("use", "make_later"),
    [
        (use_windows, later_database),
        (use_journal, later_database),
        (use_watch, later_database),
        (use_lake, later_database),
        (use_queue, later_queue),
        (use_ledger, later_ledger),
    ],
    ids=lambda use: use.__name__,
)
def test_what_a_later_version_wrote_is_refused(tmp_path: Path, use: Use, make_later: Use) -> None:
    use(tmp_path)
    use(tmp_path)
    make_later(tmp_path)
    with pytest.raises(TrailhoundError, match="written by a later Trailhound"):
        use(tmp_path)


def test_windows_of_an_earlier_version_begin_anew_and_say_so(tmp_path: Path) -> None:
    path, plan = tmp_path / "w", plan_of(COUNT)
    stream = Stream(plan, path, LATE)
    list(stream.take([event_of(event(t, "fail", u="a")) for t in (100, 101)], 1000 * SECOND))
    stream.store.note("read", b"2")
    stream.save()
    assert not stream.store.begun_anew
    stream.close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA user_version = 0")
        file.execute("UPDATE meta SET data = x'93' WHERE name = 'windows'")
    for _ in range(2):  # until something is saved, it is still so
        stream = Stream(plan, path, LATE)
        assert stream.store.begun_anew
        assert stream.store.noted("read") == b"2"
        assert list(stream.end()) == []
        stream.close()
    stream = Stream(plan, path, LATE)
    stream.save()
    stream.close()
    stream = Stream(plan, path, LATE)
    assert not stream.store.begun_anew
    stream.close()
