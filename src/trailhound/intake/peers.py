"""Who is at the other end of a connection."""

import asyncio
import ssl
from collections.abc import Mapping


def peer_of(writer: asyncio.StreamWriter, intake: str) -> str:
    """Return the intake and who is connected, for `Arrival.peer`.

    `forward/10.0.0.7`, or `forward/node-1@10.0.0.7` where a client certificate names the sender.
    """
    address = (writer.get_extra_info("peername") or ("unknown",))[0]
    name = common_name(writer.get_extra_info("ssl_object"))
    return f"{intake}/{name}{'@' if name else ''}{address}"


def common_name(connection: object) -> str:
    """Return the common name of the client certificate of a TLS connection; empty without one."""
    if not isinstance(connection, ssl.SSLObject):
        return ""
    # Without a CA for clients there is no certificate here that anybody has checked.
    certificate: Mapping[str, object] = connection.getpeercert() or {}
    subject = certificate.get("subject", ())
    assert isinstance(subject, tuple)  # noqa: S101 - documented by `ssl`
    return next((str(value) for part in subject for key, value in part if key == "commonName"), "")
