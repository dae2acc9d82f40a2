"""Logs into the lake: read as a scan reads them, stored in batches."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from trailhound.intake.blocks import Block
from trailhound.intake.files import InputFile, read_blocks
from trailhound.lake.schema import Arrival
from trailhound.lake.store import Writer
from trailhound.model.events import Event
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.model.totals import FailureCount
from trailhound.pipeline.tally import Tally
from trailhound.pipeline.units import cut
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

_BATCH = 20_000
_BATCH_BYTES = 64 * 1024 * 1024
_RAW_LINES = 20_000
_RAW_BYTES = 32 * 1024 * 1024
_LONG = 256 * 1024


@dataclass(slots=True)
class Ingested:
    """What became of the logs."""

    events: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    repeated: int = 0
    """Events that the lake had already."""
    files: int = 0
    records: int = 0
    failures: tuple[FailureCount, ...] = ()

    @property
    def lost(self) -> int:
        """Records that could not be read."""
        return sum(count.lost for count in self.failures)


def ingest(
    writer: Writer, files: Sequence[InputFile], progress: Callable[[int], None] = lambda _: None
) -> Ingested:
    """Store logs. Run again over the same logs, it stores nothing twice.

    Lines of one log that say the same are told apart by their number: the second such line is
    another event. The same log again has the same lines in the same number.
    """
    result = Ingested()
    tally = Tally()
    batch: list[Arrival] = []
    size = 0

    def store() -> None:
        appended = writer.append(batch)
        result.stored += appended.stored
        result.repeated += appended.repeated
        batch.clear()

    for unit in cut(files):
        for group in unit.groups:
            for arrival in _arrivals(group, tally, progress):
                result.events[arrival.event.source] += 1
                batch.append(arrival)
                size += len(arrival.raw) + 1024
                if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                    store()
                    size = 0
    if batch:
        store()
    result.files = tally.files
    result.records = tally.records
    result.failures = tally.failures()
    return result


def _arrivals(
    group: Iterable[InputFile], tally: Tally, progress: Callable[[int], None]
) -> Iterator[Arrival]:
    """Read one log: a file and its rotated predecessors."""
    decoder = Decoder(all_sources())
    lines = _Lines()
    copies = _Copies()

    def arrived(items: Iterable[Event | ParseFailure]) -> Iterator[Arrival]:
        for item in items:
            if isinstance(item, ParseFailure):
                tally.fail(item)
            else:
                yield Arrival(item, lines.of(item.origins), copies.number(item))

    for file in group:
        tally.files += 1
        for record in _records(file, tally, progress):
            lines.keep(record)
            yield from arrived(decoder.decode(record))
    yield from arrived(decoder.flush())


def _records(file: InputFile, tally: Tally, progress: Callable[[int], None]) -> Iterator[RawRecord]:
    for item in read_blocks(file, progress):
        if isinstance(item, ParseFailure):
            tally.fail(item)
        elif isinstance(item, Block):
            for index in range(len(item.ends)):
                line = item.text(index)
                if line:
                    tally.records += 1
                    origin = Origin(file.path, item.line + index)
                    yield RawRecord(bytes(line), origin, file.modified_ns)
        else:
            tally.records += 1
            yield replace(item, modified_ns=file.modified_ns)


class _Lines:
    """The last lines as they arrived: some events come from several, or come later."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Origin, bytes] = OrderedDict()
        self._size = 0

    def keep(self, record: RawRecord) -> None:
        """Remember a record; the oldest go."""
        if len(record.data) > _LONG:
            return
        self._lines[record.origin] = record.data
        self._size += len(record.data)
        while len(self._lines) > _RAW_LINES or self._size > _RAW_BYTES:
            _, gone = self._lines.popitem(last=False)
            self._size -= len(gone)

    def of(self, origins: Sequence[Origin]) -> bytes:
        """Return the lines of an event; empty for one out of a list, or one that has gone."""
        found = [self._lines.get(origin) for origin in origins]
        return b"\n".join(line for line in found if line) if all(found) else b""


class _Copies:
    """Counts events of the same content."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def number(self, event: Event) -> str:
        """Return which one of its content this is: empty for the first, then `2`, `3`."""
        if event.envelope.request_uid:
            return ""
        key = hashlib.blake2b(event.uid.encode(), digest_size=8).digest()
        self._seen[key] += 1
        number = self._seen[key]
        return "" if number == 1 else str(number)
