"""The columns of a stored event, and what of a document has a column of its own."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from trailhound.lake.json_text import encode
from trailhound.model.events import Envelope, Event

VERSION = 1
"""Of what follows. Files of older versions are read on: what they lack is NULL."""

Path = tuple[str, ...]


class Arrival(Struct, frozen=True):
    """An event on its way into the lake."""

    event: Event
    raw: bytes = b""
    """The record as it arrived; empty where it is not at hand (a record out of a list)."""
    copy: str = ""
    """Tells events of the same content apart that are not the same event: `2` for the second
    such line of a log. Without meaning where the sender gave the request an id."""


ENVELOPE: tuple[tuple[str, str], ...] = (
    ("class_uid", "INTEGER"),
    ("activity_id", "INTEGER"),
    ("action", "VARCHAR"),
    ("actor_name", "VARCHAR"),
    ("actor_uid", "VARCHAR"),
    ("actor_type", "VARCHAR"),
    ("actor_groups", "VARCHAR[]"),
    ("invoked_by", "VARCHAR"),
    ("session_uid", "VARCHAR"),
    ("target_type", "VARCHAR"),
    ("target_name", "VARCHAR"),
    ("target_namespace", "VARCHAR"),
    ("outcome", "INTEGER"),
    ("outcome_detail", "VARCHAR"),
    ("src_ip", "VARCHAR"),
    ("user_agent", "VARCHAR"),
    ("device", "VARCHAR"),
    ("request_uid", "VARCHAR"),
)
"""Columns of `model.events.Envelope`, but for its time."""

COLUMNS: tuple[tuple[str, str], ...] = (
    ("time", "TIMESTAMP_NS"),
    ("uid", "UUID"),
    ("copy", "VARCHAR"),
    *ENVELOPE,
    ("origins", "VARCHAR"),
    ("notes", "VARCHAR[]"),
    ("document", "VARCHAR"),
    ("raw", "BLOB"),
    ("same_views", "VARCHAR[]"),
    ("views", "VARCHAR"),
    ("plain", "BOOLEAN"),
    ("exact", "BOOLEAN"),
)
"""Columns of every file. `document`: JSON. `raw`: NULL where it is the text of the document.
`same_views`: views that are the document; `views`: the others, JSON, a list of documents each.
`exact`: see `json_text.encode`. `plain`: SQL needs nothing but the document and its columns."""

Kind = Literal["text", "integer"]

PROMOTED: Mapping[str, tuple[tuple[Path, Kind], ...]] = {
    "k8s_audit": (
        (("verb",), "text"),
        (("stage",), "text"),
        (("user", "username"), "text"),
        (("impersonatedUser", "username"), "text"),
        (("userAgent",), "text"),
        (("requestURI",), "text"),
        (("objectRef", "resource"), "text"),
        (("objectRef", "subresource"), "text"),
        (("objectRef", "namespace"), "text"),
        (("objectRef", "name"), "text"),
        (("objectRef", "apiGroup"), "text"),
        (("responseStatus", "code"), "integer"),
    ),
    "cloudtrail": (
        (("eventName",), "text"),
        (("eventSource",), "text"),
        (("eventType",), "text"),
        (("awsRegion",), "text"),
        (("errorCode",), "text"),
        (("sourceIPAddress",), "text"),
        (("userAgent",), "text"),
        (("recipientAccountId",), "text"),
        (("userIdentity", "type"), "text"),
        (("userIdentity", "arn"), "text"),
        (("userIdentity", "userName"), "text"),
        (("userIdentity", "accessKeyId"), "text"),
    ),
}
"""Source → fields of its document that most rules name. The column is called `doc.<path>`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_LIMIT = 2**63 - 10**15
"""What `TIMESTAMP_NS` holds, with room for its arithmetic."""
_ODD = object()
_TYPES = {"text": "VARCHAR", "integer": "BIGINT"}


def _joined(path: Path) -> tuple[tuple[str, ...], ...]:
    """Return, for each step of a path, the keys that join it with those behind it."""
    return tuple(
        tuple(".".join(path[step:end]) for end in range(step + 2, len(path) + 1))
        for step in range(len(path))
    )


_FIELDS = {
    source: tuple((path, _joined(path), kind) for path, kind in fields)
    for source, fields in PROMOTED.items()
}


def promoted_columns(source: str) -> tuple[tuple[str, str], ...]:
    """Return the names and types of the columns that a source's files have besides."""
    return tuple((f"doc.{'.'.join(path)}", _TYPES[kind]) for path, kind in PROMOTED.get(source, ()))


class Rows(Struct):
    """Events of one source on their way into the lake, column by column."""

    source: str
    columns: list[list[Any]]
    """`COLUMNS`, then the columns of the source."""

    def add(self, rows: "Rows") -> None:
        """Put more rows behind these."""
        for column, more in zip(self.columns, rows.columns, strict=True):
            column.extend(more)

    def by_day(self) -> "dict[str, Rows]":
        """Return the rows of each UTC day."""
        times = self.columns[0]
        first, last = day_of(min(times)), day_of(max(times))
        if first == last:
            return {first: self}
        days: dict[str, list[int]] = {}
        for index, time_ns in enumerate(times):
            days.setdefault(day_of(time_ns), []).append(index)
        return {
            day: Rows(self.source, [[column[i] for i in found] for column in self.columns])
            for day, found in days.items()
        }


def rows_of(arrivals: Iterable[Arrival]) -> dict[str, Rows]:
    """Return events as rows, by source."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for arrival in arrivals:
        found.setdefault(arrival.event.source, []).append(row_of(arrival))
    return {
        source: Rows(source, [list(column) for column in zip(*rows, strict=True)])
        for source, rows in found.items()
    }


def plain_rows(
    source: str,
    *,
    view: str,
    uids: Sequence[bytes],
    copies: Sequence[str],
    envelope: Mapping[str, Sequence[Any]],
    paths: Sequence[str],
    lines: Sequence[int],
    documents: Sequence[bytes],
    raws: Sequence[bytes | None],
    promoted: Sequence[list[Any]],
) -> Rows:
    """Return events as `row_of` would, that are plain and exact.

    Args:
        source: the source of all of them.
        view: the view that is the document; there is no other.
        uids: content ids, 16 bytes each.
        copies: see `Arrival.copy`.
        envelope: by the names of `Envelope`, values as of `column_value`; what is not here is
            as by default.
        paths: where their records stand,
        lines: and in which line.
        documents: JSON as of `json_text.encode`.
        raws: see `COLUMNS`.
        promoted: the columns of the source.
    """
    count = len(uids)
    heads = {path: encode(_clean(path))[0] for path in set(paths)}
    requests = envelope.get("request_uid") or [""] * count
    return Rows(
        source,
        [
            [_held(time_ns) for time_ns in envelope["time_ns"]],
            [uid.hex() for uid in uids],
            ["" if request else copy for request, copy in zip(requests, copies, strict=True)],
            *(list(envelope.get(name) or [_DEFAULTS[name]] * count) for name, _ in ENVELOPE),
            [f"[[{heads[path]},{line},0]]" for path, line in zip(paths, lines, strict=True)],
            [[]] * count,
            list(documents),
            list(raws),
            [[view]] * count,
            [None] * count,
            [True] * count,
            [True] * count,
            *promoted,
        ],
    )


def day_of(time_ns: int) -> str:
    """Return the UTC day of a time, as partitions name it."""
    return (_EPOCH + timedelta(microseconds=_held(time_ns) // 1000)).date().isoformat()


def row_of(arrival: Arrival) -> tuple[Any, ...]:
    """Return an event as a row: `COLUMNS`, then the columns of its source."""
    event = arrival.event
    envelope = event.envelope
    text, exact = encode(event.document)
    same = [name for name, view in event.views.items() if _is_document(event, view)]
    others = {name: list(view) for name, view in event.views.items() if name not in same}
    views = None
    if others:
        views, views_exact = encode(others)
        # A view holds its documents in a list, which is no list inside a list.
        exact = exact and views_exact
    promoted = _promoted(event.source, event.document)
    odd = any(value is _ODD for value in promoted)
    raw, data = arrival.raw, text.encode()
    return (
        _held(envelope.time_ns),
        event.uid,
        "" if envelope.request_uid else arrival.copy,
        *(column_value(getattr(envelope, name)) for name, _ in ENVELOPE),
        encode([[_clean(o.path), o.line, o.element] for o in event.origins])[0],
        [_clean(note) for note in event.notes],
        data,
        None if not raw or raw == data else raw,
        same,
        views,
        exact and not odd and not others,
        exact,
        *(None if value is _ODD else value for value in promoted),
    )


def column_value(value: Any) -> Any:
    """Return a value of an envelope as its column holds it."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, tuple):
        return [_clean(item) for item in value]
    number = int(value)
    return number if abs(number) < 2**31 else 0


def _clean(text: str) -> str:
    """Return a text that UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_NOTHING = Envelope(time_ns=0)
_DEFAULTS = {name: column_value(getattr(_NOTHING, name)) for name, _ in ENVELOPE}


def _held(time_ns: int) -> int:
    return max(-_NS_LIMIT, min(_NS_LIMIT, time_ns))


def _is_document(event: Event, view: Iterable[Mapping[str, Any]]) -> bool:
    documents = tuple(view)
    return len(documents) == 1 and documents[0] is event.document


def promoted_values(source: str, document: Mapping[str, Any]) -> list[Any] | None:
    """Return the values of the columns that a source has besides; None where one is odd."""
    values = _promoted(source, document)
    return None if any(value is _ODD for value in values) else values


def _promoted(source: str, document: Mapping[str, Any]) -> list[Any]:
    return [_promote(document, *field) for field in _FIELDS.get(source, ())]


def _promote(
    document: Mapping[str, Any], path: Path, joined: Sequence[Sequence[str]], kind: Kind
) -> Any:
    """Read a field that has one value of its kind, or none; `_ODD` for everything else."""
    node: Any = document
    for key, others in zip(path, joined, strict=True):
        if not isinstance(node, dict):
            return _ODD if isinstance(node, list | tuple) else None
        # A key that joins several steps is another way to the field.
        for other in others:
            if other in node:
                return _ODD
        if key not in node:
            return None
        node = node[key]
    if kind == "text":
        return node if isinstance(node, str) and "\0" not in node else _ODD
    if isinstance(node, int) and not isinstance(node, bool) and abs(node) < 2**63:
        return node
    return _ODD
