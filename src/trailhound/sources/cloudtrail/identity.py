"""Who acted, and who stands behind that.

Semantics: AWS CloudTrail User Guide, "CloudTrail userIdentity element".
"""

from collections.abc import Mapping
from typing import Any

from trailhound.sources.cloudtrail.arns import arn_resource
from trailhound.sources.mapping import Getter, reader, value_at
from trailhound.sources.members import below, first_text, is_ip, text


def actor_name(identity: Mapping[str, Any]) -> str | None:
    """Return the name of the principal: `anna`, `role/session`, `root`, a service, an account."""
    kind = identity.get("type")
    readers = _READERS.get(kind) if isinstance(kind, str) else None
    return first_text(readers or _READERS[""], identity)


def actor_uid(identity: Mapping[str, Any]) -> str | None:
    """Return the principal's ARN, else its id; the account only where that is the actor."""
    return first_text(_UIDS[identity.get("type") == "AWSAccount"], identity)


def invoked_by(
    document: Mapping[str, Any], identity: Mapping[str, Any], actor: str | None
) -> str | None:
    """Return who stands behind the actor: a person if named, else the role, else the service.

    Args:
        document: the record.
        identity: its `userIdentity`.
        actor: `actor_name` of that.
    """
    session = below(identity, "sessionContext")
    issuer = below(session, "sessionIssuer")
    person = below(identity, "onBehalfOf").get("userId")
    # Of an Identity Center user, who acts and on whose behalf are one.
    same = text(person) if identity.get("type") == "IdentityCenterUser" else actor
    themselves = (actor, same)
    behind = (
        *(session.get("sourceIdentity"), person, issuer.get("arn"), issuer.get("userName")),
        identity.get("invokedBy"),
    )
    for value in behind:
        if value is not None and (found := text(value)) is not None and found not in themselves:
            return found
    caller = text(document.get("sourceIPAddress")) or ""
    return caller if _is_service(caller) and caller not in themselves else None


def src_ip(document: Mapping[str, Any]) -> str | None:
    """Return the caller's address; None where a service or the console called.

    In its place the record then has the service's DNS name, or `AWS Internal`.
    """
    caller = text(document.get("sourceIPAddress"))
    return caller if caller and is_ip(caller) else None


def _is_service(caller: str) -> bool:
    return caller == "AWS Internal" or ".amazonaws.com" in caller


def _arn_name(identity: Mapping[str, Any]) -> str | None:
    resource = arn_resource(identity.get("arn"))
    if resource is None:
        return None
    kind, slash, name = resource.partition("/")
    if not slash:
        return kind
    # User and role ARNs carry an IAM path; a session's second part is a name of its own.
    return name if kind in ("assumed-role", "federated-user") else name.rpartition("/")[2]


def _session_name(identity: Mapping[str, Any]) -> str | None:
    role = text(value_at(identity, "sessionContext.sessionIssuer.userName"))
    session = (text(identity.get("principalId")) or "").partition(":")[2]
    return f"{role}/{session}" if role and session else role


_NAMES: dict[str, tuple[Getter, ...]] = {
    "Root": (lambda _: "root",),  # userName would be the alias of the account
    "AssumedRole": (_arn_name, _session_name),
    "FederatedUser": (_arn_name,),
    "AWSService": ("invokedBy",),
    "AWSAccount": ("accountId",),  # also ANONYMOUS_PRINCIPAL
}
_ANY_NAME: tuple[Getter, ...] = (
    "userName",
    _arn_name,
    "onBehalfOf.userId",
    "principalId",
    "invokedBy",
    "accountId",
)
_READERS = {
    kind: tuple(map(reader, (*names, *_ANY_NAME))) for kind, names in {"": (), **_NAMES}.items()
}
"""Type of the identity (empty: any other) → where its name may stand, the likeliest first."""
_UIDS = tuple(
    tuple(map(reader, ("arn", "principalId", "onBehalfOf.userId", *last)))
    for last in ((), ("accountId",))
)
