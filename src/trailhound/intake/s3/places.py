"""Which buckets are read, and how what they hold is found."""

from collections.abc import Sequence
from dataclasses import dataclass

from trailhound.intake.s3.work import Found
from trailhound.model.errors import TrailhoundError


@dataclass(frozen=True, slots=True)
class Buckets:
    """What to read, and how it is found."""

    places: tuple[tuple[str, str], ...]
    """Bucket and prefix of keys. Notices of other places are refused."""
    queues: tuple[str, ...] = ()
    """URLs of SQS queues with notices."""
    list_seconds: float = 60.0
    """How often buckets are listed; 0: never."""
    since_ns: int = 0
    """Objects that were written before are not read, UTC nanoseconds since 1970."""
    endpoint: str = ""
    """URL of a server that speaks S3; empty: Amazon's."""
    region: str = ""
    """Empty: from the usual configuration."""

    def has(self, found: Found) -> bool:
        """Whether an object lies in one of the places."""
        return any(
            found.bucket == bucket and found.key.startswith(prefix)
            for bucket, prefix in self.places
        )


def places_of(addresses: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return bucket and prefix of addresses like `s3://bucket/prefix`.

    Raises:
        TrailhoundError: One is no such address.
    """
    found = []
    for address in addresses:
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not address.startswith("s3://") or not bucket:
            raise TrailhoundError(
                f"{address!r} is no address of a bucket, such as s3://logs/AWSLogs/"
            )
        found.append((bucket, prefix))
    return tuple(found)
