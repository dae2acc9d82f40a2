"""Request and response bodies of the made-up Kubernetes audit log, as JSON text."""

from benchmarks.shapes.dice import Dice
from benchmarks.shapes.k8s_cluster import NAMESPACES, Pod

_REGISTRY = "602401143452.dkr.ecr.eu-west-1.amazonaws.com"


def _container(dice: Dice, pod: Pod, security: str) -> str:
    tag = dice.hex(8)
    service = f"http://{pod.app}.{pod.namespace}.svc:8080"
    return (
        f'{{"name":"app","image":"{_REGISTRY}/{pod.app}:{tag}","args":["--config",'
        '"/etc/app/app.yaml",'
        f'"--log-level=info"],"ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}},'
        '{"name":"metrics","containerPort":9090,"protocol":"TCP"}],"env":['
        f'{{"name":"SERVICE_URL","value":"{service}/v1?retry=3\\u0026timeout=5s"}},'
        '{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db-credentials",'
        '"key":"password"}}},'
        '{"name":"POD_IP","valueFrom":{"fieldRef":{"apiVersion":"v1",'
        '"fieldPath":"status.podIP"}}}],'
        '"resources":{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"100m",'
        '"memory":"256Mi"}},'
        '"volumeMounts":[{"name":"config","readOnly":true,"mountPath":"/etc/app"},'
        f'{{"name":"kube-api-access-{dice.letters(5)}","readOnly":true,'
        '"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],'
        '"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},'
        '"timeoutSeconds":1,'
        '"periodSeconds":10,"successThreshold":1,"failureThreshold":3},'
        '"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",'
        f'"imagePullPolicy":"IfNotPresent","securityContext":{security}}}'
    )


ORDINARY = '{"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"allowPrivilegeEscalation":false}'
PRIVILEGED = '{"privileged":true,"capabilities":{"add":["SYS_ADMIN"]}}'


def pod_object(
    dice: Dice, pod: Pod, stamp: str, *, full: bool, security: str = ORDINARY, host_path: str = ""
) -> str:
    """A pod as it is created (`full`: as the server answers, with what it filled in)."""
    volumes = f'{{"name":"config","configMap":{{"name":"{pod.app}-config","defaultMode":420}}}}'
    if host_path:
        volumes += f',{{"name":"host","hostPath":{{"path":"{host_path}","type":"Directory"}}}}'
    identity = f'"uid":"{pod.uid}","resourceVersion":"{dice.below(90_000_000)}",' if full else ""
    managed = (
        ',"managedFields":[{"manager":"kube-controller-manager","operation":"Update",'
        '"apiVersion":"v1",'
        f'"time":"{stamp[:19]}Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:generateName":{{}},'
        '"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:pod-template-hash":{}},'
        '"f:ownerReferences":'
        '{".":{}}},"f:spec":{"f:containers":{"k:{\\"name\\":\\"app\\"}":{".":{},"f:args":{},'
        '"f:env":{},'
        '"f:image":{},"f:ports":{},"f:resources":{},"f:volumeMounts":{}}},"f:dnsPolicy":{},'
        '"f:restartPolicy":{},"f:schedulerName":{},"f:volumes":{}}}}]'
        if full
        else ""
    )
    status = '{"phase":"Pending","qosClass":"Burstable"}' if full else "{}"
    return (
        f'{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{pod.name}",'
        f'"generateName":"{pod.replicaset}-","namespace":"{pod.namespace}",{identity}'
        f'"creationTimestamp":{chr(34) + stamp[:19] + "Z" + chr(34) if full else "null"},'
        f'"labels":{{"app.kubernetes.io/name":"{pod.app}",'
        f'"app.kubernetes.io/part-of":"{pod.namespace}",'
        f'"pod-template-hash":"{pod.replicaset.rsplit("-", 1)[1]}"}},'
        '"annotations":{"prometheus.io/port":"9090","prometheus.io/scrape":"true"},'
        '"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet",'
        f'"name":"{pod.replicaset}",'
        f'"uid":"{dice.uuid()}","controller":true,"blockOwnerDeletion":true}}]{managed}}},'
        f'"spec":{{"volumes":[{volumes}],"containers":[{_container(dice, pod, security)}],'
        '"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst",'
        f'"serviceAccountName":"{pod.app}","serviceAccount":"{pod.app}","securityContext":{{}},'
        '"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready",'
        '"operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,'
        f'"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"}},"status":{status}}}'
    )


def pod_status_patch(dice: Dice, pod: Pod, stamp: str) -> str:
    """What a kubelet sends when a pod becomes ready."""
    moment = stamp[:19] + "Z"
    ready = f'"lastTransitionTime":"{moment}","status":"True"'
    return (
        f'{{"metadata":{{"uid":"{pod.uid}"}},"status":{{"$setElementOrder/conditions":['
        '{"type":"PodReadyToStartContainers"},{"type":"Initialized"},{"type":"Ready"},'
        '{"type":"ContainersReady"},{"type":"PodScheduled"}],"conditions":['
        f'{{{ready},"type":"PodReadyToStartContainers"}},{{{ready},"message":null,"reason":null,'
        f'"type":"Ready"}},{{{ready},"message":null,"reason":null,"type":"ContainersReady"}}],'
        f'"containerStatuses":[{{"containerID":"containerd://{dice.hex(64)}",'
        f'"image":"{_REGISTRY}/{pod.app}:{dice.hex(8)}","imageID":"{_REGISTRY}/{pod.app}@sha256:'
        f'{dice.hex(64)}","lastState":{{}},"name":"app","ready":true,'
        f'"restartCount":{dice.below(3)},'
        f'"started":true,"state":{{"running":{{"startedAt":"{moment}"}}}}}}],'
        f'"phase":"Running","podIP":"{pod.ip}","podIPs":[{{"ip":"{pod.ip}"}}]}}}}'
    )


def node_status_patch(dice: Dice, stamp: str, images: int = 18) -> str:
    """What a kubelet sends about its node every five minutes, image list included."""
    moment = stamp[:19] + "Z"
    listed = ",".join(
        f'{{"names":["{_REGISTRY}/{dice.pick(NAMESPACES)}-api@sha256:{dice.hex(64)}",'
        f'"{_REGISTRY}/{dice.pick(NAMESPACES)}-api:{dice.hex(8)}"],'
        f'"sizeBytes":{dice.below(400_000_000)}}}'
        for _ in range(images)
    )
    conditions = ",".join(
        f'{{"lastHeartbeatTime":"{moment}","type":"{kind}"}}'
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    )
    return (
        '{"status":{"$setElementOrder/conditions":[{"type":"MemoryPressure"},'
        '{"type":"DiskPressure"},'
        f'{{"type":"PIDPressure"}},{{"type":"Ready"}}],"conditions":[{conditions}],'
        f'"images":[{listed}]}}}}'
    )


def event_object(dice: Dice, pod: Pod, stamp: str) -> str:
    """A core/v1 Event about a pod."""
    moment = stamp[:19] + "Z"
    reason, message = dice.pick(
        (
            ("Pulled", f'Container image \\"{_REGISTRY}/{pod.app}\\" already present on machine'),
            ("Created", "Created container app"),
            ("Started", "Started container app"),
            ("Scheduled", f"Successfully assigned {pod.namespace}/{pod.name} to a node"),
            (
                "Unhealthy",
                (
                    f'Readiness probe failed: Get \\"http://{pod.ip}:8080/readyz\\": '
                    "context deadline exceeded \\u003cnil\\u003e"
                ),
            ),
            ("BackOff", "Back-off restarting failed container app in pod"),
        )
    )
    kind = "Warning" if reason in ("Unhealthy", "BackOff") else "Normal"
    return (
        f'{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"{pod.name}.{dice.hex(16)}",'
        f'"namespace":"{pod.namespace}","creationTimestamp":null}},"involvedObject":{{"kind":"Pod",'
        f'"namespace":"{pod.namespace}","name":"{pod.name}","uid":"{pod.uid}","apiVersion":"v1",'
        f'"resourceVersion":"{dice.below(90_000_000)}","fieldPath":"spec.containers{{app}}"}},'
        f'"reason":"{reason}","message":"{message}","source":{{"component":"kubelet",'
        f'"host":"node-{pod.node}"}},"firstTimestamp":"{moment}","lastTimestamp":"{moment}",'
        f'"count":{1 + dice.below(40)},"type":"{kind}",'
        '"eventTime":null,"reportingComponent":"kubelet","reportingInstance":""}'
    )


def replicas_status(dice: Dice, pod: Pod, kind: str, stamp: str) -> str:
    """A Deployment or ReplicaSet with its status, as its controller writes it back."""
    count = 1 + dice.below(6)
    template = pod_object(dice, pod, stamp, full=False)
    spec = template[template.index('"spec":{') : template.rindex(',"status"')]
    return (
        f'{{"kind":"{kind}","apiVersion":"apps/v1","metadata":{{"name":"{pod.replicaset}",'
        f'"namespace":"{pod.namespace}","uid":"{dice.uuid()}",'
        f'"resourceVersion":"{dice.below(90_000_000)}",'
        f'"generation":{1 + dice.below(30)},"creationTimestamp":"{stamp[:19]}Z",'
        f'"labels":{{"app.kubernetes.io/name":"{pod.app}"}},'
        f'"annotations":{{"deployment.kubernetes.io/desired-replicas":"{count}",'
        f'"deployment.kubernetes.io/revision":"{1 + dice.below(30)}"}}}},'
        f'"spec":{{"replicas":{count},'
        f'"selector":{{"matchLabels":{{"app.kubernetes.io/name":"{pod.app}"}}}},'
        '"template":{"metadata":'
        f'{{"creationTimestamp":null,"labels":{{"app.kubernetes.io/name":"{pod.app}"}}}},'
        f"{spec}}}}},"
        f'"status":{{"replicas":{count},"fullyLabeledReplicas":{count},"readyReplicas":{count},'
        f'"availableReplicas":{count},"observedGeneration":{1 + dice.below(30)}}}}}'
    )


def subject_access_review(dice: Dice, username: str, namespace: str, *, answered: bool) -> str:
    """A SubjectAccessReview, asked by a webhook or an aggregated API server."""
    status = (
        '{"allowed":true,"reason":"RBAC: allowed by ClusterRoleBinding"}'
        if answered
        else '{"allowed":false}'
    )
    verb = dice.pick(("get", "list", "watch"))
    return (
        '{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":'
        f'{{"creationTimestamp":null}},"spec":{{"resourceAttributes":{{"namespace":"{namespace}",'
        f'"verb":"{verb}","group":"metrics.k8s.io","version":"v1beta1","resource":"pods"}},'
        f'"user":"{username}","groups":["system:serviceaccounts","system:authenticated"]}},'
        f'"status":{status}}}'
    )


def role_binding(name: str, role: str, subject: str, stamp: str) -> str:
    """A ClusterRoleBinding to a service account of the default namespace."""
    return (
        '{"kind":"ClusterRoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":'
        f'{{"name":"{name}","creationTimestamp":"{stamp[:19]}Z"}},'
        '"subjects":[{"kind":"ServiceAccount",'
        f'"name":"{subject}","namespace":"default"}}],"roleRef":{{"apiGroup":"rbac.authorization.k8s.io",'
        f'"kind":"ClusterRole","name":"{role}"}}}}'
    )
