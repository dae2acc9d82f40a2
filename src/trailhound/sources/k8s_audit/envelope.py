"""The OCSF envelope of a Kubernetes audit event.

OCSF 1.5, class API Activity (6003). The actor is whom the request acted as; with
impersonation, who asked for it stands in `invoked_by`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.contract import Columns, Part, Path
from trailhound.sources.k8s_audit.aks import row_as_audit_event
from trailhound.sources.k8s_audit.gke import as_audit_event
from trailhound.sources.mapping import EnvelopeFields, EnvelopeMap, time_ns_of, value_at

_Document = Mapping[str, Any]

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
_TIMES = (
    "stageTimestamp",
    "requestReceivedTimestamp",
    "timestamp",
    "metadata.creationTimestamp",
)
_SESSION_KEYS = (
    "authentication.kubernetes.io/credential-id",
    "accessKeyId",
    "authentication.kubernetes.io/pod-name",
)
"""Keys of `user.extra`: the token or certificate; on EKS the AWS key; the pod of a token."""


def describe(document: _Document) -> Envelope:
    """Return the envelope of an audit.k8s.io event."""
    return _MAP(document)


def describe_in(cluster: str, document: _Document) -> Envelope:
    """Return the envelope of an event that a wrapping says was recorded in a cluster."""
    return _MAP(document, {"device": cluster})


def describe_gke(document: _Document) -> Envelope:
    """Return the envelope of a GKE log entry."""
    cluster = value_at(document, "resource.labels.cluster_name")
    event = as_audit_event(document)
    return describe_in(cluster, event) if isinstance(cluster, str) else describe(event)


def describe_aks(cluster: str, document: _Document) -> Envelope:
    """Return the envelope of a row of an AKS table."""
    return describe_in(cluster, row_as_audit_event(document))


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
    times = (time_ns_of(value_at(document, path)) for path in _TIMES)
    return next((time_ns for time_ns in times if time_ns is not None), None)


def _lasts(document: _Document) -> bool:
    if _text(document, "verb") in _LASTING_VERBS:
        return True
    return _text(document, "objectRef", "subresource").partition("/")[0] in _LASTING


def _activity(document: _Document) -> int:
    if _text(document, "objectRef", "subresource").partition("/")[0] in _CONNECTS:
        return _OTHER
    return _ACTIVITIES.get(_text(document, "verb"), _OTHER)


def _text(document: _Document, outer: str, name: str = "") -> str:
    value = document.get(outer)
    if name:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _actor(document: _Document) -> Any:
    acted_as = document.get("impersonatedUser")
    if isinstance(acted_as, dict):
        name = acted_as.get("username")
        if isinstance(name, str) and name:
            return acted_as
    return document.get("user")


def _of_actor(name: str) -> Callable[[_Document], Any]:
    def read(document: _Document) -> Any:
        actor = _actor(document)
        return actor.get(name) if isinstance(actor, dict) else None

    return read


def _invoked_by(document: _Document) -> Any:
    user = document.get("user")
    return value_at(user, "username") if _actor(document) is not user else None


_username = _of_actor("username")


def _actor_type(document: _Document) -> str:
    name = _username(document)
    if not isinstance(name, str):
        return ""
    if name.startswith("system:serviceaccount:") or name.endswith(".gserviceaccount.com"):
        return "serviceaccount"
    if name.startswith("system:node:"):
        return "node"
    if name.startswith("system:"):
        return "system"
    return "user" if name else ""


def _session(document: _Document) -> Any:
    extra = value_at(document, "user.extra")
    if not isinstance(extra, Mapping):
        return None
    return next((found for key in _SESSION_KEYS if (found := _first(extra.get(key)))), None)


def _first(value: object) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _target_type(document: _Document) -> str | None:
    resource, subresource = (
        _text(document, "objectRef", name) for name in ("resource", "subresource")
    )
    if resource:
        return f"{resource}/{subresource}" if subresource else resource
    return "url" if _text(document, "requestURI") else None


def _url(document: _Document) -> str | None:
    if _text(document, "objectRef", "resource"):
        return None
    return _text(document, "requestURI").partition("?")[0]


def _code(document: _Document) -> int | None:
    code = value_at(document, "responseStatus.code")
    if isinstance(code, str) and code.isdecimal() and len(code) < 5:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _decision(document: _Document) -> Any:
    annotations = document.get("annotations")
    if not isinstance(annotations, Mapping):
        return None
    return annotations.get("authorization.k8s.io/decision")


def _outcome(document: _Document) -> Outcome:
    if _decision(document) == "forbid" or document.get("stage") == "Panic":
        return Outcome.FAILURE
    code = _code(document)
    if code is None or not 100 <= code < 600:
        return Outcome.UNKNOWN
    return Outcome.SUCCESS if code < 400 else Outcome.FAILURE


def _outcome_detail(document: _Document) -> Any:
    if _decision(document) == "forbid":
        return "Forbidden"
    return _code(document)


_FIELDS: EnvelopeFields = {
    "time_ns": (_time,),
    "class_uid": (lambda _: _API_ACTIVITY,),
    "activity_id": (_activity,),
    "action": ("verb",),
    "actor_name": (_username,),
    "actor_uid": (_of_actor("uid"),),
    "actor_type": (_actor_type,),
    "actor_groups": (_of_actor("groups"),),
    "invoked_by": (_invoked_by,),
    "session_uid": (_session,),
    "target_type": (_target_type,),
    "target_name": (
        "objectRef.name",
        "responseObject.metadata.name",
        "requestObject.metadata.name",
        _url,
    ),
    "target_namespace": ("objectRef.namespace",),
    "outcome": (_outcome,),
    "outcome_detail": ("responseStatus.reason", _outcome_detail),
    "src_ip": (lambda document: _first(document.get("sourceIPs")),),
    "user_agent": ("userAgent",),
    "request_uid": ("auditID",),
}
_MAP = EnvelopeMap(_FIELDS)


_PARTS: dict[tuple[str, ...], EnvelopeMap] = {}


def _part(names: tuple[str, ...], reads: tuple[Path, ...]) -> Part:
    _PARTS[names] = EnvelopeMap({name: _FIELDS[name] for name in names})
    return Part(names, reads, partial(_describe_part, names))


def _describe_part(names: tuple[str, ...], document: _Document) -> Envelope:
    # By name, so that a source can be sent between processes.
    return _PARTS[names](document)


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
        _part(("class_uid", "activity_id"), (_VERB, _SUBRESOURCE)),
        _part(
            ("actor_name", "actor_uid", "actor_type", "actor_groups", "invoked_by", "session_uid"),
            (*_PEOPLE, *_GROUPS, *_SESSIONS),
        ),
        _part(("target_type", "target_name"), (_RESOURCE, _SUBRESOURCE, _NAME, *_NAMES, _URI)),
        _part(("outcome", "outcome_detail"), (_STAGE, _DECISION, _CODE, _REASON)),
        _part(("src_ip",), (("sourceIPs",),)),
    ),
    stage=_STAGE,
)
"""Of native events."""
