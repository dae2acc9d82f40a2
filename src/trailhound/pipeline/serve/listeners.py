"""Every intake that the settings ask for: checked first, then opened, and closed again."""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from trailhound.intake import forward, syslog
from trailhound.intake.arrivals import Accept
from trailhound.intake.follow import Follower, follow
from trailhound.intake.http import server
from trailhound.intake.http.access import Access
from trailhound.intake.http.contract import HttpRoute
from trailhound.intake.http.hooks import HOOKS
from trailhound.intake.pulling import Progress
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve import pullers
from trailhound.pipeline.serve.certificates import Certificates
from trailhound.pipeline.serve.settings import (
    ForwardSettings,
    HttpSettings,
    Settings,
    SyslogSettings,
    address_of,
    shared_key_of,
)

_log = logging.getLogger(__name__)


def check(settings: Settings, access: Access) -> None:
    """See that nobody unknown can hand records in.

    Raises:
        TrailhoundError: An intake that others can reach has nothing to know its senders by; one
            that pulls cannot do so; what should guard one would not.
    """
    http, fluent, log = settings.http, settings.forward, settings.syslog
    for name, part in (("http", http), ("forward", fluent), ("syslog", log)):
        _whole(name, part)
    if log.tls and not log.tls_certificate:
        raise TrailhoundError("[syslog] tls needs a tls_certificate and its tls_key")
    if fluent.users and not shared_key_of(fluent):
        raise TrailhoundError("[forward] users are asked for only together with a shared_key")
    _guarded(
        http.listen,
        bool(access or http.client_ca),
        "make an access file with `trailhound token`, and name it in the settings (access = …)",
    )
    _guarded(
        fluent.listen,
        bool(shared_key_of(fluent) or fluent.client_ca),
        "give it a shared_key or a client_ca in [forward]",
    )
    known = log.open_to_network
    for listen in (log.udp, log.tcp):
        _guarded(listen, known, "syslog has no passwords: use tls, or say open_to_network = true")
    _guarded(log.tls, known or bool(log.client_ca), "give it a client_ca in [syslog]")
    pullers.check(settings)


async def open_all(
    settings: Settings,
    accept: Accept,
    access: Access,
    certificates: Certificates,
    monitoring: Sequence[HttpRoute],
    lost: syslog.Lost,
    pulls: list[Progress],
    closing: AsyncExitStack,
) -> None:
    """Open every intake; each is closed with `closing`.

    Raises:
        TrailhoundError: One cannot be opened.
    """
    http = settings.http
    hooked = [route for name, secret in http.hooks.items() for route in HOOKS[name](secret)]
    routes = (*server.INTAKE_ROUTES, *hooked, *monitoring)
    app = server.application(accept, access, routes)
    runner = await server.start(app, *address_of(http.listen), certificates.context(http))
    closing.push_async_callback(runner.cleanup)
    _log.info("HTTP on %s%s", http.listen, " (TLS)" if http.tls_certificate else "")
    if settings.forward.listen:
        fluent = settings.forward
        secret = forward.Secrets(shared_key_of(fluent), fluent.users)
        tls = certificates.context(fluent)
        listening = await forward.listen(*address_of(fluent.listen), accept, secret, tls)
        closing.callback(listening.close)
        _log.info("forward on %s", fluent.listen)
    log = settings.syslog
    if log.udp:
        transport, task = await syslog.listen_udp(*address_of(log.udp), accept, lost)
        closing.callback(task.cancel)
        closing.callback(transport.close)
        _log.info("syslog on UDP %s", log.udp)
    for listen, tls in ((log.tcp, None), (log.tls, certificates.context(log) if log.tls else None)):
        if listen:
            listening = await syslog.listen_tcp(*address_of(listen), accept, tls)
            closing.callback(listening.close)
            _log.info("syslog on TCP %s%s", listen, " (TLS)" if tls else "")
    if settings.files.paths:
        positions = Path(settings.state) / "positions.json"
        task = asyncio.create_task(follow(Follower(settings.files.paths, positions), accept))
        closing.callback(task.cancel)
        _log.info("following %s", ", ".join(settings.files.paths))
    pullers.start(settings, accept, pulls, closing)


def _whole(name: str, part: HttpSettings | ForwardSettings | SyslogSettings) -> None:
    """See that what is asked of clients is asked: without TLS nobody shows a certificate."""
    if bool(part.tls_certificate) != bool(part.tls_key):
        raise TrailhoundError(f"[{name}] tls_certificate and tls_key go together")
    if part.client_ca and not part.tls_certificate:
        raise TrailhoundError(f"[{name}] client_ca needs a tls_certificate and its tls_key")


def _guarded(listen: str, guarded: bool, what_to_do: str) -> None:  # noqa: FBT001 - a fact, not an option
    if not listen or guarded:
        return
    host, _ = address_of(listen)
    if not _is_loopback(host):
        raise TrailhoundError(
            f"{listen} can be reached from outside, and whoever reaches it could hand records in: "
            + what_to_do
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
