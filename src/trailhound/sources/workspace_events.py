"""Events of Google Workspace under the names that rules use, whichever way they were delivered.

Cloud Audit Logs carry them below `protoPayload.metadata.event` (Google Workspace, "Audit logs
for Google Workspace"), the Admin SDK Reports API below `events` (type `Activity`). Both give the
parameters of an event as a list of names and values.
"""

from collections.abc import Iterator, Mapping
from typing import Any

VIEW = "workspace"
_VALUES = (
    *("value", "intValue", "boolValue", "multiValue", "multiIntValue", "multiBoolValue"),
    *("multiStrValue", "messageValue", "multiMessageValue"),
)
_PARAMETERS_READ = 200


def flattened(
    document: Mapping[str, Any], service: Any, events: Any
) -> Iterator[Mapping[str, Any]]:
    """Give, for each event of a record, the record with that event's name and parameters on top.

    Args:
        document: the record; its own keys stay as they are.
        service: `admin.googleapis.com`.
        events: list of the events; anything else gives nothing.
    """
    for event in events if isinstance(events, list) else ():
        if not isinstance(event, Mapping):
            continue
        yield {
            **_parameters(event.get("parameters", event.get("parameter"))),
            "eventService": service,
            "eventName": event.get("eventName", event.get("name")),
            "eventType": event.get("eventType", event.get("type")),
            **document,
        }


def _parameters(listed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for parameter in listed[:_PARAMETERS_READ] if isinstance(listed, list) else ():
        if isinstance(parameter, Mapping) and isinstance(parameter.get("name"), str):
            values = (parameter[name] for name in _VALUES if name in parameter)
            found[parameter["name"].lower()] = next(values, None)
    return found


FIELDS = {
    "eventService": "Service that wrote the event: admin.googleapis.com, login.googleapis.com.",
    "eventName": "What happened: CHANGE_APPLICATION_SETTING, suspicious_login.",
    "eventType": "Group of such events: APPLICATION_SETTINGS, login.",
    "setting_name": "Setting that was changed.",
    "old_value": "Its value before.",
    "new_value": "Its value after.",
    "application_name": "Application it belongs to.",
    "application_edition": "Edition of that application.",
    "application_enabled": "Whether it is switched on.",
    "org_unit_name": "Organizational unit it holds for.",
    "group_email": "Group.",
    "group_name": "The same.",
    "user_email": "User who is affected.",
    "role_name": "Administrator role.",
    "role_id": "Its id.",
    "privilege_name": "Privilege of a role.",
    "domain_name": "Domain.",
    "domain_alias": "Domain alias.",
    "secondary_domain_name": "Secondary domain.",
    "api_client_name": "Client that was given access to the domain's data.",
    "api_scopes": "What it may read.",
    "app_id": "OAuth client.",
    "app_name": "Its name.",
    "client_id": "The same in token events.",
    "client_type": "Kind of client.",
    "scope": "What a token may do.",
    "scope_data": "The same in detail.",
    "product_name": "Product.",
    "sku_name": "Its edition.",
    "login_type": "How somebody signed in: google_password, saml, reauth.",
    "login_challenge_method": "Second step.",
    "login_challenge_status": "How it ended.",
    "login_failure_type": "Why a login failed.",
    "login_timestamp": "When, in microseconds.",
    "is_suspicious": "Whether Google finds the login suspicious.",
    "is_second_factor": "Whether a second factor was used.",
    "affected_email_address": "Account that is affected.",
    "email_forwarding_destination_address": "Where mail is forwarded to.",
    "dusi": "Id of the session.",
    "sensitive_action_name": "Action that asked for more proof.",
    "doc_id": "Drive: document.",
    "doc_title": "Its title.",
    "doc_type": "Its type.",
    "owner": "Its owner.",
    "visibility": "Who can see it.",
    "old_visibility": "Who could see it before.",
    "visibility_change": "Whether it became more visible.",
    "target_user": "Whom it was shared with.",
    "target_domain": "Their domain.",
}
"""Name → what it is: the commonest parameters; others stand under their own names."""
