"""Proofs out of a ledger, and proofs checked, for the command line and for findings."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from trailhound.ledger.audit import leaves, newest_head
from trailhound.ledger.checkpoints import Head, Proof, open_head, parse_proof
from trailhound.ledger.leaf import parse_leaf
from trailhound.ledger.log import fetch_from
from trailhound.ledger.merkle import consistency_holds, prove_consistency, prove_inclusion
from trailhound.ledger.notes import Verifier
from trailhound.ledger.tiles import WIDTH, TileReader
from trailhound.model.errors import TrailhoundError

_FINDINGS_LIMIT = 1 << 30


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises `TrailhoundError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrailhoundError(f"cannot read {path}: {error.strerror}") from None


def read_head(path: Path, verifier: Verifier) -> Head:
    """Read a head and check its signature. Raises `TrailhoundError`."""
    return open_head(read_bytes(path), verifier)


def consistency(folder: Path, size: int, old: Head, new: Head) -> list[bytes] | None:
    """Return the proof that one head extends another; None where it does not.

    Args:
        folder: of the ledger.
        size: entries in it, at least those of `new`.
        old: the older head.
        new: the newer head.
    """
    if old.size > new.size:
        raise TrailhoundError(
            f"the head over {new.size} records cannot extend one over {old.size}: "
            "give the older one with --from"
        )
    if new.size > size:
        raise TrailhoundError(
            f"the ledger has {size} records, and the head is over {new.size}: it is newer, "
            "or the end of the ledger was cut off"
        )
    reader = TileReader(fetch_from(folder), size)
    path = prove_consistency(old.size, new.size, reader.hash_of)
    return path if consistency_holds(old.size, new.size, old.root, new.root, path) else None


def prove(folder: Path, verifier: Verifier, record: str) -> Proof:
    """Return the inclusion proof of one record.

    Args:
        folder: of the ledger.
        verifier: its public key.
        record: an index, or `LOG:LINE`, `LOG:LINE#ELEMENT`.
    """
    if record.isdigit():
        head, note = newest_head(folder, verifier)
        if int(record) >= head.size:
            raise TrailhoundError(f"no entry {record}: the ledger has {head.size}")
        return _proof(TileReader(fetch_from(folder), head.size), note, int(record))
    found = dict(prove_places(folder, verifier, [record]))
    if record not in found:
        raise TrailhoundError(f"{record} is not sealed: name it LOG:LINE, as it was sealed")
    return found[record]


def prove_places(
    folder: Path, verifier: Verifier, places: Iterable[str]
) -> Iterator[tuple[str, Proof]]:
    """Yield the proofs of records at places, `LOG:LINE` or `LOG:LINE#ELEMENT`.

    Where a document was sealed whole, an element of it is proven by the document. Places that
    are not sealed are left out.
    """
    head, note = newest_head(folder, verifier)
    wanted: dict[str, list[str]] = {}
    for place in places:
        wanted.setdefault(place, []).append(place)
    whole: dict[str, list[str]] = {}
    for place in wanted:
        document, mark, _ = place.rpartition("#")
        if mark:
            whole.setdefault(document, []).append(place)
    reader = TileReader(fetch_from(folder), head.size)
    done: set[str] = set()
    for index, leaf in leaves(folder, head.size):
        place = f"{leaf.source}:{leaf.place}"
        for name in (*wanted.get(place, ()), *whole.get(place, ())):
            if name not in done:
                done.add(name)
                yield name, _proof(reader, note, index)


def places_in_findings(path: Path) -> dict[str, list[str]]:
    """Return the places of the events of findings, as `scan --json` or `ndjson` printed them.

    Returns:
        Id of the finding → `LOG:LINE#ELEMENT` of each of its events.
    """
    data = read_bytes(path)
    found: dict[str, list[str]] = {}
    try:
        for finding in _findings(data):
            places = found.setdefault(str(finding["uid"]), [])
            for event in finding["events"]:
                for origin in event["origins"]:
                    element = f"#{origin['element']}" if origin["element"] else ""
                    places.append(f"{origin['path']}:{origin['line']}{element}")
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        raise TrailhoundError(
            f"{path} holds no findings: it is what `trailhound scan --format json` prints"
        ) from None
    return found


def check_proof(path: Path, verifier: Verifier, record: bytes | None) -> dict[str, Any]:
    """Check a proof file; say what it proves, or why it does not."""
    result: dict[str, Any] = {"path": str(path), "holds": False}
    data = read_bytes(path)
    try:
        proof = parse_proof(data)
        head = proof.check(verifier)
        leaf = parse_leaf(proof.entry)
        if record is not None:
            _check_record(record, leaf.sha256)
    except TrailhoundError as error:
        return {**result, "reason": str(error)}
    return {
        **result,
        "holds": True,
        "index": proof.index,
        "size": head.size,
        "signed": head.signed_at or None,
        "source": leaf.source,
        "place": leaf.place,
        "received_ns": leaf.received_ns,
        "sha256": leaf.sha256,
        "redacted": leaf.redacted,
        "redacted_paths": leaf.paths,
    }


def _check_record(record: bytes, sha256: str) -> None:
    endings = (record, record.removesuffix(b"\n"), record.removesuffix(b"\r\n"))
    if sha256 not in {hashlib.sha256(one).hexdigest() for one in endings}:
        raise TrailhoundError("the record is not the one that was sealed")


def _findings(data: bytes) -> Iterator[dict[str, Any]]:
    if len(data) > _FINDINGS_LIMIT:
        raise ValueError
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError:
        documents = [msgspec.json.decode(line) for line in data.splitlines() if line.strip()]
    else:
        documents = document.get("findings", [document])
    yield from (one for one in documents if "events" in one and "uid" in one)


def _proof(reader: TileReader, note: bytes, index: int) -> Proof:
    entry = reader.bundle(index // WIDTH)[index % WIDTH]
    path = prove_inclusion(index, reader.size, reader.hash_of)
    return Proof(index, tuple(path), note, entry)
