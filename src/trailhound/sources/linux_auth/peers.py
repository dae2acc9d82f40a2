"""The other end of a connection, as sshd, login and PAM write it."""

import re
from typing import Any

Fields = dict[str, Any]

_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w{1,16})?")


def peer(host: str, port: str | None = None) -> Fields:
    """Fields of the other end: `src_ip`, or `src_host` where a name was logged."""
    fields: Fields = {}
    if _ADDRESS.fullmatch(host):
        fields["src_ip"] = host
    elif host and host != "UNKNOWN":
        fields["src_host"] = host
    if port:
        fields["src_port"] = int(port)
    return fields


def failure_fields(pairs: str) -> Fields:
    """Read `logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root` (pam_unix).

    The keys stand in this order. The first four values cannot hold a space; `ruser`, `rhost`
    and `user` can, and each is read up to the key that follows it.
    """
    at, found = 0, {}
    for key in ("logname=", "uid=", "euid=", "tty=", "ruser=", "rhost="):
        start = pairs.find(key, at) if not at else pairs.find(" " + key, at - 1)
        if start < 0:
            continue
        at = start + len(key) + (1 if at else 0)
        found[key] = at
    starts = list(found.items())
    tail = pairs.find(" user=", at)
    fields: Fields = {}
    for position, (key, start) in enumerate(starts):
        if position + 1 < len(starts):
            following, begun = starts[position + 1]
            value = pairs[start : begun - len(following) - 1]
        else:
            value = pairs[start : tail if tail >= 0 else len(pairs)]
        if value := value.strip(" "):
            fields[key[:-1]] = int(value) if _is_id(key, value) else value
    if tail >= 0:
        fields["user"] = pairs[tail + 6 :]
    if "rhost" in fields:
        fields |= peer(fields.pop("rhost"))
    return fields


def _is_id(key: str, value: str) -> bool:
    return key in ("uid=", "euid=") and value.isascii() and value.isdigit() and len(value) < 12
