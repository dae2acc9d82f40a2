"""Fields of the Okta System Log: `okta.*` (falcosecurity/plugins, okta 0.11).

The plugin decodes events into a structure, so that a field which is not there is the empty text,
and exists. That is kept here, targets excepted, which it leaves out.
"""

from trailhound.dialects.falco.fields import FalcoField, all_of, below, is_one_of, or_empty, plain
from trailhound.rules.ir import Field, Or, Predicate, Step

_GEO = ("client", "geographicalContext")
_PRINCIPAL = ("debugContext", "debugData", "originalPrincipal")
_URI = ("debugContext", "debugData", "requestUri")

COUNTS = ("okta.mfa.failure.countlast", "okta.mfa.deny.countlast")
"""Fields that count: how often the event's own kind of failure came from its actor in the last
seconds, itself included. The plugin reads both names alike."""
COUNTED: Predicate = Or(
    (
        is_one_of(plain("eventType"), "user.mfa.okta_verify.deny_push"),
        all_of(
            is_one_of(plain("eventType"), "user.authentication.auth_via_mfa"),
            is_one_of(plain("outcome", "result"), "FAILURE"),
        ),
    )
)
COUNTED_BY: tuple[Field, ...] = (plain("eventType"), plain("actor", "id"))


def _text(name: str, description: str, *path: str) -> FalcoField:
    return FalcoField(name, description, or_empty(*path), nulls=False)


def _target(name: str, description: str, kind: str, key: str) -> FalcoField:
    steps = (Step("where", ("type", kind)), Step("last"), Step("get", (key,)))
    return FalcoField(name, description, below("target", via=steps), nulls=False)


FIELDS: tuple[FalcoField, ...] = (
    FalcoField(
        "okta.app",
        "Application named in the URI of the request (`/app/NAME/…`).",
        below(*_URI, via=(Step("path-part", ("app", "1")),)),
        nulls=False,
    ),
    FalcoField(
        "okta.org",
        "Organisation, from the plugin's configuration; the events do not have it.",
        lambda _: (),
    ),
    _text("okta.evt.type", "Type of the event: `user.session.start`.", "eventType"),
    _text("okta.evt.legacytype", "Older name of the type.", "legacyEventType"),
    _text("okta.severity", "`DEBUG`, `INFO`, `WARN` or `ERROR`.", "severity"),
    _text("okta.message", "The event in words.", "displayMessage"),
    _text("okta.published", "Time as written.", "published"),
    _text("okta.actor.id", "Id of who did it.", "actor", "id"),
    _text("okta.actor.Type", "Kind of who did it: `User`.", "actor", "type"),
    _text("okta.actor.alternateid", "Login or mail of who did it.", "actor", "alternateId"),
    _text("okta.actor.name", "Name of who did it.", "actor", "displayName"),
    _text("okta.client.zone", "Network zone of the client.", "client", "zone"),
    _text("okta.client.ip", "Address of the client.", "client", "ipAddress"),
    _text("okta.client.device", "Device of the client.", "client", "device"),
    _text("okta.client.id", "Id of the client.", "client", "id"),
    _text("okta.client.geo.city", "City of the client.", *_GEO, "city"),
    _text("okta.client.geo.state", "State of the client.", *_GEO, "state"),
    _text("okta.client.geo.country", "Country of the client.", *_GEO, "country"),
    _text("okta.client.geo.postalcode", "Postal code of the client.", *_GEO, "postalCode"),
    _text("okta.client.geo.lat", "Latitude of the client.", *_GEO, "geolocation", "lat"),
    _text("okta.client.geo.lon", "Longitude of the client.", *_GEO, "geolocation", "lon"),
    _text("okta.useragent.os", "Operating system of the client.", "client", "userAgent", "os"),
    _text("okta.useragent.browser", "Browser of the client.", "client", "userAgent", "browser"),
    _text("okta.useragent.raw", "User agent as sent.", "client", "userAgent", "rawUserAgent"),
    _text("okta.result", "How it came out: `SUCCESS`, `FAILURE`, `DENY`.", "outcome", "result"),
    _text("okta.reason", "Why it came out so.", "outcome", "reason"),
    _text("okta.transaction.id", "Id of the transaction.", "transaction", "id"),
    _text("okta.transaction.type", "`WEB` or `JOB`.", "transaction", "type"),
    _text("okta.requesturi", "URI of the request.", *_URI),
    _text("okta.principal.id", "Id of the original principal.", *_PRINCIPAL, "id"),
    _text(
        "okta.principal.alternateid",
        "Login or mail of the original principal.",
        *_PRINCIPAL,
        "alternateId",
    ),
    _text("okta.principal.type", "Kind of the original principal.", *_PRINCIPAL, "type"),
    _text("okta.principal.name", "Name of the original principal.", *_PRINCIPAL, "displayName"),
    _text(
        "okta.authentication.step",
        "Step of the authentication.",
        "authenticationContext",
        "authenticationStep",
    ),
    _text(
        "okta.authentication.sessionid",
        "Id of the session.",
        "authenticationContext",
        "externalSessionId",
    ),
    FalcoField(
        "okta.security.asnumber",
        "Number of the client's autonomous system.",
        below("securityContext", "asNumber"),
        number=True,
        nulls=False,
    ),
    _text("okta.security.asorg", "Its organisation.", "securityContext", "asOrg"),
    _text("okta.security.isp", "Internet provider of the client.", "securityContext", "isp"),
    _text("okta.security.domain", "Domain of the client.", "securityContext", "domain"),
    _target("okta.target.user.id", "Id of the user it was done to.", "User", "id"),
    _target(
        "okta.target.user.alternateid",
        "Login or mail of the user it was done to.",
        "User",
        "alternateId",
    ),
    _target("okta.target.user.name", "Name of the user it was done to.", "User", "displayName"),
    _target("okta.target.group.id", "Id of the group it was done to.", "UserGroup", "id"),
    _target(
        "okta.target.group.alternateid",
        "Other id of the group it was done to.",
        "UserGroup",
        "alternateId",
    ),
    _target(
        "okta.target.group.name", "Name of the group it was done to.", "UserGroup", "displayName"
    ),
    _target(
        "okta.target.app.alternateid", "Application it was done to.", "AppInstance", "alternateId"
    ),
    *(
        FalcoField(
            name,
            "How often MFA failed or was denied for the actor in the last seconds: "
            f"`{name}[300]`. Becomes a window; stands alone in its condition.",
            lambda _: (),
            number=True,
            argument="index",
            required=True,
        )
        for name in COUNTS
    ),
)
