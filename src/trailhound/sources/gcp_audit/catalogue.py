"""Fields of the views of Cloud Audit Logs entries.

Cloud Logging API, `LogEntry`; Cloud Audit Logs, `google.cloud.audit.AuditLog`.
"""

from trailhound.model.logsource import FieldInfo
from trailhound.sources import workspace_events

AUDIT_VIEW = "gcp_audit"

_ENTRY = {
    "insertId": "Id of the entry.",
    "logName": "Log it was written to: activity, data_access, system_event or policy.",
    "timestamp": "When it happened.",
    "receiveTimestamp": "When Cloud Logging got it.",
    "severity": "NOTICE, INFO, ERROR and others.",
    "labels.*": "Labels of the entry.",
    "operation.id": "Long-running operation; its first and last entry share it.",
    "operation.producer": "Service that runs it.",
    "operation.first": "Whether this is its first entry.",
    "operation.last": "Whether this is its last entry.",
    "httpRequest.*": "HTTP request, where there is one.",
    "trace": "Trace.",
    "spanId": "Span of it.",
    "resource.type": "Kind of resource: project, gce_instance, gcs_bucket, service_account.",
    "resource.labels.*": "Which one: project_id, location, bucket_name, instance_id, email_id.",
    "protoPayload.@type": "type.googleapis.com/google.cloud.audit.AuditLog.",
    "protoPayload.serviceName": "API: compute.googleapis.com.",
    "protoPayload.methodName": "Method: v1.compute.firewalls.insert, SetIamPolicy.",
    "protoPayload.resourceName": "What it was called on: projects/_/buckets/backups.",
    "protoPayload.numResponseItems": "Number of items in the answer of a list.",
    "protoPayload.resourceLocation.*": "Regions or zones of the resource.",
    "protoPayload.resourceOriginalState.*": "The resource before the change.",
    "protoPayload.authenticationInfo.principalEmail": "Who made the request.",
    "protoPayload.authenticationInfo.principalSubject": "The same, for federated identities.",
    "protoPayload.authenticationInfo.authoritySelector": "Authority the caller asked for.",
    "protoPayload.authenticationInfo.serviceAccountKeyName": "Key that signed the request.",
    "protoPayload.authenticationInfo.serviceAccountDelegationInfo.*": "Who impersonated the "
    "service account, the first first.",
    "protoPayload.authenticationInfo.oauthInfo.*": "OAuth client.",
    "protoPayload.authenticationInfo.*": "What else is known of the caller.",
    "protoPayload.authorizationInfo.granted": "Whether it was allowed.",
    "protoPayload.authorizationInfo.permission": "Permission that was asked for.",
    "protoPayload.authorizationInfo.resource": "Resource it was asked for.",
    "protoPayload.authorizationInfo.permissionType": "ADMIN_READ, ADMIN_WRITE, DATA_READ, …",
    "protoPayload.authorizationInfo.resourceAttributes.*": "Attributes of that resource.",
    "protoPayload.policyViolationInfo.*": "Organization policy that refused it.",
    "protoPayload.requestMetadata.callerIp": "Address the request came from; `private` or "
    "`gce-internal-ip` where Google hides it.",
    "protoPayload.requestMetadata.callerSuppliedUserAgent": "User agent; not to be trusted.",
    "protoPayload.requestMetadata.callerNetwork": "Network of the caller.",
    "protoPayload.requestMetadata.*": "What else is known of the request.",
    "protoPayload.status.code": "google.rpc.Code; absent or 0 where it went well.",
    "protoPayload.status.message": "Why it failed.",
    "protoPayload.status.details.*": "The same in detail.",
    "protoPayload.request.*": "Body of the request.",
    "protoPayload.response.*": "Body of the answer.",
    "protoPayload.metadata.*": "What else the service noted.",
    "protoPayload.serviceData.*": "The same, of older services: policyDelta.bindingDeltas.",
}

FIELDS = (
    *(FieldInfo(name, text, AUDIT_VIEW) for name, text in _ENTRY.items()),
    *(
        FieldInfo(name, text, workspace_events.VIEW)
        for name, text in {**workspace_events.FIELDS, **_ENTRY}.items()
    ),
)
