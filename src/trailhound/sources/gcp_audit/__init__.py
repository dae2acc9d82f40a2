"""Google Cloud audit logs: admin activity, data access, system events, policy denials.

Cloud Logging API, `LogEntry` with a `protoPayload` of type `google.cloud.audit.AuditLog`, as
`gcloud logging read`, Pub/Sub and log sinks give them. Entries of GKE's API servers belong to
`k8s_audit`, which serves the same rules. The views are the entry as written, and for Google
Workspace one document for each event that the entry holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trailhound.model.events import Event, View
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources import workspace_events
from trailhound.sources.contract import Gate, Source
from trailhound.sources.gcp_audit.catalogue import AUDIT_VIEW, FIELDS
from trailhound.sources.gcp_audit.envelope import describe, time_ns
from trailhound.sources.mapping import value_at
from trailhound.sources.members import unreadable_time

_AUDIT_LOG = "type.googleapis.com/google.cloud.audit.AuditLog"
_KUBERNETES = "k8s.io"
_WORKSPACE = ("admin.googleapis.com", "login.googleapis.com", "oauth2.googleapis.com")


def _accepts(values: Sequence[Any]) -> bool:
    service, method = values
    if not isinstance(service, str) or not isinstance(method, str):
        return False
    # Entries of Google Workspace have a second view, which the gate does not see.
    return service != _KUBERNETES and service not in _WORKSPACE


def _recognises(payload: Payload) -> bool:
    entry = (payload.document or {}).get("protoPayload")
    if not isinstance(entry, dict):
        return False
    service, method = entry.get("serviceName"), entry.get("methodName")
    if service == _KUBERNETES and isinstance(method, str):
        return False
    # One spoilt value must not hide an entry: then its type or its log decides.
    return (
        (isinstance(service, str) and isinstance(method, str))
        or entry.get("@type") == _AUDIT_LOG
        or "cloudaudit.googleapis.com" in str(value_at(payload.document, "logName"))[:512]
    )


def _workspace(document: Mapping[str, Any]) -> View:
    service = value_at(document, "protoPayload.serviceName")
    if service not in _WORKSPACE:
        return ()
    events = value_at(document, "protoPayload.metadata.event")
    return tuple(workspace_events.flattened(document, service, events))


class _Reader:
    """Every entry is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None:
            return
        views: dict[str, View] = {AUDIT_VIEW: (document,)}
        if inside := _workspace(document):
            views[workspace_events.VIEW] = inside
        yield Event("gcp_audit", document, (payload.origin,), views, describe)
        where = "timestamp or receiveTimestamp"
        yield from unreadable_time(payload.origin, time_ns(document), where)

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


SOURCE = Source(
    name="gcp_audit",
    title="Google Cloud audit logs",
    recognises=_recognises,
    reader=_Reader,
    routes=(
        Route(LogSource(product="gcp", service="gcp.audit"), AUDIT_VIEW),
        Route(LogSource(product="gcp", service="google_workspace.admin"), workspace_events.VIEW),
        Route(LogSource(product="gcp", service="google_workspace.login"), workspace_events.VIEW),
    ),
    fields=FIELDS,
    gate=Gate(
        signature=(("protoPayload", "serviceName"), ("protoPayload", "methodName")),
        accepts=_accepts,
        discriminators=(("protoPayload", "serviceName"), ("protoPayload", "methodName")),
        view=AUDIT_VIEW,
    ),
)
