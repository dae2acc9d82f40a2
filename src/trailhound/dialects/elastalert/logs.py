"""What an index of Elasticsearch holds, in terms of the logs that are read here.

ElastAlert rules name documents as Beats and Elastic's integrations index them, in Elastic
Common Schema (ECS 8); here rules read records as their source wrote them. For each log this
table says by which names of indices and data sets it is known, which prefix its own fields
have, which ECS fields come from which field of the record, and which values ECS derives.
Sources: Filebeat, Auditbeat 8 reference, "Exported fields" and the ingest pipelines of the
modules; Elastic integrations `aws`, `kubernetes`, `auditd`, `system`, `okta`, `github`, `gcp`.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from trailhound.model.logsource import LogSource
from trailhound.rules.ir import And, Compare, Equals, Exists, Field, Not, Or, Predicate


def _path(name: str) -> Field:
    return Field(name, (tuple(name.split(".")),))


def _is(name: str, *values: str) -> Predicate:
    tests = tuple(Compare(_path(name), Equals(value)) for value in values)
    return tests[0] if len(tests) == 1 else Or(tests)


class Log(Struct, frozen=True, kw_only=True, eq=False):
    """One log, as Elasticsearch knows it."""

    name: str
    logsource: LogSource
    index: str
    """Regular expression that is found in the names of its indices."""
    datasets: tuple[str, ...] = ()
    """Values of `event.dataset`, `data_stream.dataset` and the like that mean it."""
    marks: Predicate
    """True of its records and of those of no other log."""
    prefixes: tuple[str, ...] = ()
    """What its own fields have in front of the record's."""
    camel: bool = False
    """Whether its own fields are snake_case where the record's are camelCase."""
    fields: Mapping[str, tuple[str, ...]] = {}
    """Field of the index → fields of the record."""
    derived: Mapping[tuple[str, str], Predicate] = {}
    """(field, value) of the index → what is true of the record then."""

    def paths_of(self, name: str) -> tuple[str, ...]:
        """Return the fields of the record that a field of the index comes from."""
        if name in self.fields:
            return self.fields[name]
        for prefix in self.prefixes:
            if name.startswith(prefix):
                rest = name.removeprefix(prefix)
                return (_camel(rest) if self.camel else rest,)
        return ()


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


_KUBERNETES = Log(
    name="kubernetes",
    logsource=LogSource("kubernetes", None, "audit"),
    index=r"(?:kube|k8s|openshift|eks|gke|aks)[a-z]*[^a-z]*.*audit|audit.*(?:kube|k8s)|kube-?apiserver",
    datasets=("kubernetes.audit_logs", "kubernetes.audit"),
    marks=And((Exists(_path("auditID")), Exists(_path("verb")))),
    prefixes=("kubernetes.audit.",),
    fields={
        "@timestamp": ("stageTimestamp", "requestReceivedTimestamp"),
        "event.id": ("auditID",),
        "event.action": ("verb",),
        "user.name": ("user.username",),
        "user.id": ("user.uid",),
        "source.ip": ("sourceIPs",),
        "user_agent.original": ("userAgent",),
        "url.path": ("requestURI",),
        "http.response.status_code": ("responseStatus.code",),
        "orchestrator.namespace": ("objectRef.namespace",),
        "orchestrator.resource.name": ("objectRef.name",),
        "orchestrator.resource.type": ("objectRef.resource",),
        "kubernetes.namespace": ("objectRef.namespace",),
        "kubernetes.audit.annotations.authorization_k8s_io/decision": (
            "annotations.authorization.k8s.io/decision",
        ),
        "kubernetes.audit.annotations.authorization_k8s_io/reason": (
            "annotations.authorization.k8s.io/reason",
        ),
    },
    derived={
        ("event.outcome", "success"): _is("annotations.authorization.k8s.io/decision", "allow"),
        ("event.outcome", "failure"): _is("annotations.authorization.k8s.io/decision", "forbid"),
    },
)

_CLOUDTRAIL_FAILED = Or(
    (
        And((Exists(_path("errorCode")), Not(_is("errorCode", "")))),
        _is("responseElements.ConsoleLogin", "Failure"),
    )
)
_CLOUDTRAIL = Log(
    name="cloudtrail",
    logsource=LogSource("aws", None, "cloudtrail"),
    index=r"cloud-?trail",
    datasets=("aws.cloudtrail", "cloudtrail"),
    marks=And((Exists(_path("eventVersion")), Exists(_path("eventSource")))),
    prefixes=("aws.cloudtrail.flattened.", "aws.cloudtrail.", "json."),
    camel=True,
    fields={
        "@timestamp": ("eventTime",),
        "event.id": ("eventID",),
        "event.action": ("eventName",),
        "event.provider": ("eventSource",),
        "cloud.region": ("awsRegion",),
        "cloud.account.id": ("recipientAccountId", "userIdentity.accountId"),
        "source.ip": ("sourceIPAddress",),
        "source.address": ("sourceIPAddress",),
        "user_agent.original": ("userAgent",),
        "user.name": (
            "userIdentity.userName",
            "userIdentity.sessionContext.sessionIssuer.userName",
        ),
        "user.id": ("userIdentity.principalId",),
        "user.target.name": ("requestParameters.userName",),
        "group.name": ("requestParameters.groupName",),
        "aws.cloudtrail.request_id": ("requestID",),
        "aws.cloudtrail.additional_eventdata": ("additionalEventData",),
        "aws.cloudtrail.flattened.additional_eventdata": ("additionalEventData",),
        "aws.cloudtrail.console_login.additional_eventdata.mfa_used": (
            "additionalEventData.MFAUsed",
        ),
        "aws.cloudtrail.console_login.additional_eventdata.login_to": (
            "additionalEventData.LoginTo",
        ),
        "aws.cloudtrail.console_login.additional_eventdata.mobile_version": (
            "additionalEventData.MobileVersion",
        ),
        "aws.cloudtrail.user_identity.session_context.mfa_authenticated": (
            "userIdentity.sessionContext.attributes.mfaAuthenticated",
        ),
        "aws.cloudtrail.user_identity.session_context.creation_date": (
            "userIdentity.sessionContext.attributes.creationDate",
        ),
        "aws.cloudtrail.user_identity.arn": ("userIdentity.arn",),
        "aws.cloudtrail.vpc_endpoint_id": ("vpcEndpointId",),
    },
    derived={
        ("event.outcome", "failure"): _CLOUDTRAIL_FAILED,
        ("event.outcome", "success"): Not(_CLOUDTRAIL_FAILED),
        ("cloud.provider", "aws"): And(()),
    },
)

_AUDITD_USER = _is("type", "USER_LOGIN", "USER_AUTH")
_AUDITD = Log(
    name="auditd",
    logsource=LogSource("linux", None, "auditd"),
    index=r"auditd",
    datasets=("auditd.log", "auditd_manager.auditd", "auditd"),
    marks=Exists(_path("type")),
    prefixes=("auditd.log.", "auditd.data.", "auditd.raw."),
    fields={
        "auditd.log.record_type": ("type",),
        "auditd.message_type": ("type",),
        "auditd.session": ("ses",),
        "auditd.log.addr": ("addr",),
        "process.executable": ("exe",),
        "process.name": ("comm",),
        "process.pid": ("pid",),
        "process.parent.pid": ("ppid",),
        "process.ppid": ("ppid",),
        "process.title": ("proctitle",),
        "process.args": ("cmdline",),
        "process.command_line": ("cmdline", "proctitle"),
        "process.working_directory": ("cwd",),
        "process.exit_code": ("exit",),
        "user.id": ("uid",),
        "user.name": ("UID", "acct"),
        "user.audit.id": ("auid",),
        "user.audit.name": ("AUID",),
        "user.effective.id": ("euid",),
        "user.effective.name": ("EUID",),
        "group.id": ("gid",),
        "source.ip": ("addr", "laddr"),
        "source.address": ("addr", "hostname"),
        "file.path": ("name",),
        "file.owner": ("ouid",),
        "file.inode": ("inode",),
        "tags": ("key",),
    },
    derived={
        ("event.outcome", "success"): Or((_is("success", "yes"), _is("res", "success"))),
        ("event.outcome", "failure"): Or((_is("success", "no"), _is("res", "failed"))),
        ("auditd.result", "success"): Or((_is("success", "yes"), _is("res", "success"))),
        ("auditd.result", "fail"): Or((_is("success", "no"), _is("res", "failed"))),
        ("event.type", "authentication_failure"): And((_AUDITD_USER, _is("res", "failed"))),
        ("event.type", "authentication_success"): And((_AUDITD_USER, _is("res", "success"))),
    },
)

_LOGINS = _is("event", "ssh-login", "ssh-login-failed", "ssh-invalid-user", "ssh-login-partial")
_LINUX_AUTH = Log(
    name="auth",
    logsource=LogSource("linux", None, "auth"),
    index=r"(?:^|[^a-z])(?:auth|secure|sshd?|syslog)(?:[^a-z]|$)",
    datasets=("system.auth", "system.syslog", "system.login", "auth", "syslog"),
    marks=And((Exists(_path("program")), Exists(_path("message")))),
    prefixes=("system.auth.", "system.syslog."),
    fields={
        "@timestamp": ("time", "timestamp"),
        "source.ip": ("src_ip",),
        "source.address": ("src_ip", "src_host"),
        "source.port": ("src_port",),
        "user.name": ("user",),
        "user.id": ("uid",),
        "user.effective.name": ("target_user",),
        "group.name": ("group",),
        "group.id": ("gid",),
        "process.name": ("program",),
        "process.pid": ("pid",),
        "host.name": ("host",),
        "host.hostname": ("host",),
        "event.outcome": ("outcome",),
        "system.auth.hostname": ("host",),
        "system.auth.ssh.ip": ("src_ip",),
        "system.auth.ssh.port": ("src_port",),
        "system.auth.ssh.method": ("method",),
        "system.auth.ssh.signature": ("key_fingerprint",),
        "system.auth.sudo.user": ("target_user",),
        "system.auth.sudo.command": ("command",),
        "system.auth.sudo.pwd": ("pwd",),
        "system.auth.sudo.tty": ("tty",),
        "system.auth.sudo.error": ("reason",),
        "system.auth.useradd.home": ("home",),
        "system.auth.useradd.shell": ("shell",),
    },
    derived={
        ("event.action", "ssh_login"): _LOGINS,
        ("event.type", "authentication_failure"): And((_LOGINS, _is("outcome", "failure"))),
        ("event.type", "authentication_success"): And((_LOGINS, _is("outcome", "success"))),
        ("system.auth.ssh.event", "Accepted"): _is("event", "ssh-login"),
        ("system.auth.ssh.event", "Failed"): _is("event", "ssh-login-failed"),
        ("system.auth.ssh.event", "Invalid"): _is("event", "ssh-invalid-user"),
        ("event.category", "authentication"): Or((_LOGINS, _is("event", "sudo", "su"))),
    },
)

_FALCO = Log(
    name="falco",
    logsource=LogSource("falco"),
    index=r"falco",
    datasets=("falco.alerts", "falco"),
    marks=And((Exists(_path("rule")), Exists(_path("priority")))),
    prefixes=("falco.alerts.output_fields.", "falco.alerts.", "falco.output_fields.", "falco."),
    fields={"@timestamp": ("time",), "rule.name": ("rule",), "log.level": ("priority",)},
)

_OKTA = Log(
    name="okta",
    logsource=LogSource("okta", None, "okta"),
    index=r"okta",
    datasets=("okta.system",),
    marks=And((Exists(_path("eventType")), Exists(_path("published")))),
    prefixes=("okta.",),
    camel=True,
    fields={
        "@timestamp": ("published",),
        "event.id": ("uuid",),
        "event.action": ("eventType",),
        "source.ip": ("client.ipAddress",),
        "client.ip": ("client.ipAddress",),
        "source.user.full_name": ("actor.displayName",),
        "client.user.full_name": ("actor.displayName",),
        "client.user.id": ("actor.id",),
        "user.name": ("actor.alternateId",),
        "user.email": ("actor.alternateId",),
        "user.target.name": ("target.alternateId",),
        "user_agent.original": ("client.userAgent.rawUserAgent",),
        "okta.client.ip": ("client.ipAddress",),
    },
    derived={
        ("event.outcome", "success"): _is("outcome.result", "SUCCESS", "ALLOW"),
        ("event.outcome", "failure"): _is("outcome.result", "FAILURE", "DENY"),
    },
)

_GITHUB = Log(
    name="github",
    logsource=LogSource("github", None, "audit"),
    index=r"github",
    datasets=("github.audit",),
    marks=And((Exists(_path("action")), Exists(_path("_document_id")))),
    prefixes=("github.",),
    fields={
        "@timestamp": ("@timestamp", "created_at"),
        "event.action": ("action",),
        "event.id": ("_document_id",),
        "user.name": ("actor",),
        "user.target.name": ("user",),
        "source.ip": ("actor_ip",),
        "user_agent.original": ("user_agent",),
        "github.category": ("category",),
    },
)

_GCP = Log(
    name="gcp",
    logsource=LogSource("gcp", None, "gcp.audit"),
    index=r"(?:^|[^a-z])(?:gcp|google)(?:[^a-z]|$)",
    datasets=("gcp.audit", "googlecloud.audit"),
    marks=Exists(_path("gcp.audit.method_name")),
    prefixes=(),
    fields={
        "event.action": ("gcp.audit.method_name",),
        "service.name": ("gcp.audit.service_name",),
    },
)

_AZURE = Log(
    name="azure",
    logsource=LogSource("azure"),
    index=r"azure|(?:^|[^a-z])entra",
    datasets=("azure.activitylogs", "azure.auditlogs", "azure.signinlogs"),
    marks=And((Exists(_path("operationName")), Exists(_path("category")))),
    prefixes=("azure.activitylogs.", "azure.auditlogs.", "azure.signinlogs.", "azure."),
    camel=True,
    fields={"@timestamp": ("time",), "event.action": ("operationName",)},
)

_WINDOWS = Log(
    name="windows",
    logsource=LogSource("windows"),
    index=r"winlogbeat|wineventlog|windows",
    marks=Or(()),
)

LOGS: tuple[Log, ...] = (
    *(_KUBERNETES, _CLOUDTRAIL, _AUDITD, _LINUX_AUTH, _FALCO),
    *(_OKTA, _GITHUB, _GCP, _AZURE, _WINDOWS),
)
"""Every log; the first whose `index` is found names what an index holds."""

BY_NAME = {log.name: log for log in LOGS}

DATASET_FIELDS = (
    "event.dataset",
    "data_stream.dataset",
    "fileset.name",
    "event.module",
    "service.type",
)
"""Fields by which a condition says of which log a document is."""

# Beats and Elastic's own templates map texts to `keyword`; other templates, and Elasticsearch
# by itself, to analysed text with a `.keyword` beside it.
_ECS_INDEX = re.compile(
    r"^(?:\.ds-)?(?:(?:file|audit|winlog|packet|metric|heart|journal|function)beat|logs|metrics|ecs)[-*.]"
)
_ANALYSED_IN_ECS = frozenset(("message", "event.original", "error.message", "error.stack_trace"))


class Index(Struct, frozen=True):
    """What the `index` of a rule holds."""

    pattern: str
    logs: tuple[Log, ...]
    """Logs it may hold."""
    logsource: LogSource
    ecs: bool
    """Whether texts are mapped as Elastic's templates do."""
    known: bool
    """Whether the name of the index says what it holds."""

    def narrowed(self, log: Log) -> "Index":
        """Return what it holds of one log."""
        return Index(self.pattern, (log,), log.logsource, self.ecs, known=True)

    def analysed(self, name: str) -> bool:
        """Whether a field of text is cut into words."""
        last = name.rsplit(".", 1)[-1]
        if last in ("keyword", "raw"):
            return False
        if last == "text" and "." in name:
            return True
        if self.ecs:
            return name in _ANALYSED_IN_ECS
        return name not in ("_id", "_index", "@timestamp")


def index_of(pattern: str, overrides: Mapping[str, str]) -> Index:
    """Return what an index pattern of a rule holds.

    Args:
        pattern: as written: names and wildcards, separated by commas; `%Y` and the like.
        overrides: index pattern → name of a log, from the user.
    """
    parts = [part.strip().lower() for part in pattern.split(",")]
    parts = [part for part in parts if part and not part.startswith("-")]
    ecs = bool(parts) and all(_ECS_INDEX.match(part) for part in parts)
    named = overrides.get(pattern)
    if named in BY_NAME:
        log = BY_NAME[named]
        return Index(pattern, (log,), log.logsource, ecs, known=True)
    found = [next((log for log in LOGS if re.search(log.index, part)), None) for part in parts]
    logs = tuple(dict.fromkeys(log for log in found if log is not None))
    if len(logs) == 1 and None not in found:
        return Index(pattern, logs, logs[0].logsource, ecs, known=True)
    if parts and all(part.startswith("auditbeat") for part in parts):
        return Index(pattern, (_AUDITD, _LINUX_AUTH), LogSource("linux"), ecs, known=True)
    return Index(pattern, LOGS, LogSource(), ecs, known=False)
