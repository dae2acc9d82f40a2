"""Kubernetes audit events: what samples would only repeat."""

from typing import Any

import pytest

from trailhound.model.events import Event
from trailhound.model.records import Origin, Payload
from trailhound.sources.k8s_audit import SOURCE

EVENT = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "auditID": "a",
    "stage": "ResponseComplete",
    "verb": "get",
    "stageTimestamp": "2024-05-14T09:00:00Z",
}


def read(document: dict[str, Any], **context: Any) -> Event:
    payload = Payload(origin=Origin("in", 1), document=document, context=context)
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
