"""Reading a lake: any number of processes, at any moment, beside the writer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import orjson
from msgspec import Struct

from trailhound.lake.catalogue import Catalogue, Hold, StoredFile
from trailhound.lake.prelude import PRELUDE
from trailhound.lake.quoting import identifier, literal
from trailhound.lake.schema import COLUMNS, ENVELOPE, VERSION
from trailhound.lake.select import Selection
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Envelope, Event, Outcome, View
from trailhound.model.records import Origin

_FETCHED = 2048
"""Rows that are fetched at once."""


class Kept(Struct, frozen=True):
    """How much of a source a lake keeps."""

    source: str
    files: int
    events: int
    size_bytes: int
    first_ns: int
    last_ns: int


class Lake:
    """A lake, open for reading."""

    def __init__(self, folder: Path) -> None:
        """Open a lake. Raises `TrailhoundError` where there is none."""
        self.folder = folder
        self._catalogue = Catalogue(folder, writing=False)
        self._db = duckdb.connect()
        self._db.execute(PRELUDE)

    def files(
        self,
        sources: Sequence[str] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> list[StoredFile]:
        """Return the files that may hold events of these sources and times."""
        return self._catalogue.files(sources, since_ns, until_ns)

    def sources(self) -> list[Kept]:
        """Return what is kept of each source."""
        kept: dict[str, list[StoredFile]] = {}
        for file in self.files():
            kept.setdefault(file.source, []).append(file)
        return [
            Kept(
                source=source,
                files=len(files),
                events=sum(file.events for file in files),
                size_bytes=sum(file.size_bytes for file in files),
                first_ns=min(file.first_ns for file in files),
                last_ns=max(file.last_ns for file in files),
            )
            for source, files in kept.items()
        ]

    def retention(self) -> dict[str, int]:
        """Source → days it is kept."""
        return self._catalogue.retention()

    def holds(self) -> list[Hold]:
        """Return the legal holds."""
        return self._catalogue.holds()

    # --- asking --------------------------------------------------------------------------

    def histogram(
        self, source: str, selection: Selection | None, times: "Times", width_ns: int
    ) -> dict[int, int]:
        """Count what is selected of a source by time: start of a span of `width_ns` → events.

        Args:
            source: the source.
            selection: what to select; None: everything.
            times: the span of event time.
            width_ns: length of a span.
        """
        found: dict[int, int] = {}
        for part in self._parts(source, selection, times):
            spans = f"SELECT epoch_ns(time) // {int(width_ns)}, count(*) FROM"
            for span, events in self._ask(f"{spans} {part} GROUP BY ALL"):
                found[span * width_ns] = found.get(span * width_ns, 0) + events
        return found

    def select(
        self, source: str, selection: Selection | None, times: "Times", *, limit: int | None = None
    ) -> Iterator[Event]:
        """Yield the events of a source that are selected, in the order of time."""
        yield from self._events(source, self._parts(source, selection, times), limit)

    def unjudged(self, source: str, times: "Times") -> Iterator[Event]:
        """Yield the events of a source that SQL cannot judge (see `json_text.encode`)."""
        files = [f for f in self.files([source], times.since_ns, times.until_ns) if f.strange]
        if files:
            part = f"{relation(self.folder, files)} WHERE {times.condition()}"
            yield from self._events(source, [f"{part} AND exact IS NOT true"], None)

    def _events(self, source: str, parts: Sequence[str], limit: int | None) -> Iterator[Event]:
        if not parts:
            return
        read = {"time": "epoch_ns(time)", "uid": "uid::VARCHAR"}
        columns = ", ".join(read.get(name, name) for name, _ in COLUMNS)
        wanted = f"SELECT {columns}, time AS moment FROM"
        everything = " UNION ALL ".join(f"{wanted} {part}" for part in parts)
        query = f"SELECT * EXCLUDE (moment) FROM ({everything}) ORDER BY moment"  # noqa: S608 - quoted
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        for row in self._ask(query):
            yield _stored(source, row)

    def _parts(self, source: str, selection: Selection | None, times: "Times") -> list[str]:
        """What selects from a source: relations with their conditions."""
        files = self.files([source], times.since_ns, times.until_ns)
        if not files:
            return []
        bounds = times.condition()
        if selection is None:
            return [f"{relation(self.folder, files)} WHERE {bounds}"]
        current = [file for file in files if file.schema >= VERSION]
        strange = [file for file in current if file.strange]
        # Files of older versions lack columns: their documents say it all.
        older = [file for file in files if file.schema < VERSION]
        asked = (
            (current, selection.plain),
            (strange, f"plain IS NOT true AND {selection.strange}"),
            (older, selection.strange),
        )
        return [
            f"{relation(self.folder, files)} WHERE {bounds} AND {condition}"
            for files, condition in asked
            if files
        ]

    def _ask(self, query: str) -> Iterator[tuple[Any, ...]]:
        try:
            # A cursor for each question: several may be read in turn.
            with self._db.cursor() as cursor:
                found = cursor.execute(query)
                while rows := found.fetchmany(_FETCHED):
                    yield from rows
        except duckdb.Error as error:
            raise TrailhoundError(f"the lake {self.folder} cannot be read: {error}") from None


class Times(Struct, frozen=True):
    """A span of event time: from `since_ns` on, before `until_ns`; None: without an end."""

    since_ns: int | None = None
    until_ns: int | None = None

    def within(self, since_ns: int, until_ns: int) -> "Times":
        """Return the part of it that lies in another span."""
        return Times(
            since_ns if self.since_ns is None else max(since_ns, self.since_ns),
            until_ns if self.until_ns is None else min(until_ns, self.until_ns),
        )

    def condition(self) -> str:
        """Return it as a condition on the column `time`."""
        bounds = [
            f"time {sign} make_timestamp_ns({int(bound)})"
            for sign, bound in ((">=", self.since_ns), ("<", self.until_ns))
            if bound is not None
        ]
        return " AND ".join(bounds) or "true"


def relation(folder: Path, files: Sequence[StoredFile]) -> str:
    """Return the relation of the rows of files, with the columns of today's version."""
    paths = ", ".join(literal(str(folder / file.path)) for file in files)
    read = (
        f"read_parquet([{paths}], union_by_name = true, hive_partitioning = true, "
        "hive_types = {'source': VARCHAR, 'day': DATE})"
    )
    if all(file.schema >= VERSION for file in files):
        return read
    absent = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in COLUMNS)
    return (
        f"(SELECT * FROM {read} UNION ALL BY NAME "  # noqa: S608 - quoted
        f"SELECT {absent} WHERE false)"
    )


def _stored(source: str, row: tuple[Any, ...]) -> Event:
    values = dict(zip((name for name, _ in COLUMNS), row, strict=True))
    parsed = orjson.loads if values["exact"] else json.loads
    document = parsed(values["document"])
    views: dict[str, View] = dict.fromkeys(values["same_views"] or (), (document,))
    if values["views"]:
        views |= {name: tuple(found) for name, found in parsed(values["views"]).items()}
    known = {name: values[name] for name, _ in ENVELOPE}
    known["actor_groups"] = tuple(known["actor_groups"] or ())
    known["outcome"] = Outcome(known["outcome"] or 0)
    envelope = Envelope(time_ns=values["time"], **known)
    origins = tuple(Origin(*origin) for origin in orjson.loads(values["origins"] or "[]"))
    return Event(
        source,
        document,
        origins or (Origin("lake", 0),),
        views,
        partial(_known, envelope),
        tuple(values["notes"] or ()),
    )


def _known(envelope: Envelope, _: Mapping[str, Any]) -> Envelope:
    return envelope
