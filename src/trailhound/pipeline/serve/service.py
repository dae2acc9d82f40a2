"""The process that takes records in, and sees to the detector beside it.

Two processes, so that senders hear an answer however busy the rules are, and so that a rule that
takes the detector down takes no sender with it. This one only ever waits for the disk.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from trailhound.intake.arrivals import Arrival, Full
from trailhound.intake.http.access import Access, load_access
from trailhound.intake.queue import SEGMENT_BYTES, QueueWriter
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve import listeners, monitor, systemd, talk
from trailhound.pipeline.serve.certificates import Certificates
from trailhound.pipeline.serve.condition import Condition
from trailhound.pipeline.serve.receiving import Receiving
from trailhound.pipeline.serve.settings import Settings

_STOP_SECONDS = 60
_RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0, 60.0)
_STEADY_SECONDS = 300
_UNUSABLE_LIMIT = 2
"""How often in a row the detector may say that its state is damaged."""
_log = logging.getLogger(__name__)


class Service:
    """One running `trailhound serve`."""

    def __init__(self, settings: Settings) -> None:
        """Take the state folder; nothing listens yet.

        Raises:
            TrailhoundError: Another one has the folder, or it cannot be used; rules that the
                settings name are not there; a place to forward to is none; an intake would
                listen to the world without an access file.
        """
        self._settings = settings
        self._folder = Path(settings.state)
        for path in settings.rules:
            # Gone later, rules that were read go on; never there, nothing would be judged.
            if not Path(path).exists():
                raise TrailhoundError(f"no such rule file or folder: {path}")
        if settings.ledger.forward:
            from trailhound.ledger.targets import check_place  # noqa: PLC0415 - few forward

            for place in settings.ledger.forward:
                check_place(place)
        self.condition = Condition()
        self._access = _access(settings)
        self._certificates = Certificates()
        listeners.check(settings, self._access)
        self._lock = _locked(self._folder)
        # Room comes back a segment at a time, so a small queue has small ones.
        segment_bytes = min(SEGMENT_BYTES, settings.queue_bytes // 8)
        self.queue = QueueWriter(self._folder / "queue", settings.queue_bytes, segment_bytes)
        for damage in self.queue.salvaged:
            _log.warning("queue: %s, put aside: %s", damage.detail, damage.path)
        self._detector = _Detector(settings, self.queue, self.condition)

    async def accept(self, arrivals: Sequence[Arrival]) -> None:
        """Take records in; see `Accept`."""
        try:
            await asyncio.wrap_future(self.queue.put(arrivals))
        except Full:
            self.condition.refused += 1
            raise
        self._detector.tell()
        taken = self.condition.taken
        for arrival in arrivals:
            intake = arrival.peer.partition("/")[0]
            taken[intake] = taken.get(intake, 0) + 1

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; at SIGHUP, read rules, access and certificates anew."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        receiving = Receiving(self._folder / "received", self._access)
        monitoring = monitor.routes(
            self.condition,
            self._settings,
            receiving,
            lambda: self.queue.held_bytes,
            lambda: self.queue.next_number,
        )
        try:
            async with AsyncExitStack() as closing:
                await listeners.open_all(
                    self._settings,
                    self.accept,
                    self._access,
                    self._certificates,
                    (*monitoring, receiving.route()),
                    self.condition.lost,
                    self.condition.pulls,
                    closing,
                )
                self._detector.start(lambda: loop.call_soon_threadsafe(stopping.set))
                systemd.notify("READY=1")
                alive = asyncio.create_task(systemd.keep_alive())
                closing.callback(alive.cancel)
                await stopping.wait()
                systemd.notify("STOPPING=1")
                _log.info("stopping")
        finally:
            await asyncio.to_thread(self.queue.close)
            await asyncio.to_thread(self._detector.stop)
            os.close(self._lock)
            _log.info("stopped")
        if self._detector.gave_up:
            raise TrailhoundError(
                f"the state in {self._folder} cannot be used, so nothing would be judged: "
                f"{self._detector.gave_up}"
            )

    def _reload(self) -> None:
        _log.info("reading rules, access and certificates anew")
        self._detector.reload()
        self._certificates.renew()
        try:
            self._access.become(_access(self._settings))
        except TrailhoundError as error:
            _log.error("%s; what was allowed before it still is", error)


class _Detector:
    """The other process: started, told how far it may read, and started again when it dies."""

    def __init__(self, settings: Settings, queue: QueueWriter, condition: Condition) -> None:
        self._settings = settings
        self._queue = queue
        self._condition = condition
        self._process: SpawnProcess | None = None
        self._connection: Connection[Any, Any] | None = None
        self._sending = threading.Lock()
        self._told: talk.Mark | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="detector", daemon=True)
        self._on_end: Callable[[], object] = lambda: None
        self.gave_up = ""
        """Why nothing would be judged; empty where all is well."""

    def start(self, on_end: Callable[[], object]) -> None:
        """Start it; `on_end` is called from another thread where it cannot be had."""
        self._on_end = on_end
        self._watcher.start()

    def tell(self) -> None:
        """Tell how far the queue is synced, where that has changed."""
        mark = talk.Mark(*self._queue.mark)
        if mark != self._told:
            self._told = mark
            self._say(mark)

    def reload(self) -> None:
        self._say(talk.Reload())

    def stop(self) -> None:
        if self._watcher.ident is None:  # an address could not be had: it was never started
            return
        self._stopping.set()
        self._say(talk.Mark(*self._queue.mark))
        self._say(talk.Stop())
        self._watcher.join(_STOP_SECONDS)
        if self._process is not None and self._process.is_alive():
            _log.warning(
                "the detector did not end in %d s; it goes on at the next start", _STOP_SECONDS
            )
            self._process.kill()

    def _say(self, message: talk.ToDetector) -> None:
        with self._sending:
            if self._connection is not None:
                # Where it is gone, the watcher starts it again and tells it all.
                with contextlib.suppress(OSError):
                    talk.say(self._connection, message)

    def _watch(self) -> None:
        failures = unusable = 0
        last = False
        while True:
            begun = time.monotonic()
            self._run_once()
            self._condition.ready = False
            code = self._process.exitcode if self._process is not None else None
            # One that dies as the end comes is given another chance to judge what is there.
            if last or (self._stopping.is_set() and code == 0):
                return
            last = self._stopping.is_set()
            unusable = unusable + 1 if code == talk.EXIT_UNUSABLE else 0
            if unusable >= _UNUSABLE_LIMIT:
                self._give_up("it is damaged, or of a later Trailhound")
                return
            failures = 0 if time.monotonic() - begun > _STEADY_SECONDS else failures + 1
            pause = _RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)]
            self._condition.restarts += 1
            _log.error("the detector ended (exit code %s); starting it again in %g s", code, pause)
            self._stopping.wait(pause)

    def _give_up(self, reason: str) -> None:
        """End the service: what is taken in would not be judged, so senders had better keep it."""
        self.gave_up = reason
        self._on_end()

    def _run_once(self) -> None:
        context = get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=_detect, args=(self._settings, there), name="trailhound-detector", daemon=True
        )
        process.start()
        there.close()
        self._process = process
        with self._sending:
            self._connection = here
        self._told = None
        self.tell()
        if self._stopping.is_set():  # said while nobody was there to hear it
            self._say(talk.Stop())
        try:
            while True:
                self._heard(talk.hear_report(here))
        except (EOFError, OSError):
            process.join()
        with self._sending:
            self._connection = None
        here.close()

    def _heard(self, report: talk.FromDetector) -> None:
        condition = self._condition
        match report:
            case talk.Ready() if report.number > self._queue.next_number:
                self._give_up(f"it has judged {report.number - 1:,} records, and its queue is new")
            case talk.Ready():
                condition.ready = True
                condition.rules = report.rules
                condition.done = report.number
                for problem in report.problems:
                    _log.warning("rule: %s", problem)
                _log.info("%d rules; reading from record %d", report.rules, report.number)
            case talk.Done():
                condition.done = report.number
                self._queue.forget(report.number)
            case talk.Stats():
                condition.stats = report
            case talk.Report():
                condition.report = report


def _access(settings: Settings) -> Access:
    if not settings.access:
        return Access(())
    access = load_access(Path(settings.access))
    if not access:
        raise TrailhoundError(
            f"the access file {settings.access} lets nobody in: `trailhound token` adds a grant"
        )
    return access


def _detect(settings: Settings, connection: "Connection[Any, Any]") -> None:
    # A terminal sends these to both processes, also while this one loads what it needs.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Rules, lake and ledger take their time to load; who only takes records in need not wait.
    from trailhound.pipeline.serve.detector import detect  # noqa: PLC0415

    detect(settings, connection)


def _locked(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise TrailhoundError(f"the state folder {folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise TrailhoundError(f"another trailhound serves from {folder}") from None
    return handle
