"""Amazon resource names."""

from trailhound.sources.members import text


def arn_resource(arn: object) -> str | None:
    """Return the sixth part of an ARN: `user/path/anna`, `secret:db-AbCdEf`; None if it is none.

    AWS General Reference, "Amazon Resource Names (ARNs)".
    """
    written = text(arn)
    parts = written.split(":", 5) if written else []
    return parts[5] if len(parts) == 6 and parts[0] == "arn" and parts[5] else None


def arn_type(arn: str) -> str:
    """Return `service:kind` of an ARN, for resources that a record lists without a type."""
    resource = arn_resource(arn)
    if resource is None:
        return ""
    kind, colon, _ = resource.replace("/", ":").partition(":")
    service = arn.split(":", 3)[2]
    return f"{service}:{kind}" if colon else service
