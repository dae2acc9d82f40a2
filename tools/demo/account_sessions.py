"""Who holds credentials of the account on an ordinary evening."""

from typing import Any

from demo.account import Caller, assume_with_token, call, oidc_arn, role_caller, service_caller
from demo.cast import ACCOUNT, NAT, NODE_2, NODE_KEY, NODES, ROLE_IDS, VENDOR, VENDOR_ACCOUNT
from demo.clock import SECOND, Dice, at, us_words
from demo.cluster import Json

_GO = "aws-sdk-go-v2/1.30.4 ua/2.1 os/linux lang/go#1.22.6 md/GOOS#linux md/GOARCH#amd64 api/{0}"
_JAVA = (
    "aws-sdk-java/2.28.11 md/io#sync md/http#Apache ua/2.1 os/Linux#6.8.0-1021-aws lang/java#21.0.4"
)
_GITHUB = "token.actions.githubusercontent.com"
_PODS: tuple[tuple[str, str, str, str], ...] = (
    (
        "kube-system",
        "cluster-autoscaler",
        "harbor-cluster-autoscaler",
        _GO.format("autoscaling#1.43.5"),
    ),
    (
        "kube-system",
        "aws-load-balancer-controller",
        "harbor-lb-controller",
        _GO.format("elasticloadbalancingv2#1.35.0"),
    ),
    (
        "external-secrets",
        "external-secrets",
        "harbor-external-secrets",
        _GO.format("secretsmanager#1.32.4"),
    ),
    ("payments", "ledger-api", "harbor-prod-ledger", _JAVA),
    ("payments", "invoices", "harbor-invoices", _JAVA),
    ("crossplane-system", "provider-aws", "harbor-crossplane-admin", _GO.format("iam#1.35.0")),
)


class Account:
    """Sessions of roles, renewed as time goes, and the records they have left."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.records: list[Json] = []
        self._sessions: dict[str, Caller] = {}

    def _add(
        self,
        time: int,
        caller: Caller,
        service: str,
        name: str,
        request: Json | None = None,
        response: Json | None = None,
        **more: Any,
    ) -> None:
        self.records.append(
            call(self._dice, time, caller, service, name, request, response, **more)
        )

    def _renew(self, time: int) -> None:
        """Everybody with a role gets fresh credentials."""
        dice = self._dice
        for namespace, account, role, agent in _PODS:
            session = f"{dice.randint(10**18, 10**19)}"
            moment = time + dice.between(0, 4 * SECOND)
            record, key = assume_with_token(
                dice, moment, NAT, agent, (namespace, account), role, session
            )
            self.records.append(record)
            self._sessions[role] = role_caller(
                role, session, key, moment, NAT, agent, federated=oidc_arn()
            )
        for node in NODES:
            stolen = node is NODE_2 and time == at("20:00")
            key = NODE_KEY if stolen else dice.aws_id("ASIA")
            arn = f"arn:aws:iam::{ACCOUNT}:role/harbor-prod-node"
            self._add(
                time,
                service_caller("ec2"),
                "sts",
                "AssumeRole",
                {"roleArn": arn, "roleSessionName": node.instance},
                {
                    "credentials": {
                        "accessKeyId": key,
                        "expiration": us_words(time + 6 * 3600 * SECOND),
                    }
                },
                resources=[{"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": arn}],
                extra={"sharedEventID": dice.uuid()},
            )
            self._sessions[node.instance] = role_caller(
                "harbor-prod-node",
                node.instance,
                key,
                time,
                NAT,
                "amazon-ssm-agent/3.3.987.0",
                instance=True,
            )
        vendor = Caller(
            {
                "type": "AWSAccount",
                "principalId": f"{dice.aws_id('AROA')}:collector",
                "accountId": VENDOR_ACCOUNT,
            },
            VENDOR,
            "Boto3/1.35.32 Python/3.12.6 Linux/5.15 Botocore/1.35.32",
        )
        self._service_assume(
            time + SECOND, vendor, "harbor-monitoring", "collector", {"externalId": "hbl-7731"}
        )

    def _service_assume(
        self, time: int, caller: Caller, role: str, session: str, more: Json
    ) -> None:
        key = self._dice.aws_id("ASIA")
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        user = {
            "assumedRoleId": f"{ROLE_IDS[role]}:{session}",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        }
        self._add(
            time,
            caller,
            "sts",
            "AssumeRole",
            {"roleArn": arn, "roleSessionName": session, **more},
            {
                "credentials": {"accessKeyId": key, "expiration": us_words(time + 3600 * SECOND)},
                "assumedRoleUser": user,
            },
            resources=[{"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": arn}],
            extra={"sharedEventID": self._dice.uuid()},
        )
        self._sessions[role] = role_caller(role, session, key, time, caller.address, caller.agent)
