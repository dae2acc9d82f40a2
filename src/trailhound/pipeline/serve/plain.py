"""Many plain records at once: those that no rule can match become columns, not events.

Of nine events in ten nothing is asked but what lake, ledger and watch keep of them. Where the
search of the scan (`pipeline/sieve.py`) proves that lines are plain records that match no rule,
their fields are read by one typed decoder, and what envelopes say of them is remembered by value.
Whatever is odd about a line in any way is left to the reader of single records, which comes to
the same: `tests/test_serve_plain.py`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, starmap
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct
from msgspec.structs import astuple

from trailhound.engine.plan import Plan
from trailhound.engine.tests import GaveUp
from trailhound.intake.blocks import Block
from trailhound.lake.json_text import inexact
from trailhound.lake.schema import PROMOTED, column_value, promoted_values
from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin, Payload
from trailhound.pipeline.prefilter import Alive
from trailhound.pipeline.sieve import Sieve
from trailhound.sources.contract import Columns, Part, Path, Source
from trailhound.sources.document import without_go_escapes

_REMEMBERED = 10_000
_REMEMBERED_LENGTH = 1_000
"""Values that are longer together are not remembered: whoever writes them chooses their length."""
_TEXT_LIMIT = 4096
"""Longer texts of an envelope are cut by `EnvelopeMap`."""
_NEVER = Annotated[int, Meta(ge=1, le=0)]
"""Type of a field that must not be there."""
_INTEGER = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]


class Plain(Struct):
    """Plain records of one source, each an event that matches no rule; column by column."""

    source: str
    view: str
    at: list[int]
    """Which of the records that were given they are."""
    uids: list[bytes]
    """Content ids, 16 bytes each; see `Event.uid`."""
    envelope: dict[str, list[Any]]
    """By the names of `Envelope`, as the lake keeps them; what is not here is as by default."""
    documents: list[bytes]
    """JSON as the lake keeps it."""
    raws: list[bytes | None]
    """The record; None where it is the text of the document."""
    promoted: list[list[Any]]
    """Fields with a column of their own, in the order of `lake.schema.PROMOTED`."""
    stages: list[str]

    def without(self, repeats: Sequence[bool]) -> "Plain":
        """Return it without some of its records: a flag for each."""
        keep = [not repeat for repeat in repeats]

        def kept(column: list[Any]) -> list[Any]:
            return list(compress(column, keep))

        return Plain(
            self.source,
            self.view,
            kept(self.at),
            kept(self.uids),
            {name: kept(column) for name, column in self.envelope.items()},
            kept(self.documents),
            kept(self.raws),
            [kept(column) for column in self.promoted],
            kept(self.stages),
        )


class PlainReader:
    """Reads plain records of one source."""

    def __init__(self, source: Source, plan: Plan) -> None:
        """Make a reader for a source with a gate, and the rules of a plan."""
        gate = source.gate
        assert gate is not None  # noqa: S101 - asked of no others
        self._sieve = Sieve(source, plan.views.get((source.name, gate.view)))
        self._hash = hashlib.blake2b(source.name.encode(), digest_size=16)
        self._described: _ByColumns | _ByDocument = (
            _ByDocument(source, gate.view)
            if source.columns is None
            else _ByColumns(source.name, gate.view, source.columns)
        )

    def read(self, lines: Sequence[bytes]) -> Plain | None:
        """Read what is plain, and matches no rule; None where that is nothing.

        Args:
            lines: records, each an object from its first byte to its last, and on one line.
        """
        block = Block(b"\n".join(lines) + b"\n", 1)
        sifted = self._sieve.sift(block)
        if not sifted.plain:
            return None
        candidates = dict(sifted.candidates)
        others = set(sifted.strangers)
        read = _Read([], [], [], [], [])
        asked = self._described.asks_documents
        loads, dumps, sort = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS
        for index, line in enumerate(lines):
            if index in others:
                continue
            try:
                document = loads(line)
                text = dumps(document)
                if text != line and text != without_go_escapes(line):
                    continue  # a repeated key, another spelling: read with care
                if index in candidates and _may_match(candidates[index], document):
                    continue
                digest = self._hash.copy()
                digest.update(dumps(document, option=sort))
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):
                continue
            read.at.append(index)
            read.uids.append(digest.digest())
            read.texts.append(line if text == line else text)
            read.raws.append(None if text == line else line)
            if asked:
                read.documents.append(document)
        if odd := inexact(read.texts):
            read = read.only([index not in odd for index in range(len(read.at))])
        return self._described.columns(block.data, lines, read) if read.at else None


def _may_match(rules: Alive, document: Mapping[str, Any]) -> bool:
    """Whether a rule matches the document, or cannot be judged here."""
    try:
        return any(rule.matches(document) for rule in rules)
    except GaveUp:
        return True


class _Read(Struct):
    """Records that say nothing but what their documents say."""

    at: list[int]
    texts: list[bytes]
    raws: list[bytes | None]
    uids: list[bytes]
    documents: list[dict[str, Any]]
    """Empty where nobody asks for them."""

    def only(self, kept: Sequence[bool]) -> "_Read":
        """Return some of them: a flag for each."""
        return _Read(
            list(compress(self.at, kept)),
            list(compress(self.texts, kept)),
            list(compress(self.raws, kept)),
            list(compress(self.uids, kept)),
            list(compress(self.documents, kept)),
        )


class _ByColumns:
    """Describes records by fields that one decoder reads of all of them."""

    asks_documents = False

    def __init__(self, source: str, view: str, columns: Columns) -> None:
        self._source = source
        self._view = view
        promoted = PROMOTED.get(source, ())
        layout = _Layout(columns, [path for path, _ in promoted])
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(layout.record)
        self._time, self._time_of = columns.time, layout.reader(columns.time_reads)
        self._same = {name: layout.reader((path,)) for name, path in columns.same.items()}
        self._parts = [_Remembered(part, layout.reader(part.reads)) for part in columns.parts]
        self._promoted = [layout.reader((path,)) for path, _ in promoted]
        self._stage = layout.reader((columns.stage,)) if columns.stage else None

    def columns(self, data: bytes, lines: Sequence[bytes], read: _Read) -> Plain | None:
        """Return the columns of records; those whose fields are of other kinds are left out.

        Args:
            data: all lines.
            lines: each of them.
            read: the records, which are some of the lines.
        """
        decoded = self._decoded(data, lines)
        records = [decoded[index] for index in read.at]
        if None in records:
            read = read.only([record is not None for record in records])
            records = [record for record in records if record is not None]
        times = list(starmap(self._time, map(self._time_of, records)))
        if None in times:
            timed = [time_ns is not None for time_ns in times]
            read, records = read.only(timed), list(compress(records, timed))
            times = list(compress(times, timed))
        if not records:
            return None
        same = {
            name: [value or "" for value in map(ask, records)] for name, ask in self._same.items()
        }
        stages = [stage or "" for stage in map(self._stage, records)] if self._stage else []
        plain = Plain(
            self._source,
            self._view,
            read.at,
            read.uids,
            {"time_ns": times, **same},
            read.texts,
            read.raws,
            [list(map(ask, records)) for ask in self._promoted],
            stages or [""] * len(records),
        )
        for part in self._parts:
            plain.envelope |= zip(part.names, part.columns(records), strict=True)
        if any(max(map(len, column)) > _TEXT_LIMIT for column in same.values()):
            long = [
                any(len(text) > _TEXT_LIMIT for text in row)
                for row in zip(*same.values(), strict=True)
            ]
            plain = plain.without(long)
        return plain if plain.at else None

    def _decoded(self, data: bytes, lines: Sequence[bytes]) -> Sequence[Any]:
        """Decode the fields of each line; None for one whose fields are of other kinds."""
        try:
            records: list[Any] = self._decoder.decode_lines(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return [self._one(line) for line in lines]
        # In JSON an object is followed by another only where a document ends: as many as lines
        # are then one to a line.
        return records if len(records) == len(lines) else [self._one(line) for line in lines]

    def _one(self, line: bytes) -> Any:
        try:
            return self._decoder.decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None


class _ByDocument:
    """Describes records as their source does, one by one."""

    asks_documents = True

    def __init__(self, source: Source, view: str) -> None:
        self._source = source.name
        self._view = view
        self._reader = source.reader()

    def columns(self, _data: bytes, _lines: Sequence[bytes], read: _Read) -> Plain | None:
        """Return the columns of records that are one event each, with nothing to say of it."""
        envelopes: list[Envelope] = []
        promoted: list[list[Any]] = []
        kept: list[bool] = []
        for document in read.documents:
            envelope = self._envelope(document)
            fields = promoted_values(self._source, document)
            kept.append(envelope is not None and fields is not None)
            if envelope is not None and fields is not None:
                envelopes.append(envelope)
                promoted.append(fields)
        if not envelopes:
            return None
        read = read.only(kept)
        plain = Plain(
            self._source,
            self._view,
            read.at,
            read.uids,
            {},
            read.texts,
            read.raws,
            [list(column) for column in zip(*promoted, strict=True)],
            [""] * len(envelopes),
        )
        names = Envelope.__struct_fields__
        rows = zip(*map(astuple, envelopes), strict=True)
        for name, column in zip(names, rows, strict=True):
            plain.envelope[name] = [
                value if name == "time_ns" else column_value(value) for value in column
            ]
        return plain

    def _envelope(self, document: dict[str, Any]) -> Envelope | None:
        try:
            items = list(self._reader.read(Payload(Origin("", 0), document=document)))
        except Exception:  # a bug in a source: the exact way says so
            return None
        if len(items) != 1 or not isinstance(event := items[0], Event) or event.notes:
            return None
        held = event.views.get(self._view, ())
        if len(event.views) != 1 or len(held) != 1 or held[0] is not document:
            return None
        return event.envelope if event.document is document else None


class _Remembered:
    """A part of envelopes, remembered by what it is read from."""

    def __init__(self, part: Part, read: Callable[[Any], Any]) -> None:
        self.names = part.names
        self._part = part
        self._read = read
        self._known: dict[Any, tuple[Any, ...]] = {}

    def columns(self, records: Sequence[Any]) -> Iterator[list[Any]]:
        """Return the columns of the part, in the order of its names."""
        known = self._known
        if len(known) > _REMEMBERED:
            known.clear()
        keys = list(map(self._read, records))
        rows: list[Any] = list(map(known.get, keys))
        if None in rows:
            for at, key in enumerate(keys):
                if rows[at] is None:
                    rows[at] = known.get(key) or self._described(key)
                    if _length(key) <= _REMEMBERED_LENGTH:
                        known[key] = rows[at]
        return map(list, zip(*rows, strict=True))

    def _described(self, values: Any) -> tuple[Any, ...]:
        reads = self._part.reads
        told = self._part.describe(_document(reads, values if len(reads) > 1 else (values,)))
        return tuple(map(column_value, told))


def _length(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(map(_length, value)) + len(value)
    return len(value) if isinstance(value, str) else 0


def _document(paths: Sequence[Path], values: Sequence[Any]) -> Mapping[str, Any]:
    """Return a document that has these fields and no others."""
    document: dict[str, Any] = {}
    for path, value in zip(paths, values, strict=True):
        if value is None:
            continue
        here = document
        for key in path[:-1]:
            here = here.setdefault(key, {})
        here[path[-1]] = list(value) if type(value) is tuple else value
    return document


class _Layout:
    """The fields of columns as a msgspec type, and ways to read them from its instances."""

    def __init__(self, columns: Columns, promoted: Sequence[Path]) -> None:
        kinds: dict[Path, Any] = {
            **dict.fromkeys(columns.texts, str),
            **dict.fromkeys(columns.lists, tuple[str, ...]),
            **dict.fromkeys(columns.integers, _INTEGER),
        }
        # A key that joins several steps is another way to a field (`lake.schema`).
        joined = [(".".join(path),) for path in promoted if len(path) > 1]
        self._names: dict[tuple[str, ...], str] = {}
        self.record = self._type((), {**kinds, **dict.fromkeys(joined, _NEVER)})

    def reader(self, paths: Sequence[Path]) -> Callable[[Any], Any]:
        """Return a function from a record to the values of fields; of one field, its value."""
        return attrgetter(*(self._names[path] for path in paths))

    def _type(self, above: Path, kinds: Mapping[Path, Any]) -> type:
        outer: dict[str, dict[Path, Any]] = {}
        for path, kind in kinds.items():
            outer.setdefault(path[0], {})[path[1:]] = kind
        fields: list[tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        for number, (key, inner) in enumerate(outer.items()):
            name = f"f{number}"
            rename[name] = key
            place = (*above, key)
            prefix = self._names.get(above, "")
            self._names[place] = f"{prefix}.{name}" if prefix else name
            if () in inner:
                fields.append((name, inner[()], None))  # absent; `null` is of no kind
            else:
                below = self._type(place, inner)
                fields.append((name, below, below()))
        return msgspec.defstruct("Fields", fields, rename=rename, frozen=True, gc=False)
