"""When the input ended, in event time: silence that lasts until then is silence."""

from collections.abc import Iterable

from trailhound.intake.files import InputFile
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

_TAIL_BYTES = 64 * 1024
SKEW_NS = 5 * 60 * 1_000_000_000
"""A record may bear a time that is so long after the clock by which it was written."""


def end_ns(files: Iterable[InputFile]) -> int:
    """Return the latest event time of the last records of files; 0 where none can be read.

    Compressed files and standard input are left out: they are not read twice. A time after
    the file was last written is not believed.
    """
    latest_ns = 0
    for file in files:
        decoder = Decoder(all_sources())
        record = RawRecord(_last_line(file), Origin(file.path, 0), file.modified_ns)
        for item in (*decoder.decode(record), *decoder.flush()):
            if isinstance(item, Event):
                time_ns = item.time_ns
                if not file.modified_ns or time_ns <= file.modified_ns + SKEW_NS:
                    latest_ns = max(latest_ns, time_ns)
    return latest_ns


def _last_line(file: InputFile) -> bytes:
    if not file.size_bytes:  # empty, or a pipe: opened a second time, it waits for another writer
        return b""
    try:
        with open(file.path, "rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _TAIL_BYTES))
            return stream.read().rstrip().rpartition(b"\n")[2]
    except OSError:  # told where it is read
        return b""
