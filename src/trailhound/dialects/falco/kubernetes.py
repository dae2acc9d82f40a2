"""Fields of Kubernetes audit events: `ka.*` (falcosecurity/plugins, k8saudit 0.18).

Pods are read where the plugin reads them, from `requestObject.spec`: a pod that a Deployment
makes is seen when the controller creates it. Where the plugin gives lists inside lists as JSON
(`add_capabilities`, `service.ports`), or does not read what its documentation says (`sourceips`,
`eff_run_as_user`), the fields here are what the documentation says.
"""

from trailhound.dialects.falco.fields import (
    HERE,
    FalcoField,
    Readings,
    below,
    constant,
    first,
    is_one_of,
    plain,
    where,
)
from trailhound.rules.ir import (
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    Like,
    Not,
    Reading,
    Step,
    Text,
)

_SPEC = ("requestObject", "spec")
_REPOSITORY = (Step("json"), Step("image-repository"))
_SUBJECTS = ("requestObject", "subjects")
_HOST_PATHS = plain(*_SPEC, "volumes", "hostPath", "path")
_PRIVILEGED = plain(*_SPEC, "containers", "securityContext", "privileged")
_CONTAINERS = Exists(plain(*_SPEC, "containers"))


def _scalar(name: str, description: str, *path: str) -> FalcoField:
    return FalcoField(name, description, below(*path))


def _list(name: str, description: str, *path: str, via: tuple[Step, ...] = ()) -> FalcoField:
    indexed = HERE in path
    return FalcoField(
        name,
        description,
        below(*path, via=via),
        listed=True,
        argument="index" if indexed else "",
    )


def _subjects(name: str, description: str, kind: str, take: Step) -> FalcoField:
    return _list(name, description, *_SUBJECTS, via=(Step("where", ("kind", kind)), take))


def _containers(key: str, what: str) -> list[FalcoField]:
    """Fields of the containers in one list of a pod."""
    stem = f"ka.req.pod.{key}"
    one = (*_SPEC, key, HERE)
    context = (*one, "securityContext")
    fields = [
        _list(f"{stem}.args", f"Arguments of the {what}.", *one, "args"),
        _list(f"{stem}.command", f"Commands of the {what}, word by word.", *one, "command"),
        _list(f"{stem}.name", f"Names of the {what}.", *one, "name"),
        _list(f"{stem}.image", f"Images of the {what}.", *one, "image"),
        _list(
            f"{stem}.image.repository",
            f"Images of the {what}, without tag and digest.",
            *one,
            "image",
            via=_REPOSITORY,
        ),
        _list(f"{stem}.privileged", f"`privileged` of the {what}.", *context, "privileged"),
        _list(
            f"{stem}.allow_privilege_escalation",
            f"`allowPrivilegeEscalation` of the {what}.",
            *context,
            "allowPrivilegeEscalation",
        ),
        _list(
            f"{stem}.read_only_fs",
            f"`readOnlyRootFilesystem` of the {what}.",
            *context,
            "readOnlyRootFilesystem",
        ),
        _list(f"{stem}.run_as_user", f"`runAsUser` of the {what}.", *context, "runAsUser"),
        _identity(key, "user", f"User id the {what} run as: their own, the pod's, or 0."),
        _list(f"{stem}.run_as_group", f"`runAsGroup` of the {what}.", *context, "runAsGroup"),
        _identity(key, "group", f"Group id the {what} run as: their own, the pod's, or 0."),
        _list(f"{stem}.proc_mount", f"`procMount` of the {what}.", *context, "procMount"),
        _list(
            f"{stem}.add_capabilities",
            f"Capabilities added to the {what}.",
            *context,
            "capabilities",
            "add",
        ),
    ]
    if key != "ephemeralContainers":  # these have no ports
        fields.append(
            _list(
                f"{stem}.host_port",
                f"Ports of the {what} on the host; the container's port where none is named.",
                *one,
                "ports",
                via=(Step("host-port"),),
            )
        )
    return fields


def _identity(key: str, kind: str, description: str) -> FalcoField:
    setting = f"runAs{kind.capitalize()}"

    def read(argument: str) -> Readings:
        step = Step("container-identity", (key, setting, argument))
        return (Reading(Field(".".join((*_SPEC, key)), (_SPEC,), (step,))),)

    name = f"ka.req.pod.{key}.eff_run_as_{kind}"
    return FalcoField(name, description, read, listed=True, argument="index")


def _parameter(key: str) -> Readings:
    step = Step("query-parameter", (key,))
    return (Reading(Field("requestURI", (("requestURI",),), (step,))),)


def _host_path(argument: str) -> Readings:
    if argument.endswith("*"):
        test = Like((Text(argument[:-1]), AnyRun()), cased=True)
        used = Compare(_HOST_PATHS, test)
    else:
        used = Compare(_HOST_PATHS, Equals(argument, cased=True))
    volumes = Exists(plain(*_SPEC, "volumes"))
    return (Reading("true", used), *where(volumes, constant("false", Not(used)))(""))


def _verbs_of(field: str) -> tuple[str, ...]:
    return ("requestObject", "rules", HERE, field)


_privileged = Compare(_PRIVILEGED, Equals("true"))

FIELDS: tuple[FalcoField, ...] = (
    _scalar("ka.auditid", "Id of the request.", "auditID"),
    _scalar("ka.stage", "Stage of the request: `ResponseComplete`.", "stage"),
    _scalar(
        "ka.auth.decision",
        "`allow` or `forbid`.",
        "annotations",
        "authorization.k8s.io/decision",
    ),
    _scalar(
        "ka.auth.reason",
        "Why it was allowed or not.",
        "annotations",
        "authorization.k8s.io/reason",
    ),
    _scalar("ka.user.name", "Who asked.", "user", "username"),
    _list("ka.user.groups", "Groups of who asked.", "user", "groups"),
    _scalar("ka.impuser.name", "Who was impersonated.", "impersonatedUser", "username"),
    _scalar("ka.verb", "What was asked: `create`, `get`.", "verb"),
    _scalar("ka.uri", "The URI of the request, with its parameters.", "requestURI"),
    FalcoField(
        "ka.uri.param",
        "A parameter of the URI, decoded: `ka.uri.param[command]`. The first, if several.",
        _parameter,
        argument="key",
        required=True,
    ),
    _scalar("ka.target.name", "Name of the object.", "objectRef", "name"),
    _scalar("ka.target.namespace", "Namespace of the object.", "objectRef", "namespace"),
    _scalar("ka.target.resource", "Kind of the object: `pods`.", "objectRef", "resource"),
    _scalar("ka.target.subresource", "Its part: `exec`, `log`.", "objectRef", "subresource"),
    FalcoField(
        "ka.target.pod.name",
        "Name of the object where it is a pod.",
        where(is_one_of(plain("objectRef", "resource"), "pods"), below("objectRef", "name")),
    ),
    _list("ka.req.binding.subjects", "Subjects of a binding, each as JSON.", *_SUBJECTS),
    _subjects(
        "ka.req.binding.subjects.user_names",
        "Users among the subjects of a binding.",
        "User",
        Step("get", ("name",)),
    ),
    _subjects(
        "ka.req.binding.subjects.serviceaccount_names",
        "Service accounts among the subjects of a binding.",
        "ServiceAccount",
        Step("get", ("name",)),
    ),
    _subjects(
        "ka.req.binding.subjects.serviceaccount_ns_names",
        "The same as `namespace:name`.",
        "ServiceAccount",
        Step("pair", ("namespace", "name", ":")),
    ),
    _subjects(
        "ka.req.binding.subjects.group_names",
        "Groups among the subjects of a binding.",
        "Group",
        Step("get", ("name",)),
    ),
    _scalar("ka.req.binding.role", "Role a binding gives.", "requestObject", "roleRef", "name"),
    FalcoField(
        "ka.req.binding.subject.has_name",
        "Deprecated in Falco: always `true`.",
        constant("true"),
        argument="key",
        required=True,
    ),
    _scalar("ka.req.configmap.name", "Name of a config map.", "objectRef", "name"),
    FalcoField(
        "ka.req.configmap.obj",
        "Data of a config map, as JSON.",
        below("requestObject", "data", via=(Step("json"),)),
    ),
    *_containers("containers", "containers"),
    *_containers("initContainers", "init containers"),
    *_containers("ephemeralContainers", "ephemeral containers"),
    FalcoField(
        "ka.req.container.image",
        "Deprecated in Falco: image of the first container.",
        below(*_SPEC, "containers", "0", "image"),
    ),
    FalcoField(
        "ka.req.container.image.repository",
        "Deprecated in Falco: the same without tag and digest.",
        below(*_SPEC, "containers", "0", "image", via=_REPOSITORY),
    ),
    FalcoField(
        "ka.req.container.privileged",
        "Deprecated in Falco: `true` where any container is privileged.",
        first(
            constant("true", _privileged), where(_CONTAINERS, constant("false", Not(_privileged)))
        ),
    ),
    _scalar(
        "ka.req.container.host_network",
        "Deprecated in Falco: `hostNetwork` of a pod.",
        *_SPEC,
        "hostNetwork",
    ),
    _scalar("ka.req.pod.host_ipc", "`hostIPC` of a pod.", *_SPEC, "hostIPC"),
    _scalar("ka.req.pod.host_network", "`hostNetwork` of a pod.", *_SPEC, "hostNetwork"),
    _scalar("ka.req.pod.host_pid", "`hostPID` of a pod.", *_SPEC, "hostPID"),
    _scalar(
        "ka.req.pod.run_as_user", "`runAsUser` of a pod.", *_SPEC, "securityContext", "runAsUser"
    ),
    _scalar(
        "ka.req.pod.run_as_group",
        "`runAsGroup` of a pod.",
        *_SPEC,
        "securityContext",
        "runAsGroup",
    ),
    _scalar("ka.req.pod.fs_group", "`fsGroup` of a pod.", *_SPEC, "securityContext", "fsGroup"),
    _list(
        "ka.req.pod.supplemental_groups",
        "`supplementalGroups` of a pod.",
        *_SPEC,
        "securityContext",
        "supplementalGroups",
    ),
    _list("ka.req.role.rules", "Rules of a role, each as JSON.", "requestObject", "rules"),
    _list("ka.req.role.rules.apiGroups", "API groups a role names.", *_verbs_of("apiGroups")),
    _list(
        "ka.req.role.rules.nonResourceURLs",
        "URLs a role names.",
        *_verbs_of("nonResourceURLs"),
    ),
    _list("ka.req.role.rules.verbs", "Verbs a role names.", *_verbs_of("verbs")),
    _list("ka.req.role.rules.resources", "Resources a role names.", *_verbs_of("resources")),
    _scalar("ka.req.service.type", "Type of a service: `NodePort`.", *_SPEC, "type"),
    _list("ka.req.service.ports", "Ports of a service, each as JSON.", *_SPEC, "ports", HERE),
    _list(
        "ka.req.pod.volumes.hostpath",
        "Paths of the host that a pod mounts.",
        *_SPEC,
        "volumes",
        HERE,
        "hostPath",
        "path",
    ),
    FalcoField(
        "ka.req.volume.hostpath",
        "Deprecated in Falco: `true` where a pod mounts this path of the host (`[/proc*]`: one "
        "that begins so).",
        _host_path,
        argument="key",
        required=True,
    ),
    _list(
        "ka.req.pod.volumes.flexvolume_driver",
        "Drivers of flex volumes.",
        *_SPEC,
        "volumes",
        HERE,
        "flexVolume",
        "driver",
    ),
    _list(
        "ka.req.pod.volumes.volume_type",
        "Types of volumes: `hostPath`, `secret`.",
        *_SPEC,
        "volumes",
        HERE,
        via=(Step("keys-except", ("name",)),),
    ),
    _scalar(
        "ka.resp.name", "Name of the object in the response.", "responseObject", "metadata", "name"
    ),
    _scalar("ka.response.code", "HTTP status of the response.", "responseStatus", "code"),
    _scalar(
        "ka.response.reason", "Reason in the response, of failures.", "responseStatus", "reason"
    ),
    _scalar("ka.useragent", "User agent of the client.", "userAgent"),
    _list("ka.sourceips", "Addresses the request came from.", "sourceIPs", HERE),
    FalcoField(
        "ka.cluster.name",
        "Name of the cluster. Falco's plugins add it; the events do not have it.",
        lambda _: (),
    ),
)
