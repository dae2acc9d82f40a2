"""Raw records to events: takes wrappings off, and finds the source that knows a record."""

import itertools
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from trailhound.model.events import Event
from trailhound.model.records import Origin, ParseFailure, Payload, RawRecord
from trailhound.sources import SOURCES
from trailhound.sources.container_lines import (
    Pieces,
    cri_line,
    is_piece,
    stamped_line,
    stream_of,
    tagged_line,
)
from trailhound.sources.contents import inside, within
from trailhound.sources.contract import Searched, Settling, Skimmed, Skimming, Source
from trailhound.sources.document import (
    JsonFailure,
    Reading,
    documents_in,
    read_clean,
    read_exactly,
    read_json,
)
from trailhound.sources.knowing import knows, knows_inside
from trailhound.sources.readings import distinct, laid_together
from trailhound.sources.syslog_lines import json_behind
from trailhound.sources.unwrap import WRAPPINGS_TAKEN_OFF, kind_of, unwrap, unwrap_array

Item = Event | ParseFailure
Content = Payload | ParseFailure
T = TypeVar("T")

_BLANKS = " \t\r\n\v\f\0\ufeff"
_BLANK_BYTES = b" \t\r\n\v\f\0\xef\xbb\xbf"
_KEYS_SHOWN = 5
_PLAIN = frozenset(character.encode() for character in string.ascii_letters + string.digits + "<")
"""What a line may begin with that is neither JSON nor odd in any way."""
_TEXT_SHOWN = 80
_WRITTEN_LIMIT_BYTES = 65_536
"""The text of a longer document is not kept beside it."""


class Decoder:
    """Reads the records of one scan job, over all its files in the order they come.

    Every record is judged on its own, so files may mix formats. Which source knew the last
    record only decides which is asked first.
    """

    def __init__(self, sources: Sequence[Source] = SOURCES) -> None:
        """Make a decoder with readers of its own.

        Args:
            sources: the formats it knows; where two claim a record, the earlier one has it.
        """
        self._sources = tuple(sources)
        self._readers = {source.name: source.reader() for source in sources}
        self._likely: Source | None = None
        self._pieces = Pieces()
        self._last = Origin("-", 0)
        self._modified_ns = 0
        self._context: Mapping[str, Any] = {}
        self._known: Mapping[str, Any] = {}

    def decode(self, record: RawRecord) -> Iterator[Item]:
        """Events that are complete by now, and what could not be read. Never raises."""
        self._last = record.origin
        if record.modified_ns != self._modified_ns or record.context is not self._context:
            self._modified_ns, self._context = record.modified_ns, record.context
            times = {"modified_ns": record.modified_ns} if record.modified_ns else {}
            self._known = {**record.context, **times}
        if record.data[:1] == b"{":
            # An element that was cut out of its list keeps its number.
            numbers = itertools.count(record.origin.element or 1)
            return self._json(record.data, self._outermost(record), numbers)
        found = self._quickly(record)
        return self._carefully(record) if found is None else found

    def _quickly(self, record: RawRecord) -> Iterator[Item] | None:
        """Read a plain line of the source that knew the record before; None for all others.

        It saves most of what `_carefully` costs for a log of lines, and finds the same.
        """
        data, likely = record.data, self._likely
        if likely is None or data[:1] not in _PLAIN or b"{" in data or b"\0" in data:
            return None
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return None
        if text[-1] in "\r\n" or cri_line(text) is not None:
            return None
        payload = Payload(origin=record.origin, text=text, context=self._known)
        return self._read(likely, payload) if _recognises(likely, payload) else None

    def _carefully(self, record: RawRecord) -> Iterator[Item]:
        data = record.data
        numbers = itertools.count(record.origin.element or 1)
        bare = data.lstrip(_BLANK_BYTES)
        if bare[:1] in (b"{", b"["):
            yield from self._json(data, self._outermost(record), numbers)
        elif bare:
            yield from self._line(data, record.origin)

    def skim(self, source: Source, lines: Searched) -> Iterator[Skimmed]:
        """Pass over lines as the reader of a source does that is `Skimming`; see there."""
        reader = self._readers[source.name]
        assert isinstance(reader, Skimming)  # noqa: S101 - the source has a text gate
        self._last = Origin(lines.path, lines.line)
        return _guarded(source, reader.skim(lines), self._last)

    def _outermost(self, record: RawRecord) -> Payload:
        return Payload(origin=record.origin, context=self._known)

    def flush(self) -> Iterator[Item]:
        """Whatever was held back; the input has ended."""
        yield from self._pieces.flush()
        for source in self._sources:
            yield from self._flush(source)

    def settle(self) -> Iterator[Item]:
        """Whatever was held back and has not grown since this was last called; see `Settling`."""
        for source in self._sources:
            reader = self._readers[source.name]
            if isinstance(reader, Settling):
                yield from _guarded(source, reader.settle(), self._last)

    def _flush(self, source: Source) -> Iterator[Item]:
        try:
            items = self._readers[source.name].flush()
        except Exception as error:  # as above
            return iter((_bug(source, error, self._last),))
        return _guarded(source, items, self._last)

    def _line(self, data: bytes, origin: Origin) -> Iterator[Item]:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            text = data.decode(errors="replace")
            detail = f"{error.reason} at byte {error.start + 1}"
            yield ParseFailure(origin, "invalid UTF-8", detail, lost=False)
        bare = text.lstrip(_BLANKS).rstrip("\r\n\0")
        if "\0" in text and "\0" not in bare:
            detail = "NUL bytes stand around the line"
            yield ParseFailure(origin, "control character", detail, lost=False)
        payload = Payload(origin=origin, text=bare, context=self._known)
        yield from self._text(payload, itertools.count(1))

    def _text(self, payload: Payload, numbers: Iterator[int]) -> Iterator[Item]:
        text = payload.text or ""
        head = text.lstrip(_BLANKS)[:1]
        if not head:
            return
        if head in "{[":
            yield from self._json(text.encode(errors="replace"), payload, numbers)
            return
        cri = cri_line(text)
        if cri is not None:
            context, cut, content = cri
            inner = inside(payload, "cri", content, context)
            yield from self._piece(inner, numbers, cut=cut)
            return
        if "{" in text and (behind := _behind(text)) is not None:
            name, context, content = behind
            inner = inside(payload, name, content, context)
            try:
                reading = read_json(content.encode(errors="replace"))
            except JsonFailure as failure:
                if content.startswith('{"'):
                    detail = f"behind a {name} header, so the line counts as text: {failure.detail}"
                    yield ParseFailure(payload.origin, failure.reason, detail, lost=False)
            else:
                if knows(reading.readings, inner, self._source_of):
                    yield from self._reading(reading, inner, numbers)
                    return
        if (source := self._source_of(payload)) is not None:
            yield from self._read(source, payload)
            return
        stamped = stamped_line(text)
        if stamped is not None:
            context, content = stamped
            inner = inside(payload, "stamp", content, context)
            if content[:1] in ("{", "[") or self._source_of(inner) is not None:
                yield from self._text(inner, numbers)
                return
        detail = f"no source knows a line that begins {text[:_TEXT_SHOWN]!r}"
        yield ParseFailure(payload.origin, "unknown format", detail)

    def _piece(self, payload: Payload, numbers: Iterator[int], *, cut: bool) -> Iterator[Item]:
        if cut:
            yield from self._pieces.hold(stream_of(payload), payload)
            return
        if not self._pieces:
            yield from self._text(payload, numbers)
            return
        whole, others = self._pieces.finish(stream_of(payload), payload)
        if whole is None:
            return
        for item in self._text(whole, numbers):
            if isinstance(item, Event):
                item.origins = (*item.origins, *others)
            yield item

    def _json(self, data: bytes, outer: Payload, numbers: Iterator[int]) -> Iterator[Item]:
        clean = read_clean(data)
        if clean is None:
            try:
                return self._reading(read_exactly(data), outer, numbers)
            except JsonFailure as failure:
                return self._not_json(data, outer, numbers, failure)
        document, written = clean
        found = self._plainly(document, written, outer) if isinstance(document, dict) else None
        return self._document((document,), outer, numbers) if found is None else found

    def _plainly(
        self, document: dict[str, Any], written: bytes, outer: Payload
    ) -> Iterator[Item] | None:
        """Read a record of the source that knew the one before; None for all others.

        As `_quickly`: most lines of a log are such, and what is found is the same.
        """
        likely, payload = self._likely, within(outer, document=document)
        if (
            likely is None
            or not _recognises(likely, payload)
            or self._only_carries(likely, payload)
        ):
            return None
        items = list(self._read(likely, payload))
        if len(written) <= _WRITTEN_LIMIT_BYTES:
            for item in items:
                if isinstance(item, Event) and item.document is document:
                    item.written = written
        return iter(items)

    def _reading(self, reading: Reading, outer: Payload, numbers: Iterator[int]) -> Iterator[Item]:
        for anomaly in reading.anomalies:
            yield ParseFailure(outer.origin, anomaly.reason, anomaly.detail, lost=False)
        yield from self._document(reading.readings, outer, numbers)

    def _not_json(
        self, data: bytes, outer: Payload, numbers: Iterator[int], failure: JsonFailure
    ) -> Iterator[Item]:
        if failure.has_more:
            documents = list(documents_in(data))
            if len(documents) > 1:
                for document in documents:
                    origin = Origin(outer.origin.path, outer.origin.line, next(numbers))
                    inner = Payload(origin=origin, wrapping=outer.wrapping, context=outer.context)
                    yield from self._json(document, inner, numbers)
                return
        payload = within(outer, text=data.decode(errors="replace").strip(_BLANKS))
        if (source := self._source_of(payload)) is not None:
            yield from self._read(source, payload)
        else:
            yield ParseFailure(outer.origin, failure.reason, failure.detail)

    def _document(
        self, readings: Sequence[Any], outer: Payload, numbers: Iterator[int]
    ) -> Iterator[Item]:
        """Read one JSON value, given in every reading it has (see `Reading.readings`)."""
        payloads = [within(outer, document=v) for v in readings if isinstance(v, dict)]
        for payload in (*payloads[1:], *payloads[:1]):
            source = self._source_of(payload)
            if source is not None and not self._only_carries(source, payload):
                yield from self._read_all(source, payload, payloads)
                return
        first, *others = (_contents(value, outer, numbers) for value in readings)
        if not others and first is not None:
            rows: Iterable[Sequence[Content | None]] = ((content,) for content in first)
        else:
            columns = [column for column in (first, *others) if column is not None]
            if not columns:
                yield ParseFailure(outer.origin, "unknown format", _unknown(readings[0]))
                return
            rows = itertools.zip_longest(*map(list, columns))
        if len(outer.wrapping) >= WRAPPINGS_TAKEN_OFF:
            detail = f"more than {WRAPPINGS_TAKEN_OFF} wrappings inside one another"
            yield ParseFailure(outer.origin, "unknown format", detail)
            return
        for row in rows:
            yield from self._unwrapped(row, numbers)

    def _unwrapped(self, row: Sequence[Content | None], numbers: Iterator[int]) -> Iterator[Item]:
        """Read what came out of one place of a wrapping, in each reading of the wrapping."""
        contents = [content for content in row if content is not None]
        if len(row) > 1:
            contents = distinct(contents)
        documents = [c for c in contents if isinstance(c, Payload) and c.document is not None]
        if documents:
            values = [payload.document for payload in documents]
            yield from self._document(values, documents[0], numbers)
        for content in contents:
            if isinstance(content, ParseFailure):
                yield content
            elif content.document is not None:
                continue
            elif content.wrapping[-1] == "log":
                yield from self._piece(content, numbers, cut=is_piece(content))
            else:
                yield from self._text(content, numbers)

    def _only_carries(self, source: Source, payload: Payload) -> bool:
        """Whether a journal entry's message is a record that another program wrote in JSON.

        A record of a source with a gate is no journal entry: a key more must not hide it.
        """
        if source.gate is not None:
            return False
        message = (payload.document or {}).get("MESSAGE")
        return (
            isinstance(message, str)
            and message[:1] == "{"
            and knows_inside((payload,), self._source_of)
        )

    def _source_of(self, payload: Payload) -> Source | None:
        likely = self._likely
        if likely is not None and _recognises(likely, payload):
            return likely
        for source in self._sources:
            if source is not likely and _recognises(source, payload):
                self._likely = source
                return source
        return None

    def _read(self, source: Source, payload: Payload) -> Iterator[Item]:
        try:
            items = self._readers[source.name].read(payload)
        except Exception as error:  # a bug in a source must not stop the run
            return iter((_bug(source, error, payload.origin),))
        return iter(items) if type(items) is list else _guarded(source, items, payload.origin)

    def _read_all(
        self, source: Source, named: Payload, readings: Sequence[Payload]
    ) -> Iterator[Item]:
        """Read the readings of one record, and lay their events together.

        Each event then has the documents of all readings in its views, so a rule is judged
        against every one of them. A record is of one source in all its readings: of the one that
        knows the first of them, in which each repeated key has its first value, as the search of
        whole blocks reads it. Where a reading lost what tells the source, it gets that back.

        Args:
            source: that knows the record.
            named: the reading that it knows.
            readings: all of them.
        """
        if len(readings) == 1:
            yield from self._read(source, named)
            return
        alike = [_named_as(source, named, reading) for reading in readings]
        known = [reading for reading in alike if _recognises(source, reading)]
        outcomes = [list(self._read(source, reading)) for reading in known]
        yield from distinct(
            item for items in outcomes for item in items if isinstance(item, ParseFailure)
        )
        events = [[item for item in items if isinstance(item, Event)] for items in outcomes]
        for row in itertools.zip_longest(*events):
            yield laid_together([event for event in row if event is not None])


def _behind(text: str) -> tuple[str, Mapping[str, Any], str] | None:
    """Split a line whose rest is a JSON object: what stands before it, that read, and the rest."""
    for name, split in (("stamp", tagged_line), ("syslog", json_behind)):
        found = split(text)
        if found is not None:
            return name, *found
    return None


def _recognises(source: Source, payload: Payload) -> bool:
    try:
        return source.recognises(payload)
    except Exception:  # a bug in a source leaves the record to the others, or unknown
        return False


def _named_as(source: Source, named: Payload, reading: Payload) -> Payload:
    """Return a reading with what tells its source as another reading has it, if it needs that."""
    if source.gate is None or _recognises(source, reading):
        return reading
    mine, known = reading.document or {}, named.document or {}
    keys = {path[0] for path in source.gate.signature}
    return within(reading, document=mine | {key: known[key] for key in keys & known.keys()})


def _guarded(source: Source, items: Iterable[T], origin: Origin) -> Iterator[T | ParseFailure]:
    try:
        yield from items
    except Exception as error:  # a bug in a source must not stop the run
        yield _bug(source, error, origin)


def _bug(source: Source, error: Exception, origin: Origin) -> ParseFailure:
    detail = f"the reader of {source.name} failed: {type(error).__name__}: {error}"
    return ParseFailure(origin, "reader error", detail[:500])


def _contents(value: Any, outer: Payload, numbers: Iterator[int]) -> Iterator[Content] | None:
    if isinstance(value, dict):
        return unwrap(within(outer, document=value), numbers)
    return unwrap_array(value, outer, numbers) if isinstance(value, list) else None


def _unknown(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{kind_of(value)} is no record"
    if not value:
        return "an object without keys"
    keys = ", ".join(repr(key[:40]) for key in itertools.islice(value, _KEYS_SHOWN))
    more = ", ..." if len(value) > _KEYS_SHOWN else ""
    return f"no source knows an object with the keys {keys}{more}"
