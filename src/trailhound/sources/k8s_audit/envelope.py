"""The OCSF envelope of a Kubernetes audit event.

OCSF 1.5, class API Activity (6003). The actor is whom the request acted as; with
impersonation, who asked for it stands in `invoked_by`.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.contract import Columns, Part
from trailhound.sources.k8s_audit.aks import row_as_audit_event
from trailhound.sources.k8s_audit.gke import as_audit_event
from trailhound.sources.mapping import as_text, as_texts, time_ns_of, value_at

_Document = Mapping[str, Any]
_NOTHING: _Document = {}

_API_ACTIVITY = 6003
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_ACTIVITIES = {
    "create": _CREATE,
    "post": _CREATE,
    "get": _READ,
    "list": _READ,
    "watch": _READ,
    "watchlist": _READ,
    "head": _READ,
    "update": _UPDATE,
    "patch": _UPDATE,
    "put": _UPDATE,
    "delete": _DELETE,
    "deletecollection": _DELETE,
}
_CONNECTS = frozenset(("exec", "attach", "portforward", "proxy"))
"""Subresources that open a way into a pod, node or service. Which verb asks for it (`create`, or
`get` over a websocket) says nothing, and it neither creates nor reads an object: Other."""
_LASTING_VERBS = frozenset(("watch", "watchlist"))
_LASTING = _CONNECTS | {"log"}
"""Requests that may go on for hours (`longRunningRequestCheck` of the API server): at their last
stages, the time of the stage is when they ended."""
_LAST_STAGES = ("ResponseComplete", "Panic")
_OTHER_TIMES = ("requestReceivedTimestamp", "timestamp", "metadata.creationTimestamp")
_SESSION_KEYS = (
    "authentication.kubernetes.io/credential-id",
    "accessKeyId",
    "authentication.kubernetes.io/pod-name",
)
"""Keys of `user.extra`: the token or certificate; on EKS the AWS key; the pod of a token."""


def describe(document: _Document, cluster: str = "") -> Envelope:
    """Return the envelope of an audit.k8s.io event.

    Total, as an `EnvelopeMap` is; written out, for it is asked of most findings there are.

    Args:
        document: the event.
        cluster: where a wrapping says that it was recorded.
    """
    class_uid, activity_id = _deed(document)
    actor_name, actor_uid, actor_type, actor_groups, invoked_by, session_uid = _who(document)
    target_type, target_name = _target(document)
    outcome, outcome_detail = _end(document)
    (src_ip,) = _whence(document)
    return Envelope(
        time_ns=_time(document) or 0,
        class_uid=class_uid,
        activity_id=activity_id,
        action=as_text(document.get("verb")),
        actor_name=actor_name,
        actor_uid=actor_uid,
        actor_type=actor_type,
        actor_groups=actor_groups,
        invoked_by=invoked_by,
        session_uid=session_uid,
        target_type=target_type,
        target_name=target_name,
        target_namespace=as_text(_object(document, "objectRef").get("namespace")),
        outcome=outcome,
        outcome_detail=outcome_detail,
        src_ip=src_ip,
        user_agent=as_text(document.get("userAgent")),
        device=as_text(cluster),
        request_uid=as_text(document.get("auditID")),
    )


def describe_in(cluster: str, document: _Document) -> Envelope:
    """Return the envelope of an event that a wrapping says was recorded in a cluster."""
    return describe(document, cluster)


def describe_gke(document: _Document) -> Envelope:
    """Return the envelope of a GKE log entry."""
    cluster = value_at(document, "resource.labels.cluster_name")
    return describe(as_audit_event(document), cluster if isinstance(cluster, str) else "")


def describe_aks(cluster: str, document: _Document) -> Envelope:
    """Return the envelope of a row of an AKS table."""
    return describe(row_as_audit_event(document), cluster)


def has_time(document: _Document) -> bool:
    """Whether some time of an audit.k8s.io event can be read."""
    if time_ns_of(document.get("stageTimestamp")) is not None:
        return True
    return _time(document) is not None


def _time(document: _Document) -> int | None:
    if document.get("stage") in _LAST_STAGES and _lasts(document):
        begun_ns = time_ns_of(document.get("requestReceivedTimestamp"))
        if begun_ns is not None:
            return begun_ns
    at_ns = time_ns_of(document.get("stageTimestamp"))
    if at_ns is not None:
        return at_ns
    times = (time_ns_of(value_at(document, path)) for path in _OTHER_TIMES)
    return next((time_ns for time_ns in times if time_ns is not None), None)


def _lasts(document: _Document) -> bool:
    return _text(document, "verb") in _LASTING_VERBS or _subresource(document) in _LASTING


def _object(document: _Document, name: str) -> _Document:
    value = document.get(name)
    return value if isinstance(value, dict) else _NOTHING


def _text(document: _Document, name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _subresource(document: _Document) -> str:
    """`exec`, also of `exec/x`, what a proxy is asked for."""
    return _text(_object(document, "objectRef"), "subresource").partition("/")[0]


# Each of the following gives some fields of the envelope, in the order that `COLUMNS` says.


def _deed(document: _Document) -> tuple[int, int]:
    if _subresource(document) in _CONNECTS:
        return _API_ACTIVITY, _OTHER
    return _API_ACTIVITY, _ACTIVITIES.get(_text(document, "verb"), _OTHER)


def _who(document: _Document) -> tuple[str, str, str, tuple[str, ...], str, str]:
    user = _object(document, "user")
    acted_as = _object(document, "impersonatedUser")
    impersonates = bool(_text(acted_as, "username"))
    actor = acted_as if impersonates else user
    name = actor.get("username")
    return (
        as_text(name),
        as_text(actor.get("uid")),
        _actor_type(name) if isinstance(name, str) else "",
        as_texts(actor.get("groups")),
        as_text(user.get("username")) if impersonates else "",
        _session(_object(user, "extra")),
    )


def _actor_type(name: str) -> str:
    if name.startswith("system:"):
        if name.startswith("system:serviceaccount:"):
            return "serviceaccount"
        if name.startswith("system:node:"):
            return "node"
    if name.endswith(".gserviceaccount.com"):
        return "serviceaccount"
    if name.startswith("system:"):
        return "system"
    return "user" if name else ""


def _session(extra: _Document) -> str:
    if not extra:
        return ""
    return as_text(next((said for key in _SESSION_KEYS if (said := _first(extra.get(key)))), None))


def _first(value: object) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _target(document: _Document) -> tuple[str, str]:
    reference = _object(document, "objectRef")
    resource, subresource = _text(reference, "resource"), _text(reference, "subresource")
    uri = _text(document, "requestURI")
    if resource:
        kind = f"{resource}/{subresource}" if subresource else resource
    else:
        kind = "url" if uri else ""
    name = as_text(reference.get("name"))
    for answer in () if name else ("responseObject", "requestObject"):
        name = name or as_text(_object(_object(document, answer), "metadata").get("name"))
    return as_text(kind), name or ("" if resource else as_text(uri.partition("?")[0]))


def _end(document: _Document) -> tuple[Outcome, str]:
    status = _object(document, "responseStatus")
    decision = _object(document, "annotations").get("authorization.k8s.io/decision")
    code = _code(status.get("code"))
    if decision == "forbid" or document.get("stage") == "Panic":
        outcome = Outcome.FAILURE
    elif code is None or not 100 <= code < 600:
        outcome = Outcome.UNKNOWN
    else:
        outcome = Outcome.SUCCESS if code < 400 else Outcome.FAILURE
    reason = as_text(status.get("reason"))
    return outcome, reason or ("Forbidden" if decision == "forbid" else as_text(code))


def _code(code: object) -> int | None:
    if isinstance(code, str) and code.isdecimal() and len(code) < 5:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _whence(document: _Document) -> tuple[str]:
    return (as_text(_first(document.get("sourceIPs"))),)


def _time_from(
    stage: str | None, verb: str | None, subresource: str | None, at: str | None, begun: str | None
) -> int | None:
    """See `Columns.time`: as `_time`, without the times of old versions."""
    if stage in _LAST_STAGES and (
        verb in _LASTING_VERBS or (subresource or "").partition("/")[0] in _LASTING
    ):
        at = begun
    return None if at is None else time_ns_of(at)


_VERB, _STAGE, _URI = ("verb",), ("stage",), ("requestURI",)
_SUBRESOURCE, _NAMESPACE = ("objectRef", "subresource"), ("objectRef", "namespace")
_RESOURCE, _NAME = ("objectRef", "resource"), ("objectRef", "name")
_NAMES = (("requestObject", "metadata", "name"), ("responseObject", "metadata", "name"))
_DECISION = ("annotations", "authorization.k8s.io/decision")
_CODE, _REASON = ("responseStatus", "code"), ("responseStatus", "reason")
_PEOPLE = tuple((who, name) for who in ("user", "impersonatedUser") for name in ("username", "uid"))
_GROUPS = (("user", "groups"), ("impersonatedUser", "groups"))
_SESSIONS = tuple(("user", "extra", key) for key in _SESSION_KEYS)
_TIME_READS = (_STAGE, _VERB, _SUBRESOURCE, ("stageTimestamp",), ("requestReceivedTimestamp",))

COLUMNS = Columns(
    texts=(
        *(*_TIME_READS, *_PEOPLE, *_NAMES),
        *(_URI, _RESOURCE, _NAME, _NAMESPACE, ("objectRef", "apiGroup"), _DECISION, _REASON),
        *(("auditID",), ("userAgent",)),
    ),
    lists=(*_GROUPS, *_SESSIONS, ("sourceIPs",)),
    integers=(_CODE,),
    time=_time_from,
    time_reads=_TIME_READS,
    same={
        "action": _VERB,
        "target_namespace": _NAMESPACE,
        "user_agent": ("userAgent",),
        "request_uid": ("auditID",),
    },
    parts=(
        Part(("class_uid", "activity_id"), (_VERB, _SUBRESOURCE), _deed),
        Part(
            ("actor_name", "actor_uid", "actor_type", "actor_groups", "invoked_by", "session_uid"),
            (*_PEOPLE, *_GROUPS, *_SESSIONS),
            _who,
        ),
        Part(
            ("target_type", "target_name"),
            (_RESOURCE, _SUBRESOURCE, _NAME, *_NAMES, _URI),
            _target,
        ),
        Part(("outcome", "outcome_detail"), (_STAGE, _DECISION, _CODE, _REASON), _end),
        Part(("src_ip",), (("sourceIPs",),), _whence),
    ),
    stage=_STAGE,
)
"""Of native events."""
