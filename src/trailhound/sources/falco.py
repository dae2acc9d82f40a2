"""Falco alerts as JSON: the outputs of Falco itself, its gRPC client and Falcosidekick.

Semantics: Falco documentation, "Output Formatting", "Supported Fields for Conditions and
Outputs" and the field lists of the k8saudit and cloudtrail plugins. Falco writes the fields of
a rule flat: `proc.name` is one key of `output_fields`. The view `falco` has those keys at its
top level as well; the document stays as written.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trailhound.model.events import Envelope, Event, View
from trailhound.model.logsource import FieldInfo, LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.contract import Source
from trailhound.sources.mapping import EnvelopeMap, time_ns_of

_VIEW = "falco"
_PROCESS_VIEW = "process_creation"
_PRIORITIES = frozenset(
    ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
)
_EXECS = ("execve", "execveat")
_EXEC_WORDS = ("exec", "launch", "run ", "shell", "spawn")
_NOTHING = ("", "<NA>")
"""What Falco writes for a field without a value, where it does not write null."""


def _recognises(payload: Payload) -> bool:
    document = payload.document
    if document is None:
        return False
    rule, priority = document.get("rule"), document.get("priority")
    if not isinstance(rule, str) or not isinstance(priority, str) or len(priority) > 16:
        return False
    if priority.lower() not in _PRIORITIES or "time" not in document:
        return False
    return any(name in document for name in (*_FIELDS_KEYS, "output")) or (
        "hostname" in document and "source" in document
    )


# --- fields of an alert ------------------------------------------------------------------


# gRPC messages in their JSON form have camel case names (Protocol Buffers, "ProtoJSON").
_FIELDS_KEYS = ("output_fields", "outputFields")


def _fields(document: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _FIELDS_KEYS:
        value = document.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def _is_spoilt(value: object) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _known(value: Any) -> Any:
    """The value where it says something; lists by their first element."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    endless = isinstance(value, int) and value.bit_length() > 64  # Falco has no such number
    return None if endless or value in _NOTHING else value


def _field(*names: str) -> Callable[[Mapping[str, Any]], Any]:
    def first(document: Mapping[str, Any]) -> Any:
        fields = _fields(document)
        return next((v for v in (_known(fields.get(n)) for n in names) if v is not None), None)

    return first


# --- envelope ----------------------------------------------------------------------------

_RAW_TIMES = ("evt.time", "evt.time.iso8601", "evt.rawtime", "jevt.rawtime")
_LATEST_NS = 1 << 63


def _time_ns(document: Mapping[str, Any]) -> int | None:
    fields = _fields(document)
    for name in _RAW_TIMES:
        value = fields.get(name)
        # In JSON output Falco gives all its times as nanoseconds since 1970.
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LATEST_NS:
            return value
    written = time_ns_of(document.get("time"))
    return time_ns_of(fields.get("evt.time.iso8601")) if written is None else written


_ACTOR = _field(
    "ka.impuser.name",
    "ka.user.name",
    "ct.user",
    "okta.actor.name",
    "gcp.user",
    "github.user",
    "user.name",
)


def _invoked_by(document: Mapping[str, Any]) -> Any:
    impersonated = _field("ka.impuser.name")(document)
    behind = _field("ka.user.name" if impersonated is not None else "user.loginname")(document)
    return None if behind == _ACTOR(document) else behind


_CLIENTS = ("ka.sourceips", "ct.srcip", "okta.client.ip", "gcp.callerIP", "fd.cip")


def _src_ip(document: Mapping[str, Any]) -> str | None:
    # Of a connection, `client:port->server:port`, the client; the far end if that is all.
    client, arrow, _ = str(_field("fd.name")(document) or "")[:256].partition("->")
    candidates = (
        *(_field(name)(document) for name in _CLIENTS),
        client.rpartition(":")[0] if arrow else None,
        _field("fd.rip")(document),
    )
    for candidate in candidates:
        # Falco shows a list in text as `(10.0.0.1,10.0.0.2)`.
        address = str(candidate or "")[:256].strip("()").partition(",")[0]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            continue
        return address
    return None


_TARGETS = (
    ("Pod", ("k8s.pod.name",)),
    ("Container", ("container.name", "container.id")),
    ("File", ("fs.path.name", "fd.name", "evt.arg.path", "evt.arg.filename")),
    ("AWS::S3::Bucket", ("ct.request.bucketname", "s3.bucket")),
    ("AWS::Lambda::Function", ("ct.request.functionname",)),
    ("AWS::IAM::User", ("ct.request.username",)),
    ("Repository", ("github.repo.name",)),
    ("User", ("okta.target.user.name",)),
)


def _target(document: Mapping[str, Any]) -> tuple[str, str]:
    """Type and name of what the alert is about: an object of an API, a pod, a container, a file."""
    resource = _field("ka.target.resource")(document)
    if resource is not None:
        return str(resource), str(_field("ka.target.name")(document) or "")
    for kind, names in _TARGETS:
        name = str(_field(*names)(document) or "")
        if name and name != "host":  # what Falco calls a process in no container
            return ("Connection" if kind == "File" and "->" in name else kind), name
    return "", ""


_ENVELOPE = EnvelopeMap(
    {
        "time_ns": (_time_ns,),
        "class_uid": (lambda _: 2004,),
        "activity_id": (lambda _: 1,),
        "action": ("rule",),
        "actor_name": (_ACTOR,),
        "actor_uid": (_field("ct.user.arn", "ct.user.principalid", "user.uid"),),
        "actor_type": (_field("ct.user.identitytype"),),
        "invoked_by": (_invoked_by,),
        "target_type": (lambda document: _target(document)[0],),
        "target_name": (lambda document: _target(document)[1],),
        "target_namespace": (_field("ka.target.namespace", "k8s.ns.name"),),
        "src_ip": (_src_ip,),
        "user_agent": (_field("ka.useragent", "ct.useragent", "gcp.userAgent"),),
        "device": ("hostname", _field("evt.hostname", "k8s.node.name", "ka.cluster.name")),
        "request_uid": (_field("ka.auditid", "ct.id"), "uuid"),
    }
)


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of an alert. Total. The outcome of the act is not known."""
    return _ENVELOPE(document)


# --- views -------------------------------------------------------------------------------

_PROCESS: dict[str, str] = {
    "Image": "proc.exepath",
    "CommandLine": "proc.cmdline",
    "ParentImage": "proc.pexepath",
    "ParentCommandLine": "proc.pcmdline",
    "User": "user.name",
    "LogonId": "user.loginuid",
    "CurrentDirectory": "proc.cwd",
    "ProcessId": "proc.pid",
    "ParentProcessId": "proc.ppid",
}


def _process(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The process in Sigma's names (Sigma Taxonomy Appendix 2.1.0), if the alert is of an exec."""
    call = _field("evt.type")(document)
    if call is None:
        # Without the system call, both fields and a rule that speaks of a start must do.
        rule = str(document.get("rule"))[:256].lower()
        needed = ("proc.exepath", "proc.cmdline")
        if not any(word in rule for word in _EXEC_WORDS) or any(
            _field(name)(document) is None for name in needed
        ):
            return None
    elif call not in _EXECS or document.get("source") not in (None, "syscall", "SYSCALL"):
        return None
    fields = _fields(document)
    found = {name: fields.get(field) for name, field in _PROCESS.items()}
    found = {name: value for name, value in found.items() if _known(value) is not None}
    return found if "Image" in found or "CommandLine" in found else None


class _Reader:
    """Every alert is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None:
            return
        # What the alert says of itself goes before a custom field of the same name.
        views: dict[str, View] = {_VIEW: ({**_fields(document), **document},)}
        process = _process(document)
        if process is not None:
            views[_PROCESS_VIEW] = (process,)
        spoilt = [name for name in _FIELDS_KEYS if _is_spoilt(document.get(name))]
        notes = tuple(f"{name} is not an object" for name in spoilt)
        yield Event("falco", document, (payload.origin,), views, describe, notes)
        if _time_ns(document) is None:
            yield ParseFailure(
                payload.origin,
                "unreadable time",
                "neither evt.time nor time is a time; the event counts as of 1970",
                lost=False,
            )

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


# --- catalogue ---------------------------------------------------------------------------

_ALERT_FIELDS = {
    "time": "When it happened, UTC.",
    "rule": "Name of the Falco rule.",
    "priority": "Emergency, Alert, Critical, Error, Warning, Notice, Informational or Debug.",
    "source": "Where Falco saw it: syscall, k8s_audit, aws_cloudtrail, internal and others.",
    "hostname": "Host Falco runs on.",
    "output": "The alert in words, with its time and priority.",
    "message": "The alert in words alone.",
    "tags": "Tags of the rule.",
    "uuid": "Id that Falcosidekick gives the alert.",
    "output_fields.*": "Fields that the rule's output names; each is one key, dots included.",
    "evt.*": "The event, as evt.type, evt.res and evt.arg.",
    "proc.*": "The process and its ancestors, as proc.name, proc.cmdline and proc.aname[2].",
    "user.*": "The user, as user.name, user.uid, user.loginname and user.loginuid.",
    "group.*": "The group of the process.",
    "thread.*": "The thread, as thread.cap_effective.",
    "fd.*": "File or connection, as fd.name, fd.sip, fd.cip and fd.rport.",
    "fs.*": "Paths of file system calls.",
    "container.*": "The container, as container.id, container.name and container.image.tag.",
    "k8s.*": "The pod, as k8s.ns.name and k8s.pod.name.",
    "ka.*": "Kubernetes audit event, as ka.user.name, ka.verb and ka.target.resource.",
    "jevt.*": "JSON event of a plugin, as jevt.value.",
    "json.*": "The same under the newer name.",
    "ct.*": "CloudTrail event, as ct.name, ct.user and ct.srcip.",
    "s3.*": "S3 object of a CloudTrail event.",
    "ec2.*": "EC2 instance of a CloudTrail event.",
    "gcp.*": "Google Cloud audit event.",
    "okta.*": "Okta system log event.",
    "github.*": "GitHub webhook event.",
}
_PROCESS_FIELDS = {
    "Image": "Path of the program (proc.exepath).",
    "CommandLine": "Command line (proc.cmdline).",
    "ParentImage": "Path of the parent's program (proc.pexepath).",
    "ParentCommandLine": "Command line of the parent (proc.pcmdline).",
    "User": "User the process runs as (user.name).",
    "LogonId": "User id of the login behind it (user.loginuid).",
    "CurrentDirectory": "Working directory (proc.cwd).",
    "ProcessId": "Process id (proc.pid).",
    "ParentProcessId": "Process id of the parent (proc.ppid).",
}

SOURCE = Source(
    name="falco",
    title="Falco alerts",
    recognises=_recognises,
    reader=_Reader,
    routes=(
        Route(LogSource(product="falco"), _VIEW),
        Route(LogSource(product="linux", category="process_creation"), _PROCESS_VIEW),
    ),
    fields=(
        *(FieldInfo(name, text, _VIEW) for name, text in _ALERT_FIELDS.items()),
        *(FieldInfo(name, text, _PROCESS_VIEW) for name, text in _PROCESS_FIELDS.items()),
    ),
)
