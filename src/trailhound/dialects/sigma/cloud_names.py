"""Where the logs of clouds and identity providers hold what Sigma rules name.

Rules for these sources were written against several exports of the same log, and against the
words of a portal; they differ in case, too. Here a name, whatever its case, stands for every
place in which some form of the log holds that value. What is not here is a path as it is.
"""

from collections.abc import Iterable, Mapping

from trailhound.model.logsource import LogSource

Names = Mapping[str, tuple[str, ...]]
"""Field name in lower case → dotted paths."""


def names_for(logsource: LogSource) -> Names:
    """Return the names of one log source; an empty table where its rules need none."""
    product, service = logsource.product or "", logsource.service or ""
    return _NAMES.get((product, service), _NAMES.get((product, ""), {}))


def _spelled(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that are paths themselves, but for their case."""
    return {name.casefold(): (name,) for name in names}


# Rules of 2021 and 2022 have these in lower case throughout.
_OKTA = _spelled(
    [
        "eventType",
        "displayMessage",
        "legacyEventType",
        "severity",
        "actor.alternateId",
        "actor.displayName",
        "actor.id",
        "actor.type",
        "client.ipAddress",
        "client.userAgent.rawUserAgent",
        "client.zone",
        "client.geographicalContext.country",
        "outcome.reason",
        "outcome.result",
        "target.alternateId",
        "target.displayName",
        "target.id",
        "target.type",
        "debugContext.debugData.behaviors",
        "debugContext.debugData.logOnlySecurityData",
        "debugContext.debugData.requestUri",
        "debugContext.debugData.url",
        "securityContext.isProxy",
        "transaction.id",
        "transaction.type",
        "authenticationContext.externalSessionId",
        "authenticationContext.credentialType",
    ]
)

_NAMES: dict[tuple[str, str], Names] = {
    ("okta", ""): _OKTA,
}
"""(product, service) → names; an empty service: every service of the product."""
