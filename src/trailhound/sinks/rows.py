"""Rows of any columns, and events as rows: what a hunt shows."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from trailhound.model.events import Event
from trailhound.sinks.encode import json_text
from trailhound.sinks.escape import csv_cell, cut, visible
from trailhound.sinks.native import outcome_word
from trailhound.sinks.wording import rfc3339, target

FORMATS = ("table", "json", "ndjson", "csv")
EVENT_COLUMNS = ("time", "source", "actor", "action", "target", "outcome", "src_ip", "record")
_CELL_LIMIT = 60
_WIDTHS_FROM = 200
_MINUTE_NS = 60 * 10**9
_WIDTHS_NS = tuple(
    minutes * _MINUTE_NS
    for minutes in (1, 5, 15, 60, 6 * 60, 1440, 7 * 1440, 30 * 1440, 365 * 1440)
)
_INDENT = " " * 4
_BARS = 24
_BAR_CHARACTERS = 40


def event_row(event: Event) -> tuple[str, ...]:
    """Return an event as a row of `EVENT_COLUMNS`."""
    envelope = event.envelope
    return (
        rfc3339(envelope.time_ns) or "",
        event.source,
        envelope.actor_name,
        envelope.action,
        target(envelope),
        outcome_word(envelope.outcome),
        envelope.src_ip,
        str(event.origins[0]),
    )


def event_document(event: Event) -> dict[str, Any]:
    """Return an event for JSON: its envelope, where it stood, and the document as written."""
    row = dict(zip(EVENT_COLUMNS, event_row(event), strict=True))
    return {"uid": event.uid, **row, "notes": event.notes, "document": event.document}


def write_rows(
    stream: TextIO,
    form: str,
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
    width: int | None = None,
) -> int:
    """Write rows; return how many there were.

    Args:
        stream: where to.
        form: one of `FORMATS`.
        names: of the columns.
        rows: their values, which may be anything that a log holds.
        width: columns of the terminal, where there is one: rows of a table that are wider go on
            below, at the end of a cell.
    """
    if form in ("json", "ndjson"):
        return write_documents(stream, form, (dict(zip(names, row, strict=True)) for row in rows))
    if form == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([csv_cell(name) for name in names])
        number = 0
        for row in rows:
            number += 1
            writer.writerow([csv_cell(_text(value)) for value in row])
        return number
    return _write_table(stream, names, rows, width)


def write_documents(stream: TextIO, form: str, documents: Iterable[Mapping[str, Any]]) -> int:
    """Write documents as a JSON list, one a line, or as NDJSON; return how many there were."""
    number = 0
    for document in documents:
        if form == "json":
            stream.write("[\n" if number == 0 else ",\n")
        number += 1
        stream.write(json_text(_plain(document)))
        if form == "ndjson":
            stream.write("\n")
    if form == "json":
        stream.write("\n]\n" if number else "[]\n")
    return number


def _write_table(
    stream: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]], width: int | None
) -> int:
    # Widths come from the first rows; the rest is written as it comes.
    waiting: list[list[str]] = []
    widths = [len(visible(name)) for name in names]
    head = [visible(name) for name in names]
    number = 0

    def line(cells: Sequence[str]) -> None:
        padded = [cell.ljust(size) for cell, size in zip(cells, widths, strict=True)]
        for indent, band in _bands(widths, width):
            stream.write(f"{indent}{'  '.join(padded[band])}".rstrip() + "\n")

    def begin() -> None:
        widths[:] = [max(map(len, column)) for column in zip(head, *waiting, strict=True)]
        line(head)
        for cells in waiting:
            line(cells)
        waiting.clear()

    for row in rows:
        number += 1
        cells = [cut(visible(_text(value)), _CELL_LIMIT) for value in row]
        if number <= _WIDTHS_FROM:
            waiting.append(cells)
            continue
        if waiting:
            begin()
        line(cells)
    if waiting:
        begin()
    return number


def _bands(widths: Sequence[int], limit: int | None) -> Iterator[tuple[str, slice]]:
    """Yield which columns stand beside each other, and what stands before them."""
    first, used, indent = 0, 0, ""
    for index, size in enumerate(widths):
        if limit is not None and index > first and used + size > limit:
            yield indent, slice(first, index)
            first, used, indent = index, len(_INDENT), _INDENT
        used += size + 2
    yield indent, slice(first, len(widths))


def histogram_width(first_ns: int, last_ns: int) -> int:
    """Return how long each bar of a histogram lasts, nanoseconds: one that people think in."""
    span = max(last_ns - first_ns, 1)
    return next((width for width in _WIDTHS_NS if span / width <= _BARS), _WIDTHS_NS[-1])


def write_histogram(stream: TextIO, counts: Mapping[int, int], width_ns: int) -> None:
    """Write bars over time, a line each; a long gap becomes one line."""
    if not counts:
        return
    most = max(counts.values())
    digits = len(f"{most:,}")
    last: int | None = None
    for start in sorted(counts):
        if last is not None and start > last + width_ns:
            stream.write(f"{'…':>5}\n")
        last = start
        count = counts[start]
        bar = "█" * max(1, math.ceil(count / most * _BAR_CHARACTERS))
        when = (rfc3339(start) or "no time")[:16].replace("T", " ")
        stream.write(f"{when}  {count:>{digits},}  {bar}\n")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict):
        return json_text(_plain(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _plain(value: Any) -> Any:
    """Return a value of SQL as JSON has it: times and ids as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return _text(value)
