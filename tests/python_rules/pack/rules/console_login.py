import json
from ipaddress import ip_address

from trail_helpers import one_of, owner_of


def is_known(address):
    return ip_address(address).is_private


def rule(event):
    return one_of(event.get("EVENTNAME"), ["consolelog*"]) and not is_known(
        event.udm("source_ip") or event.get("sourceIPAddress", "127.0.0.1")
    )


def title(event):
    return f"{event.udm('actor_user')} signed in, owner {owner_of(event)}"


def dedup(event):
    return event.deep_get("userIdentity", "type", default="nobody")


def severity(event):
    return "critical" if event.deep_get("additionalEventData", "MFAUsed") == "No" else "DEFAULT"


def alert_context(event):
    return {
        "names": event.deep_walk("requestParameters", "rules", "name", default=[]),
        "copy": json.loads(json.dumps(event.to_dict())),
    }
