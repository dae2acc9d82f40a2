"""The intruder in the account: from a pod's role to an administrator of one's own."""

from demo.account import (
    BROWSER,
    CLI,
    Caller,
    Json,
    assume_with_token,
    call,
    console_login,
    object_call,
    oidc_arn,
    role_caller,
    root_identity,
    user_caller,
)
from demo.cast import (
    ACCOUNT,
    ATTACKER,
    LEDGER,
    NODE_2,
    NODE_KEY,
    OUTSIDE_ACCOUNT,
    REGION,
    USER_IDS,
)
from demo.clock import SECOND, Dice, at, iso_second, us_words

_SECRETS = (
    "prod/ledger-db",
    "prod/ledger-signing",
    "prod/stripe-live",
    "prod/bank-sftp",
    "prod/smtp-relay",
    "prod/jwt-private",
    "prod/redis-auth",
    "prod/invoice-pdf",
    "prod/datadog-api",
    "prod/github-app",
    "staging/web-env",
    "staging/search-env",
    "prod/backup-kms",
    "prod/okta-scim",
)
_TRAIL = "harbor-main"
_DETECTOR = "7ac4b1f08e2d94c35b60e1d7f2a8c915"
_EVIL = "cloudwatch-sync"


def attack(dice: Dice) -> list[Json]:
    """Return the intruder's calls."""
    return [*_node_role(dice), *_ledger_role(dice), *_administrator(dice), *_console(dice)]


def _node_role(dice: Dice) -> list[Json]:
    """What the metadata service gave on node-2, used from outside."""
    thief = role_caller(
        "harbor-prod-node", NODE_2.instance, NODE_KEY, at("20:00"), ATTACKER, CLI, instance=True
    )
    return [
        call(dice, at("20:11:02"), thief, "sts", "GetCallerIdentity"),
        call(
            dice,
            at("20:11:19"),
            thief,
            "ec2",
            "DescribeInstances",
            {"instancesSet": {}, "filterSet": {}},
        ),
        call(
            dice, at("20:11:40"), thief, "iam", "ListUsers", error=_denied(thief, "iam:ListUsers")
        ),
        call(dice, at("20:12:05"), thief, "ecr", "DescribeRepositories", {"maxResults": 100}),
    ]


def _denied(caller: Caller, action: str) -> tuple[str, str]:
    message = (
        f"User: {caller.identity['arn']} is not authorized to perform: {action} on resource: "
        f"arn:aws:iam::{ACCOUNT}:user/ because no identity-based policy allows the {action} action"
    )
    return "AccessDenied", message


def _ledger_role(dice: Dice) -> list[Json]:
    """The ledger's token, read in the pod, traded for its role from outside; then the secrets."""
    session = "botocore-session-1794514881"
    record, key = assume_with_token(
        dice,
        at("20:21:21"),
        ATTACKER,
        CLI,
        (LEDGER.namespace, LEDGER.account),
        "harbor-prod-ledger",
        session,
    )
    thief = role_caller(
        "harbor-prod-ledger", session, key, at("20:21:21"), ATTACKER, CLI, federated=oidc_arn()
    )
    records = [
        record,
        call(dice, at("20:21:24"), thief, "sts", "GetCallerIdentity"),
        call(
            dice, at("20:22:03"), thief, "iam", "ListUsers", error=_denied(thief, "iam:ListUsers")
        ),
        call(dice, at("20:22:31"), thief, "secretsmanager", "ListSecrets", {"maxResults": 100}),
    ]
    time = at("20:23:02")
    for name in _SECRETS:
        records.append(
            call(dice, time, thief, "secretsmanager", "GetSecretValue", {"secretId": name})
        )
        time += dice.between(SECOND, 4 * SECOND)
    return records


def _administrator(dice: Dice) -> list[Json]:
    """Crossplane's service account gives the administrator's role; then silence."""
    session = "botocore-session-1794515353"
    record, key = assume_with_token(
        dice,
        at("20:29:13"),
        ATTACKER,
        CLI,
        ("crossplane-system", "provider-aws"),
        "harbor-crossplane-admin",
        session,
    )
    admin = role_caller(
        "harbor-crossplane-admin", session, key, at("20:29:13"), ATTACKER, CLI, federated=oidc_arn()
    )

    def does(
        clock: str,
        service: str,
        name: str,
        request: Json | None = None,
        response: Json | None = None,
    ) -> Json:
        return call(dice, at(clock), admin, service, name, request, response)

    def key_for(clock: str, user: str) -> Json:
        made = {
            "accessKeyId": dice.aws_id("AKIA"),
            "status": "Active",
            "userName": user,
            "createDate": us_words(at(clock)),
        }
        return does(clock, "iam", "CreateAccessKey", {"userName": user}, {"accessKey": made})

    user = {
        "path": "/",
        "userName": _EVIL,
        "userId": USER_IDS[_EVIL],
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{_EVIL}",
        "createDate": us_words(at("20:33:41")),
    }
    profile = {
        "userName": _EVIL,
        "createDate": us_words(at("20:34:30")),
        "passwordResetRequired": False,
    }
    trail = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{_TRAIL}"
    return [
        record,
        does("20:29:18", "sts", "GetCallerIdentity"),
        does("20:30:02", "iam", "ListUsers", {"maxItems": 1000}),
        does("20:30:20", "iam", "ListRoles", {"maxItems": 1000}),
        does("20:30:44", "iam", "ListAccessKeys", {"userName": "backup-operator"}),
        key_for("20:32:15", "backup-operator"),
        does("20:33:41", "iam", "CreateUser", {"userName": _EVIL}, {"user": user}),
        does(
            "20:34:02",
            "iam",
            "AttachUserPolicy",
            {"userName": _EVIL, "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
        ),
        does(
            "20:34:30",
            "iam",
            "CreateLoginProfile",
            {"userName": _EVIL, "passwordResetRequired": False},
            {"loginProfile": profile},
        ),
        key_for("20:34:58", _EVIL),
        does("20:36:10", "cloudtrail", "DescribeTrails", {"includeShadowTrails": False}),
        does("20:36:44", "cloudtrail", "StopLogging", {"name": trail}),
        does("20:37:12", "cloudtrail", "DeleteTrail", {"name": trail}),
        does("20:37:50", "guardduty", "ListDetectors", {}),
        does("20:38:05", "guardduty", "DeleteDetector", {"detectorId": _DETECTOR}),
    ]


def _console(dice: Dice) -> list[Json]:
    """The new user in the console without MFA; root is tried; then data leaves the account."""
    identity = {
        "type": "IAMUser",
        "principalId": USER_IDS[_EVIL],
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{_EVIL}",
        "accountId": ACCOUNT,
        "userName": _EVIL,
    }
    login = at("20:41:27")
    records = [console_login(dice, login, identity, ATTACKER, mfa=False)]
    records += [
        console_login(dice, at(clock), root_identity(), ATTACKER, mfa=False, failed=True)
        for clock in ("20:39:10", "20:39:31", "20:39:58")
    ]
    user = user_caller(_EVIL, dice.aws_id("ASIA"), ATTACKER, BROWSER, console=iso_second(login))
    for second, (service, name) in enumerate(
        (
            ("s3", "ListBuckets"),
            ("ec2", "DescribeSnapshots"),
            ("ec2", "DescribeVolumes"),
            ("rds", "DescribeDBInstances"),
        )
    ):
        records.append(call(dice, login + (second + 1) * 19 * SECOND, user, service, name))
    records += [_open_bucket(dice, user), *_share_snapshot(dice, user), *_bulk(dice)]
    return records


def _open_bucket(dice: Dice, user: Caller) -> Json:
    bucket = "harborlight-invoices"
    statement = {
        "Sid": "PublicRead",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    request = {
        "bucketPolicy": {"Version": "2012-10-17", "Statement": [statement]},
        "bucketName": bucket,
        "Host": f"{bucket}.s3.{REGION}.amazonaws.com",
        "policy": "",
    }
    return call(
        dice,
        at("20:46:51"),
        user,
        "s3",
        "PutBucketPolicy",
        request,
        resources=[
            {"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}
        ],
    )


def _share_snapshot(dice: Dice, user: Caller) -> list[Json]:
    volume, snapshot = "vol-0b7e1f4a92c65d830", "snap-0f83a6d21c94be750"
    permission = {"createVolumePermission": {"add": {"items": [{"userId": OUTSIDE_ACCOUNT}]}}}
    return [
        call(
            dice,
            at("20:49:08"),
            user,
            "ec2",
            "CreateSnapshot",
            {"volumeId": volume, "description": "migration"},
            {
                "requestId": dice.uuid(),
                "snapshotId": snapshot,
                "volumeId": volume,
                "status": "pending",
                "ownerId": ACCOUNT,
                "volumeSize": "200",
                "encrypted": False,
            },
        ),
        call(
            dice,
            at("20:52:40"),
            user,
            "ec2",
            "ModifySnapshotAttribute",
            {"snapshotId": snapshot, **permission, "attributeType": "CREATE_VOLUME_PERMISSION"},
            {"requestId": dice.uuid(), "_return": True},
        ),
    ]


def _bulk(dice: Dice) -> list[Json]:
    """Invoices are fetched one after the other, with the new user's own key."""
    user = user_caller(_EVIL, "AKIA2PCWSYNCEXAMPLE3", ATTACKER, CLI)
    bucket, time = "harborlight-invoices", at("20:55:03")
    listing = {
        "list-type": "2",
        "bucketName": bucket,
        "Host": f"{bucket}.s3.{REGION}.amazonaws.com",
        "prefix": "2026/",
    }
    records = [
        call(dice, time, user, "s3", "ListObjectsV2", listing)
        | {"managementEvent": False, "eventCategory": "Data"}
    ]
    for number in range(70):
        time += dice.between(300_000, 1_900_000)
        key = f"2026/{10 + number % 2}/INV-{200117 + number * 131}.pdf"
        records.append(
            object_call(dice, time, user, "GetObject", bucket, key, dice.randint(20_000, 90_000))
        )
    return records
