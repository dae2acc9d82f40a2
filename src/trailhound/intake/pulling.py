"""What intakes have in common that fetch records from a server, and are not sent them."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field

from trailhound.intake.arrivals import Accept, Arrival, hand_over

BATCH_BYTES = 4 * 1024 * 1024
"""What is handed over together, unless one record is larger."""
BATCH_RECORDS = 5_000
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_STEADY_SECONDS = 120.0
_LOOK_SECONDS = 0.25
_GRACE_SECONDS = 3.0
"""How long records in hand may take to get to disk when the intake is to end."""
_STOP_SECONDS = 20
"""How long an intake may take to end; what it has not acknowledged by then comes again."""
_changing = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How one intake that pulls does. Its fields are replaced, never changed in place."""

    intake: str
    """`kafka`, `nats`, `s3`."""
    connected: bool = False
    """Whether the server answered last."""
    waiting: bool = False
    """Whether it fetches nothing because the queue is full."""
    errors: int = 0
    """How often something failed that is tried again."""
    lag: Mapping[str, int] = field(default_factory=dict)
    """What waits at the server (messages, objects), by its place there."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Records that the server dropped before they were fetched, by their place there."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What was seen and is no log, by kind."""

    def failed(self, what: str, *, tell: bool = True) -> None:
        """Note that something failed, and tell it."""
        with _changing:
            self.connected = False
            self.errors += 1
        if tell:
            _log.warning("%s: %s", self.intake, what)

    def skip(self, kind: str, count: int) -> None:
        """Note what is no log."""
        with _changing:
            self.skipped = {**self.skipped, kind: self.skipped.get(kind, 0) + count}

    def lose(self, place: str, records: int) -> None:
        """Note records that can never be fetched."""
        with _changing:
            self.lost = {**self.lost, place: self.lost.get(place, 0) + records}


def batches(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    """Yield arrivals in parts that are handed over together."""
    part: list[Arrival] = []
    size = 0
    for arrival in arrivals:
        if part and (size + len(arrival.data) > BATCH_BYTES or len(part) == BATCH_RECORDS):
            yield part
            part, size = [], 0
        part.append(arrival)
        size += len(arrival.data)
    if part:
        yield part


class Hand:
    """What the thread of an intake holds of the service: where records go, and when to end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, accept: Accept) -> None:
        self._loop = loop
        self._accept = accept
        self.stopping = threading.Event()

    def give(self, arrivals: Sequence[Arrival]) -> "Future[None]":
        """Hand records over; the future ends when they are on disk, and no sooner."""
        return asyncio.run_coroutine_threadsafe(hand_over(arrivals, self._accept), self._loop)

    def deliver(self, arrivals: Sequence[Arrival], progress: Progress) -> bool:
        """Hand records over and wait until they are on disk; False when told to end before."""
        given = self.give(arrivals)
        stop_s = float("inf")
        while True:
            try:
                given.result(_LOOK_SECONDS)
            except NotYet:
                progress.waiting = True
            else:
                progress.waiting = False
                return True
            if self.stopping.is_set():
                stop_s = min(stop_s, time.monotonic() + _GRACE_SECONDS)
                if time.monotonic() >= stop_s:
                    given.cancel()
                    return False


async def in_thread(name: str, work: Callable[[Hand], None], accept: Accept) -> None:
    """Run the work of an intake in a thread of its own; raise what it raises.

    Cancelled, it sets `stopping` and waits until the work has ended: what is on disk by then
    can still be acknowledged.
    """
    loop = asyncio.get_running_loop()
    hand = Hand(loop, accept)
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: Exception | None) -> None:
        if ended.cancelled():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            work(hand)
        except Exception as raised:  # it is raised there
            error = raised
        # The loop may be gone when a thread that would not end does so.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        hand.stopping.set()
        await asyncio.wait([ended], timeout=_STOP_SECONDS)
        if ended.done() and (error := ended.exception()) is not None:
            _log.warning("%s: %s", name, error)
        raise


async def keep_pulling(
    attempt: Callable[[], Awaitable[None]],
    progress: Progress,
    expected: tuple[type[Exception], ...],
) -> None:
    """Attempt until cancelled, with growing pauses between attempts that soon fail.

    Args:
        attempt: pulls until something fails.
        progress: where failures are noted.
        expected: what it raises when the server or the network is at fault; anything else is a
            mistake of ours, and logged with its trace.
    """
    pause = _pauses()
    while True:
        begun = time.monotonic()
        try:
            await attempt()
        except expected as error:
            progress.failed(str(error) or type(error).__name__)
        except Exception as error:
            _log.exception("%s", progress.intake)
            progress.failed(f"a mistake of ours: {error}")
        if time.monotonic() - begun > _STEADY_SECONDS:
            pause = _pauses()
        await asyncio.sleep(next(pause))


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE_S)
