"""Records of the queue between two batches: what became of each, and what readers hold back."""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from trailhound.intake.arrivals import Arrival
from trailhound.ledger.redaction import Redacted
from trailhound.model.events import Event
from trailhound.model.records import Origin
from trailhound.pipeline.serve.sealing import Numbered

_HELD_RECORDS = 5_000
_HELD_BYTES = 4 * 1024 * 1024
_LONG = 256 * 1024
"""Of longer records the lake keeps the document alone."""


class Taken(Struct, gc=False):
    """One record that was taken in, and what came of it so far."""

    record: Numbered
    key: bytes | None
    """Knows it when it is sent again; None where its sender says nothing of its place."""
    alone: bool = False
    """Whether its events are its own, and came out of it at once: no reader held it back."""
    gave: int = 0
    """Events and failures that were read out of it."""
    repeats: int = 0
    """Of these, events that were there before."""
    named: int = 0
    """Of these, events that have an id of their sender."""

    @property
    def is_repeat(self) -> bool:
        """Whether nothing in it is new."""
        return self.gave > 0 and self.gave == self.repeats

    @property
    def is_known_by_events(self) -> bool:
        """Whether the ids of its events are enough to know it again."""
        return self.alone and self.gave > 0 and self.gave == self.named


def key_of(arrival: Arrival, safe: Redacted) -> bytes | None:
    """Return what tells a record from others: its sender's place for it, and what it says."""
    if not arrival.position:
        return None
    digest = hashlib.blake2b(arrival.peer.partition("/")[0].encode(), digest_size=16)
    digest.update(b"\0%s\0" % arrival.position.encode(errors="surrogatepass"))
    if arrival.failure is not None:  # a line may fail in several ways
        digest.update("\0".join((*arrival.failure, "")).encode(errors="surrogatepass"))
    digest.update(safe.data)
    return digest.digest()


class HeldRecord(Struct, frozen=True, array_like=True):
    """A record that a reader may hold back."""

    number: int
    peer: str
    received_ns: int
    data: bytes
    context: bytes = b""


class Held:
    """The last records that nothing was read out of yet: a reader may hold them back."""

    def __init__(self, data: bytes = b"") -> None:
        """Take up what `dump` wrote. Raises `msgspec.MsgspecError` for anything else."""
        found = msgspec.msgpack.decode(data, type=list[HeldRecord]) if data else []
        self._records = {record.number: record for record in found}
        self._size = sum(len(record.data) for record in found)

    def __iter__(self) -> Iterator[HeldRecord]:
        """Yield the records in the order they came."""
        yield from self._records.values()

    def dump(self) -> bytes:
        """Return the bytes of it."""
        return msgspec.msgpack.encode(list(self))

    def add(self, record: HeldRecord) -> None:
        """Hold a record; the oldest go."""
        if len(record.data) > _LONG:
            return
        self._records[record.number] = record
        self._size += len(record.data)
        while len(self._records) > _HELD_RECORDS or self._size > _HELD_BYTES:
            self.drop(next(iter(self._records)))

    def data(self, number: int) -> bytes | None:
        """Return the bytes of a record; None where it is not here."""
        record = self._records.get(number)
        return None if record is None else record.data

    def drop(self, number: int) -> None:
        """Hold a record no longer."""
        record = self._records.pop(number, None)
        self._size -= len(record.data) if record is not None else 0


class OpenBatch:
    """The records that were taken in and are not kept yet."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self._taken: dict[int, Taken] = {}
        self._unsealed: list[Taken] = []
        self._given: set[int] = set()

    def add(self, taken: Taken) -> None:
        """Take a record in; numbers only grow."""
        self._taken[taken.record.number] = taken
        self._unsealed.append(taken)

    def gave(self, origins: Iterable[Origin], *, repeat: bool = False, named: bool = False) -> None:
        """Note that an event or a failure was read out of records."""
        for number in {origin.line for origin in origins}:
            taken = self._taken.get(number)
            if taken is None:
                self._given.add(number)
                continue
            taken.gave += 1
            taken.repeats += repeat
            taken.named += named

    def repeated(self, numbers: Iterable[int]) -> None:
        """Note that the one event of each of these records was there before."""
        for number in numbers:
            self._taken[number].repeats = 1

    def raw(self, event: Event) -> bytes:
        """Return the lines of an event; empty for one out of a list, or where one has gone."""
        if any(origin.element for origin in event.origins):
            return b""
        lines = [self._line(origin.line) for origin in event.origins]
        if any(line is None or len(line) > _LONG for line in lines):
            return b""
        return b"\n".join(line for line in lines if line)

    def to_seal(self) -> list[Numbered]:
        """Return the records that are to be sealed; they are no longer asked for."""
        found = [taken.record for taken in self._unsealed if not taken.is_repeat]
        self._unsealed = []
        return found

    def known_by_events(self) -> set[bytes]:
        """Return the keys of records that the ids of their events are enough to know again."""
        return {
            taken.key
            for taken in self._taken.values()
            if taken.key is not None and taken.is_known_by_events
        }

    def close(self) -> Held:
        """Return what readers may hold back of it."""
        for number in self._given:
            self.held.drop(number)
        for number, taken in self._taken.items():
            if not taken.gave:
                one = taken.record
                held = HeldRecord(number, one.peer, one.received_ns, one.safe.data, one.context)
                self.held.add(held)
        return self.held

    def _line(self, number: int) -> bytes | None:
        taken = self._taken.get(number)
        return taken.record.safe.data if taken is not None else self.held.data(number)
