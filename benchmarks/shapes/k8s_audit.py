"""Kubernetes audit events (audit.k8s.io/v1), as the API server's log backend writes them.

The mix follows what a busy cluster of a few dozen nodes logs under a usual policy: leases,
watches and reads make up most of it, `RequestReceived` is left out, bodies are kept for a few
kinds of write. About one event in a hundred fits a public rule, most of them harmless: token
requests, jobs, secrets written by operators, calls that were refused.
"""

from collections.abc import Callable, Iterator

from benchmarks.shapes import k8s_bodies as bodies
from benchmarks.shapes.dice import Clock, Dice, slots
from benchmarks.shapes.k8s_cluster import NAMESPACES, Caller, Cluster, Pod, build

AMP = "\\u0026"
EVENTS_PER_S = 120.0

_OK = '{"metadata":{},"code":200}'
_CREATED = '{"metadata":{},"code":201}'
_KINDS = (
    ("", "v1", "pods"),
    ("", "v1", "configmaps"),
    ("", "v1", "services"),
    ("", "v1", "nodes"),
    ("", "v1", "secrets"),
    ("", "v1", "namespaces"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "replicasets"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("storage.k8s.io", "v1", "csinodes"),
    ("cert-manager.io", "v1", "certificates"),
    ("cilium.io", "v2", "ciliumendpoints"),
    ("policy", "v1", "poddisruptionbudgets"),
)
_CLUSTER_WIDE = {"nodes", "namespaces", "csinodes"}
_LIST_SAFE = tuple(kind for kind in _KINDS if kind[2] != "secrets")


class _Log:
    """Draws one event after another."""

    def __init__(self, seed: int) -> None:
        self.dice = Dice(seed)
        self.cluster: Cluster = build(self.dice)
        self.clock = Clock(self.dice, EVENTS_PER_S)
        self.table: tuple[Callable[[], str], ...] = slots(
            (
                (15.0, self.node_lease),
                (13.0, self.election_get),
                (12.0, self.election_update),
                (21.0, self.watch),
                (13.7, self.get_object),
                (4.0, self.probe),
                (4.3, self.list_objects),
                (1.15, self.node_status),
                (2.3, self.pod_status),
                (2.7, self.core_event),
                (2.6, self.access_review),
                (2.0, self.token_review),
                (1.6, self.endpoints_update),
                (0.75, self.replicas_update),
                (0.36, self.pod_create),
                (0.36, self.pod_bind),
                (0.30, self.pod_delete),
                (1.0, self.configmap_update),
                (0.59, self.person_reads),
                (0.50, self.forbidden),
                (0.34, self.token_request),
                (0.20, self.job_write),
                (0.15, self.secret_write),
                (0.04, self.secret_list),
                (0.02, self.deployment_patch),
                (0.02, self.attack),
                (0.02, self.deployment_delete),
            )
        )

    def line(
        self,
        caller: Caller,
        verb: str,
        uri: str,
        reference: str,
        *,
        status: str = _OK,
        stage: str = "ResponseComplete",
        level: str = "Metadata",
        body: str = "",
        took_us: int = 0,
        decision: str = "allow",
        reason: str | None = None,
    ) -> str:
        """Put one event together, its fields in the order of the API server's struct."""
        dice, clock = self.dice, self.clock
        now = clock.tick()
        received = clock.micros(now - (took_us or 900 + dice.below(9_000)))
        why = caller.reason if reason is None else reason
        return (
            f'{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"{level}",'
            f'"auditID":"{dice.uuid()}",'
            f'"stage":"{stage}","requestURI":"{uri}","verb":"{verb}","user":{caller.user},'
            f'"sourceIPs":["{caller.ip}"],"userAgent":"{caller.agent}",{reference}'
            f'"responseStatus":{status}{body},"requestReceivedTimestamp":"{received}",'
            f'"stageTimestamp":"{clock.micros(now)}","annotations":'
            f'{{"authorization.k8s.io/decision":"{decision}",'
            f'"authorization.k8s.io/reason":"{why}"}}}}'
        )

    # --- background -------------------------------------------------------------------

    def node_lease(self) -> str:
        i = self.dice.below(len(self.cluster.nodes))
        return self._lease(
            self.cluster.kubelets[i], "kube-node-lease", self.cluster.nodes[i], "update"
        )

    def election_get(self) -> str:
        return self._lease(*self.dice.pick(self.cluster.elections), "get")

    def election_update(self) -> str:
        return self._lease(*self.dice.pick(self.cluster.elections), "update")

    def _lease(self, caller: Caller, namespace: str, name: str, verb: str) -> str:
        uri = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}?timeout=10s"
        version = ""
        if verb == "update":
            version = f'"uid":"{self.dice.uuid()}",'
        reference = (
            f'"objectRef":{{"resource":"leases","namespace":"{namespace}","name":"{name}",{version}'
            '"apiGroup":"coordination.k8s.io","apiVersion":"v1"'
        )
        if verb == "update":
            reference += f',"resourceVersion":"{self.dice.below(90_000_000)}"'
        return self.line(caller, verb, uri, reference + "},")

    def _reader(self) -> Caller:
        roll = self.dice.roll()
        cluster = self.cluster
        if roll < 0.35:
            return self.dice.pick(cluster.kubelets)
        if roll < 0.5:
            return self.dice.pick(cluster.controllers)
        if roll < 0.85:
            return self.dice.pick(cluster.operators)
        return self.dice.pick(cluster.apps)

    def watch(self) -> str:
        dice = self.dice
        group, version, resource = dice.pick(_KINDS)
        seconds = 300 + dice.below(300)
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        query = (
            f"allowWatchBookmarks=true{AMP}resourceVersion={dice.below(90_000_000)}{AMP}"
            f"timeout={seconds // 60}m{seconds % 60}s{AMP}timeoutSeconds={seconds}{AMP}watch=true"
        )
        reference = f'"resource":"{resource}",'
        if resource not in _CLUSTER_WIDE and dice.roll() < 0.5:
            namespace = dice.pick(NAMESPACES)
            reference += f'"namespace":"{namespace}",'
            base += f"/namespaces/{namespace}"
            if resource in ("configmaps", "secrets"):
                name = "kube-root-ca.crt" if resource == "configmaps" else f"{namespace}-api"
                reference += f'"name":"{name}",'
                query = (
                    f"allowWatchBookmarks=true{AMP}fieldSelector=metadata.name%3D{name}{AMP}"
                    + query[25:]
                )
        if group:
            reference += f'"apiGroup":"{group}",'
        uri = f"{base}/{resource}?{query}"
        started = dice.roll() < 0.5
        return self.line(
            self._reader(),
            "watch",
            uri,
            f'"objectRef":{{{reference}"apiVersion":"{version}"}},',
            stage="ResponseStarted" if started else "ResponseComplete",
            took_us=800 + dice.below(4_000) if started else seconds * 1_000_000,
        )

    def get_object(self) -> str:
        dice = self.dice
        group, version, resource = dice.pick(_KINDS)
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        pod = dice.pick(self.cluster.pods)
        name = {
            "pods": pod.name,
            "nodes": self.cluster.nodes[pod.node],
            "replicasets": pod.replicaset,
        }.get(resource, pod.app)
        reference = f'"resource":"{resource}",'
        if resource not in _CLUSTER_WIDE:
            base += f"/namespaces/{pod.namespace}"
            reference += f'"namespace":"{pod.namespace}",'
        reference += f'"name":"{name}",'
        if group:
            reference += f'"apiGroup":"{group}",'
        status = _OK
        if dice.roll() < 0.05:
            status = (
                f'{{"metadata":{{}},"status":"Failure","message":"{resource} \\"{name}\\" not '
                'found",'
                f'"reason":"NotFound","details":{{"name":"{name}","kind":"{resource}"}},'
                '"code":404}'
            )
        return self.line(
            self._reader(),
            "get",
            f"{base}/{resource}/{name}",
            f'"objectRef":{{{reference}"apiVersion":"{version}"}},',
            status=status,
        )

    def probe(self) -> str:
        uri = self.dice.pick(
            (
                "/readyz",
                "/livez",
                "/healthz",
                "/apis",
                "/api",
                "/openapi/v2",
                "/metrics",
                "/apis/metrics.k8s.io/v1beta1?timeout=32s",
                "/version?timeout=32s",
            )
        )
        return self.line(self._reader(), "get", uri, "")

    def list_objects(self) -> str:
        dice = self.dice
        group, version, resource = dice.pick(_LIST_SAFE)
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        query = f"limit=500{AMP}resourceVersion=0"
        if resource == "pods":
            node = dice.pick(self.cluster.nodes)
            query = f"fieldSelector=spec.nodeName%3D{node}{AMP}limit=500{AMP}resourceVersion=0"
        reference = f'"resource":"{resource}",' + (f'"apiGroup":"{group}",' if group else "")
        return self.line(
            self._reader(),
            "list",
            f"{base}/{resource}?{query}",
            f'"objectRef":{{{reference}"apiVersion":"{version}"}},',
        )

    # --- writes with bodies -----------------------------------------------------------

    def _now(self) -> str:
        return self.clock.micros(self.clock.now_us)

    def _in_pod(self, pod: Pod, verb: str, sub: str, caller: Caller, status: str, body: str) -> str:
        level = "Request"
        if '"responseObject"' in body:
            level = "RequestResponse"
        uri = f"/api/v1/namespaces/{pod.namespace}/pods"
        reference = f'"resource":"pods","namespace":"{pod.namespace}",'
        if verb != "create" or sub:
            uri += f"/{pod.name}"
            if sub:
                uri += f"/{sub}"
        reference += f'"name":"{pod.name}",'
        if verb != "create":
            reference += f'"uid":"{pod.uid}",'
        subresource = f',"subresource":"{sub}"' if sub else ""
        return self.line(
            caller,
            verb,
            uri,
            f'"objectRef":{{{reference}"apiVersion":"v1"{subresource}}},',
            level=level if body else "Metadata",
            status=status,
            body=body,
        )

    def node_status(self) -> str:
        i = self.dice.below(len(self.cluster.nodes))
        node = self.cluster.nodes[i]
        return self.line(
            self.cluster.kubelets[i],
            "patch",
            f"/api/v1/nodes/{node}/status?timeout=10s",
            f'"objectRef":{{"resource":"nodes","name":"{node}","apiVersion":"v1",'
            '"subresource":"status"},',
            level="Request",
            body=f',"requestObject":{bodies.node_status_patch(self.dice, self._now())}',
        )

    def pod_status(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        body = f',"requestObject":{bodies.pod_status_patch(self.dice, pod, self._now())}'
        return self._in_pod(pod, "patch", "status", self.cluster.kubelets[pod.node], _OK, body)

    def pod_create(self) -> str:
        dice = self.dice
        pod = dice.pick(self.cluster.pods)
        now = self._now()
        body = (
            f',"requestObject":{bodies.pod_object(dice, pod, now, full=False)}'
            f',"responseObject":{bodies.pod_object(dice, pod, now, full=True)}'
        )
        return self._in_pod(pod, "create", "", self.cluster.controllers[0], _CREATED, body)

    def pod_bind(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        node = self.cluster.nodes[pod.node]
        body = (
            ',"requestObject":{"kind":"Binding","apiVersion":"v1",'
            f'"metadata":{{"name":"{pod.name}",'
            f'"namespace":"{pod.namespace}","uid":"{pod.uid}","creationTimestamp":null}},'
            f'"target":{{"kind":"Node","name":"{node}"}}}}'
        )
        return self._in_pod(pod, "create", "binding", self.cluster.scheduler, _CREATED, body)

    def pod_delete(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        return self._in_pod(pod, "delete", "", self.cluster.kubelets[pod.node], _OK, "")

    def core_event(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        body = ""
        if self.dice.roll() < 0.6:
            body = f',"requestObject":{bodies.event_object(self.dice, pod, self._now())}'
        return self.line(
            self.cluster.kubelets[pod.node],
            "create",
            f"/api/v1/namespaces/{pod.namespace}/events",
            f'"objectRef":{{"resource":"events","namespace":"{pod.namespace}","name":"{pod.name}.'
            f'{self.dice.hex(16)}","apiVersion":"v1"}},',
            status=_CREATED,
            level="Request" if body else "Metadata",
            body=body,
        )

    def replicas_update(self) -> str:
        dice = self.dice
        pod = dice.pick(self.cluster.pods)
        kind = "ReplicaSet" if dice.roll() < 0.6 else "Deployment"
        resource = kind.lower() + "s"
        body = f',"requestObject":{bodies.replicas_status(dice, pod, kind, self._now())}'
        return self.line(
            self.cluster.controllers[0 if kind == "ReplicaSet" else 1],
            "update",
            f"/apis/apps/v1/namespaces/{pod.namespace}/{resource}/{pod.replicaset}/status",
            f'"objectRef":{{"resource":"{resource}","namespace":"{pod.namespace}",'
            f'"name":"{pod.replicaset}",'
            f'"uid":"{dice.uuid()}","apiGroup":"apps","apiVersion":"v1",'
            f'"resourceVersion":"{dice.below(90_000_000)}","subresource":"status"}},',
            level="Request",
            body=body,
        )

    # --- writes without bodies --------------------------------------------------------

    def _write(
        self,
        caller: Caller,
        verb: str,
        group: str,
        resource: str,
        namespace: str,
        name: str,
        sub: str = "",
        query: str = "",
        status: str = "",
    ) -> str:
        base = f"/apis/{group}/v1" if group else "/api/v1"
        place = f"/namespaces/{namespace}" if namespace else ""
        path = f"{base}{place}/{resource}"
        if (verb != "create" or sub) and name:
            path += f"/{name}"
        if sub:
            path += f"/{sub}"
        parts = f'"resource":"{resource}",'
        if namespace:
            parts += f'"namespace":"{namespace}",'
        if name:
            parts += f'"name":"{name}",'
        if group:
            parts += f'"apiGroup":"{group}",'
        parts += '"apiVersion":"v1"' + (f',"subresource":"{sub}"' if sub else "")
        return self.line(
            caller,
            verb,
            path + query,
            f'"objectRef":{{{parts}}},',
            status=status or (_CREATED if verb == "create" else _OK),
        )

    def access_review(self) -> str:
        dice = self.dice
        caller = dice.pick(self.cluster.operators)
        asked = dice.pick(self.cluster.apps)
        body = ""
        if dice.roll() < 0.6:
            review = bodies.subject_access_review
            body = f',"requestObject":{review(dice, asked.name, asked.namespace, answered=False)}'
            body += f',"responseObject":{review(dice, asked.name, asked.namespace, answered=True)}'
        return self.line(
            caller,
            "create",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews?timeout=10s",
            '"objectRef":{"resource":"subjectaccessreviews","apiGroup":"authorization.k8s.io",'
            '"apiVersion":"v1"},',
            status=_CREATED,
            level="RequestResponse" if body else "Metadata",
            body=body,
        )

    def token_review(self) -> str:
        caller = self.dice.pick(self.cluster.kubelets)
        return self._write(caller, "create", "authentication.k8s.io", "tokenreviews", "", "")

    def token_request(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        caller = self.cluster.kubelets[pod.node]
        return self._write(caller, "create", "", "serviceaccounts", pod.namespace, pod.app, "token")

    def endpoints_update(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        name = f"{pod.app}-{self.dice.letters(5)}"
        caller = self.cluster.controllers[2]
        return self._write(
            caller, "update", "discovery.k8s.io", "endpointslices", pod.namespace, name
        )

    def configmap_update(self) -> str:
        caller = self.dice.pick(self.cluster.operators)
        return self._write(
            caller, "update", "", "configmaps", caller.namespace, f"{caller.namespace}-state"
        )

    def person_reads(self) -> str:
        dice = self.dice
        pod = dice.pick(self.cluster.pods)
        caller = dice.pick(self.cluster.people)
        if dice.roll() < 0.35:
            query = f"?container=app{AMP}follow=true{AMP}tailLines=200"
            return self._write(caller, "get", "", "pods", pod.namespace, pod.name, "log", query)
        resource = dice.pick(("pods", "services", "events", "configmaps"))
        return self._write(caller, "list", "", resource, pod.namespace, "", "", "?limit=500")

    # --- what public rules look at, mostly for harmless reasons -------------------------

    def forbidden(self) -> str:
        dice = self.dice
        caller = dice.pick(self.cluster.apps if dice.roll() < 0.7 else self.cluster.people)
        resource = dice.pick(("pods", "configmaps", "nodes", "services", "events"))
        verb = dice.pick(("get", "list", "watch"))
        namespace = dice.pick(NAMESPACES)
        message = (
            f'{resource} is forbidden: User \\"{caller.name}\\" cannot {verb} resource '
            f'\\"{resource}\\" '
            f'in API group \\"\\" in the namespace \\"{namespace}\\"'
        )
        return self.line(
            caller,
            verb,
            f"/api/v1/namespaces/{namespace}/{resource}?limit=500",
            f'"objectRef":{{"resource":"{resource}","namespace":"{namespace}","apiVersion":"v1"}},',
            status=(
                f'{{"metadata":{{}},"status":"Failure","message":"{message}","reason":"Forbidden",'
                f'"details":{{"kind":"{resource}"}},"code":403}}'
            ),
            decision="forbid",
            reason="",
        )

    def job_write(self) -> str:
        dice = self.dice
        namespace = dice.pick(("batch-reports", "data-platform"))
        name = f"nightly-{dice.below(40)}-{29_000_000 + dice.below(99_999)}"
        roll = dice.roll()
        if roll < 0.3:
            return self._write(
                self.cluster.controllers[5], "create", "batch", "jobs", namespace, name
            )
        if roll < 0.8:
            caller = self.cluster.controllers[4]
            return self._write(caller, "update", "batch", "jobs", namespace, name, "status")
        return self._write(self.cluster.controllers[6], "delete", "batch", "jobs", namespace, name)

    def secret_write(self) -> str:
        dice = self.dice
        namespace = dice.pick(NAMESPACES)
        if dice.roll() < 0.6:
            name = f"sh.helm.release.v1.{namespace}.v{dice.below(90)}"
            return self._write(
                dice.pick(self.cluster.robots),
                "create",
                "",
                "secrets",
                namespace,
                name,
                "",
                "?fieldManager=helm",
            )
        return self._write(
            self.cluster.operators[10], "update", "", "secrets", namespace, f"{namespace}-tls"
        )

    def secret_list(self) -> str:
        query = f"?labelSelector=owner%3Dhelm{AMP}limit=500"
        caller = self.dice.pick(self.cluster.robots)
        return self._write(caller, "list", "", "secrets", self.dice.pick(NAMESPACES), "", "", query)

    def deployment_patch(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        caller = self.dice.pick(self.cluster.robots)
        query = f"?fieldManager=argocd-controller{AMP}force=true"
        return self._write(
            caller, "patch", "apps", "deployments", pod.namespace, pod.app, "", query
        )

    def deployment_delete(self) -> str:
        pod = self.dice.pick(self.cluster.pods)
        return self._write(
            self.dice.pick(self.cluster.people),
            "delete",
            "apps",
            "deployments",
            pod.namespace,
            pod.app,
        )

    def attack(self) -> str:
        dice = self.dice
        step = dice.below(6)
        intruder = self.cluster.intruder
        pod = dice.pick(self.cluster.pods)
        now = self._now()
        if step < 2:
            query = (
                f"?command=%2Fbin%2Fsh{AMP}command=-c{AMP}command=id{AMP}container=app{AMP}"
                f"stdin=true{AMP}stdout=true{AMP}tty=true"
            )
            verb, caller = (("create", dice.pick(self.cluster.people)), ("get", intruder))[step]
            switching = '{"metadata":{},"code":101}'
            return self._write(
                caller, verb, "", "pods", pod.namespace, pod.name, "exec", query, switching
            )
        if step == 2:
            return self._write(intruder, "list", "", "secrets", "", "", "", "?limit=500")
        if step == 3:
            bad = Pod(
                "default",
                "debug",
                "debug-0",
                f"debug-{dice.letters(5)}",
                dice.uuid(),
                3,
                "10.0.9.9",
            )
            shape = {"security": bodies.PRIVILEGED, "host_path": "/"}
            body = f',"requestObject":{bodies.pod_object(dice, bad, now, full=False, **shape)}'
            return self._in_pod(bad, "create", "", intruder, _CREATED, body)
        if step == 4:
            name = f"debug-{dice.letters(5)}"
            body = f',"requestObject":{bodies.role_binding(name, "cluster-admin", "default", now)}'
            return self.line(
                intruder,
                "create",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                f'"objectRef":{{"resource":"clusterrolebindings","name":"{name}",'
                '"apiGroup":"rbac.authorization.k8s.io","apiVersion":"v1"},',
                status=_CREATED,
                level="Request",
                body=body,
            )
        return self._write(
            intruder, "create", "authorization.k8s.io", "selfsubjectrulesreviews", "", ""
        )


def lines(seed: int) -> Iterator[str]:
    """Events without end, one JSON line each, without the line end."""
    log = _Log(seed)
    table, roll, size = log.table, log.dice.roll, len(log.table)
    while True:
        yield table[int(roll() * size)]()
