"""The AWS account's trail: how one call becomes a CloudTrail record."""

from dataclasses import dataclass, field
from typing import Any

from demo.cast import ACCOUNT, OIDC, ORGANISATION, REGION, ROLE_IDS, USER_IDS
from demo.clock import Dice, iso_second, us_words

Json = dict[str, Any]

CLI = (
    "aws-cli/2.31.13 md/awscrt#0.27.6 ua/2.1 os/linux#6.8.0-86-generic md/arch#x86_64 "
    "lang/python#3.13.7"
)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_VERSIONS = {"ec2": "1.10", "cloudtrail": "1.09", "signin": "1.09", "kms": "1.09"}
"""Service → `eventVersion`; the others write 1.11."""
_GLOBAL = ("iam", "signin")
_CIPHER = {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"}


@dataclass
class Caller:
    """An identity with the credentials it holds, seen from one address."""

    identity: Json
    address: str
    agent: str
    extra: Json = field(default_factory=dict)
    """Members that every record of it carries: `vpcEndpointId`, `sessionCredentialFromConsole`."""


def user_caller(
    name: str, key: str, address: str, agent: str, *, console: str = "", mfa: bool = False
) -> Caller:
    """An IAM user, with its access key or (console: time of login) a console session."""
    identity: Json = {
        "type": "IAMUser",
        "principalId": USER_IDS[name],
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "userName": name,
    }
    if console:
        attributes = {"creationDate": console, "mfaAuthenticated": "true" if mfa else "false"}
        identity["sessionContext"] = {"attributes": attributes}
        return Caller(identity, address, agent, {"sessionCredentialFromConsole": "true"})
    return Caller(identity, address, agent)


def role_caller(
    role: str,
    session: str,
    key: str,
    created_us: int,
    address: str,
    agent: str,
    *,
    federated: str = "",
    instance: bool = False,
) -> Caller:
    """An assumed role; federated: the OIDC provider's ARN; instance: handed out by IMDSv2."""
    issuer = {
        "type": "Role",
        "principalId": ROLE_IDS[role],
        "arn": f"arn:aws:iam::{ACCOUNT}:role/{role}",
        "accountId": ACCOUNT,
        "userName": role,
    }
    context: Json = {"sessionIssuer": issuer}
    if federated:
        context["webIdFederationData"] = {"federatedProvider": federated, "attributes": {}}
    context["attributes"] = {"creationDate": iso_second(created_us), "mfaAuthenticated": "false"}
    if instance:
        context["ec2RoleDelivery"] = "2.0"
    identity = {
        "type": "AssumedRole",
        "principalId": f"{ROLE_IDS[role]}:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "sessionContext": context,
    }
    return Caller(identity, address, agent)


def service_caller(service: str) -> Caller:
    """An AWS service that acts by itself."""
    identity = {"type": "AWSService", "invokedBy": f"{service}.amazonaws.com"}
    return Caller(identity, f"{service}.amazonaws.com", f"{service}.amazonaws.com")


def oidc_arn(provider: str = OIDC) -> str:
    """Return the ARN of an identity provider."""
    return f"arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}"


def call(
    dice: Dice,
    time_us: int,
    caller: Caller,
    service: str,
    name: str,
    request: Json | None = None,
    response: Json | None = None,
    *,
    region: str = "",
    error: tuple[str, str] = ("", ""),
    resources: list[Json] | None = None,
    extra: Json | None = None,
    write: bool | None = None,
) -> Json:
    """Return the record of a management call.

    Args:
        dice: source of ids.
        time_us: when, microseconds since 1970.
        caller: who.
        service: `iam`, `s3`, …
        name: the API action.
        request: `requestParameters`.
        response: `responseElements`.
        region: where it differs from the cluster's region, or from us-east-1 for IAM.
        error: `errorCode` and `errorMessage`.
        resources: `resources`.
        extra: further members.
        write: whether it changes something; by default, told from the action's name.
    """
    region = region or ("us-east-1" if service in _GLOBAL else REGION)
    reads = name.startswith(
        ("Describe", "List", "Get", "Batch", "Decrypt", "Assume", "Head", "Lookup")
    )
    record: Json = {
        "eventVersion": _VERSIONS.get(service, "1.11"),
        "userIdentity": caller.identity,
        "eventTime": iso_second(time_us),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": caller.address,
        "userAgent": f"[{caller.agent}]" if service == "s3" else caller.agent,
    }
    if error[0]:
        record |= {"errorCode": error[0], "errorMessage": error[1]}
    record["requestParameters"] = request
    record["responseElements"] = response
    if service == "s3":
        record["additionalEventData"] = {
            "SignatureVersion": "SigV4",
            "CipherSuite": "TLS_AES_128_GCM_SHA256",
            "bytesTransferredIn": 0,
            "AuthenticationMethod": "AuthHeader",
            "x-amz-id-2": f"{dice.alnum(27)}=",
            "bytesTransferredOut": dice.randint(220, 4000),
        }
    record["requestID"] = dice.hexes(16).upper() if service == "s3" else dice.uuid()
    record["eventID"] = dice.uuid()
    record["readOnly"] = reads if write is None else not write
    if resources:
        record["resources"] = resources
    record |= {
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }
    if caller.identity["type"] != "AWSService":
        host = (
            f"{service}.amazonaws.com"
            if service in _GLOBAL
            else f"{service}.{region}.amazonaws.com"
        )
        record["tlsDetails"] = {**_CIPHER, "clientProvidedHostHeader": host}
    return record | caller.extra | (extra or {})


def object_call(
    dice: Dice, time_us: int, caller: Caller, name: str, bucket: str, key: str, size: int
) -> Json:
    """Return the record of a data event on an S3 object."""
    host = f"{bucket}.s3.{REGION}.amazonaws.com"
    resources = [
        {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/{key}"},
        {"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"},
    ]
    record = call(
        dice,
        time_us,
        caller,
        "s3",
        name,
        {"bucketName": bucket, "Host": host, "key": key},
        resources=resources,
        write=name.startswith("Put"),
    )
    moved = "bytesTransferredIn" if name.startswith("Put") else "bytesTransferredOut"
    record["additionalEventData"][moved] = size
    record |= {"managementEvent": False, "eventCategory": "Data"}
    record["tlsDetails"]["clientProvidedHostHeader"] = host
    return record


def assume_with_token(
    dice: Dice,
    time_us: int,
    address: str,
    agent: str,
    account: tuple[str, str],
    role: str,
    session: str,
    *,
    provider: str = OIDC,
    subject: str = "",
) -> tuple[Json, str]:
    """Trade a web identity token for a role; returns the record and the access key it gave.

    `account` is a Kubernetes namespace and service account; it counts where no `subject` is given.
    """
    key = dice.aws_id("ASIA")
    who = subject or f"system:serviceaccount:{account[0]}:{account[1]}"
    identity = {
        "type": "WebIdentityUser",
        "principalId": f"{oidc_arn(provider)}:sts.amazonaws.com:{who}",
        "userName": who,
        "identityProvider": oidc_arn(provider),
    }
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    response = {
        "credentials": {
            "accessKeyId": key,
            "sessionToken": f"IQoJb3JpZ2luX2VjEXAMPLETOKEN{dice.alnum(12)}==",
            "expiration": us_words(time_us + 3600 * 1_000_000),
        },
        "subjectFromWebIdentityToken": who,
        "assumedRoleUser": {
            "assumedRoleId": f"{ROLE_IDS[role]}:{session}",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        },
        "provider": oidc_arn(provider),
        "audience": "sts.amazonaws.com",
    }
    record = call(
        dice,
        time_us,
        Caller(identity, address, agent),
        "sts",
        "AssumeRoleWithWebIdentity",
        {"roleArn": arn, "roleSessionName": session, "durationSeconds": 3600},
        response,
        resources=[{"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": arn}],
    )
    return record, key


def console_login(
    dice: Dice, time_us: int, identity: Json, address: str, *, mfa: bool, failed: bool = False
) -> Json:
    """Return the record of a sign-in to the console."""
    record = call(
        dice,
        time_us,
        Caller(identity, address, BROWSER),
        "signin",
        "ConsoleLogin",
        None,
        {"ConsoleLogin": "Failure" if failed else "Success"},
        write=True,
    )
    if failed:
        record["errorMessage"] = "Failed authentication"
    record["additionalEventData"] = {
        "LoginTo": "https://console.aws.amazon.com/console/home?hashArgs=%23&isauthcode=true&state=hashArgsFromTB",
        "MobileVersion": "No",
        "MFAUsed": "Yes" if mfa else "No",
    }
    del record["requestID"]
    record["eventType"] = "AwsConsoleSignIn"
    record["tlsDetails"]["clientProvidedHostHeader"] = "signin.aws.amazon.com"
    return record


def root_identity() -> Json:
    """The account's root user."""
    return {
        "type": "Root",
        "principalId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:root",
        "accountId": ACCOUNT,
        "accessKeyId": "",
    }


def log_key(kind: str, region: str, clock: str, tail: str) -> str:
    """Return the object key of a log file of an organisation's trail.

    The layout is that of the CloudTrail user guide, "CloudTrail log file name format".

    Args:
        kind: `CloudTrail` or `CloudTrail-Digest`.
        region: where the calls were made.
        clock: `HHMM` for a log file, `HHMMSS` for a digest, UTC.
        tail: the unique part of the name.
    """
    stamp = f"20261112T{clock}Z"
    folder = f"AWSLogs/{ORGANISATION}/{ACCOUNT}/{kind}/{region}/2026/11/12"
    middle = f"{stamp}_{tail}" if kind == "CloudTrail" else f"{tail}_{region}_{stamp}"
    return f"{folder}/{ACCOUNT}_{kind}_{region}_{middle}.json.gz"
