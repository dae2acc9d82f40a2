"""Places to forward to, by how they are written on the command line."""

from trailhound.ledger.forward import Target
from trailhound.ledger.targets.folder import FolderTarget
from trailhound.ledger.targets.git import GitTarget


def open_target(place: str, *, retain_days: int = 365) -> Target:
    """Return the place that a user named: a folder, `s3://bucket/prefix`, `git:REMOTE`.

    Raises `TargetError` where it cannot be opened.
    """
    if place.startswith("s3://"):
        from trailhound.ledger.targets.s3 import S3Target  # noqa: PLC0415 - boto3 is an extra

        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return S3Target(bucket, prefix, retain_days=retain_days)
    if place.startswith("git:"):
        return GitTarget(place.removeprefix("git:"))
    return FolderTarget(place)
