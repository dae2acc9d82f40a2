"""AWS CloudTrail: management, data, network activity, sign-in, service and Insights events.

The format is that of the AWS CloudTrail User Guide, "CloudTrail record contents" (eventVersion
1.11), one record at a time, with the wrapping taken off. The one view is the record as written.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from trailhound.model.events import Event
from trailhound.model.logsource import FieldInfo, LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.cloudtrail.envelope import INSIGHT, describe
from trailhound.sources.cloudtrail.fields import FIELDS
from trailhound.sources.contract import Gate, Source
from trailhound.sources.mapping import time_ns_of

_VIEW = "cloudtrail"
_MARKS = ("eventVersion", "eventSource", "eventName", "eventTime", "awsRegion", "userIdentity")
_CUTTABLE = ("requestParameters", "responseElements", "additionalEventData", "serviceEventDetails")


def _accepts(values: Sequence[Any]) -> bool:
    version, source = values
    return _is_version(version) and isinstance(source, str) and not _is_notification(source)


def _recognises(payload: Payload) -> bool:
    document = payload.document
    if document is None:
        return False
    version, source = document.get("eventVersion"), document.get("eventSource")
    if _accepts((version, source)):
        return True
    if document.get("eventType") == INSIGHT:
        return _is_version(version)
    # One spoilt value must not hide a record: then all its other marks decide.
    return all(mark in document for mark in _MARKS) and not _is_notification(source)


def _is_version(value: object) -> bool:
    if not isinstance(value, str) or len(value) > 8:
        return False
    major, dot, minor = value.partition(".")
    return bool(dot) and major.isdecimal() and minor.isdecimal()


def _is_notification(source: object) -> bool:
    # S3 and DynamoDB notifications bear the same field names, with `aws:s3` as their source.
    return isinstance(source, str) and source.startswith("aws:")


class _Reader:
    """Every record is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None:
            return []
        cut = [
            name
            for name in _CUTTABLE
            if isinstance(part := document.get(name), dict) and part.get("omitted") is True
        ]
        notes = (f"too large, left out by CloudTrail: {', '.join(cut)}",) if cut else ()
        views = {_VIEW: (document,)}
        event = Event("cloudtrail", document, (payload.origin,), views, describe, notes)
        written = document.get("eventTime")
        if time_ns_of(written) is not None:
            return [event]
        shown = repr(written[:64]) if isinstance(written, str) else type(written).__name__
        detail = f"eventTime is not an ISO 8601 time: {shown}; the event counts as of 1970"
        return [event, ParseFailure(payload.origin, "unreadable time", detail, lost=False)]

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


SOURCE = Source(
    name="cloudtrail",
    title="AWS CloudTrail",
    recognises=_recognises,
    reader=_Reader,
    routes=(Route(LogSource(product="aws", service="cloudtrail"), _VIEW),),
    fields=tuple(FieldInfo(name, text, _VIEW) for name, text in FIELDS.items()),
    gate=Gate(
        signature=(("eventVersion",), ("eventSource",)),
        accepts=_accepts,
        discriminators=(("eventSource",), ("eventName",)),
        dull=(
            *(("eventVersion",), ("eventType",), ("eventCategory",), ("managementEvent",)),
            *(("readOnly",), ("awsRegion",), ("recipientAccountId",)),
        ),
        view=_VIEW,
        list_key="Records",
    ),
)
