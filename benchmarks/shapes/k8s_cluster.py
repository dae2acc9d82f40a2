"""The made-up cluster behind the Kubernetes audit log: who is in it, and what they are called."""

from dataclasses import dataclass

from benchmarks.shapes.dice import Dice

VERSION = "v1.31.4"
COMMIT = "a78aa47"
NAMESPACES = (
    "default",
    "checkout",
    "payments",
    "catalog",
    "search",
    "web-frontend",
    "mobile-api",
    "batch-reports",
    "data-platform",
    "ml-serving",
    "kafka",
    "redis",
    "team-atlas",
    "team-borealis",
    "staging-checkout",
    "staging-payments",
)
SYSTEM_NAMESPACES = ("kube-system", "monitoring", "cert-manager", "ingress-nginx", "argocd")
APPS = ("api", "worker", "gateway", "cache", "consumer", "scheduler", "indexer", "sync", "web")

# Controllers inside kube-controller-manager, each under a service account of its own.
CONTROLLERS = (
    "replicaset-controller",
    "deployment-controller",
    "endpointslice-controller",
    "daemon-set-controller",
    "job-controller",
    "cronjob-controller",
    "generic-garbage-collector",
    "namespace-controller",
    "node-controller",
    "horizontal-pod-autoscaler",
    "resourcequota-controller",
    "root-ca-cert-publisher",
)

# (namespace, service account, user agent) of software that every such cluster runs.
OPERATORS = (
    ("kube-system", "coredns", "Go-http-client/2.0"),
    ("kube-system", "cilium", "cilium-agent/1.16.5 ad688277 (linux/amd64)"),
    ("kube-system", "cilium-operator", "cilium-operator-generic/1.16.5 (linux/amd64)"),
    ("kube-system", "metrics-server", "metrics-server/v0.7.2 (linux/amd64) kubernetes/a6a4a5d"),
    (
        "kube-system",
        "ebs-csi-controller-sa",
        "csi-attacher/v4.8.0 (linux/amd64) kubernetes/6d8b5a1",
    ),
    ("kube-system", "cluster-autoscaler", "cluster-autoscaler/v1.31.0 (linux/amd64)"),
    ("kube-system", "aws-load-balancer-controller", "elbv2.k8s.aws/v2.11.0 (linux/amd64)"),
    ("monitoring", "prometheus-k8s", "Prometheus/2.55.1"),
    ("monitoring", "kube-state-metrics", "v2.14.0"),
    ("monitoring", "prometheus-operator", "PrometheusOperator/0.79.2"),
    ("cert-manager", "cert-manager", "cert-manager-controller/v1.16.2 (linux/amd64) cert-manager"),
    ("cert-manager", "cert-manager-cainjector", "cert-manager-cainjector/v1.16.2 (linux/amd64)"),
    ("ingress-nginx", "ingress-nginx", "nginx-ingress-controller/v1.12.0 (linux/amd64)"),
    (
        "argocd",
        "argocd-application-controller",
        "argocd-application-controller/v0.0.0 (linux/amd64)",
    ),
    ("argocd", "argocd-server", "argocd-server/v0.0.0 (linux/amd64) kubernetes/$Format"),
    ("kafka", "strimzi-cluster-operator", "fabric8-kubernetes-client/6.13.4"),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who calls the API server; JSON parts are ready to be pasted."""

    user: str
    """The `user` object."""
    ip: str
    agent: str
    reason: str
    """`authorization.k8s.io/reason`, escaped for JSON."""
    name: str
    namespace: str
    """Of a service account; empty for others."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One running pod."""

    namespace: str
    app: str
    replicaset: str
    name: str
    uid: str
    node: int
    ip: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything that stays the same while the log runs."""

    nodes: tuple[str, ...]
    kubelets: tuple[Caller, ...]
    controllers: tuple[Caller, ...]
    operators: tuple[Caller, ...]
    elections: tuple[tuple[Caller, str, str], ...]
    """(caller, namespace, lease name) of leader elections."""
    apps: tuple[Caller, ...]
    scheduler: Caller
    people: tuple[Caller, ...]
    robots: tuple[Caller, ...]
    """Deployment pipelines that come from outside."""
    intruder: Caller
    pods: tuple[Pod, ...]


def service_account(
    dice: Dice, namespace: str, name: str, agent: str, ip: str, *, pod: str = "", node: str = ""
) -> Caller:
    """A service account; with a pod, its token is bound to that pod."""
    extra = f'"authentication.kubernetes.io/credential-id":["JTI={dice.uuid()}"]'
    if pod:
        extra += (
            f',"authentication.kubernetes.io/node-name":["{node}"]'
            f',"authentication.kubernetes.io/node-uid":["{dice.uuid()}"]'
            f',"authentication.kubernetes.io/pod-name":["{pod}"]'
            f',"authentication.kubernetes.io/pod-uid":["{dice.uuid()}"]'
        )
    username = f"system:serviceaccount:{namespace}:{name}"
    role = f"system:controller:{name}" if not pod else name
    return Caller(
        user=(
            f'{{"username":"{username}","uid":"{dice.uuid()}","groups":["system:serviceaccounts",'
            f'"system:serviceaccounts:{namespace}","system:authenticated"],"extra":{{{extra}}}}}'
        ),
        ip=ip,
        agent=agent,
        reason=(
            f'RBAC: allowed by ClusterRoleBinding \\"{role}\\" of ClusterRole \\"{role}\\" '
            f'to ServiceAccount \\"{name}/{namespace}\\"'
        ),
        name=username,
        namespace=namespace,
    )


def _component(name: str, agent: str, ip: str) -> Caller:
    return Caller(
        user=f'{{"username":"system:{name}","groups":["system:authenticated"]}}',
        ip=ip,
        agent=agent,
        reason=(
            f'RBAC: allowed by ClusterRoleBinding \\"system:{name}\\" of ClusterRole '
            f'\\"system:{name}\\" to User \\"system:{name}\\"'
        ),
        name=f"system:{name}",
        namespace="",
    )


def _kubelet(node: str, ip: str) -> Caller:
    return Caller(
        user=(
            f'{{"username":"system:node:{node}","groups":["system:nodes","system:authenticated"]}}'
        ),
        ip=ip,
        agent=f"kubelet/{VERSION} (linux/amd64) kubernetes/{COMMIT}",
        reason="",
        name=f"system:node:{node}",
        namespace="",
    )


def _person(name: str, group: str, ip: str) -> Caller:
    return Caller(
        user=f'{{"username":"oidc:{name}@example.com","groups":["oidc:{group}","system:authenticated"]}}',
        ip=ip,
        agent=f"kubectl/v1.31.2 (darwin/arm64) kubernetes/{COMMIT}",
        reason=(
            f'RBAC: allowed by ClusterRoleBinding \\"oidc-{group}\\" of ClusterRole '
            f'\\"{"edit" if group == "developers" else "admin"}\\" to Group \\"oidc:{group}\\"'
        ),
        name=f"oidc:{name}@example.com",
        namespace="",
    )


def build(dice: Dice) -> Cluster:
    """Make the cluster that a seed stands for."""
    nodes = tuple(
        f"ip-10-0-{16 * dice.below(8)}-{4 + dice.below(250)}.eu-west-1.compute.internal"
        for _ in range(36)
    )
    node_ips = tuple(node[3:].split(".")[0].replace("-", ".") for node in nodes)
    master = "172.16.38.4"
    pods: list[Pod] = []
    for namespace in NAMESPACES + SYSTEM_NAMESPACES:
        for app in APPS[: 3 + dice.below(6)]:
            replicaset = f"{namespace}-{app}-{dice.letters(9)}"
            pods += [
                Pod(
                    namespace=namespace,
                    app=f"{namespace}-{app}",
                    replicaset=replicaset,
                    name=f"{replicaset}-{dice.letters(5)}",
                    uid=dice.uuid(),
                    node=dice.below(len(nodes)),
                    ip=f"10.0.{dice.below(250)}.{dice.below(250)}",
                )
                for _ in range(1 + dice.below(6))
            ]
    operators = tuple(
        service_account(
            dice,
            namespace,
            name,
            agent,
            dice.pick(node_ips),
            pod=f"{name}-{dice.letters(9)}-{dice.letters(5)}",
            node=dice.pick(nodes),
        )
        for namespace, name, agent in OPERATORS
    )
    manager = f"kube-controller-manager/{VERSION} (linux/amd64) kubernetes/{COMMIT}"
    scheduler_agent = f"kube-scheduler/{VERSION} (linux/amd64) kubernetes/{COMMIT}"
    elected = [
        (
            _component("kube-controller-manager", f"{manager}/leader-election", master),
            "kube-system",
            "kube-controller-manager",
        ),
        (
            _component("kube-scheduler", f"{scheduler_agent}/leader-election", master),
            "kube-system",
            "kube-scheduler",
        ),
    ]
    elected += [
        (caller, caller.namespace, f"{caller.name.rsplit(':', 1)[1]}-leader-elect")
        for caller in operators[2:]
    ]
    some = tuple(pods[i] for i in range(0, len(pods), 7))
    return Cluster(
        nodes=nodes,
        kubelets=tuple(_kubelet(n, ip) for n, ip in zip(nodes, node_ips, strict=True)),
        controllers=tuple(
            service_account(
                dice,
                "kube-system",
                name,
                f"{manager}/system:serviceaccount:kube-system:{name}",
                master,
            )
            for name in CONTROLLERS
        ),
        operators=operators,
        elections=tuple(elected),
        apps=tuple(
            service_account(
                dice, p.namespace, p.app, "okhttp/4.12.0", p.ip, pod=p.name, node=nodes[p.node]
            )
            for p in some
        ),
        scheduler=_component("kube-scheduler", f"{scheduler_agent}/scheduler", master),
        people=tuple(
            _person(name, group, f"10.8.0.{10 + i}")
            for i, (name, group) in enumerate(
                (n, "platform" if i % 5 == 0 else "developers")
                for i, n in enumerate(
                    (
                        "ana.kovac",
                        "ben.osei",
                        "carla.ruiz",
                        "deniz.aydin",
                        "emil.berg",
                        "fatou.diop",
                        "goran.ilic",
                        "hana.sato",
                        "ivan.petrov",
                        "julia.novak",
                        "kofi.mensah",
                        "lena.fischer",
                        "marco.conti",
                        "nadia.haddad",
                        "oscar.lind",
                    )
                )
            )
        ),
        robots=tuple(
            service_account(dice, "argocd", name, "helm/3.16.4", dice.public_ip(), pod="", node="")
            for name in ("github-deployer", "gitlab-deployer")
        ),
        intruder=service_account(
            dice,
            "web-frontend",
            "web-frontend-api",
            "curl/8.5.0",
            "10.0.77.31",
            pod="web-frontend-api-7c9d5f6b8d-x2x7k",
            node=nodes[3],
        ),
        pods=tuple(pods),
    )
