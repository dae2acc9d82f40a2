"""Raw records to events: finds the source that knows a record, and reads it."""

import json
from collections.abc import Iterator

from trailhound.model.events import Event
from trailhound.model.records import ParseFailure, Payload, RawRecord
from trailhound.sources import SOURCES
from trailhound.sources.contract import Source


class Decoder:
    """First cut, so that samples of other sources can run; unwrapping comes next."""

    def __init__(self, sources: tuple[Source, ...] = SOURCES) -> None:
        self._sources = sources
        self._readers = {source.name: source.reader() for source in sources}

    def decode(self, record: RawRecord) -> Iterator[Event | ParseFailure]:
        """Read one record."""
        if not record.data.strip():
            return
        origin = record.origin
        payloads = [Payload(origin=origin, text=record.data.decode(errors="replace"))]
        if record.data.lstrip()[:1] in (b"{", b"["):
            document = json.loads(record.data)
            if isinstance(document, dict) and isinstance(document.get("Records"), list):
                document = document["Records"]
            if isinstance(document, list):
                payloads = [
                    Payload(origin=type(origin)(origin.path, origin.line, n), document=item)
                    for n, item in enumerate(document, 1)
                ]
            else:
                payloads = [Payload(origin=origin, document=document)]
        for payload in payloads:
            for source in self._sources:
                if source.recognises(payload):
                    yield from self._readers[source.name].read(payload)
                    break
            else:
                yield ParseFailure(payload.origin, "unknown format", "no source knows it")

    def flush(self) -> Iterator[Event | ParseFailure]:
        """Give out what readers hold back."""
        for reader in self._readers.values():
            yield from reader.flush()
