"""The cluster at work: leases, watches, kubelets, and what changes on it."""

from collections.abc import Callable

from demo.cast import NODES
from demo.clock import MINUTE, SECOND, at
from demo.cluster import Client, Json, health_event
from demo.cluster_clients import _ADMIN
from demo.cluster_workloads import Workloads

START, END = at("17:00"), at("22:00")


class Background(Workloads):
    """Builds the ordinary events of the evening."""

    def build(self) -> list[Json]:
        """Return all of it."""
        rates: tuple[tuple[Callable[[int], None], int], ...] = (
            (self._lease, 13 * SECOND),
            (self._node_lease, 22 * SECOND),
            (self._watch, 24 * SECOND),
            (self._kubelet, 21 * SECOND),
            (self._reviews, 47 * SECOND),
            (self._autoscale, 43 * SECOND),
            (self._scrape, 36 * SECOND),
            (self._event, 56 * SECOND),
            (self._health, 28 * SECOND),
            (self._kubelet_token, 120 * SECOND),
            (self._sync_secret, 5 * MINUTE),
        )
        for make, step in rates:
            for time in self._dice.every(START, END, step, step - SECOND):
                make(time)
        for time in range(START + 20 * SECOND, END, 10 * MINUTE):
            self._cron_job(time)
        for number, clock in enumerate(
            ("17:12:40", "17:58:12", "18:36:54", "19:05:29", "20:20:20", "21:11:43")
        ):
            service = ("web", "ledger-api", "search", "web", "invoices", "web")[number]
            self._deploy(at(clock), service, number + 4)
        self._people()
        return self.events

    def _lease(self, time: int) -> None:
        name, client = self._dice.choice(
            [
                *self._components.items(),
                ("cluster-autoscaler", self._accounts["kube-system:cluster-autoscaler"]),
                (
                    "aws-load-balancer-controller-leader",
                    self._accounts["kube-system:aws-load-balancer-controller"],
                ),
                ("cert-manager-controller", self._accounts["cert-manager:cert-manager"]),
            ]
        )
        self._add(
            time,
            client,
            self._dice.choice(("get", "update", "update")),
            "leases",
            "kube-system",
            name,
            query={"timeout": "5s"},
        )

    def _node_lease(self, time: int) -> None:
        node = self._dice.choice(NODES)
        self._add(
            time,
            self._kubelets[node.name],
            "update",
            "leases",
            "kube-node-lease",
            node.name,
            query={"timeout": "10s"},
        )

    def _watch(self, time: int) -> None:
        client, resource, namespace = self._dice.choice(
            (
                (self._components["kube-controller-manager"], "replicasets", ""),
                (self._components["kube-scheduler"], "pods", ""),
                (self._accounts["kube-system:coredns"], "endpointslices", ""),
                (self._accounts["kube-system:aws-load-balancer-controller"], "ingresses", ""),
                (self._accounts["cert-manager:cert-manager"], "certificates", ""),
                (self._accounts["cert-manager:cert-manager"], "secrets", ""),
                (self._accounts["external-secrets:external-secrets"], "externalsecrets", ""),
                (self._accounts["kube-system:aws-node"], "pods", ""),
                (self._kubelets[self._dice.choice(NODES).name], "configmaps", "staging"),
                (self._kubelets[self._dice.choice(NODES).name], "services", ""),
            )
        )
        seconds = self._dice.randint(300, 599)
        self._add(
            time,
            client,
            "watch",
            resource,
            namespace,
            lasts_us=seconds * SECOND,
            query={
                "allowWatchBookmarks": "true",
                "resourceVersion": self._dice.randint(48_000_000, 49_000_000),
                "timeoutSeconds": seconds,
                "watch": "true",
            },
        )

    def _kubelet(self, time: int) -> None:
        node = self._dice.choice(NODES)
        client = self._kubelets[node.name]
        pod = f"web-5d8c7f9b66-{self._dice.pod_suffix()}"
        kind = self._dice.random()
        if kind < 0.4:
            self._add(
                time,
                client,
                "get",
                "nodes",
                "",
                node.name,
                query={"resourceVersion": 0, "timeout": "10s"},
            )
        elif kind < 0.7:
            self._add(
                time, client, "patch", "nodes", "", node.name, "status", query={"timeout": "10s"}
            )
        elif kind < 0.85:
            self._add(time, client, "get", "pods", "staging", pod)
        else:
            self._add(time, client, "patch", "pods", "staging", pod, "status")

    def _reviews(self, time: int) -> None:
        metrics = self._accounts["kube-system:metrics-server"]
        review = self._dice.choice(("tokenreviews", "subjectaccessreviews", "subjectaccessreviews"))
        self._add(time, metrics, "create", review)

    def _autoscale(self, time: int) -> None:
        autoscaler = self._accounts["kube-system:cluster-autoscaler"]
        hpa = self._accounts["kube-system:horizontal-pod-autoscaler"]
        if self._dice.random() < 0.5:
            resource = self._dice.choice(("pods", "nodes", "csinodes", "replicasets"))
            self._add(
                time, autoscaler, "list", resource, query={"limit": 500, "resourceVersion": 0}
            )
        else:
            self._add(time, hpa, "update", "horizontalpodautoscalers", "staging", "web", "status")

    def _scrape(self, time: int) -> None:
        prometheus = self._accounts["monitoring:prometheus"]
        if self._dice.random() < 0.6:
            self.events.append(health_event(self._dice, time, prometheus, "/metrics"))
        else:
            self._add(
                time,
                prometheus,
                "list",
                self._dice.choice(("endpoints", "services", "pods")),
                "monitoring",
            )

    def _event(self, time: int) -> None:
        node = self._dice.choice(NODES)
        pod = f"web-5d8c7f9b66-{self._dice.pod_suffix()}"
        name = f"{pod}.{self._dice.hexes(16)}"
        verb = self._dice.choice(("create", "patch"))
        self._add(time, self._kubelets[node.name], verb, "events", "staging", name)

    def _health(self, time: int) -> None:
        probe = Client(
            {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
            f"10.20.0.{self._dice.randint(40, 60)}",
            "ELB-HealthChecker/2.0",
            _ADMIN.format("system:public-info-viewer") + 'Group "system:unauthenticated"',
        )
        self.events.append(
            health_event(
                self._dice, time, probe, self._dice.choice(("/livez", "/readyz", "/healthz"))
            )
        )

    def _kubelet_token(self, time: int) -> None:
        """Kubelets renew the tokens of the pods they run."""
        node = self._dice.choice(NODES)
        namespace, name = self._dice.choice(
            (
                ("staging", "web"),
                ("payments", "ledger-api"),
                ("kube-system", "coredns"),
                ("monitoring", "prometheus"),
            )
        )
        self._add(
            time,
            self._kubelets[node.name],
            "create",
            "serviceaccounts",
            namespace,
            name,
            "token",
            annotations={
                "authentication.kubernetes.io/issued-credential-id": f"JTI={self._dice.uuid()}"
            },
        )

    def _sync_secret(self, time: int) -> None:
        client = self._accounts["external-secrets:external-secrets"]
        namespace, name = self._dice.choice(
            (("staging", "web-env"), ("payments", "ledger-db"), ("staging", "search-env"))
        )
        self._add(
            time, client, self._dice.choice(("get", "get", "update")), "secrets", namespace, name
        )
