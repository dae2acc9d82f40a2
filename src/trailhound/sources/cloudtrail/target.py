"""What was acted on.

Resource types are those of AWS CloudFormation ("AWS resource and property types reference"),
which `resources[].type` uses as well.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from trailhound.sources.cloudtrail.arns import arn_type
from trailhound.sources.mapping import reader
from trailhound.sources.members import first_text, reach, text


class Target(Struct, frozen=True):
    """One resource; what is not known of it is empty."""

    name: str = ""
    type: str = ""
    account: str = ""
    """Account that owns it."""


def target(document: Mapping[str, Any]) -> Target:
    """Return the first resource that the record lists, else the one that the request names."""
    if document.get("eventType") == "AwsCloudTrailInsight":
        names = (first_text(paths, document) for paths in _INSIGHT_PATHS)
        return Target(":".join(name for name in names if name), "API")
    resources = document.get("resources")
    for resource in resources if isinstance(resources, list) else ():
        if isinstance(resource, Mapping) and (arn := first_text(_ARNS, resource)):
            kind = text(resource.get("type")) or arn_type(arn)
            return Target(arn, kind, text(resource.get("accountId")) or "")
    return _made(document) or _named(document) or Target()


def _made(document: Mapping[str, Any]) -> Target | None:
    event = document.get("eventName")
    if not isinstance(event, str) or event not in _RESPONSES:
        return None
    path, kind = _RESPONSES[event]
    name = text(reach(document.get("responseElements"), path))
    return Target(name, kind) if name else None


def _named(document: Mapping[str, Any]) -> Target | None:
    parameters = document.get("requestParameters")
    if isinstance(parameters, list):
        parameters = parameters[0] if parameters else None
    if not isinstance(parameters, Mapping):
        return None
    service = (text(document.get("eventSource")) or "").partition(".")[0]
    for first, path, kind in _NAMING.get(service, _NAMING[""]):
        if first not in parameters or not (name := text(reach(parameters, path))):
            continue
        key = text(reach(parameters, "key")) if kind == "AWS::S3::Bucket" else None
        if key:
            return Target(f"{name}/{key}", "AWS::S3::Object")
        return Target(name, kind or arn_type(name))
    return None


_ARNS = (reader("ARN"), reader("ARNPrefix"))
# Of a trail, of an event data store.
_INSIGHT_PATHS = (
    (reader("insightDetails.eventSource"), reader("insightEventSource")),
    (reader("insightDetails.eventName"), reader("insightEventName")),
)

_Names = tuple[tuple[str, str], ...]
"""(path below requestParameters, type of the resource it names), first found wins."""

_PARAMETERS: dict[str, _Names] = {
    "cloudformation": (("stackName", "AWS::CloudFormation::Stack"),),
    "cloudtrail": (
        ("name", "AWS::CloudTrail::Trail"),
        ("trailName", "AWS::CloudTrail::Trail"),
        ("eventDataStore", "AWS::CloudTrail::EventDataStore"),
    ),
    "config": (
        ("configurationRecorderName", "AWS::Config::ConfigurationRecorder"),
        ("configurationRecorder.name", "AWS::Config::ConfigurationRecorder"),
        ("deliveryChannelName", "AWS::Config::DeliveryChannel"),
        ("configRuleName", "AWS::Config::ConfigRule"),
    ),
    "dynamodb": (("tableName", "AWS::DynamoDB::Table"),),
    "ec2": (
        ("instanceId", "AWS::EC2::Instance"),
        ("instancesSet.items.instanceId", "AWS::EC2::Instance"),
        ("snapshotId", "AWS::EC2::Snapshot"),
        ("volumeId", "AWS::EC2::Volume"),
        ("groupId", "AWS::EC2::SecurityGroup"),
        ("groupName", "AWS::EC2::SecurityGroup"),
        ("networkInterfaceId", "AWS::EC2::NetworkInterface"),
        ("networkAclId", "AWS::EC2::NetworkAcl"),
        ("routeTableId", "AWS::EC2::RouteTable"),
        ("internetGatewayId", "AWS::EC2::InternetGateway"),
        ("subnetId", "AWS::EC2::Subnet"),
        ("vpcId", "AWS::EC2::VPC"),
        ("keyName", "AWS::EC2::KeyPair"),
        ("imageId", "AWS::EC2::Image"),
    ),
    "ecr": (("repositoryName", "AWS::ECR::Repository"),),
    "ecs": (
        ("taskDefinition", "AWS::ECS::TaskDefinition"),
        ("service", "AWS::ECS::Service"),
        ("cluster", "AWS::ECS::Cluster"),
        ("family", "AWS::ECS::TaskDefinition"),
    ),
    "eks": (("name", "AWS::EKS::Cluster"), ("clusterName", "AWS::EKS::Cluster")),
    "guardduty": (("detectorId", "AWS::GuardDuty::Detector"),),
    "iam": (
        ("userName", "AWS::IAM::User"),
        ("roleName", "AWS::IAM::Role"),
        ("groupName", "AWS::IAM::Group"),
        ("instanceProfileName", "AWS::IAM::InstanceProfile"),
        ("policyArn", "AWS::IAM::ManagedPolicy"),
        ("policyName", "AWS::IAM::ManagedPolicy"),
        ("serialNumber", "AWS::IAM::VirtualMFADevice"),
        ("sAMLProviderArn", "AWS::IAM::SAMLProvider"),
        ("openIDConnectProviderArn", "AWS::IAM::OIDCProvider"),
    ),
    "logs": (("logGroupName", "AWS::Logs::LogGroup"),),
    "organizations": (("accountId", "AWS::Organizations::Account"),),
    "rds": (
        ("dBInstanceIdentifier", "AWS::RDS::DBInstance"),
        ("dBClusterIdentifier", "AWS::RDS::DBCluster"),
        ("dBSnapshotIdentifier", "AWS::RDS::DBSnapshot"),
    ),
    "route53": (("hostedZoneId", "AWS::Route53::HostedZone"),),
    "secretsmanager": (
        ("name", "AWS::SecretsManager::Secret"),
        ("secretIdList", "AWS::SecretsManager::Secret"),
    ),
    "sns": (("topicArn", "AWS::SNS::Topic"),),
    "sqs": (("queueUrl", "AWS::SQS::Queue"), ("queueName", "AWS::SQS::Queue")),
    "ssm": (
        ("target", "AWS::EC2::Instance"),
        ("instanceId", "AWS::EC2::Instance"),
        ("instanceIds", "AWS::EC2::Instance"),
        ("name", "AWS::SSM::Parameter"),
        ("names", "AWS::SSM::Parameter"),
        ("documentName", "AWS::SSM::Document"),
    ),
    "sts": (("roleArn", "AWS::IAM::Role"), ("name", "AWS::STS::FederatedUser")),
}
_ANY_PARAMETER: _Names = (
    ("bucketName", "AWS::S3::Bucket"),
    ("secretId", "AWS::SecretsManager::Secret"),
    ("functionName", "AWS::Lambda::Function"),
    ("keyId", "AWS::KMS::Key"),
    ("instanceId", "AWS::EC2::Instance"),
    ("userName", "AWS::IAM::User"),
    ("roleName", "AWS::IAM::Role"),
    ("resourceArn", ""),
    ("resourceId", ""),
)
_NAMING = {
    service: tuple((path.partition(".")[0], path, kind) for path, kind in (*own, *_ANY_PARAMETER))
    for service, own in {"": (), **_PARAMETERS}.items()
}
"""Service (empty: any other) → (first step of a path, the path, type of what it names)."""
# What an event makes has its name in the answer; what it is made from stands in the request.
_RESPONSES: dict[str, tuple[str, str]] = {
    "CreateAccessKey": ("accessKey.userName", "AWS::IAM::User"),
    "CreateKey": ("keyMetadata.arn", "AWS::KMS::Key"),
    "CreateSecurityGroup": ("groupId", "AWS::EC2::SecurityGroup"),
    "CreateSnapshot": ("snapshotId", "AWS::EC2::Snapshot"),
    "RunInstances": ("instancesSet.items.instanceId", "AWS::EC2::Instance"),
}
