"""Events as the watch sees them: who sent what, which number it bears, what it begins or ends."""

import re
from collections.abc import Iterator, Sequence

from trailhound.engine.watch.contract import Sighting, Stage
from trailhound.lake.schema import PROMOTED
from trailhound.model.events import Event
from trailhound.model.records import Origin
from trailhound.pipeline.serve.plain import Plain

_TEXT_LIMIT = 120
_ROTATION = re.compile(r"[.-]\d{1,14}(?=\.|$)|\.(?:gz|zst|zstd|bz2|xz)$", re.ASCII)
_DAY = re.compile(r"(?<=/)\d{4}/\d{2}/\d{2}/", re.ASCII)
_DAEMON = "DAEMON_"
"""auditd numbers its own records, from a random start (src/auditd-event.c); the kernel the rest."""
_SERIAL_LIMIT = 2**32 - 1
"""The kernel counts in 32 bits; what is larger is no number of its."""
_STAGES = {
    "RequestReceived": Stage.BEGUN,
    # From here on the request is known to be answered, however long the answer takes.
    "ResponseStarted": Stage.ENDED,
    "ResponseComplete": Stage.ENDED,
    "Panic": Stage.ENDED,
}


def sighting(event: Event, received_ns: int, *, repeat: bool) -> Sighting:
    """Return what the watch needs to know of an event that arrived at a time (UTC ns)."""
    envelope, document, origin = event.envelope, event.document, event.origins[0]
    kind, serial, request, stage = envelope.action, 0, "", Stage.WHOLE
    if event.source == "k8s_audit":
        kind = envelope.target_type
        stage = _STAGES.get(str(document.get("stage")), Stage.WHOLE)
        request = envelope.request_uid
    elif event.source == "cloudtrail":
        kind = str(document.get("eventSource") or "")
    elif event.source == "auditd":
        records = document["records"]
        if not any(record["type"].startswith(_DAEMON) for record in records):
            serial = document["serial"] if document["serial"] <= _SERIAL_LIMIT else 0
    return Sighting(
        source=event.source,
        sender=_cut(envelope.device) or _sender(origin.path),
        kind=_cut(kind),
        time_ns=envelope.time_ns,
        arrived_ns=received_ns,
        origin=origin,
        repeat=repeat,
        serial=serial,
        request=_cut(request),
        stage=stage,
    )


def plain_sightings(
    plain: Plain,
    paths: Sequence[str],
    numbers: Sequence[int],
    repeats: Sequence[bool],
    received_ns: int,
) -> Iterator[Sighting]:
    """Yield what `sighting` would of plain records.

    Args:
        plain: the records.
        paths: who sent each.
        numbers: of each in the queue.
        repeats: whether each was there before.
        received_ns: when they arrived, UTC nanoseconds.
    """
    envelope, none = plain.envelope, [""] * len(numbers)
    if plain.source == "k8s_audit":
        kinds, requests = envelope["target_type"], envelope["request_uid"]
    elif plain.source == "cloudtrail":
        services = [path for path, _ in PROMOTED["cloudtrail"]].index(("eventSource",))
        kinds, requests = [kind or "" for kind in plain.promoted[services]], none
    else:
        kinds, requests = envelope["action"], none
    devices = envelope.get("device", none)
    senders = {path: _sender(path) for path in set(paths)}
    cut = {text: _cut(text) for text in {*kinds, *devices}}
    columns = zip(
        *(paths, numbers, repeats, plain.stages, kinds, requests, devices, envelope["time_ns"]),
        strict=True,
    )
    for path, number, repeat, stage, kind, request, device, time_ns in columns:
        yield Sighting(
            source=plain.source,
            sender=cut[device] or senders[path],
            kind=cut[kind],
            time_ns=time_ns,
            arrived_ns=received_ns,
            origin=Origin(path, number),
            repeat=repeat,
            request=_cut(request),
            stage=_STAGES.get(stage, Stage.WHOLE),
        )


def _sender(peer: str) -> str:
    # A log that is rotated goes on, and so do its numbers.
    intake, slash, place = peer.partition("/")
    name, at, _ = place.partition("@")
    if at and intake != "files":
        place = name  # a sender that is known may change its address
    elif intake == "files":
        place = _ROTATION.sub("", place)
    elif intake == "kafka":  # of a topic, any partition may rest
        place = place.rpartition("/")[0]
    elif intake == "s3":
        place = _DAY.split(place)[0].rpartition("/")[0]
    return _cut(intake + slash + place)


def _cut(text: str) -> str:
    text = text[:_TEXT_LIMIT]
    # JSON can hold half a character (`\\ud800`), which can be kept nowhere.
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
