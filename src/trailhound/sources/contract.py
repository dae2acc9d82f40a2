"""What a log source is: the contract between a format and the pipeline."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from trailhound.model.events import Envelope, Event
from trailhound.model.logsource import FieldInfo, Route
from trailhound.model.records import ParseFailure, Payload

Path = tuple[str, ...]


class Reader(Protocol):
    """Turns payloads of one format into events; may hold some back until others arrive.

    One reader serves one scan job, over all its files in the order they are read.
    """

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        """Events complete by now, and what could not be understood.

        Called only with payloads that the source's `recognises` accepted. Must not raise
        on any such payload: hostile content becomes a `ParseFailure`.
        """
        ...

    def flush(self) -> Iterable[Event | ParseFailure]:
        """Whatever is still held back; the input has ended."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A reader that holds records back, and may be asked to wait no longer."""

    def settle(self) -> Iterable[Event | ParseFailure]:
        """What is held back and has not grown since this was last called.

        For input that does not end: whoever calls it every few seconds says with it that what
        belongs together would have come by now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Gate:
    """How records of a JSON format are told apart in bulk, before they are parsed whole."""

    signature: tuple[Path, ...]
    """Fields (at most two segments) that decide whether a line is a plain record of this
    source, with no wrapping."""
    accepts: Callable[[Sequence[Any]], bool]
    """Decides it from the signature's values, in order; a value is `msgspec.UNSET` where
    the field is absent. Must be true only where `recognises` is."""
    discriminators: tuple[Path, ...]
    """Fields with few values that most rules name (at most two segments): the index."""
    view: str
    """The view that is the document itself, which rules behind this gate read."""
    dull: tuple[Path, ...] = ()
    """Fields of which most events have one and the same value (at most two segments): what a
    rule asks of them tells little."""
    list_key: str = ""
    """Key of the list in which files hold such records: `{"Records":[…]}`."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some fields of the envelope, and all of the document that they depend on."""

    names: tuple[str, ...]
    """Fields of the envelope."""
    reads: tuple[Path, ...]
    describe: Callable[[Mapping[str, Any]], Envelope]
    """Gives the envelope of a document that holds nothing but what is read."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The envelope of plain records as columns, for who has many at once and no documents.

    The values are those of `Event.envelope`, for every record whose fields are of these kinds,
    whatever came beside it; what is of another kind is read as a document.
    """

    texts: tuple[Path, ...]
    """Fields that are text or absent."""
    lists: tuple[Path, ...]
    """Fields that are a list of texts or absent."""
    integers: tuple[Path, ...]
    time: Callable[..., int | None]
    """Gives the time (UTC, nanoseconds) of the values of `time_reads`, None where absent; None
    where it takes the document to say."""
    time_reads: tuple[Path, ...]
    same: Mapping[str, Path]
    """Field of the envelope → the text that it is."""
    parts: tuple[Part, ...]
    """All other fields that are not always the same. What comes out of the same values is
    remembered, so a part should read few fields that change with each record."""
    stage: Path = ()
    """Text that tells at which stage of a request the event was written; empty: none does."""


@dataclass(frozen=True, slots=True)
class Source:
    """One log format."""

    name: str
    """Module name: `k8s_audit`."""
    title: str
    """For people: `Kubernetes audit`."""
    recognises: Callable[[Payload], bool]
    """Whether a payload is of this format. Cheap, total, and false where in doubt."""
    reader: Callable[[], Reader]
    routes: tuple[Route, ...]
    """Log sources of rules that its events serve."""
    fields: tuple[FieldInfo, ...]
    """Catalogue of the fields its views can hold; `rules explain` reads it."""
    gate: Gate | None = None
    """For JSON formats that deserve the fast path."""
    columns: Columns | None = None
    """For those of which very many come; needs a gate. Plain records of others are described
    one by one."""
