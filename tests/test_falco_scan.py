"""Falco rules over logs, as a user scans them: one folder of Falco and Sigma rules, one pass."""

import json
from pathlib import Path
from typing import Any

import pytest

from trailhound.cli.main import main

CORPORA = Path(__file__).parents[2] / "shared" / "corpora" / "falco"
LOG: tuple[dict[str, Any], ...] = (
    {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "00000000-0000-4000-8000-000000000001",
        "level": "RequestResponse",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods",
        "verb": "create",
        "user": {"username": "eve\u202e\n", "groups": ["system:authenticated"]},
        "sourceIPs": ["203.0.113.9"],
        "objectRef": {"resource": "pods", "namespace": "shop", "apiVersion": "v1"},
        "responseStatus": {"code": 201},
        "requestObject": {
            "spec": {
                "hostPID": True,
                "containers": [
                    {"name": "a", "image": "reg.example/tool:1"},
                    {
                        "name": "b",
                        "image": "busybox@sha256:00",
                        "securityContext": {"privileged": True},
                    },
                ],
                "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}],
            }
        },
        "requestReceivedTimestamp": "2026-03-03T02:00:00.000001Z",
        "stageTimestamp": "2026-03-03T02:00:00.000002Z",
    },
    {
        "eventVersion": "1.08",
        "userIdentity": {"type": "IAMUser", "userName": "eve", "accountId": "111122223333"},
        "eventTime": "2026-03-03T02:01:00Z",
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": "StopLogging",
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.9",
        "requestParameters": {"name": "main"},
        "eventID": "00000000-0000-4000-8000-000000000002",
        "eventType": "AwsApiCall",
    },
    *(
        {
            "actor": {"id": "00u1", "type": "User", "displayName": "Eve"},
            "client": {"ipAddress": "203.0.113.9"},
            "eventType": "user.mfa.okta_verify.deny_push",
            "displayMessage": "User rejected Okta push verify",
            "severity": "INFO",
            "legacyEventType": "core.user.factor.attempt_fail",
            "outcome": {"result": "FAILURE", "reason": None},
            "published": f"2026-03-03T02:02:0{second}.000Z",
            "version": "0",
            "uuid": f"00000000-0000-4000-8000-00000000010{second}",
            "target": [],
        }
        for second in range(3)
    ),
    {
        "webhook_type": "repository",
        "action": "publicized",
        "repository": {
            "id": 1,
            "full_name": "acme/shop",
            "html_url": "https://github.com/acme/shop",
            "private": False,
            "owner": {"login": "acme", "id": 2},
        },
        "organization": {"login": "acme", "id": 2},
        "sender": {"login": "eve", "id": 3, "type": "User"},
    },
)
SIGMA = """\
title: Trail stopped
id: 11111111-1111-4111-8111-111111111111
logsource: {product: aws, service: cloudtrail}
detection:
    s: {eventName: StopLogging}
    condition: s
level: high
"""
FALCO = """\
- macro: made
  condition: ka.verb = create and ka.response.code startswith 2
- list: trusted
  items: [reg.example/tool]
- rule: Pod with an image that is not trusted
  desc: Look at who made it.
  condition: >
    made and ka.target.resource = pods
    and not ka.req.pod.containers.image.repository in (trusted)
  output: >
    made (user=%ka.user.name images=%ka.req.pod.containers.image
    ns=%ka.target.namespace at=%evt.time)
  priority: ERROR
  source: k8s_audit
- rule: Trail stopped by a user
  desc: Look at what came next.
  condition: ct.name = StopLogging and ct.user exists
  output: stopped (user=%ct.user trail=%ct.request.name error=%ct.error)
  priority: CRITICAL
  source: aws_cloudtrail
- rule: Opened a file
  desc: A rule over system calls.
  condition: evt.type = open and fd.name startswith /etc
  output: opened %fd.name
  priority: NOTICE
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "mixed.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(document) + "\n" for document in LOG))
    return path


def scan(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["scan", "--no-builtin", "--no-cache", "--json", "-q", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def by_title(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["rule"]["title"]: finding for finding in report["findings"]}


def test_falco_and_sigma_run_in_one_pass(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "a.yml").write_text(SIGMA)
    (rules / "b.yaml").write_text(FALCO)
    report = scan(capsys, log, "--rules", rules)
    assert report["totals"]["rules"]["by_dialect"] == {"sigma": 1, "falco": 3}
    assert report["totals"]["rules"]["problems"] == []
    (blind,) = report["totals"]["rules"]["never_match_here"]
    assert blind["rule"] == "Opened a file"
    found = by_title(report)
    assert found.keys() == {
        "Trail stopped",
        "Pod with an image that is not trusted",
        "Trail stopped by a user",
    }
    pod = found["Pod with an image that is not trusted"]
    assert pod["level"] == "high"
    assert pod["message"] == (
        "made (user=eve\\u202e\\n images=(reg.example/tool:1,busybox@sha256:00) ns=shop "
        "at=02:00:00.000002000)"
    )
    assert pod["values"]["ka.target.namespace"] == "shop"
    trail = found["Trail stopped by a user"]
    assert trail["message"] == "stopped (user=eve trail=main error=<NA>)"


@pytest.mark.corpora
@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"needs {CORPORA}, which is absent")
def test_the_rules_of_falcos_plugins_fire(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = by_title(scan(capsys, log, "--rules", CORPORA))
    assert found.keys() >= {
        "Disallowed K8s User",
        "Create Privileged Pod",
        "Create Sensitive Mount Pod",
        "Create HostPid Pod",
        "CloudTrail Logging Disabled",
        "Private Repository Becoming Public",
        "Too many denied MFA Pushes in last 5min",
    }
