"""Objects are read one after another, streamed, and given up where they can never be read."""

import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from botocore.exceptions import ClientError

from trailhound.intake.arrivals import Arrival
from trailhound.intake.contents import records_in
from trailhound.intake.pulling import Hand, Progress, batches
from trailhound.intake.s3.work import Found, Pending, Work
from trailhound.model.records import ParseFailure

_LOOK_SECONDS = 0.25
_REFUSED_SECONDS = 1.0
_OBJECT_BYTES = 1024**3
_OBJECT_RATIO = 100
"""An object is not read beyond the larger of these: bytes, or so many times its size."""
_RETRY_SECONDS = (30, 60, 300, 900, 3600)
_GONE = frozenset(
    ("NoSuchKey", "NoSuchVersion", "404", "PreconditionFailed", "412", "MethodNotAllowed", "405")
)
_FROZEN = "InvalidObjectState"
_REFUSED = frozenset(("AccessDenied", "403", "InvalidRequest", "400", "NoSuchBucket"))


class Reader:
    """Reads one object after another."""

    def __init__(self, client: Any, work: Work, progress: Progress) -> None:
        self._client = client
        self._work = work
        self._progress = progress

    def run(self, hand: Hand) -> None:
        """Read until told to stop."""
        while not hand.stopping.is_set():
            pending = self._work.take(_LOOK_SECONDS)
            if pending is None:
                continue
            try:
                self._read(pending, hand)
            except ClientError as error:
                self._refused(pending, error, hand)
            except BaseException:
                # The way there is at fault, most likely; others come first all the same.
                self._work.give_back(pending.found, _RETRY_SECONDS[0])
                raise
            self._progress.lag = self._work.waiting

    def _read(self, pending: Pending, hand: Hand) -> None:
        found = pending.found
        arguments = {"Bucket": found.bucket, "Key": found.key}
        if found.version:
            arguments["VersionId"] = found.version
        elif found.etag:
            arguments["IfMatch"] = found.etag
        answer = self._client.get_object(**arguments)
        self._progress.connected = True
        etag = answer["ETag"].strip('"')
        body = answer["Body"]
        try:
            if not found.etag and self._work.is_read(found._replace(etag=etag)):
                self._work.finish(found, etag)
                return
            version = answer.get("VersionId", found.version)
            limit = max(_OBJECT_BYTES, _OBJECT_RATIO * answer["ContentLength"])
            arrivals = _arrivals(found, etag, version, cast("BinaryIO", body), limit)
            reached = pending.line, pending.element
            fresh = (arrival for arrival in arrivals if _place_in(arrival) > reached)
            for part in batches(fresh):
                if not hand.deliver(part, self._progress):
                    self._work.give_back(found)
                    return
                self._work.reached(found, *_place_in(part[-1]))
            self._work.finish(found, etag)
        finally:
            body.close()

    def _refused(self, pending: Pending, error: ClientError, hand: Hand) -> None:
        """Give an object up that can never be read; let another wait, and tell it."""
        found = pending.found
        code = str(error.response.get("Error", {}).get("Code", ""))
        place = f"s3://{found.bucket}/{found.key}"
        if code in _GONE or code == _FROZEN:
            reason = "object archived" if code == _FROZEN else "object gone"
            detail = f"{code}: it was removed, replaced or archived before it was read"
            peer = f"s3/{found.bucket}/{found.key}"
            position = f"s3:{found.bucket}/{found.key}@{found.etag or found.version}"
            lost = Arrival(b"", peer, time.time_ns(), position, {}, (reason, detail))
            if hand.deliver([lost], self._progress):
                self._work.finish(found, found.etag)
            else:
                self._work.give_back(found)
            return
        if code not in _REFUSED and not code.startswith("KMS."):
            self._work.give_back(found, _RETRY_SECONDS[0])
            raise error
        tries = min(pending.tries, len(_RETRY_SECONDS) - 1)
        self._work.give_back(found, _RETRY_SECONDS[tries])
        self._progress.failed(f"{place!r}: {error}")
        hand.stopping.wait(_REFUSED_SECONDS)  # the next may be refused as well


def _arrivals(
    found: Found, etag: str, version: str, body: BinaryIO, limit_bytes: int
) -> Iterator[Arrival]:
    peer = f"s3/{found.bucket}/{found.key}"
    for item in records_in(peer, body, limit_bytes):
        line, element = item.origin.line, item.origin.element
        position = f"s3:{found.bucket}/{found.key}@{etag}:{line}.{element}"
        context = {"s3_bucket": found.bucket, "s3_key": found.key, "s3_line": str(line)}
        if version:
            context["s3_version"] = version
        if isinstance(item, ParseFailure):
            failure = item.reason, item.detail
            yield Arrival(b"", peer, time.time_ns(), position, context, failure)
        else:
            yield Arrival(item.data, peer, time.time_ns(), position, context)


def _place_in(arrival: Arrival) -> tuple[int, int]:
    """Return line and element, which stand at the end of its position."""
    line, element = arrival.position.rpartition(":")[2].split(".")
    return int(line), int(element)
