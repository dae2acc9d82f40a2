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


def failures(pairs: str) -> list[Fields]:
    """Read `logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root` (pam_unix).

    The first four values cannot hold a blank, and neither can `rhost`; the peer may have made
    up `ruser`, and `user` too. Where ` rhost=` stands more than once, it is read once from the
    first and once from the last.
    """
    first, last = pairs.find(" rhost="), pairs.rfind(" rhost=")
    if first < 0:
        return [_callers(pairs)]
    return [
        {**_callers(pairs[:at]), **_called(pairs[at + 7 :])} for at in dict.fromkeys((first, last))
    ]


def _callers(text: str) -> Fields:
    head, _, ruser = text.partition(" ruser=")
    fields: Fields = {}
    for pair in head.split(" ", 8)[:8]:
        key, _, value = pair.partition("=")
        if value and key in ("logname", "uid", "euid", "tty"):
            is_id = key in ("uid", "euid") and value.isascii() and value.isdigit()
            fields[key] = int(value) if is_id and len(value) < 12 else value
    return fields | ({"ruser": ruser} if ruser else {})


def _called(text: str) -> Fields:
    host, _, rest = text.partition(" ")
    _, joint, user = rest.partition("user=")
    return peer(host) | ({"user": user} if joint else {})
