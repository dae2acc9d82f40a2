"""Fields of CloudTrail: `ct.*`, `s3.*`, `ec2.*`, `ecr.*` (falcosecurity/plugins, 0.13)."""

from trailhound.dialects.falco.fields import (
    FalcoField,
    Readings,
    below,
    constant,
    either,
    first,
    is_one_of,
    is_text,
    plain,
    where,
)
from trailhound.rules.ir import (
    AnyRun,
    Compare,
    Equals,
    Exists,
    Like,
    Not,
    Or,
    Predicate,
    Step,
    Text,
)

_TYPE = plain("userIdentity", "type")
_NAME = plain("eventName")
_READ_ONLY = plain("readOnly")
_ISSUER = ("userIdentity", "sessionContext", "sessionIssuer", "userName")
# How the plugin guesses where an event does not say: by the first word of its name.
_CHANGING = (
    "Activate", "Add", "Admin", "Assign", "Associate", "Attach", "Cancel", "Close", "Create",
    "Delete", "Deregister", "Destroy", "Detach", "Disable", "Disassociate", "Enable",
    "Initialize", "Modify", "Open", "Purchase", "Put", "Reboot", "Register", "Remove", "Run",
    "Set", "Start", "Stop", "Suspend", "Terminate", "Unassign", "Unlink", "Update", "Upgrade",
    "Wipe",
)  # fmt: skip
_changes = Or(tuple(Compare(_NAME, Like((Text(word), AnyRun()), cased=True)) for word in _CHANGING))
_read_only = Compare(_READ_ONLY, Equals("true", cased=True))
_managed = Compare(plain("managementEvent"), Equals("true", cased=True))
_bucket, _key = ("requestParameters", "bucketName"), ("requestParameters", "key")
_BYTES_IN = ("additionalEventData", "bytesTransferredIn")
_BYTES_OUT = ("additionalEventData", "bytesTransferredOut")


def _text(name: str, description: str, *path: str) -> FalcoField:
    return FalcoField(name, description, below(*path), nulls=False)


def _request(name: str, key: str, description: str) -> FalcoField:
    return _text(name, description, "requestParameters", key)


def _of_type(*types: str) -> Predicate:
    return is_one_of(_TYPE, *types)


def _counted(name: str, description: str, condition: Predicate) -> FalcoField:
    return FalcoField(name, description, constant("1", condition), number=True, nulls=False)


def _user(argument: str) -> Readings:
    return first(
        where(_of_type("Root", "IAMUser"), below("userIdentity", "userName")),
        where(_of_type("AWSService"), below("userIdentity", "invokedBy")),
        where(_of_type("AssumedRole"), below(*_ISSUER)),
        where(_of_type("AssumedRole"), constant("AssumedRole", Not(is_text(plain(*_ISSUER))))),
        where(_of_type("AWSAccount"), constant("AWSAccount")),
        where(_of_type("FederatedUser"), constant("FederatedUser")),
    )(argument)


FIELDS: tuple[FalcoField, ...] = (
    _text("ct.id", "Id of the event.", "eventID"),
    _text("ct.error", "Error code; absent where the call succeeded.", "errorCode"),
    _text("ct.time", "Time as written.", "eventTime"),
    _text("ct.src", "Service: `ecs.amazonaws.com`.", "eventSource"),
    FalcoField(
        "ct.shortsrc",
        "Service without `.amazonaws.com`.",
        below("eventSource", via=(Step("trim-end", (".amazonaws.com",)),)),
        nulls=False,
    ),
    _text("ct.name", "Name of the call: `ConsoleLogin`.", "eventName"),
    FalcoField(
        "ct.user",
        "Who called: a user's name, the service, the role's name, or the kind of identity.",
        _user,
        nulls=False,
    ),
    _text("ct.user.accountid", "Account of who called.", "userIdentity", "accountId"),
    _text("ct.user.identitytype", "Kind of who called: `Root`, `IAMUser`.", "userIdentity", "type"),
    _text("ct.user.principalid", "Principal id of who called.", "userIdentity", "principalId"),
    _text("ct.user.arn", "ARN of who called.", "userIdentity", "arn"),
    _text("ct.region", "Region.", "awsRegion"),
    _text("ct.response.subnetid", "Subnet in the response.", "responseElements", "subnetId"),
    _text(
        "ct.response.reservationid",
        "Reservation in the response.",
        "responseElements",
        "reservationId",
    ),
    _request("ct.request.availabilityzone", "availabilityZone", "Zone asked for."),
    _request("ct.request.cluster", "cluster", "Cluster named in the request."),
    _request("ct.request.functionname", "functionName", "Function named in the request."),
    _request("ct.request.groupname", "groupName", "Group named in the request."),
    _request("ct.request.host", "Host", "Host named in the request."),
    _request("ct.request.name", "name", "Name of what the request acts on."),
    _request("ct.request.policy", "policy", "Policy in the request."),
    _request("ct.request.serialnumber", "serialNumber", "Serial number in the request."),
    _request("ct.request.servicename", "serviceName", "Service named in the request."),
    _request("ct.request.subnetid", "subnetId", "Subnet named in the request."),
    _request("ct.request.taskdefinition", "taskDefinition", "Task definition in the request."),
    _request("ct.request.username", "userName", "User named in the request."),
    _text("ct.srcip", "Address or service the call came from.", "sourceIPAddress"),
    _text("ct.useragent", "User agent.", "userAgent"),
    FalcoField(
        "ct.info",
        "The event in short. Falco composes a line; here it is the name of the call.",
        below("eventName"),
        nulls=False,
    ),
    FalcoField(
        "ct.managementevent",
        "`true` for management events, else `false`.",
        first(constant("true", _managed), constant("false", Not(_managed))),
        nulls=False,
    ),
    FalcoField(
        "ct.readonly",
        "`true` where the call only reads; guessed from its name where the event does not say.",
        first(
            constant("true", _read_only),
            where(Exists(_READ_ONLY), constant("false", Not(_read_only))),
            where(Not(Exists(_READ_ONLY)), constant("false", _changes)),
            where(Not(Exists(_READ_ONLY)), where(is_text(_NAME), constant("true", Not(_changes)))),
        ),
        nulls=False,
    ),
    FalcoField(
        "s3.uri",
        "Bucket and key as `s3://bucket/key`.",
        below(
            "requestParameters",
            via=(Step("pair", ("bucketName", "key", "/")), Step("with-start", ("s3://",))),
        ),
        nulls=False,
    ),
    _text("s3.bucket", "Bucket.", *_bucket),
    _text("s3.key", "Key of the object.", *_key),
    FalcoField(
        "s3.bytes",
        "Bytes sent and received.",
        either(_BYTES_IN, _BYTES_OUT, via=(Step("sum"),)),
        number=True,
        nulls=False,
    ),
    FalcoField(
        "s3.bytes.in",
        "Bytes received.",
        below(*_BYTES_IN, via=(Step("sum"),)),
        number=True,
        nulls=False,
    ),
    FalcoField(
        "s3.bytes.out",
        "Bytes sent.",
        below(*_BYTES_OUT, via=(Step("sum"),)),
        number=True,
        nulls=False,
    ),
    _counted("s3.cnt.get", "1 for `GetObject`, else absent.", is_one_of(_NAME, "GetObject")),
    _counted("s3.cnt.put", "1 for `PutObject`, else absent.", is_one_of(_NAME, "PutObject")),
    _counted(
        "s3.cnt.other",
        "1 for other calls. (The plugin says 1 for `GetObject` and `PutObject`, against its own "
        "description.)",
        Not(is_one_of(_NAME, "GetObject", "PutObject")),
    ),
    FalcoField(
        "ec2.name",
        "Name given to an instance by its tags.",
        below(
            "requestParameters",
            "tagSpecificationSet",
            "items",
            via=(
                Step("where", ("resourceType", "instance")),
                Step("get", ("tags",)),
                Step("where", ("key", "Name")),
                Step("last"),
                Step("get", ("value",)),
            ),
        ),
        nulls=False,
    ),
    FalcoField(
        "ec2.imageid",
        "Image of the first instance in the response.",
        either(
            ("responseElements", "instancesSet", "items", "0", "imageId"),
            ("responseElements", "tagSpecificationSet", "items", "0", "imageId"),
        ),
        nulls=False,
    ),
    _request("ecr.repository", "repositoryName", "Repository of a container image."),
    _request("ecr.imagetag", "imageTag", "Tag of a container image."),
)
