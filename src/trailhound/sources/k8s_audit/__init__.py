"""Kubernetes audit events: native, and as EKS, GKE and AKS give them out.

The model is `Event` of audit.k8s.io/v1 (Kubernetes API reference, "kube-apiserver Audit
Configuration (v1)"); v1beta1 and v1alpha1 are read as they are, they differ in few fields.
EKS and AKS log that event itself, GKE an audit log entry of Google Cloud, which is turned
into one, as are the rows of the tables that AKS can log to.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from trailhound.model.events import Envelope, Event, View
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.contract import Gate, Source
from trailhound.sources.k8s_audit.aks import is_row, row_as_audit_event
from trailhound.sources.k8s_audit.catalogue import AUDIT_VIEW, FIELDS, GCP_VIEW
from trailhound.sources.k8s_audit.envelope import (
    COLUMNS,
    describe,
    describe_aks,
    describe_gke,
    describe_in,
    has_time,
)
from trailhound.sources.k8s_audit.gke import as_audit_event, is_log_entry
from trailhound.sources.mapping import value_at
from trailhound.sources.unwrap import host_in

_GROUP = "audit.k8s.io/"
_AKS_NOTES = ("the audit event was put together again from a row of AKSAudit",)
_GKE_NOTES = ("the audit event was put together again from a log entry of GKE",)


def _accepts(values: Sequence[Any]) -> bool:
    kind, version = values
    return kind == "Event" and isinstance(version, str) and version.startswith(_GROUP)


def _is_native(document: Mapping[str, Any]) -> bool:
    if _accepts((document.get("kind"), document.get("apiVersion"))):
        return True
    # Items of an EventList, and what some shippers leave, do not name their type.
    return all(isinstance(document.get(name), str) for name in ("auditID", "stage", "verb"))


def _recognises(payload: Payload) -> bool:
    document = payload.document
    return document is not None and (
        _is_native(document) or is_log_entry(document) or is_row(document)
    )


class _Reader:
    """Reads one record as one event; holds nothing back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        """See `Reader`."""
        document = payload.document or {}
        origins = (payload.origin,)
        event: Mapping[str, Any] = document
        views: dict[str, View] = {AUDIT_VIEW: (document,)}
        notes: tuple[str, ...] = ()
        known: Callable[[Mapping[str, Any]], Envelope]
        if _is_native(document):
            cluster = _cluster(payload.context) if payload.wrapping else ""
            known = partial(describe_in, cluster) if cluster else describe
        elif is_row(document):
            cluster = _cluster({**payload.context, "_ResourceId": document.get("_ResourceId")})
            known = partial(describe_aks, cluster)
            event, notes = row_as_audit_event(document), _AKS_NOTES
            views = {AUDIT_VIEW: (event,)}
        else:
            known = describe_gke
            event, notes = as_audit_event(document), _GKE_NOTES
            views = {AUDIT_VIEW: (event,), GCP_VIEW: (document,)}
        found = Event(SOURCE.name, document, origins, views, known, notes)
        if has_time(event):
            return [found]
        detail = "no time of the event can be read; it counts as of 1970"
        return [found, ParseFailure(payload.origin, "unreadable time", detail, lost=False)]

    def flush(self) -> Iterable[Event | ParseFailure]:
        """See `Reader`."""
        return ()


def _cluster(context: Mapping[str, Any]) -> str:
    """What the wrappings say of the cluster, or else of the host; empty where they do not."""
    for name in ("logGroup", "@log"):  # Insights puts the account before: `111122223333:/aws/…`
        group = context.get(name)
        if isinstance(group, str) and (found := _EKS_GROUP.search(group)) is not None:
            return found[1]
    for name in ("resourceId", "ResourceId", "_ResourceId"):
        resource = context.get(name)
        if isinstance(resource, str):
            for kind, cluster in pairwise(resource.split("/")):
                if kind.lower() == "managedclusters":
                    return cluster
    named = (value_at(context, path) for path in _CLUSTER_PATHS)
    return next((name for name in named if isinstance(name, str) and name), host_in(context))


_EKS_GROUP = re.compile(r"(?:\A|:)/aws/eks/([^/]{1,256})/")
_CLUSTER_PATHS = (
    *("resource.labels.cluster_name", "orchestrator.cluster.name", "cluster_name", "cluster"),
    *("kubernetes.cluster_name", "kubernetes.cluster"),
)
"""Cloud Logging; Elastic Common Schema; what shippers are told to add."""


SOURCE = Source(
    name="k8s_audit",
    title="Kubernetes audit",
    recognises=_recognises,
    reader=_Reader,
    routes=(
        Route(LogSource("kubernetes", "application", "audit"), AUDIT_VIEW),
        Route(LogSource("kubernetes", None, "audit"), AUDIT_VIEW),
        Route(LogSource("gcp", None, "gcp.audit"), GCP_VIEW),
    ),
    fields=FIELDS,
    gate=Gate(
        signature=(("kind",), ("apiVersion",)),
        accepts=_accepts,
        discriminators=(("verb",), ("objectRef", "resource"), ("objectRef", "subresource")),
        dull=(
            *(("kind",), ("apiVersion",), ("level",), ("stage",)),
            ("annotations", "authorization.k8s.io/decision"),
        ),
        view=AUDIT_VIEW,
    ),
    columns=COLUMNS,
)
