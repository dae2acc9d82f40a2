r"""CloudTrail's own digest files, checked offline on downloaded logs.

Source: AWS CloudTrail User Guide, "Custom implementations of CloudTrail log file integrity
validation" and "CloudTrail digest file structure". Every hour CloudTrail writes a digest: the
hashes of the logs of that hour, and the signature of the digest before. The signature of a
digest is RSA PKCS#1 v1.5 with SHA-256 over

    digestEndTime \\n bucket/object \\n SHA-256 of the digest, hex \\n previousDigestSignature

It is not in the file, but in the metadata of the object, and in the digest after it. So all but
the newest digest can be checked from a folder; for the newest, put what
`aws s3api head-object` prints beside it, as `NAME.json.gz.metadata.json`.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_public_key,
)
from msgspec import Struct

from trailhound.ledger.audit import Problem
from trailhound.model.errors import TrailhoundError

_DIGEST_LIMIT_BYTES = 256 * 1024 * 1024
_CHUNK = 1 << 20
_DIGEST_NAME = re.compile(r"_CloudTrail-Digest_.*\.json\.gz\Z")
_LOG_NAME = re.compile(r"\d{12}_CloudTrail_[a-z0-9-]+_(\d{8}T\d{4})Z_[^/]*\.json\.gz\Z", re.ASCII)
_STAMP = re.compile(r"\d{8}T\d{6}Z")


class PublicKey(Struct, frozen=True):
    """A public key of CloudTrail."""

    key: RSAPublicKey
    fingerprint: str
    """As digests name it; empty where it is not known, and the key may be tried for any."""
    start: datetime | None = None
    end: datetime | None = None
    """When it was in use."""


class DigestReport(Struct, kw_only=True):
    """What was checked, and what is wrong."""

    digests_valid: int = 0
    logs_valid: int = 0
    problems: list[Problem] = []
    notes: list[str] = []
    """What could not be checked, and need not be wrong."""
    covered: list[tuple[str, str, str]] = []
    """(series, first start, last end) of every unbroken chain of valid digests."""


class _Digest(Struct, eq=False):
    path: Path
    where: str
    data: bytes
    text: dict[str, Any]
    series: str
    start: datetime
    end: datetime
    signature: str | None = None

    def field(self, name: str) -> str:
        value = self.text.get(name)
        return value if isinstance(value, str) else ""


class _Bad(Exception):
    """A digest that cannot be used, and why."""


def read_public_keys(path: Path) -> list[PublicKey]:
    """Read keys: what `aws cloudtrail list-public-keys` prints, or PEM.

    Raises `TrailhoundError` where there is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrailhoundError(f"cannot read {path}: {error.strerror}") from None
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return [PublicKey(_rsa(load_pem_public_key(data)), "")]
        listed = orjson.loads(data)
        keys = [
            PublicKey(
                _rsa(load_der_public_key(base64.b64decode(one["Value"]))),
                str(one.get("Fingerprint", "")),
                _moment(one.get("ValidityStartTime")),
                _moment(one.get("ValidityEndTime")),
            )
            for one in listed["PublicKeyList"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm):
        raise TrailhoundError(
            f"{path} holds no public keys: give what `aws cloudtrail list-public-keys` prints, "
            "or PEM"
        ) from None
    if not keys:
        raise TrailhoundError(f"{path} lists no public keys; give --start-time to list older ones")
    return keys


def verify_digests(folder: Path, keys: list[PublicKey]) -> DigestReport:
    """Check every digest below a folder, and every log it names."""
    report = DigestReport()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    by_name: dict[str, list[Path]] = {}
    for path in files:
        by_name.setdefault(path.name, []).append(path)
    digests: list[_Digest] = []
    for path in files:
        if _DIGEST_NAME.search(path.name):
            try:
                digests.append(_read_digest(path, folder))
            except _Bad as error:
                _blame(report, "altered", path.relative_to(folder).as_posix(), str(error))
    if not digests and not report.problems:
        raise TrailhoundError(f"{folder} holds no digest files of CloudTrail")
    series: dict[str, list[_Digest]] = {}
    for digest in digests:
        series.setdefault(digest.series, []).append(digest)
    listed: set[Path] = set()
    for name in sorted(series):
        chain = sorted(series[name], key=lambda one: (one.end, one.where))
        _check_chain(name, chain, keys, report)
        for digest in chain:
            listed.update(_check_logs(digest, by_name, report))
    _check_unlisted(files, listed, folder, series, report)
    return report


def _read_digest(path: Path, folder: Path) -> _Digest:
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise _Bad(f"cannot be read: {error.strerror}") from None
    unpacker = zlib.decompressobj(31)
    try:
        data = unpacker.decompress(packed, _DIGEST_LIMIT_BYTES)
    except zlib.error as error:
        raise _Bad(f"no gzip file: {error}") from None
    if not unpacker.eof:
        raise _Bad("gzip data that ends before its end mark")
    try:
        text = orjson.loads(data)
    except ValueError as error:
        raise _Bad(f"no JSON: {error}") from None
    if not isinstance(text, dict) or not isinstance(text.get("logFiles"), list):
        raise _Bad("no digest: a field is missing")
    start, end = _moment(text.get("digestStartTime")), _moment(text.get("digestEndTime"))
    where = path.relative_to(folder).as_posix()
    if start is None or end is None:
        raise _Bad("no digest: its time cannot be read")
    key = text.get("digestS3Object")
    if not isinstance(key, str) or not isinstance(text.get("digestS3Bucket"), str):
        raise _Bad("no digest: it does not say where it belongs")
    if not _same_place(path, key):
        raise _Bad(f"moved: it says that it belongs at {key}")
    digest = _Digest(path, where, data, text, _STAMP.sub("*", PurePosixPath(key).name), start, end)
    digest.signature = _metadata_signature(path)
    return digest


def _metadata_signature(path: Path) -> str | None:
    """The signature from what `aws s3api head-object` printed, if that stands beside."""
    try:
        text = orjson.loads(path.with_name(f"{path.name}.metadata.json").read_bytes())
    except (OSError, ValueError):
        return None
    found = text.get("Metadata", text) if isinstance(text, dict) else {}
    signature = found.get("signature") if isinstance(found, dict) else None
    return signature if isinstance(signature, str) else None


def _check_chain(
    name: str, chain: list[_Digest], keys: list[PublicKey], report: DigestReport
) -> None:
    begun: datetime | None = None
    for at, digest in enumerate(chain):
        before = chain[at - 1] if at else None
        after = chain[at + 1] if at + 1 < len(chain) else None
        broken = _check_link(before, digest, report)
        if broken and before is not None and begun is not None:
            report.covered.append((name, _iso(begun), _iso(before.end)))
            begun = None
        begun = begun or digest.start
        signature = digest.signature
        if after is not None and after.field("previousDigestS3Object") == digest.field(
            "digestS3Object"
        ):
            handed = after.text.get("previousDigestSignature")
            if isinstance(handed, str):
                signature = handed if signature is None else signature
                if signature != handed:
                    _blame(
                        report,
                        "altered",
                        after.where,
                        "names another signature of the digest before",
                    )
        if signature is None:
            report.notes.append(
                f"{digest.where}: its signature is not here (it is in the metadata of the object, "
                "and in the digest after it), so its content is not proven"
            )
            continue
        reason = _wrong(digest, signature, keys)
        if reason:
            _blame(report, "altered", digest.where, reason)
        else:
            report.digests_valid += 1
    if chain and begun is not None:
        report.covered.append((name, _iso(begun), _iso(chain[-1].end)))


def _check_link(before: _Digest | None, digest: _Digest, report: DigestReport) -> bool:
    """Check that a digest follows on the one before; return whether something is between."""
    previous = digest.field("previousDigestS3Object")
    if before is None:
        if previous:
            report.notes.append(f"{digest.where}: the first one here; before it was {previous}")
        return False
    if not previous:
        detail = "begins a new chain: digests, or the trail, had been switched off"
        _gap(before, digest, detail, report)
        return True
    if previous != before.field("digestS3Object"):
        _blame(report, "missing", previous, f"the digest before {digest.where} is not here")
        _gap(before, digest, "digests are missing", report)
        return True
    if digest.field("previousDigestHashValue").lower() != hashlib.sha256(before.data).hexdigest():
        detail = f"its hash is not the one that {digest.where} has of it"
        _blame(report, "altered", before.where, detail)
    if digest.start > before.end:
        _gap(before, digest, "between two digests that follow on each other", report)
        return True
    return False


def _gap(before: _Digest, digest: _Digest, detail: str, report: DigestReport) -> None:
    span = f"{_iso(before.end)} to {_iso(digest.start)}"
    _blame(report, "gap", span, f"nothing proves the logs of this time: {detail} ({digest.where})")


def _wrong(digest: _Digest, signature: str, keys: list[PublicKey]) -> str:
    """Return why a signature does not prove a digest; empty where it does."""
    if digest.text.get("digestSignatureAlgorithm") != "SHA256withRSA":
        return "signed by an algorithm that CloudTrail does not use"
    fingerprint = digest.field("digestPublicKeyFingerprint")
    known = [key for key in keys if key.fingerprint in ("", fingerprint)]
    if not known:
        return f"signed by a key that is not among the public keys given: {fingerprint}"
    in_use = [
        key
        for key in known
        if (key.start is None or key.start <= digest.end)
        and (key.end is None or digest.end <= key.end)
    ]
    if not in_use:
        return f"signed by a key that was not in use at the time: {fingerprint}"
    try:
        raw = binascii.unhexlify(signature)
    except (binascii.Error, ValueError):
        return "its signature is no hexadecimal number"
    signed = string_to_sign(digest.text, digest.data)
    for key in in_use:
        try:
            key.key.verify(raw, signed, PKCS1v15(), SHA256())
        except InvalidSignature:
            continue
        return ""
    return "its signature is wrong: it was changed after CloudTrail signed it"


def string_to_sign(digest: dict[str, Any], data: bytes) -> bytes:
    """Return what CloudTrail signs of a digest, whose uncompressed bytes are `data`."""
    previous = digest.get("previousDigestSignature")
    return "\n".join(
        (
            str(digest.get("digestEndTime")),
            f"{digest.get('digestS3Bucket')}/{digest.get('digestS3Object')}",
            hashlib.sha256(data).hexdigest(),
            "null" if previous is None else str(previous),
        )
    ).encode("utf-8", "replace")


def _check_logs(
    digest: _Digest, by_name: dict[str, list[Path]], report: DigestReport
) -> Iterator[Path]:
    """Check the logs that a digest names; yield those that are here."""
    for entry in digest.text["logFiles"]:
        key = entry.get("s3Object") if isinstance(entry, dict) else None
        if not isinstance(key, str):
            _blame(report, "altered", digest.where, "an entry of it names no log")
            continue
        named = by_name.get(PurePosixPath(key).name, [])
        here = next((path for path in named if _same_place(path, key)), None)
        if here is None:
            detail = f"moved to {named[0]}" if named else f"listed in {digest.where}, and not here"
            _blame(report, "moved" if named else "missing", key, detail)
            yield from named[:1]
            continue
        yield here
        found, reason = _content_hash(here)
        if reason:
            _blame(report, "altered", key, reason)
        elif (
            entry.get("hashAlgorithm") != "SHA-256" or found != str(entry.get("hashValue")).lower()
        ):
            _blame(report, "altered", key, f"its hash is not the one in {digest.where}")
        else:
            report.logs_valid += 1


def _content_hash(path: Path) -> tuple[str, str]:
    """Return the SHA-256 of what a compressed log says, or why there is none."""
    digest = hashlib.sha256()
    unpacker = zlib.decompressobj(31)
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                while chunk:
                    if unpacker.eof:
                        return "", "something follows the end of its gzip data"
                    digest.update(unpacker.decompress(chunk, _CHUNK))
                    chunk = unpacker.unconsumed_tail or unpacker.unused_data
        digest.update(unpacker.flush())
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    except zlib.error as error:
        return "", f"no gzip file: {error}"
    return (digest.hexdigest(), "") if unpacker.eof else ("", "gzip data that ends too early")


def _check_unlisted(
    files: list[Path],
    listed: set[Path],
    folder: Path,
    series: dict[str, list[_Digest]],
    report: DigestReport,
) -> None:
    spans = [
        (one.start, one.end, _region(one.field("digestS3Object")))
        for c in series.values()
        for one in c
    ]
    for path in files:
        found = _LOG_NAME.search(path.name)
        if found is None or path in listed:
            continue
        where = path.relative_to(folder).as_posix()
        moment = _moment(f"{found[1][:8]}T{found[1][9:]}00Z")
        own = [(a, b) for a, b, region in spans if region == _region(path.as_posix())]
        # A log is delivered up to a quarter of an hour after the time in its name.
        if moment is None or not own:
            report.notes.append(f"{where}: no digest here is of its account and region")
        elif moment > max(end for _, end in own):
            report.notes.append(f"{where}: newer than the newest digest, so not proven yet")
        elif moment < min(start for start, _ in own):
            report.notes.append(f"{where}: older than the oldest digest here")
        else:
            _blame(report, "inserted", where, "in no digest, though digests cover its time")


def _region(key: str) -> tuple[str, str]:
    """Account and region of an object."""
    found = re.search(r"(\d{12})/CloudTrail(?:-Digest)?/([a-z0-9-]+)/", key)
    return (found[1], found[2]) if found else ("", "")


def _same_place(path: Path, key: str) -> bool:
    """Whether a file lies where its object did: below whatever folder it was downloaded to."""
    own, there = path.absolute().parts, PurePosixPath(key).parts
    if "AWSLogs" in there:
        there = there[there.index("AWSLogs") :]
    return own[-len(there) :] == there


def _blame(report: DigestReport, what: str, where: str, detail: str) -> None:
    report.problems.append(Problem(what, where, detail))


def _rsa(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise TypeError("not an RSA key")
    return key


def _moment(value: object) -> datetime | None:
    """Read a time: ISO 8601, the short form of file names, or seconds since 1970."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if not isinstance(value, str):
            return None
        found = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
