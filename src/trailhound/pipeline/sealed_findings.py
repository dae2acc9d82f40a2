"""Findings that carry proofs, checked without the ledger: with its public key alone.

Of each record behind a finding: its leaf is under a signed head, it bears the record's place and
hash. Of each event whose records are carried: reading them again gives the event that is shown.
What is not proven is the judgement; whoever has the rule can run it again.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from trailhound.ledger.checkpoints import Head, Proof
from trailhound.ledger.leaf import Leaf, parse_leaf, read_context
from trailhound.ledger.notes import Verifier
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.findings import Finding, RuleInfo
from trailhound.model.levels import Level
from trailhound.model.records import Origin, RawRecord
from trailhound.sinks.encode import json_text
from trailhound.sinks.native import finding_json
from trailhound.sinks.ocsf import DETECTION_FINDING, detection_finding
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

_SUMMARY = (
    *("actor", "invoked_by", "action", "target", "src_ip", "device", "outcome"),
    "request_uid",
)
_OCSF_SUMMARY = ("actor", "device", "resources", "observables", "raw_data")
_SUMMARY_TIMES = frozenset(("time", "start", "start_time", "end_time"))
_HASH = re.compile(r"[0-9a-f]{64}")
_LINE_BYTES = 64 * 1024 * 1024


class _ShownOrigin(Struct, frozen=True):
    path: str
    line: int
    element: int


class _ShownEvent(Struct, frozen=True):
    uid: str
    origins: list[_ShownOrigin]
    document: Any = None
    """None where it is not shown, or not whole."""


class _ShownRecord(Struct, frozen=True):
    path: str
    line: int
    index: int
    entry: str
    hashes: list[str]
    record: str | None = None
    record_base64: str | None = None

    def data(self) -> bytes | None:
        """Return the record, where it is carried."""
        if self.record is not None:
            return self.record.encode()
        if self.record_base64 is None:
            return None
        try:
            return base64.b64decode(self.record_base64, validate=True)
        except (binascii.Error, ValueError):
            raise TrailhoundError(f"the record {self.path}:{self.line} is no base64") from None


class _ShownProofs(Struct, frozen=True):
    head: str
    records: list[_ShownRecord]


class CheckedFinding(Struct, frozen=True, kw_only=True):
    """What is proven of one finding."""

    line: int
    """Of the file."""
    uid: str
    title: str
    reason: str = ""
    """Why it is not proven; empty where it is, and where it names no event: then there is
    nothing to prove. May quote the file: escape it."""
    records: int = 0
    """Records behind it that are sealed."""
    events: int = 0
    """Events in it."""
    read_again: int = 0
    """Of these, events that follow from the records that are carried."""
    summed_again: bool = False
    """Whether who, what, where and when of the finding follow from its events."""
    size: int = 0
    """Records under the head."""
    signed: str = ""
    """When the head says it was signed, for people."""


Kept = Callable[[int], bytes | None]
"""From the index of a record to the record, where it is kept."""


def check_findings(
    path: Path, verifier: Verifier, kept: Kept = lambda _: None
) -> Iterator[CheckedFinding]:
    """Check findings as `serve` writes them, one a line, in either of their forms.

    Args:
        path: of the findings.
        verifier: with the public key of the ledger.
        kept: gives records that are too large to be carried; what it gives is trusted no more
            than what is carried.

    Raises:
        TrailhoundError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(_LINE_BYTES):
                number += 1
                if line.strip():
                    yield _checked(number, line, verifier, kept)
    except OSError as error:
        raise TrailhoundError(f"cannot read {path}: {error.strerror}") from None


def _checked(number: int, line: bytes, verifier: Verifier, kept: Kept) -> CheckedFinding:
    uid = title = ""
    try:
        document = _object(line)
        uid, title, events, carried = _parts(document)
        if not events:
            return CheckedFinding(line=number, uid=uid, title=title)
        if carried is None:
            raise TrailhoundError("it carries no proofs")
        proofs = msgspec.convert(carried, _ShownProofs)
        head, proven = _proven(proofs, verifier, kept)
        again = [_check_event(event, proven) for event in events]
        known = [event for event in again if event is not None]
        if len(known) == len(events):
            _check_summary(document, tuple(known))
    except (TrailhoundError, msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        reason = str(error) if isinstance(error, TrailhoundError) else f"no finding: {error}"
        return CheckedFinding(line=number, uid=uid, title=title, reason=reason)
    return CheckedFinding(
        line=number,
        uid=uid,
        title=title,
        records=len(proven),
        events=len(events),
        read_again=len(known),
        summed_again=len(known) == len(events),
        size=head.size,
        signed=head.signed_at,
    )


def _object(line: bytes) -> dict[str, Any]:
    if len(line) >= _LINE_BYTES:
        raise TrailhoundError("the line is too long for a finding")
    try:
        # Not by `msgspec`: it makes floats of integers beyond 64 bits.
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise TrailhoundError("the line is no finding")
    return document


def _parts(document: Mapping[str, Any]) -> tuple[str, str, list[_ShownEvent], Any]:
    """Return uid, title, events and proofs of a finding in either form."""
    if document.get("class_uid") == DETECTION_FINDING:
        info = document["finding_info"]
        shown = [{"uid": evidence["uid"], **evidence["data"]} for evidence in document["evidences"]]
        carried = document.get("unmapped", {}).get("proofs")
        uid, title = info["uid"], info["title"]
    else:
        shown, carried = document["events"], document.get("proofs")
        uid, title = document["uid"], document["rule"]["title"]
    return str(uid), str(title), msgspec.convert(shown, list[_ShownEvent]), carried


_Proven = dict[tuple[str, int], tuple[Leaf, bytes | None]]
"""From the place of a record to its leaf, and, where it is at hand, the record with its context."""


def _proven(proofs: _ShownProofs, verifier: Verifier, kept: Kept) -> tuple[Head, _Proven]:
    """Check every record that is carried or named."""
    found: _Proven = {}
    head: Head | None = None
    for one in proofs.records:
        where = f"the record {one.path}:{one.line}"
        if not all(_HASH.fullmatch(text) for text in one.hashes):
            raise TrailhoundError(f"the path of {where} is no hexadecimal")
        hashes = tuple(map(bytes.fromhex, one.hashes))
        proof = Proof(one.index, hashes, proofs.head.encode(), one.entry.encode())
        head = proof.check(verifier)
        leaf = parse_leaf(proof.entry)
        if (leaf.source, leaf.place) != (one.path, str(one.line)):
            raise TrailhoundError(f"{where} was sealed as {leaf.source}:{leaf.place}")
        data = one.data()
        if data is None:
            data = kept(one.index)
        if data is not None and hashlib.sha256(data).hexdigest() != leaf.kept_sha256:
            raise TrailhoundError(f"{where} is not what was sealed")
        found[one.path, one.line] = leaf, data
    if head is None:
        raise TrailhoundError("it carries no proofs")
    return head, found


def _check_summary(document: Mapping[str, Any], events: tuple[Event, ...]) -> None:
    """See that who, what, where and when are told as the events say."""
    times = [event.envelope.time_ns for event in events]
    anew = Finding(
        uid="",
        rule=RuleInfo(uid="", title="", level=Level.INFORMATIONAL, dialect="", path="", line=0),
        time_ns=max(times),
        start_ns=min(times),
        events=events,
    )
    told, keys = json.loads(finding_json(anew)), set(_SUMMARY)
    if document.get("class_uid") == DETECTION_FINDING:
        told, keys = detection_finding(anew), set(_OCSF_SUMMARY)
    if len(events) == 1:
        keys |= _SUMMARY_TIMES & told.keys()
    for key in sorted(keys):
        if document.get(key) != json.loads(json_text({"": told.get(key)}))[""]:
            raise TrailhoundError(f"{key} is not what its events say")


def _check_event(event: _ShownEvent, proven: _Proven) -> Event | None:
    """See that the records of an event are sealed; return it, if it could be read again."""
    records: list[tuple[_ShownOrigin, Leaf, bytes | None]] = []
    for origin in event.origins:
        sealed = proven.get((origin.path, origin.line))
        if sealed is None:
            raise TrailhoundError(f"no proof of the record {origin.path}:{origin.line}")
        records.append((origin, *sealed))
    if not records:
        raise TrailhoundError(f"the event {event.uid} has no record")
    if any(data is None for _, _, data in records):
        if event.document is not None:
            raise TrailhoundError(
                f"the event {event.uid} is shown without its record, which may be too large to be "
                "carried: name the ledger, or a copy of it that keeps records, with --ledger"
            )
        return None
    for again in _read(records):
        if again.uid == event.uid and _places(again.origins) == _places(event.origins):
            if event.document is not None and event.document != json.loads(
                json_text(again.document)
            ):
                raise TrailhoundError(f"the event {event.uid} is not shown as it was sealed")
            return again
    raise TrailhoundError(
        f"the event {event.uid} is not what its records say, read by themselves by this version"
    )


def _places(origins: Sequence[Origin | _ShownOrigin]) -> list[tuple[str, int, int]]:
    return [(origin.path, origin.line, origin.element) for origin in origins]


def _read(records: Sequence[tuple[_ShownOrigin, Leaf, bytes | None]]) -> Iterator[Event]:
    decoder = Decoder(all_sources())
    for (path, line), (_, leaf, data) in {
        (origin.path, origin.line): (origin, leaf, data) for origin, leaf, data in records
    }.items():
        sealed, context = leaf.split(data or b"")
        record = RawRecord(sealed, Origin(path, line), leaf.received_ns, read_context(context))
        yield from (item for item in decoder.decode(record) if isinstance(item, Event))
    yield from (item for item in decoder.flush() if isinstance(item, Event))
