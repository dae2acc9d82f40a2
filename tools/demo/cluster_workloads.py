"""What runs on the cluster changes: releases, jobs, and people looking."""

from demo.cast import DEBUG, NODES, REGISTRY, Node
from demo.clock import MINUTE, SECOND, at
from demo.cluster import Client, Json
from demo.cluster_clients import _CONTROL, _VERSION, Cluster, person


class Workloads(Cluster):
    """Deployments, cron jobs, and the staff."""

    def _cron_job(self, time: int) -> None:
        number = time // (60 * SECOND)
        job, controller = f"invoice-mailer-{number}", self._accounts["kube-system:job-controller"]
        cron = Client(
            controller.user,
            _CONTROL,
            f"kube-controller-manager/{_VERSION}/cronjob-controller",
            controller.reason,
        )
        self._add(time, cron, "create", "jobs", "payments", job, level="Metadata")
        pod = f"{job}-{self._dice.pod_suffix()}"
        self._pod(
            time + SECOND,
            controller,
            "payments",
            pod,
            "invoice-mailer",
            "batch",
            self._dice.choice(NODES),
        )
        self._add(time + 40 * SECOND, controller, "update", "jobs", "payments", job, "status")
        ttl = self._accounts["kube-system:ttl-after-finished-controller"]
        self._add(time + 400 * SECOND, ttl, "delete", "jobs", "payments", job)

    def _deploy(self, time: int, service: str, release: int) -> None:
        """CI rolls a service out with Helm: its own records are secrets."""
        namespace = "payments" if service in ("ledger-api", "invoices") else "staging"
        client = self.deployer
        labels = {"labelSelector": f"name={service},owner=helm"}
        self._add(time, client, "list", "secrets", namespace, query=labels)
        self._add(time + SECOND, client, "get", "deployments", namespace, service)
        self._add(
            time + SECOND * 2,
            client,
            "create",
            "secrets",
            namespace,
            f"sh.helm.release.v1.{service}.v{release}",
        )
        self._add(
            time + SECOND * 3,
            client,
            "patch",
            "deployments",
            namespace,
            service,
            level="Request",
            query={"fieldManager": "helm"},
            request={
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [
                                {
                                    "name": service,
                                    "image": f"{REGISTRY}/{service}:2026.11.12-{release}",
                                }
                            ]
                        }
                    }
                }
            },
        )
        self._add(
            time + SECOND * 9,
            client,
            "update",
            "secrets",
            namespace,
            f"sh.helm.release.v1.{service}.v{release}",
        )
        controller = self._accounts["kube-system:replicaset-controller"]
        replica = f"{service}-{self._dice.hexes(10)}"
        for number in range(3):
            moment = time + SECOND * (4 + number * 2)
            pod = f"{replica}-{self._dice.pod_suffix()}"
            self._pod(moment, controller, namespace, pod, service, service, NODES[number])
            self._add(
                moment + SECOND,
                controller,
                "delete",
                "pods",
                namespace,
                f"{service}-5d8c7f9b66-{self._dice.pod_suffix()}",
            )
        if service == "search":
            daemon = self._accounts["kube-system:daemon-set-controller"]
            for node in NODES:
                pod = f"node-exporter-{self._dice.pod_suffix()}"
                self._pod(
                    time + 20 * SECOND,
                    daemon,
                    "monitoring",
                    pod,
                    "node-exporter",
                    "node-exporter",
                    node,
                    host_paths=("/proc", "/sys"),
                )

    def _pod(
        self,
        time: int,
        client: Client,
        namespace: str,
        name: str,
        service: str,
        account: str,
        node: Node,
        host_paths: tuple[str, ...] = (),
    ) -> None:
        """A controller creates a pod, the scheduler binds it."""
        container: Json = {
            "name": service,
            "image": f"{REGISTRY}/{service}:2026.11.12",
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True},
        }
        spec: Json = {
            "containers": [container],
            "restartPolicy": "Always",
            "serviceAccountName": account,
        }
        if host_paths:
            container["volumeMounts"] = [
                {"name": path[1:], "mountPath": f"/host{path}", "readOnly": True}
                for path in host_paths
            ]
            spec["volumes"] = [
                {"name": path[1:], "hostPath": {"path": path, "type": ""}} for path in host_paths
            ]
        body = {
            "kind": "Pod",
            "apiVersion": "v1",
            "spec": spec,
            "metadata": {
                "generateName": name[:-5],
                "namespace": namespace,
                "labels": {"app": service},
            },
        }
        made = self._add(
            time, client, "create", "pods", namespace, name, level="Request", request=body
        )
        del made["objectRef"]["name"]  # as generated names are not known when the request is read
        self._add(
            time + SECOND // 8,
            self._components["kube-scheduler"],
            "create",
            "pods",
            namespace,
            name,
            "binding",
            level="Request",
            request={
                "kind": "Binding",
                "apiVersion": "v1",
                "metadata": {"name": name, "namespace": namespace},
                "target": {"kind": "Node", "name": node.name},
            },
        )
        self._add(
            time + 3 * SECOND, self._kubelets[node.name], "patch", "pods", namespace, name, "status"
        )

    def _people(self) -> None:
        """Staff look around with kubectl; Priya debugs a pod of her own."""
        for clock, user, verb, resource, namespace in (
            ("17:06:44", "marta.kowal", "list", "nodes", ""),
            ("17:32:36", "jonas.lind", "list", "pods", "staging"),
            ("18:17:35", "priya.nair", "list", "pods", "staging"),
            ("19:20:28", "jonas.lind", "get", "deployments", "staging"),
            ("20:52:10", "marta.kowal", "list", "pods", "payments"),
        ):
            somebody = person(self._dice, user)
            name = "web" if verb == "get" else ""
            self._add(at(clock), somebody, verb, resource, namespace, name, query={"limit": 500})
        priya = person(self._dice, "priya.nair")
        body = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": DEBUG.name, "namespace": DEBUG.namespace},
            "spec": {
                "containers": [
                    {
                        "name": DEBUG.container,
                        "image": f"{DEBUG.image}:v0.13",
                        "stdin": True,
                        "tty": True,
                    }
                ]
            },
        }
        self._add(
            at("18:18:51"),
            priya,
            "create",
            "pods",
            DEBUG.namespace,
            DEBUG.name,
            level="Request",
            request=body,
            query={"fieldManager": "kubectl-run"},
        )
        shell: Json = {
            "query": {
                "command": "bash",
                "container": DEBUG.container,
                "stdin": "true",
                "stdout": "true",
                "tty": "true",
            },
            "code": 101,
            "level": "Request",
            "audit_id": self._dice.uuid(),
        }
        where = ("create", "pods", DEBUG.namespace, DEBUG.name, "exec")
        for stage, lasts in (("ResponseStarted", 52_000), ("ResponseComplete", 11 * MINUTE)):
            self._add(at("18:20:11.482"), priya, *where, stage=stage, lasts_us=lasts, **shell)
        self._add(at("18:32:10.118"), priya, "delete", "pods", DEBUG.namespace, DEBUG.name)
