"""Places to forward to, by how they are written on the command line."""

import re

from trailhound.ledger.forward import Target, TargetError
from trailhound.ledger.targets.folder import FolderTarget
from trailhound.ledger.targets.git import GitTarget
from trailhound.ledger.targets.trailhound import TrailhoundTarget

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


def check_place(place: str) -> None:
    """Say what is wrong with how a place is written, before anything is sent there.

    Raises:
        TargetError: It is no place that can be opened.
    """
    found = _SCHEME.match(place)
    if found is None or place.startswith("git:"):
        return
    scheme = found[1]
    if not place.startswith(("https://", "http://", "s3://")):
        raise TargetError(
            f"no place to forward to begins with {scheme}:/ ; it is a folder, s3://BUCKET/PREFIX, "
            "git:REMOTE or https://HOST:PORT"
        )
    if scheme != "s3":
        TrailhoundTarget(place, "")


def open_target(place: str, *, retain_days: int = 365, token: str = "") -> Target:
    """Return the place that a user named.

    Args:
        place: a folder, `s3://bucket/prefix`, `git:REMOTE`, or the URL of another Trailhound.
        retain_days: for how long S3 lets nobody delete what is sent.
        token: what another Trailhound asks for.

    Raises:
        TargetError: It cannot be opened.
    """
    check_place(place)
    if place.startswith(("https://", "http://")):
        return TrailhoundTarget(place, token)
    if place.startswith("s3://"):
        from trailhound.ledger.targets.s3 import S3Target  # noqa: PLC0415 - boto3 is an extra

        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return S3Target(bucket, prefix, retain_days=retain_days)
    if place.startswith("git:"):
        return GitTarget(place.removeprefix("git:"))
    return FolderTarget(place)
