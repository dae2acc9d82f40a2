"""What a log source is: the contract between a format and the pipeline."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from trailhound.model.events import Event
from trailhound.model.logsource import FieldInfo, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.model.spelling import Spelling

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


def _ALWAYS(*_known: object) -> bool:  # noqa: N802 - stands for a function as a constant
    return True


@dataclass(frozen=True, slots=True)
class Searched:
    """Whole lines of valid UTF-8 without NUL bytes, and what a search found in them."""

    data: bytes
    ends: Sequence[int]
    """Where each line ends in `data`."""
    path: str
    line: int
    """1-based number of the first line."""
    context: Mapping[str, Any]
    """As that of the payloads that its lines would become."""
    marks: Mapping[int, int]
    """Index of a line → bits of what was found in it; lines in which nothing was are left out."""
    wanted: Callable[[int], bool]
    """Whether an event may match a rule, from the bits of all its lines together."""
    possible: Callable[[int, Mapping[str, Mapping[str, str] | None]], bool] = _ALWAYS
    """The same where more is known: from its bits, and view → fields of its only document there,
    None where nothing is known of it. An empty text says that the document has no such field.
    The event must be in no other view."""

    def text(self, index: int) -> bytes:
        """Return the line at an index, without its end."""
        return self.data[self.ends[index - 1] + 1 if index else 0 : self.ends[index]]


class Likely(NamedTuple):
    """An event that may match some rules."""

    event: Event
    marks: int
    """What was found in its lines; negative where that is not known."""


class Glimpse(NamedTuple):
    """What an event says that may match some rules, before it is made. `Passed` counts it."""

    views: tuple[str, ...]
    """In all of them it is one and the same document."""
    fields: Mapping[str, Any]
    """That document without what every line has."""
    rest: frozenset[str]
    """Names of what the document may have and `fields` has not."""
    make: Callable[[], Event]
    marks: int
    """As those of `Likely`."""


class Passed(NamedTuple):
    """Events that were counted, and which no rule can match but for those glimpsed at."""

    records: int
    """Lines taken in, also those whose event is still open."""
    events: int
    views: Mapping[str, int]
    """View → how many of them are in it."""


Skimmed = Passed | Glimpse | Likely | ParseFailure | int


@runtime_checkable
class Skimming(Protocol):
    """A reader of lines that can pass over those in which a search has found nothing."""

    def skim(self, lines: Searched) -> Iterator[Skimmed]:
        """Read lines, making events only of what may match a rule.

        State that later events depend on is kept as by `read`, and so are the order and the
        failures.

        Yields:
            What came of the lines; and an index where the line there has to be read as if
            nothing were known of it, before the next item is asked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextGate:
    """How what a text format says stands in its lines: for the search of whole blocks."""

    spelling: Callable[[str], Callable[[str], Spelling | None]]
    """View → field → how its values are spelt, None where that is not known. An empty field
    stands for any text of the view's documents. Views alike have the same function."""
    shows: Mapping[str, tuple[bytes, ...]]
    """View → texts of which one stands in any skimmed event of that view. A view that is left
    out may be that of any event. All texts are in lower case, and searched for in any case."""
    odd: tuple[bytes, ...]
    """Texts in lines that say what they do not hold; an event with one is always wanted."""
    event_of: re.Pattern[bytes] | None = None
    """Finds in each plain line the name of its event, where an event has several."""
    coded: tuple[bytes, ...] = ()
    """Texts of which one stands in lines that hold values in a code: those are searched as..."""
    decoded: Callable[[bytes], bytes] = bytes
    """...well: in what this makes of them, `name=value` for each value that is coded."""


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
    describe: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    """Gives their values, in their order, for a document that holds nothing but what is read."""


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
    text: TextGate | None = None
    """For text formats that deserve it; their readers are `Skimming`."""
