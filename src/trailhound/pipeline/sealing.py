"""Logs on disk into a ledger, and logs on disk held against one.

A log is known by how it begins, so that one that was rotated or copied is still the same; only
where it begins otherwise, its name decides.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct

from trailhound.intake.blocks import Block
from trailhound.intake.files import STDIN, InputFile, read_blocks
from trailhound.ledger.audit import leaves
from trailhound.ledger.differences import Change, Difference, first_difference, what_changed
from trailhound.ledger.leaf import Leaf, Sealed, leaf_entry, parse_leaf
from trailhound.ledger.log import Ledger, fetch_from, kept_record
from trailhound.ledger.redaction import Redacted, Redactor, blanked
from trailhound.ledger.tiles import WIDTH, TileReader
from trailhound.model.errors import TrailhoundError
from trailhound.model.records import ParseFailure, RawRecord

_BATCH = 4096
_BEGINNING = 1000
_ALIKE = 16


class LogRecord(Struct, frozen=True):
    """One record of a log on disk."""

    place: str
    """`LINE` or `LINE#ELEMENT`."""
    data: bytes


class LogDifference(Struct, frozen=True):
    """The first place where a log is not what was sealed."""

    path: str
    """The file, or the sealed log where no file is it."""
    change: Change
    place: str
    """Where in the file, or where it stood when it was sealed."""
    count: int
    index: int | None
    """Of the entry in the ledger; None for an inserted record."""
    detail: str


class SealedLog(Struct):
    """What the ledger has of one log, in order."""

    source: str
    entries: list[int] = []
    places: list[str] = []
    digests: list[bytes] = []
    aliases: dict[bytes, bytes] = {}
    """From the digest of a redacted record to the one by which it is compared."""


class SealReport(Struct, kw_only=True):
    """What `seal_logs` did."""

    sealed: int = 0
    already: int = 0
    redacted: int = 0
    """Values replaced among the records sealed now."""
    logs: int = 0
    failures: list[ParseFailure] = []
    differences: list[LogDifference] = []


class CompareReport(Struct, kw_only=True):
    """What `compare_logs` found."""

    compared: int = 0
    unsealed: int = 0
    """Records after the last sealed one, and those of logs that were never sealed."""
    without_values: int = 0
    """Records compared but for the values that were redacted in them: there was no key."""
    failures: list[ParseFailure] = []
    differences: list[LogDifference] = []


def read_records(file: InputFile) -> Iterator[LogRecord | ParseFailure]:
    """Yield the records of a log: its lines, or the elements of a document over many lines."""
    for item in read_blocks(file):
        if isinstance(item, Block):
            for index in range(len(item.ends)):
                line = item.text(index).removesuffix(b"\r")
                if line:
                    yield LogRecord(str(item.line + index), line)
        elif isinstance(item, RawRecord):
            element = f"#{item.origin.element}" if item.origin.element else ""
            yield LogRecord(f"{item.origin.line}{element}", item.data)
        else:
            yield item


def sealed_logs(folder: Path, size: int, *, exact: bool) -> dict[str, SealedLog]:
    """Return what a ledger has of every log.

    Args:
        folder: of the ledger, or of what was forwarded of it.
        size: entries to read.
        exact: compare redacted records with their keyed hashes; else without, as whoever has
            no redaction key must.
    """
    found: dict[str, SealedLog] = {}
    for index, leaf in leaves(folder, size):
        log = found.get(leaf.source)
        if log is None:
            log = found[leaf.source] = SealedLog(leaf.source)
        digest = _digest_of(leaf, exact=exact)
        if leaf.redacted and not exact:
            log.aliases[bytes.fromhex(leaf.sha256)] = digest
        log.entries.append(index)
        log.places.append(leaf.place)
        log.digests.append(digest)
    return found


def seal_logs(
    files: list[InputFile],
    ledger: Ledger,
    redactor: Redactor,
    now_ns: Callable[[], int],
    progress: Callable[[int], None] = lambda _: None,
) -> SealReport:
    """Seal what is new in logs; what was sealed before is compared, and not sealed again.

    Args:
        files: the logs.
        ledger: signed up to its last entry.
        redactor: with the key of the keyed hashes.
        now_ns: the clock, UTC nanoseconds.
        progress: called with the bytes of each log that is done.
    """
    known = sealed_logs(ledger.folder, ledger.size, exact=True)
    report = SealReport()
    for file in files:
        if file.path == STDIN:
            raise TrailhoundError("standard input cannot be sealed: it cannot be compared later")
        report.logs += 1
        _seal_log(file, ledger, redactor, now_ns, known, report)
        progress(file.size_bytes)
    return report


def _seal_log(
    file: InputFile,
    ledger: Ledger,
    redactor: Redactor,
    now_ns: Callable[[], int],
    known: dict[str, SealedLog],
    report: SealReport,
) -> None:
    records = _redacted(file, redactor, report.failures)
    beginning = list(islice(records, _BEGINNING))
    digests = [hashlib.sha256(safe.data).digest() for _, safe in beginning]
    if not beginning:
        return  # just rotated, as a rule; `verify --against` would tell what was taken away
    log = _same_log(file.path, digests, known)
    if log is None:
        log = SealedLog(_free_name(file.path, known))
    batch: list[Sealed] = []
    found: list[bytes] = []
    before = len(log.digests)
    for place, safe in _chained(beginning, records):
        digest = hashlib.sha256(safe.data).digest()
        if len(found) < before:
            found.append(digest)
            if digest != log.digests[len(found) - 1]:
                # The rest is read only to tell what happened.
                found.extend(hashlib.sha256(rest.data).digest() for _, rest in records)
                break
            continue
        if len(found) == before and first_difference(log.digests[:before], found):
            break
        entry = leaf_entry(safe, source=log.source, place=place, received_ns=now_ns())
        batch.append(Sealed(entry, safe.data))
        report.redacted += len(safe.paths)
        log.digests.append(digest)
        if len(batch) == _BATCH:
            ledger.append(batch)
            report.sealed += len(batch)
            batch = []
    difference = first_difference(log.digests[:before], found)
    if difference is not None:
        report.differences.append(_told(file.path, log, difference, [], ""))
        return
    if batch:
        ledger.append(batch)
        report.sealed += len(batch)
    report.already += len(found)
    known[log.source] = log


def compare_logs(
    folder: Path,
    size: int,
    files: list[InputFile],
    redactor: Redactor | None,
    *,
    partial: bool = False,
) -> CompareReport:
    """Hold logs on disk against what was sealed of them.

    Args:
        folder: of a ledger that was audited.
        size: its entries.
        files: the logs.
        redactor: with the key of the keyed hashes; None: redacted values are not compared.
        partial: sealed logs that are not among the files are no difference.
    """
    known = sealed_logs(folder, size, exact=redactor is not None)
    report = CompareReport()
    seen: set[str] = set()
    for file in files:
        digests: list[bytes] = []
        places: list[str] = []
        masked: list[bool] = []
        for place, safe in _redacted(file, redactor or Redactor(None), report.failures):
            digests.append(hashlib.sha256(safe.data).digest())
            places.append(place)
            masked.append(bool(safe.paths) and redactor is None)
        log = _same_log(file.path, digests[:_BEGINNING], known)
        if log is None:
            report.unsealed += len(digests)
            continue
        seen.add(log.source)
        digests = [log.aliases.get(digest, digest) for digest in digests]
        difference = first_difference(log.digests, digests)
        report.compared += min(len(log.digests), len(digests))
        report.without_values += sum(masked[: len(log.digests)])
        report.unsealed += max(0, len(digests) - len(log.digests))
        if difference is not None:
            detail = ""
            if difference.change is Change.ALTERED:
                detail = _detail(
                    folder,
                    size,
                    log.entries[difference.index],
                    file,
                    redactor,
                    places[difference.index],
                )
            report.differences.append(_told(file.path, log, difference, places, detail))
    if not partial:
        for source, log in known.items():
            if source not in seen:
                report.differences.append(
                    LogDifference(
                        path=source,
                        change=Change.DELETED,
                        place=log.places[0],
                        count=len(log.digests),
                        index=log.entries[0],
                        detail="the whole log: no file given begins like it or has its name",
                    )
                )
    return report


def _detail(
    folder: Path,
    size: int,
    index: int,
    file: InputFile,
    redactor: Redactor | None,
    place: str,
) -> str:
    kept = kept_record(folder, size, index)
    if kept is None:
        return "the ledger keeps no records, so what it was is not known"
    entries = TileReader(fetch_from(folder), size).bundle(index // WIDTH)
    kept, _ = parse_leaf(entries[index % WIDTH]).split(kept)
    for item in read_records(file):
        if isinstance(item, LogRecord) and item.place == place:
            safe = (redactor or Redactor(None)).redact(item.data)
            if redactor is None:
                kept = blanked(kept)
            return what_changed(kept, safe.data)
    return ""


def _told(
    path: str, log: SealedLog, difference: Difference, places: list[str], detail: str
) -> LogDifference:
    inserted = difference.change is Change.INSERTED
    at = difference.index
    return LogDifference(
        path=path,
        change=difference.change,
        place=(places[at] if inserted and places else log.places[at]),
        count=difference.count,
        index=None if inserted else log.entries[at],
        detail=detail,
    )


def _redacted(
    file: InputFile, redactor: Redactor, failures: list[ParseFailure]
) -> Iterator[tuple[str, Redacted]]:
    for item in read_records(file):
        if isinstance(item, ParseFailure):
            failures.append(item)
        else:
            yield item.place, redactor.redact(item.data)


def _chained(
    beginning: list[tuple[str, Redacted]], rest: Iterator[tuple[str, Redacted]]
) -> Iterator[tuple[str, Redacted]]:
    yield from beginning
    yield from rest


def _digest_of(leaf: Leaf, *, exact: bool) -> bytes:
    return bytes.fromhex(leaf.sha256 if exact or not leaf.redacted else leaf.masked_sha256)


def _same_log(path: str, beginning: list[bytes], known: dict[str, SealedLog]) -> SealedLog | None:
    """Return the sealed log that a file is; None where it is a new one."""
    first = beginning[0] if beginning else None
    alike = [log for log in known.values() if first is not None and log.digests[0] == first]
    # Logs of another name must have more in common than a first line that many begin with.
    alike = [
        log
        for log in alike
        if _shared_name(log.source, path)
        or not first_difference(log.digests[:_ALIKE][: len(beginning)], beginning[:_ALIKE])
    ]
    if alike:
        return max(alike, key=lambda log: (_shared_name(log.source, path), len(log.digests)))
    # Its first records were taken away, or changed; but others of it are there. A log of
    # another name must share more with it than a line or two.
    found = set(beginning)
    best: tuple[int, int] = (0, 0)
    same = None
    for log in known.values():
        name = _shared_name(log.source, path)
        common = len(found & set(log.digests[: 2 * _BEGINNING]))
        enough = bool(name) if not beginning else common >= (1 if name else len(found) / 2)
        if enough and (name, common) > best:
            best, same = (name, common), log
    return same


def _shared_name(source: str, path: str) -> int:
    """How many parts at the end of two paths are the same."""
    parts = [Path(_plain_name(name)).parts[::-1] for name in (source, path)]
    alike = 0
    for mine, theirs in zip(*parts, strict=False):
        if mine != theirs:
            break
        alike += 1
    return alike


def _plain_name(source: str) -> str:
    name, mark, number = source.rpartition("~")
    name = name if mark and number.isdigit() else source
    return name.removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2").removesuffix(".xz")


def _free_name(path: str, known: dict[str, SealedLog]) -> str:
    """Return a name for a log whose path an older one may have had: `audit.log~2`."""
    if path not in known:
        return path
    number = 2
    while f"{path}~{number}" in known:
        number += 1
    return f"{path}~{number}"
