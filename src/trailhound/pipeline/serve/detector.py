"""The process that reads the queue: records to events, events to what is kept and to findings."""

import fcntl
import gc
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trailhound.intake.arrivals import Arrival
from trailhound.intake.queue import Damage, Frame, Mark, QueueReader
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.formats import LaterFormat
from trailhound.pipeline.serve import logs, talk
from trailhound.pipeline.serve.journal import Batch, Journal
from trailhound.pipeline.serve.judging import Judge
from trailhound.pipeline.serve.settings import Settings

BATCH_RECORDS = 20_000
"""Records that are kept together at most; a crash has as many read again."""
BATCH_BYTES = 64 * 1024 * 1024
BATCH_SECONDS = 2.0
"""How long a batch waits for more records before it is kept."""
_RUN_RECORDS = 2_000
"""Records that are judged together at most, where so many wait; those of one frame always are."""
_RUN_BYTES = 4 * 1024 * 1024
_RUN_NS = 1_000_000_000
"""They arrived within so much of each other: all count as arrived with the last of them."""
_LOOK_SECONDS = 0.25
_GARBAGE_OBJECTS = 20_000
"""So many are made before cycles among them are looked for; Python's own number is 700."""
_LOCK_SECONDS = 60
_log = logging.getLogger(__name__)


def detect(settings: Settings, connection: "Connection[Any, Any]") -> None:
    """Run the detector until it is told to stop, or the service is gone."""
    logs.set_up(settings.log_format, "detector")
    folder = Path(settings.state)
    lock = _alone(folder)
    try:
        orders = _Orders(connection)
        journal = Journal(folder / "journal.sqlite")
        try:
            loop = _Loop(settings, orders, journal)
            # A batch is a million objects that all go at once, and in no cycle.
            gc.freeze()
            gc.set_threshold(_GARBAGE_OBJECTS, 20, 20)
            loop.run()
        finally:
            journal.close()
    except LaterFormat as error:
        _log.error("%s", error)
        raise SystemExit(talk.EXIT_UNUSABLE) from None
    except TrailhoundError as error:
        _log.error("%s", error)
        raise SystemExit(2) from None
    except (OSError, sqlite3.OperationalError) as error:
        # A full disk, as a rule: the service starts this anew until there is room.
        _log.error("%s cannot be written: %s", folder, error)
        raise SystemExit(2) from None
    except sqlite3.DatabaseError as error:
        _log.error("a database in %s cannot be used: %s", folder, error)
        raise SystemExit(talk.EXIT_UNUSABLE) from None
    finally:
        os.close(lock)


class _Orders:
    """What the service has said so far, heard by a thread of its own."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self.mark: Mark | None = None
        self.stopping = False
        self.gone = False
        self._reload = False
        threading.Thread(target=self._hear, name="orders", daemon=True).start()

    def report(self, message: talk.FromDetector) -> None:
        """Say something to the service; nothing where it is gone."""
        try:
            talk.say(self._connection, message)
        except OSError:
            self.gone = True

    def wait(self, seconds: float, mark: Mark | None) -> None:
        """Wait until something is said that goes beyond `mark`, or some time has gone by."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.mark != mark or self.stopping or self.gone or self._reload, seconds
            )

    def reloading(self) -> bool:
        """Whether the rules are to be read anew; says so once."""
        with self._changed:
            said, self._reload = self._reload, False
            return said

    def _hear(self) -> None:
        try:
            while True:
                order = talk.hear_order(self._connection)
                with self._changed:
                    match order:
                        case talk.Mark():
                            self.mark = Mark(order.segment, order.offset)
                        case talk.Reload():
                            self._reload = True
                        case talk.Stop():
                            self.stopping = True
                    self._changed.notify_all()
        except (EOFError, OSError):
            with self._changed:
                self.gone = True
                self._changed.notify_all()


class _Loop:
    """Reads, judges and keeps, batch after batch."""

    def __init__(self, settings: Settings, orders: _Orders, journal: Journal) -> None:
        self._orders = orders
        self._journal = journal
        self._reader = QueueReader(Path(settings.state) / "queue", journal.next_number)
        self._judge = Judge(settings, journal)
        self._ready()

    def run(self) -> None:
        """Go on until told to stop."""
        orders = self._orders
        again = self._journal.begun()
        while not orders.gone:
            seen = orders.mark
            took = self._read(again)
            again = again if again and self._judge.behind < again.behind else None
            if took:
                continue
            if again is None:
                self._judge.settle(time.time_ns())
            if self._judge.is_open and again is None:
                if orders.stopping or self._judge.age_s(time.monotonic()) >= BATCH_SECONDS:
                    self._keep()
            elif orders.stopping:
                self._judge.close()
                return
            if seen is not None and again is None:
                self._judge.watch(time.time_ns())
            self._judge.keep_house()
            if self._judge.has_news():
                self._orders.report(self._judge.report())
            if orders.reloading():
                try:
                    self._judge.reload()
                except TrailhoundError as error:
                    _log.error("%s; the rules before it stay", error)
                self._ready()
            orders.wait(_LOOK_SECONDS, seen)

    def _ready(self) -> None:
        self._orders.report(
            talk.Ready(self._journal.next_number, self._judge.rules, self._judge.problems)
        )

    def _read(self, again: Batch | None) -> bool:
        """Judge what has come; return whether there was anything."""
        mark = self._orders.mark
        if mark is None:
            return False
        took = False
        judge = self._judge
        for run in self._runs(mark):
            took = True
            first, arrivals = run
            while arrivals:
                # A batch that a crash cut short ends where it ended before.
                end = again.behind if again else judge.behind + BATCH_RECORDS - judge.open_records
                part, arrivals = arrivals[: max(0, end - first)], arrivals[max(0, end - first) :]
                if part:
                    judge.take(first, part)
                    first += len(part)
                if first >= end or (again is None and judge.open_bytes >= BATCH_BYTES):
                    again = None
                    self._keep()
            if again is None and judge.age_s(time.monotonic()) >= BATCH_SECONDS:
                self._keep()
            if self._orders.gone:
                break
        return took

    def _runs(self, mark: Mark) -> Iterator[tuple[int, list[Arrival]]]:
        """Yield records as they follow on each other: the more wait, the more at once."""
        first = size = 0
        run: list[Arrival] = []
        for frame in self._frames(mark):
            begun_ns = run[0].received_ns if run else 0
            last_ns = frame.arrivals[-1].received_ns
            if run and (
                frame.first != first + len(run)
                or first < self._judge.seen_below
                or not begun_ns <= last_ns <= begun_ns + _RUN_NS
                or len(run) + len(frame.arrivals) > _RUN_RECORDS
                or size > _RUN_BYTES
            ):
                yield first, run
                run, size = [], 0
            if not run:
                first = frame.first
            run += frame.arrivals
            size += sum([len(arrival.data) for arrival in frame.arrivals])
        if run:
            yield first, run

    def _frames(self, mark: Mark) -> Iterator[Frame]:
        for item in self._reader.read(mark):
            if isinstance(item, Damage):
                _log.error("queue: %s at byte %d of %s", item.detail, item.offset, item.path)
                self._judge.damaged()
            else:
                yield item

    def _keep(self) -> None:
        self._judge.keep()
        self._judge.keep_house()
        self._orders.report(self._judge.stats())
        self._orders.report(self._judge.report())
        self._orders.report(talk.Done(self._journal.next_number))


def _alone(folder: Path) -> int:
    # After a crash of the service, the last detector may still be at its batch.
    handle = os.open(folder / "detector.lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                raise SystemExit(f"another detector works in {folder}") from None
            time.sleep(0.1)
        else:
            return handle
