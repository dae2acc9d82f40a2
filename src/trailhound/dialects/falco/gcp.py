"""Fields of Google Cloud audit logs: `gcp.*` (falcosecurity/plugins, gcpaudit 0.5)."""

from trailhound.dialects.falco.fields import (
    FalcoField,
    below,
    first,
    is_one_of,
    is_text,
    or_empty,
    plain,
    where,
)
from trailhound.rules.ir import Not, Step

_PAYLOAD = "protoPayload"
_LABELS = ("resource", "labels")
_TYPE = plain("resource", "type")
_JSON = (Step("json"),)
_bucket = is_one_of(_TYPE, "gcs_bucket")
_location, _region = plain(*_LABELS, "location"), plain(*_LABELS, "region")


def _label(name: str, description: str, key: str) -> FalcoField:
    return FalcoField(name, description, below(*_LABELS, key))


FIELDS: tuple[FalcoField, ...] = (
    FalcoField(
        "gcp.user",
        "Who called.",
        or_empty(_PAYLOAD, "authenticationInfo", "principalEmail"),
        nulls=False,
    ),
    FalcoField(
        "gcp.callerIP",
        "Address of the caller.",
        or_empty(_PAYLOAD, "requestMetadata", "callerIp"),
        nulls=False,
    ),
    FalcoField(
        "gcp.userAgent",
        "User agent of the caller.",
        below(_PAYLOAD, "requestMetadata", "callerSuppliedUserAgent"),
    ),
    FalcoField(
        "gcp.authorizationInfo",
        "What was asked for and granted, as JSON.",
        below(_PAYLOAD, "authorizationInfo", via=_JSON),
    ),
    FalcoField("gcp.serviceName", "Service called.", below(_PAYLOAD, "serviceName")),
    FalcoField(
        "gcp.policyDelta",
        "Changes of the access policy of a bucket or data set, as JSON.",
        first(
            where(
                _bucket,
                below(_PAYLOAD, "serviceData", "policyDelta", "bindingDeltas", via=_JSON),
            ),
            where(
                Not(_bucket),
                below(_PAYLOAD, "metadata", "datasetChange", "bindingDeltas", via=_JSON),
            ),
        ),
    ),
    FalcoField("gcp.request", "The request, as JSON.", below(_PAYLOAD, "request", via=_JSON)),
    FalcoField("gcp.methodName", "Method called.", or_empty(_PAYLOAD, "methodName"), nulls=False),
    _label("gcp.cloudfunctions.function", "Function.", "function_name"),
    _label("gcp.cloudsql.databaseId", "Database.", "database_id"),
    _label("gcp.compute.instanceId", "Instance.", "instance_id"),
    _label("gcp.compute.networkId", "Network.", "network_id"),
    _label("gcp.compute.subnetwork", "Subnetwork by name.", "subnetwork_name"),
    _label("gcp.compute.subnetworkId", "Subnetwork by id.", "subnetwork_id"),
    _label("gcp.dns.zone", "DNS zone.", "zone_name"),
    _label("gcp.iam.serviceAccount", "Service account by mail.", "email_id"),
    _label("gcp.iam.serviceAccountId", "Service account by id.", "unique_id"),
    FalcoField(
        "gcp.location",
        "Location, else region, else the region of the zone.",
        first(
            below(*_LABELS, "location"),
            where(Not(is_text(_location)), below(*_LABELS, "region")),
            where(
                Not(is_text(_location)),
                where(
                    Not(is_text(_region)),
                    below(*_LABELS, "zone", via=(Step("without-end", ("2",)),)),
                ),
            ),
        ),
    ),
    FalcoField(
        "gcp.logging.sink",
        "Sink of logs.",
        where(is_one_of(_TYPE, "logging_sink"), below(*_LABELS, "name")),
    ),
    _label("gcp.projectId", "Project.", "project_id"),
    FalcoField("gcp.resourceName", "Resource by name.", below(_PAYLOAD, "resourceName")),
    FalcoField("gcp.resourceType", "Kind of resource.", below("resource", "type")),
    _label("gcp.storage.bucket", "Bucket.", "bucket_name"),
)
