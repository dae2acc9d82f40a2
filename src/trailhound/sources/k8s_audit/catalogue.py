"""Fields of the views of Kubernetes audit events.

Kubernetes API reference, "kube-apiserver Audit Configuration (v1)", type `Event`; Cloud
Logging API, `LogEntry`; Cloud Audit Logs, `AuditLog`.
"""

from trailhound.model.logsource import FieldInfo

AUDIT_VIEW = "audit"
GCP_VIEW = "gcp_audit"

_AUDIT = {
    "kind": "Always Event.",
    "apiVersion": "Version of the audit API: audit.k8s.io/v1.",
    "level": "How much the audit policy had recorded: Metadata, Request or RequestResponse.",
    "auditID": "Id of the request; its stages share it.",
    "stage": "RequestReceived, ResponseStarted, ResponseComplete or Panic.",
    "requestURI": "URI as the client sent it, with the query: the command of an exec is there.",
    "verb": "Verb of the Kubernetes API; for other URLs the HTTP method in lower case.",
    "user.username": "Who made the request, before impersonation.",
    "user.uid": "Id of that user, where the authenticator knows one.",
    "user.groups": "Groups of that user.",
    "user.extra.*": "What else the authenticator knows: token, pod, node, AWS identity.",
    "impersonatedUser.username": "Whom the request was made as, where that is another.",
    "impersonatedUser.uid": "Id of the impersonated user.",
    "impersonatedUser.groups": "Groups of the impersonated user.",
    "impersonatedUser.extra.*": "Extra information of the impersonated user.",
    "authenticationMetadata.impersonationConstraint": "Constrained verb the impersonation used.",
    "sourceIPs": "Addresses the request came from: client first, then proxies.",
    "userAgent": "What the client calls itself; not to be trusted.",
    "objectRef.resource": "Kind of object in the plural: pods, secrets.",
    "objectRef.namespace": "Namespace of the object.",
    "objectRef.name": "Name of the object; absent where the server makes it up.",
    "objectRef.uid": "Id of the object.",
    "objectRef.apiGroup": "API group; absent for the core group.",
    "objectRef.apiVersion": "Version of the API group.",
    "objectRef.resourceVersion": "Version of the object.",
    "objectRef.subresource": "Part of the object: exec, status, token.",
    "responseStatus.metadata.*": "Metadata of the status.",
    "responseStatus.status": "Success or Failure; absent where the answer was no status.",
    "responseStatus.message": "What the server said.",
    "responseStatus.reason": "Why it failed, in one word: Forbidden, NotFound.",
    "responseStatus.details.name": "Object the status is about.",
    "responseStatus.details.group": "Its API group.",
    "responseStatus.details.kind": "Its kind.",
    "responseStatus.details.uid": "Its id.",
    "responseStatus.details.causes.reason": "Cause of a failure.",
    "responseStatus.details.causes.message": "Cause of a failure, in words.",
    "responseStatus.details.causes.field": "Field that caused a failure.",
    "responseStatus.details.retryAfterSeconds": "When to try again.",
    "responseStatus.code": "HTTP status code.",
    "requestObject.*": "Body of the request; from level Request on.",
    "responseObject.*": "Body of the answer; at level RequestResponse.",
    "requestReceivedTimestamp": "When the request reached the server.",
    "stageTimestamp": "When it reached this stage.",
    "annotations.*": "What the server's plugins noted: authorization.k8s.io/decision and others.",
    "metadata.creationTimestamp": "v1beta1 and older: when the event was made.",
    "timestamp": "v1beta1 and older: when the request reached the server.",
}

_GCP = {
    "insertId": "Id of the log entry.",
    "logName": "Log it was written to: activity or data_access.",
    "timestamp": "When it happened.",
    "receiveTimestamp": "When Cloud Logging got it.",
    "severity": "Severity of the entry.",
    "labels.*": "Annotations of the audit event.",
    "operation.id": "Audit id of the request.",
    "operation.producer": "Always k8s.io.",
    "operation.first": "Whether this is the first entry of the request.",
    "operation.last": "Whether this is the last entry of the request.",
    "resource.type": "Always k8s_cluster.",
    "resource.labels.cluster_name": "Cluster.",
    "resource.labels.location": "Region or zone of the cluster.",
    "resource.labels.project_id": "Project of the cluster.",
    "protoPayload.@type": "type.googleapis.com/google.cloud.audit.AuditLog.",
    "protoPayload.serviceName": "Always k8s.io.",
    "protoPayload.methodName": "API group, resource and verb: io.k8s.core.v1.pods.exec.create.",
    "protoPayload.resourceName": "Object: core/v1/namespaces/default/pods/web/exec.",
    "protoPayload.authenticationInfo.principalEmail": "Who made the request.",
    "protoPayload.authenticationInfo.principalSubject": "The same, for federated identities.",
    "protoPayload.authenticationInfo.authoritySelector": "Whom the request was made as.",
    "protoPayload.authenticationInfo.*": "What else is known of the caller.",
    "protoPayload.authorizationInfo.granted": "Whether it was allowed.",
    "protoPayload.authorizationInfo.permission": "Permission that was asked for.",
    "protoPayload.authorizationInfo.resource": "Resource it was asked for.",
    "protoPayload.authorizationInfo.resourceAttributes.*": "Attributes of that resource.",
    "protoPayload.requestMetadata.callerIp": "Address the request came from.",
    "protoPayload.requestMetadata.callerSuppliedUserAgent": "What the client calls itself.",
    "protoPayload.requestMetadata.*": "What else is known of the request.",
    "protoPayload.status.code": "google.rpc.Code; absent or 0 where it went well.",
    "protoPayload.status.message": "Why it failed.",
    "protoPayload.request.*": "Body of the request.",
    "protoPayload.response.*": "Body of the answer.",
    "protoPayload.metadata.*": "What else the service noted.",
    "protoPayload.numResponseItems": "Number of objects in the answer.",
    "protoPayload.resourceLocation.currentLocations": "Regions or zones of the object.",
}

FIELDS = tuple(
    FieldInfo(name, description, view)
    for view, fields in ((AUDIT_VIEW, _AUDIT), (GCP_VIEW, _GCP))
    for name, description in fields.items()
)
