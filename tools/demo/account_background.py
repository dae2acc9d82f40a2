"""The account at work: pods with roles, the monitoring vendor, nodes, and AWS itself."""

from collections.abc import Callable

from demo.account import Caller, object_call, role_caller, service_caller
from demo.account_people import People
from demo.cast import ACCOUNT, CLUSTER, NODES, REGION
from demo.clock import MINUTE, SECOND, at
from demo.cluster import Json

START, END = at("17:00"), at("22:00")


class Background(People):
    """Builds the ordinary calls of the evening."""

    def build(self) -> list[Json]:
        """Return all of it."""
        for time in range(START, END, 30 * MINUTE):
            self._renew(time)
            rates: tuple[tuple[Callable[[int], None], int], ...] = (
                (self._monitor, 18 * SECOND),
                (self._scaler, 33 * SECOND),
                (self._balancer, 41 * SECOND),
                (self._node, 35 * SECOND),
                (self._service_role, 70 * SECOND),
                (self._config, 45 * SECOND),
                (self._invoices, 28 * SECOND),
                (self._crossplane, 90 * SECOND),
                (self._secret, 6 * MINUTE),
            )
            for make, step in rates:
                for moment in self._dice.every(
                    time + 5 * SECOND, time + 30 * MINUTE, step, step - SECOND
                ):
                    make(moment)
        for number, clock in enumerate(
            ("17:12:35", "17:58:07", "18:36:49", "19:05:24", "20:20:15", "21:11:38")
        ):
            self._deploy(at(clock), number)
        self._backup(at("18:00:12"))
        self._people()
        return self.records

    def _monitor(self, time: int) -> None:
        service, name, request = self._dice.choice(
            (
                (
                    "ec2",
                    "DescribeInstances",
                    {"maxResults": 1000, "instancesSet": {}, "filterSet": {}},
                ),
                ("ec2", "DescribeVolumes", {"maxResults": 500, "volumeSet": {}, "filterSet": {}}),
                ("ec2", "DescribeVpcs", {"vpcSet": {}, "filterSet": {}}),
                ("elasticloadbalancing", "DescribeLoadBalancers", {"pageSize": 400}),
                ("autoscaling", "DescribeAutoScalingGroups", {"maxRecords": 100}),
                ("rds", "DescribeDBInstances", None),
                ("eks", "ListClusters", {"maxResults": 100}),
                ("lambda", "ListFunctions20150331", None),
                ("monitoring", "DescribeAlarms", {"maxRecords": 100}),
                ("sqs", "ListQueues", {"maxResults": 1000}),
            )
        )
        self._add(time, self._sessions["harbor-monitoring"], service, name, request)

    def _scaler(self, time: int) -> None:
        name, service = self._dice.choice(
            (
                ("DescribeAutoScalingGroups", "autoscaling"),
                ("DescribeScalingActivities", "autoscaling"),
                ("DescribeLaunchTemplateVersions", "ec2"),
                ("DescribeImages", "ec2"),
            )
        )
        request: Json = (
            {"autoScalingGroupNames": [f"eks-{CLUSTER}-workers"]}
            if service == "autoscaling"
            else {"filterSet": {}}
        )
        self._add(time, self._sessions["harbor-cluster-autoscaler"], service, name, request)

    def _balancer(self, time: int) -> None:
        caller = self._sessions["harbor-lb-controller"]
        name = self._dice.choice(
            (
                "DescribeTargetHealth",
                "DescribeLoadBalancers",
                "DescribeListeners",
                "DescribeTargetGroups",
            )
        )
        target = "targetgroup/k8s-staging-web/0a1b2c3d4e5f6071"
        arn = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{target}"
        self._add(
            time,
            caller,
            "elasticloadbalancing",
            name,
            {"targetGroupArn": arn} if "Health" in name else None,
        )

    def _node(self, time: int) -> None:
        node = self._dice.choice(NODES)
        caller = self._sessions[node.instance]
        registry = {"registryId": ACCOUNT, "repositoryName": "web"}
        service, name, request, write = self._dice.choice(
            (
                (
                    "ssm",
                    "UpdateInstanceInformation",
                    {
                        "instanceId": node.instance,
                        "agentVersion": "3.3.987.0",
                        "agentStatus": "Active",
                        "platformType": "Linux",
                        "platformName": "Ubuntu",
                        "platformVersion": "22.04",
                        "iPAddress": node.address,
                        "computerName": node.short,
                    },
                    True,
                ),
                ("ecr", "GetAuthorizationToken", {}, False),
                (
                    "ecr",
                    "BatchGetImage",
                    {**registry, "imageIds": [{"imageTag": "2026.11.12-4"}]},
                    False,
                ),
                (
                    "ec2",
                    "DescribeInstances",
                    {"instancesSet": {"items": [{"instanceId": node.instance}]}, "filterSet": {}},
                    False,
                ),
                (
                    "ec2",
                    "AssignPrivateIpAddresses",
                    {
                        "networkInterfaceId": f"eni-0{self._dice.hexes(16)}",
                        "secondaryPrivateIpAddressCount": 1,
                    },
                    True,
                ),
            )
        )
        self._add(time, caller, service, name, request, write=write)

    def _service_role(self, time: int) -> None:
        service, role, session = self._dice.choice(
            (
                ("autoscaling", "AWSServiceRoleForAutoScaling", "AutoScaling"),
                ("config", "AWSServiceRoleForConfig", "AWSConfig-Describe"),
            )
        )
        self._service_assume(
            time, service_caller(service), role, session, {"durationSeconds": 3600}
        )

    def _config(self, time: int) -> None:
        """AWS Config takes stock, as the service itself."""
        role = "AWSServiceRoleForConfig"
        caller = role_caller(
            role,
            "AWSConfig-Describe",
            self._dice.aws_id("ASIA"),
            time,
            "config.amazonaws.com",
            "config.amazonaws.com",
        )
        caller.identity["invokedBy"] = "config.amazonaws.com"
        service, name = self._dice.choice(
            (
                ("ec2", "DescribeSecurityGroups"),
                ("ec2", "DescribeSnapshots"),
                ("iam", "ListPolicies"),
                ("s3", "GetBucketPolicy"),
                ("s3", "GetBucketAcl"),
                ("iam", "GetAccountAuthorizationDetails"),
                ("guardduty", "ListDetectors"),
            )
        )
        request = (
            {
                "bucketName": "harborlight-invoices",
                "Host": "harborlight-invoices.s3.eu-west-1.amazonaws.com",
            }
            if service == "s3"
            else None
        )
        self._add(time, caller, service, name, request)

    def _invoices(self, time: int) -> None:
        caller = self._sessions["harbor-invoices"]
        key = f"2026/11/INV-{self._dice.randint(200100, 209999)}.pdf"
        name = self._dice.choice(("GetObject", "PutObject", "PutObject"))
        self.records.append(
            object_call(
                self._dice,
                time,
                caller,
                name,
                "harborlight-invoices",
                key,
                self._dice.randint(20_000, 90_000),
            )
        )

    def _crossplane(self, time: int) -> None:
        """Crossplane compares what is with what should be."""
        caller = self._sessions["harbor-crossplane-admin"]
        service, name, request = self._dice.choice(
            (
                ("iam", "GetRole", {"roleName": "harbor-invoices"}),
                ("iam", "ListAttachedRolePolicies", {"roleName": "harbor-invoices"}),
                ("rds", "DescribeDBInstances", {"dBInstanceIdentifier": "ledger-prod"}),
                ("iam", "GetPolicy", {"policyArn": f"arn:aws:iam::{ACCOUNT}:policy/invoices"}),
            )
        )
        self._add(time, caller, service, name, request)

    def _secret(self, time: int) -> None:
        name = self._dice.choice(("staging/web-env", "prod/ledger-db", "staging/search-env"))
        caller = self._sessions["harbor-external-secrets"]
        arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-GhIjKl"
        key = "key/6f2d1c0b-5a49-4e83-9d17-c8b6a3f0e512"
        self._add(
            time,
            caller,
            "secretsmanager",
            "GetSecretValue",
            {"secretId": name, "versionStage": "AWSCURRENT"},
        )
        inside = Caller(
            {**caller.identity, "invokedBy": "secretsmanager.amazonaws.com"},
            "secretsmanager.amazonaws.com",
            "secretsmanager.amazonaws.com",
        )
        self._add(
            time,
            inside,
            "kms",
            "Decrypt",
            {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": {"SecretARN": arn}},
            resources=[
                {
                    "accountId": ACCOUNT,
                    "type": "AWS::KMS::Key",
                    "ARN": f"arn:aws:kms:{REGION}:{ACCOUNT}:{key}",
                }
            ],
        )
