"""CI, backups and people in the account."""

from demo.account import (
    BROWSER,
    CLI,
    Caller,
    assume_with_token,
    console_login,
    oidc_arn,
    role_caller,
    root_identity,
    service_caller,
    user_caller,
)
from demo.account_sessions import _GITHUB, _GO, Account
from demo.cast import ACCOUNT, CLUSTER, HOME, OFFICE, USER_IDS
from demo.clock import MINUTE, SECOND, at, iso_second

END = at("22:00")


class People(Account):
    """What is not there every minute."""

    def _deploy(self, time: int, number: int) -> None:
        dice = self._dice
        agent = _GO.format("ecr#1.36.0")
        record, key = assume_with_token(
            dice,
            time,
            "198.51.100.77",
            agent,
            ("", ""),
            "harbor-ci-deploy",
            "GitHubActions",
            provider=_GITHUB,
            subject="repo:harborlight/platform:environment:prod",
        )
        self.records.append(record)
        caller = role_caller(
            "harbor-ci-deploy",
            "GitHubActions",
            key,
            time,
            "198.51.100.77",
            agent,
            federated=oidc_arn(_GITHUB),
        )
        registry = {"registryId": ACCOUNT, "repositoryName": "web"}
        self._add(time + 2 * SECOND, caller, "sts", "GetCallerIdentity")
        self._add(time + 3 * SECOND, caller, "ecr", "GetAuthorizationToken", {})
        self._add(time + 31 * SECOND, caller, "ecr", "InitiateLayerUpload", registry)
        self._add(
            time + 39 * SECOND,
            caller,
            "ecr",
            "PutImage",
            {**registry, "imageTag": f"2026.11.12-{number + 4}"},
        )
        self._add(time + 44 * SECOND, caller, "eks", "DescribeCluster", {"name": CLUSTER})

    def _backup(self, time: int) -> None:
        self._service_assume(
            time,
            service_caller("backup"),
            "harbor-backup",
            "AWSBackup-AWSBackupDefault",
            {"durationSeconds": 3600},
        )
        caller = self._sessions["harbor-backup"]
        for number in range(6):
            volume, snapshot = f"vol-0{self._dice.hexes(16)}", f"snap-0{self._dice.hexes(16)}"
            moment = time + (number + 1) * 9 * SECOND
            self._add(
                moment,
                caller,
                "ec2",
                "CreateSnapshot",
                {
                    "volumeId": volume,
                    "description": "This snapshot is created by the AWS Backup service.",
                },
                {
                    "requestId": self._dice.uuid(),
                    "snapshotId": snapshot,
                    "volumeId": volume,
                    "status": "pending",
                },
            )
            for poll in range(4):
                self._add(
                    moment + (poll + 1) * 20 * SECOND,
                    caller,
                    "ec2",
                    "DescribeSnapshots",
                    {"snapshotSet": {"items": [{"snapshotId": snapshot}]}},
                )

    def _people(self) -> None:
        """Marta and Priya in the console with MFA; the finance owner signs in as root, with MFA."""
        for name, clock, address, pages in (
            ("marta.kowal", "17:21:08", OFFICE, 30),
            ("priya.nair", "18:50:33", HOME, 18),
        ):
            time = at(clock)
            identity = {
                "type": "IAMUser",
                "principalId": USER_IDS[name],
                "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
                "accountId": ACCOUNT,
                "userName": name,
            }
            self.records.append(console_login(self._dice, time, identity, address, mfa=True))
            caller = user_caller(
                name,
                self._dice.aws_id("ASIA"),
                address,
                BROWSER,
                console=iso_second(time),
                mfa=True,
            )
            for page in range(pages):
                service, action = self._dice.choice(
                    (
                        ("ec2", "DescribeInstances"),
                        ("eks", "DescribeCluster"),
                        ("ec2", "DescribeAlarms"),
                        ("s3", "ListBuckets"),
                        ("iam", "ListUsers"),
                        ("health", "DescribeEventAggregates"),
                    )
                )
                service = "monitoring" if action == "DescribeAlarms" else service
                self._add(
                    time + (page + 1) * self._dice.between(9 * SECOND, 14 * SECOND),
                    caller,
                    service,
                    action,
                    {"name": CLUSTER} if service == "eks" else None,
                )
        self.records.append(
            console_login(self._dice, at("17:44:20"), root_identity(), OFFICE, mfa=True)
        )
        bills = Caller(
            root_identity()
            | {
                "accessKeyId": self._dice.aws_id("ASIA"),
                "sessionContext": {
                    "attributes": {
                        "creationDate": iso_second(at("17:44:20")),
                        "mfaAuthenticated": "true",
                    }
                },
            },
            OFFICE,
            BROWSER,
            {"sessionCredentialFromConsole": "true"},
        )
        for page, name in enumerate(
            ("GetAccountInformation", "ListBillingViews", "GetBillingPreferences")
        ):
            self._add(
                at("17:45:02") + page * 21 * SECOND,
                bills,
                "billing",
                name,
                None,
                region="us-east-1",
            )
        artifacts = user_caller("ci-artifacts", "AKIA2PARTIFACEXAMPLE", "198.51.100.77", CLI)
        for time in range(at("17:30"), END, 90 * MINUTE):
            message = (
                f"User: arn:aws:iam::{ACCOUNT}:user/ci-artifacts is not authorized to perform: "
                "s3:PutBucketAcl because no identity-based policy allows the s3:PutBucketAcl action"
            )
            bucket = "harborlight-artifacts"
            self._add(
                time,
                artifacts,
                "s3",
                "PutBucketAcl",
                {"bucketName": bucket, "Host": f"{bucket}.s3.eu-west-1.amazonaws.com"},
                error=("AccessDenied", message),
            )
