"""Events into the lake, batch by batch, and the housekeeping that its one writer does."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from trailhound.lake.schema import Arrival, Rows, plain_rows
from trailhound.lake.store import Appended, Writer
from trailhound.model.events import Event
from trailhound.pipeline.serve.journal import Batch
from trailhound.pipeline.serve.plain import Plain
from trailhound.pipeline.serve.settings import LakeSettings

_COMPACT_BATCHES = 100
_COMPACT_S = 900.0
_RETAIN_S = 3600.0
_log = logging.getLogger(__name__)


class Storing:
    """The lake of a service."""

    def __init__(self, folder: Path, settings: LakeSettings, sources: Collection[str]) -> None:
        """Open the lake, made where there is none, and say how long its sources are kept.

        Args:
            folder: where it lies.
            settings: what is said of it.
            sources: names of those that are known.

        Raises:
            TrailhoundError: another process writes to it, or the folder cannot be used.
        """
        self._writer = Writer(folder)
        for source in {*self._writer.catalogue.retention(), *settings.keep_days}:
            self._writer.keep(source, settings.keep_days.get(source))
        for source in settings.keep_days.keys() - {"*", *sources}:
            _log.warning("keep_days in [lake] names %r, which is no source", source)
        self._batches = 0
        self._compacted_s: float | None = None
        self._retained_s: float | None = None

    def append(
        self, arrivals: Sequence[Arrival], batch: Batch, rows: Sequence[Rows] = ()
    ) -> Appended:
        """Store the events of a batch; see `Writer.append`."""
        # A batch without records has what readers held back; the lake knows each of its events.
        name = f"{batch.first}-{batch.behind}" if batch.behind > batch.first else ""
        appended = self._writer.append(arrivals, name, rows)
        self._batches += bool(appended.stored)
        return appended

    def keep_house(self, now_s: float, now_ns: int) -> None:
        """Merge small files and delete what is due, if it is time to.

        Args:
            now_s: a clock that only goes forward, seconds.
            now_ns: by which events are old, UTC nanoseconds; must not be ahead of the time.
        """
        self._compacted_s = now_s if self._compacted_s is None else self._compacted_s
        if self._batches >= _COMPACT_BATCHES and now_s - self._compacted_s >= _COMPACT_S:
            self._batches, self._compacted_s = 0, now_s
            done = self._writer.compact(now_ns)
            _log.info("lake: %d files merged to %d", done.files_before, done.files_after)
        if self._retained_s is None or now_s - self._retained_s >= _RETAIN_S:
            self._retained_s = now_s
            gone = self._writer.retain(now_ns)
            if gone.files_deleted or gone.files_held:
                _log.info(
                    "lake: %d events in %d files were older than they are kept; %d files are held",
                    gone.events_deleted,
                    gone.files_deleted,
                    gone.files_held,
                )

    def close(self) -> None:
        """Let another process write."""
        self._writer.close()


def stored(event: Event, raw: bytes) -> Arrival:
    """Return an event as the lake takes it; its place in the queue tells it from its like."""
    place = event.origins[0]
    copy = f"{place.line}#{place.element}" if place.element else str(place.line)
    return Arrival(event, raw, copy)


def stored_plain(plain: Plain, paths: Sequence[str], numbers: Sequence[int]) -> Rows:
    """Return plain records as the lake takes them; `stored` for many.

    Args:
        plain: the records.
        paths: who sent each.
        numbers: of each in the queue.
    """
    return plain_rows(
        plain.source,
        view=plain.view,
        uids=plain.uids,
        copies=list(map(str, numbers)),
        envelope=plain.envelope,
        paths=paths,
        lines=numbers,
        documents=plain.documents,
        raws=plain.raws,
        promoted=plain.promoted,
    )
