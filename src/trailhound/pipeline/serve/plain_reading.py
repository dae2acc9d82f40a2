"""Which records of the queue may be plain, and of which source."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trailhound.engine.plan import Plan
from trailhound.intake.arrivals import Arrival
from trailhound.model.events import Event
from trailhound.model.records import ParseFailure
from trailhound.pipeline.serve.plain import Plain, PlainReader
from trailhound.pipeline.serve.records import Taken
from trailhound.sources.contract import Source

_SENDERS_KEPT = 10_000
_REST = 16
"""Runs of records that are read one by one after one of which none was plain."""


class PlainRecords(NamedTuple):
    """Plain records of one source, and where they stand."""

    plain: Plain
    numbers: list[int]
    """Of each in the queue."""
    paths: list[str]
    """Who sent each."""

    def without(self, repeats: Sequence[bool]) -> "PlainRecords":
        """Return it without some of its records: a flag for each."""
        keep = [index for index, repeat in enumerate(repeats) if not repeat]
        return PlainRecords(
            self.plain.without(repeats),
            [self.numbers[index] for index in keep],
            [self.paths[index] for index in keep],
        )


class PlainReading:
    """Finds plain records among those that arrive together.

    What a sender sent last says what it will send: a guess that costs time where it is wrong, and
    changes nothing.
    """

    def __init__(self, sources: Iterable[Source], plan: Plan) -> None:
        """Make readers for the sources that have a gate, and the rules of a plan."""
        self._readers = {
            source.name: PlainReader(source, plan) for source in sources if source.gate is not None
        }
        self._source: dict[str, str] = {}
        self._rests: dict[str, int] = {}

    def learn(self, peer: str, items: Sequence[Event | ParseFailure]) -> None:
        """Take note of what was read out of a record of a sender."""
        item = items[0]
        if isinstance(item, Event) and item.source in self._readers and not item.notes:
            if len(self._source) > _SENDERS_KEPT:
                self._source.clear()
            self._source[peer] = item.source

    def read(self, records: Sequence[tuple[Arrival, Taken]]) -> list[PlainRecords]:
        """Return what is plain and matches no rule, source by source."""
        if not self._source:
            return []
        runs: dict[str, list[int]] = {}
        for index, (arrival, taken) in enumerate(records):
            source = self._source.get(arrival.peer)
            data = taken.record.safe.data
            if source is not None and is_on_one_line(data) and arrival.failure is None:
                runs.setdefault(source, []).append(index)
        found: list[PlainRecords] = []
        for source, run in runs.items():
            if self._rests.get(source, 0):
                self._rests[source] -= 1
                continue
            plain = self._readers[source].read([records[i][1].record.safe.data for i in run])
            if plain is None:
                self._rests[source] = _REST
                continue
            at = [run[index] for index in plain.at]
            numbers = [records[index][1].record.number for index in at]
            found.append(PlainRecords(plain, numbers, [records[i][0].peer for i in at]))
        return found


def is_on_one_line(data: bytes) -> bool:
    """Whether a record is an object from its first byte to its last, on one line; or is broken."""
    return data[:1] == b"{" and data[-1:] == b"}" and b"\n" not in data
