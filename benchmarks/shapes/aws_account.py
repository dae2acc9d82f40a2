"""The made-up AWS account behind the CloudTrail log: who calls, from where, with what."""

from dataclasses import dataclass

from benchmarks.shapes.dice import Dice

ACCOUNT = "111122223333"
REGIONS = ("eu-west-1", "eu-west-1", "eu-west-1", "eu-central-1", "us-east-1")

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_SDKS = (
    (
        "aws-sdk-go-v2/1.36.0 ua/2.1 os/linux lang/go#1.23.5 md/GOOS#linux md/GOARCH#amd64 "
        "api/{0}#1.54.2"
    ),
    (
        "Boto3/1.36.9 md/Botocore#1.36.9 ua/2.0 os/linux#6.1.124-134.200.amzn2023.x86_64 "
        "md/arch#x86_64 "
        "lang/python#3.12.8 md/pyimpl#CPython cfg/retry-mode#standard Botocore/1.36.9"
    ),
    (
        "aws-sdk-java/2.30.8 md/io#sync md/http#Apache ua/2.1 "
        "os/Linux#5.10.230-223.885.amzn2.x86_64 "
        "lang/java#21.0.6 md/OpenJDK_64-Bit_Server_VM#21.0.6+7-LTS md/vendor#Amazon.com_Inc. "
        "api/{0}#2.30.x"
    ),
    (
        "APN/1.0 HashiCorp/1.0 Terraform/1.10.5 (+https://www.terraform.io) "
        "terraform-provider-aws/5.84.0 "
        "(+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.0 ua/2.1 "
        "os/linux "
        "lang/go#1.23.5 md/GOOS#linux md/GOARCH#amd64 api/{0}#1.200.0"
    ),
    (
        "aws-cli/2.23.6 md/awscrt#0.23.4 ua/2.0 os/linux#6.8.0-51-generic md/arch#x86_64 "
        "lang/python#3.12.6 "
        "md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#{0}"
    ),
)
_USERS = (
    "ci-terraform",
    "ci-deploy",
    "svc-monitoring",
    "svc-backup",
    "svc-inventory",
    "svc-etl",
    "svc-cost-report",
    "svc-search",
    "ana.kovac",
    "ben.osei",
    "carla.ruiz",
    "deniz.aydin",
    "hana.sato",
    "marco.conti",
)
_ROLES = (
    ("eks-node-group", "i-0{0}"),
    ("checkout-task", "{0}"),
    ("payments-lambda", "payments-handler"),
    ("github-actions-deploy", "GitHubActions"),
    ("datadog-integration", "DatadogAWSIntegration"),
    ("AWSReservedSSO_PowerUser_5f1c2d3e4a5b6c7d", "ana.kovac@example.com"),
    ("etl-glue", "GlueJobRunnerSession"),
    ("backup-operator", "AWSBackup"),
)
SERVICES = (
    (
        "ec2",
        "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
        "autoscaling",
    ),
    ("lambda", "payments-lambda", "lambda"),
    ("ecs-tasks", "checkout-task", "ecs-tasks"),
    ("ec2", "eks-node-group", "ec2"),
    ("config", "aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig", "config"),
    ("cloudtrail", "cloudtrail-to-logs", "cloudtrail"),
    ("glue", "etl-glue", "glue"),
    ("backup", "backup-operator", "backup"),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who calls AWS; JSON parts are ready to be pasted."""

    identity: str
    """The `userIdentity` object."""
    ip: str
    agent: str
    """`userAgent`; `{0}` stands for the service called."""
    name: str
    console: bool = False


def unique_id(dice: Dice, prefix: str) -> str:
    """An IAM unique identifier: `AIDA…`, `AROA…`, `ASIA…`."""
    return prefix + dice.letters(16, _UPPER)


def session_token(dice: Dice) -> str:
    """Something that looks like a session token, about 850 characters."""
    bits = dice.bits(6 * 210)
    part = "".join(_BASE64[(bits >> shift) & 63] for shift in range(0, 6 * 210, 6))
    return f"IQoJb3JpZ2luX2VjE{part}{part[70:]}{part[50:]}{part}{part[90:]}=="


def user(dice: Dice, name: str) -> Caller:
    """An IAM user with an access key of its own."""
    session = ""
    key = unique_id(dice, "AKIA")
    person = "." in name
    if person:
        key = unique_id(dice, "ASIA")
        session = (
            ',"sessionContext":{"sessionIssuer":{},"webIdFederationData":{},"attributes":'
            '{"creationDate":"2025-03-03T10:58:12Z","mfaAuthenticated":"true"}}'
        )
    return Caller(
        identity=(
            f'{{"type":"IAMUser","principalId":"{unique_id(dice, "AIDA")}",'
            f'"arn":"arn:aws:iam::{ACCOUNT}:user/{name}","accountId":"{ACCOUNT}",'
            f'"accessKeyId":"{key}","userName":"{name}"{session}}}'
        ),
        ip=dice.public_ip(),
        agent=_SDKS[4] if person else dice.pick(_SDKS[:4]),
        name=name,
        console=person,
    )


def role_session(dice: Dice, role: str, session: str) -> Caller:
    """A session of an assumed role."""
    principal = unique_id(dice, "AROA")
    session = session.replace("{0}", dice.hex(16))
    return Caller(
        identity=(
            f'{{"type":"AssumedRole","principalId":"{principal}:{session}",'
            f'"arn":"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}","accountId":"{ACCOUNT}",'
            f'"accessKeyId":"{unique_id(dice, "ASIA")}","sessionContext":{{"sessionIssuer":'
            f'{{"type":"Role","principalId":"{principal}","arn":"arn:aws:iam::{ACCOUNT}:role/{role}",'
            f'"accountId":"{ACCOUNT}","userName":"{role}"}},"attributes":'
            '{"creationDate":"2025-03-03T10:41:07Z","mfaAuthenticated":"false"}}}'
        ),
        ip=dice.public_ip(),
        agent=dice.pick(_SDKS[:4]),
        name=session,
    )


@dataclass(frozen=True, slots=True)
class Account:
    """Everyone who calls."""

    users: tuple[Caller, ...]
    people: tuple[Caller, ...]
    roles: tuple[Caller, ...]
    root: Caller
    intruder: Caller


def build(dice: Dice) -> Account:
    """Make the account that a seed stands for."""
    users = tuple(user(dice, name) for name in _USERS)
    return Account(
        users=users,
        people=tuple(caller for caller in users if caller.console),
        roles=tuple(
            role_session(dice, role, session) for role, session in _ROLES for _ in range(6)
        ),
        root=Caller(
            f'{{"type":"Root","principalId":"{ACCOUNT}","arn":"arn:aws:iam::{ACCOUNT}:root",'
            f'"accountId":"{ACCOUNT}","accessKeyId":"{unique_id(dice, "ASIA")}","sessionContext":'
            '{"sessionIssuer":{},"webIdFederationData":{},"attributes":'
            '{"creationDate":"2025-03-03T10:12:44Z","mfaAuthenticated":"true"}}}',
            dice.public_ip(),
            "Mozilla/5.0 (X11; Linux x86_64; rv:134.0) Gecko/20100101 Firefox/134.0",
            "root",
        ),
        intruder=user(dice, "svc-legacy"),
    )
