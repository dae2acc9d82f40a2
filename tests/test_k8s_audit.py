"""Kubernetes audit events: what samples would only repeat."""

import json
from pathlib import Path
from typing import Any

import pytest

from trailhound.intake.files import InputFile
from trailhound.model.events import Event
from trailhound.model.records import Origin, Payload
from trailhound.pipeline.coverage import coverage, coverage_against
from trailhound.pipeline.rulebooks import load_rules
from trailhound.sources.k8s_audit import SOURCE

APPLIED = '{"metadata":{"labels":{"image-policy.k8s.io/break-glass":"true"}}}'
RULES = Path(__file__).parents[2] / "shared" / "corpora" / "sigma" / "rules" / "cloud" / "gcp"

EVENT = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "auditID": "a",
    "stage": "ResponseComplete",
    "verb": "get",
    "stageTimestamp": "2024-05-14T09:00:00Z",
}


def read(document: dict[str, Any], **context: Any) -> Event:
    payload = Payload(origin=Origin("in", 1), document=document, wrapping=("x",), context=context)
    assert SOURCE.recognises(payload)
    (event,) = (e for e in SOURCE.reader().read(payload) if isinstance(e, Event))
    return event


@pytest.mark.parametrize(
    ("context", "device"),
    [
        ({}, ""),
        ({"modified_ns": 1}, ""),
        ({"logGroup": "/aws/eks/prod-1/cluster", "logStream": "kube-apiserver-audit-1"}, "prod-1"),
        ({"logGroup": "/aws/eks/prod-1"}, ""),
        ({"logGroup": "/aws/lambda/x"}, ""),
        ({"@log": "111122223333:/aws/eks/prod-1/cluster"}, "prod-1"),
        (
            {
                "resourceId": "/SUBSCRIPTIONS/0/RESOURCEGROUPS/RG/PROVIDERS/"
                "MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/SHOP"
            },
            "SHOP",
        ),
        ({"_ResourceId": "/subscriptions/0/managedClusters/shop/x"}, "shop"),
        ({"resource": {"type": "k8s_cluster", "labels": {"cluster_name": "gke-1"}}}, "gke-1"),
        ({"orchestrator": {"cluster": {"name": "ecs-1"}}, "host": {"name": "cp1"}}, "ecs-1"),
        ({"cluster_name": "c1"}, "c1"),
        ({"kubernetes": {"cluster_name": "c2"}, "hostname": "n"}, "c2"),
        ({"timestamp": "Mar  4 10:00:00", "hostname": "cp1", "program": "k8s-audit"}, "cp1"),
        ({"logGroup": 7, "resourceId": [], "resource": "x", "cluster": {}, "host": 9}, ""),
    ],
)
def test_device_is_the_cluster_that_a_wrapping_names(context: dict[str, Any], device: str) -> None:
    assert read(EVENT, **context).envelope.device == device


@pytest.mark.parametrize("verb", ["get", "create", "connect", ""])
@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward", "proxy", "proxy/metrics"])
def test_a_way_into_a_pod_is_no_read(verb: str, subresource: str) -> None:
    reference = {"resource": "pods", "subresource": subresource}
    envelope = read({**EVENT, "verb": verb, "objectRef": reference}).envelope
    assert (envelope.class_uid, envelope.activity_id) == (6003, 99)


def test_log_of_a_pod_is_a_read() -> None:
    reference = {"resource": "pods", "subresource": "log"}
    assert read({**EVENT, "objectRef": reference}).envelope.activity_id == 2


# --- GKE under the names of public rules --------------------------------------------------


def entry(method: str, log: str = "activity", **payload: Any) -> dict[str, Any]:
    return {
        "insertId": "i",
        "logName": f"projects/p/logs/cloudaudit.googleapis.com%2F{log}",
        "resource": {"type": "k8s_cluster", "labels": {"cluster_name": "c"}},
        "timestamp": "2024-05-14T09:00:00Z",
        "protoPayload": {"serviceName": "k8s.io", "methodName": method, **payload},
    }


def test_the_document_stays_as_written() -> None:
    written = entry("io.k8s.core.v1.secrets.delete", status={"code": 7})
    event = read(written)
    assert event.document == written
    assert event.views["audit"][0]["verb"] == "delete"
    (view,) = event.views["gcp_audit"]
    assert view == written


@pytest.mark.corpora
def test_public_rules_find_their_fields(tmp_path: Path) -> None:
    if not RULES.exists():
        pytest.skip(f"{RULES} is not there")
    entries = [
        entry("io.k8s.core.v1.secrets.patch"),
        entry("io.k8s.authorization.rbac.v1.rolebindings.create"),
        entry(
            "io.k8s.core.v1.pods.create",
            request={"metadata": {"annotations": {"last-applied": APPLIED}}},
        ),
        entry("io.k8s.core.v1.pods.get", log="data_access"),
    ]
    log = tmp_path / "gke.jsonl"
    log.write_text("".join(json.dumps(item) + "\n" for item in entries))
    rules = load_rules([str(RULES / "audit")], builtin=False, placeholders={}, cache=None)
    assert len(rules.ruleset.rules) == 16
    hits = set()
    every = coverage_against(rules.ruleset.rules, [InputFile(str(log), log.stat().st_size)])
    for rule, found in zip(rules.ruleset.rules, every, strict=True):
        (view,) = (view for view in coverage(rule) if view.source == "k8s_audit")
        assert all(field.known for field in view.fields), rule.info.path
        (counted,) = (view for view in found if view.source == "k8s_audit")
        if counted.matches:
            hits.add(Path(rule.info.path).stem)
    assert hits == {
        "gcp_breakglass_container_workload_deployed",
        "gcp_kubernetes_rolebinding",
        "gcp_kubernetes_secrets_modified_or_deleted",
    }
