"""What bytes mean: raw record to event, one file per log format."""

import os
import sys
from functools import cache

from trailhound.model.errors import TrailhoundError
from trailhound.sources.auditd import SOURCE as _AUDITD
from trailhound.sources.azure_activity import SOURCE as _AZURE_ACTIVITY
from trailhound.sources.cloudtrail import SOURCE as _CLOUDTRAIL
from trailhound.sources.contract import Source
from trailhound.sources.falco import SOURCE as _FALCO
from trailhound.sources.gcp_audit import SOURCE as _GCP_AUDIT
from trailhound.sources.github_audit import SOURCE as _GITHUB_AUDIT
from trailhound.sources.google_workspace import SOURCE as _GOOGLE_WORKSPACE
from trailhound.sources.k8s_audit import SOURCE as _K8S_AUDIT
from trailhound.sources.linux_auth import SOURCE as _LINUX_AUTH
from trailhound.sources.okta_system import SOURCE as _OKTA_SYSTEM

ENTRY_POINTS = "trailhound.sources"
"""Entry-point group in which other packages offer a `Source`."""

SOURCES: tuple[Source, ...] = (
    _K8S_AUDIT,
    _CLOUDTRAIL,
    _GCP_AUDIT,
    _AZURE_ACTIVITY,
    _OKTA_SYSTEM,
    _GITHUB_AUDIT,
    _GOOGLE_WORKSPACE,
    _FALCO,
    _AUDITD,
    _LINUX_AUTH,
)
"""The log formats that come with Trailhound, in the order they are asked."""


@cache
def all_sources() -> tuple[Source, ...]:
    """Return `SOURCES` and those that other installed packages offer.

    Raises:
        TrailhoundError: a package offers something that cannot be used.
    """
    if not _may_be_offered():
        return SOURCES
    from importlib.metadata import entry_points  # noqa: PLC0415 - costs more than all sources

    found = {source.name: source for source in SOURCES}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            source = point.load()
        except Exception as error:  # whatever the package does when it is imported
            raise TrailhoundError(
                f"the source {point.name} ({point.value}) fails: {error}"
            ) from error
        if not isinstance(source, Source):
            raise TrailhoundError(f"{point.value}, offered as a source, is none")
        if source.name in found:
            raise TrailhoundError(f"{point.value} offers a second source named {source.name}")
        found[source.name] = source
    return tuple(found.values())


def _may_be_offered() -> bool:
    """Whether an installed package may offer a source: told without `importlib.metadata`."""
    return any(_may_offer(place or os.curdir) for place in sys.path)


def _may_offer(place: str) -> bool:
    if os.path.isfile(place):
        return True  # packages in an archive, perhaps
    try:
        names = os.listdir(place)
    except OSError:  # not there, or not ours to look into
        return False
    for name in names:
        if name.lower().endswith(("dist-info", "egg-info")):
            try:
                with open(os.path.join(place, name, "entry_points.txt"), "rb") as file:
                    if ENTRY_POINTS.encode() in file.read():
                        return True
            except OSError:
                continue
    return False
