"""The HTTP server of the intake: routes, access, limits, and what senders are told."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from trailhound.intake.arrivals import Accept, Full
from trailhound.intake.http import (
    elasticsearch,
    hooks,
    json_lines,
    kubernetes,
    openapi,
    otlp,
    splunk,
)
from trailhound.intake.http.access import Access, Grant, Role
from trailhound.intake.http.body import BODIES_AT_ONCE, BODY_BYTES, CLOSING, ROOM
from trailhound.intake.http.contract import SENDER, HttpRoute
from trailhound.model.errors import TrailhoundError

INTAKE_ROUTES: tuple[HttpRoute, ...] = (
    *kubernetes.ROUTES,
    *json_lines.ROUTES,
    *splunk.ROUTES,
    *elasticsearch.ROUTES,
    *otlp.ROUTES,
    *hooks.FALCO,
)
"""Every way to send over HTTP that needs no setting."""

_HEADER_SECONDS = 30
_BODY_SECONDS = 60
_log = logging.getLogger(__name__)


def application(
    accept: Accept, access: Access, routes: Iterable[HttpRoute] = INTAKE_ROUTES
) -> web.Application:
    """Return the application that takes records in.

    Args:
        accept: takes what arrives.
        access: who may; an empty one lets everybody (for loopback only, see `serve`).
        routes: the ways to send.
    """
    app = web.Application(client_max_size=BODY_BYTES, middlewares=[_answers])
    app[ROOM] = asyncio.Semaphore(BODIES_AT_ONCE)
    described = list(routes)
    api = openapi.document(described)

    async def describe(_request: web.Request, _accept: Accept) -> web.Response:
        return web.json_response(api)

    described.append(HttpRoute("GET", "/openapi.json", describe, "This document", role=None))
    for route in described:
        app.router.add_route(route.method, route.path, _handler(route, accept, access))
    return app


def _handler(
    route: HttpRoute, accept: Accept, access: Access
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if access and route.role is not None:
            request[SENDER] = require(access, request, route.role).name
        async with AsyncExitStack() as closing, asyncio.timeout(_BODY_SECONDS):
            request[CLOSING] = closing
            return await route.handler(request, accept)

    return handle


def require(access: Access, request: web.Request, role: Role) -> Grant:
    """Let a request pass whose sender has a role; return the grant.

    Raises:
        web.HTTPUnauthorized: Nobody known.
        web.HTTPForbidden: Somebody who may not.
    """
    grant = access.grant_of(request)
    if grant is None:
        raise web.HTTPUnauthorized(
            text="a token or a client certificate is needed\n",
            headers={"WWW-Authenticate": 'Bearer realm="trailhound"'},
        )
    if role not in grant.roles and "admin" not in grant.roles:
        raise web.HTTPForbidden(text=f"{grant.name} has not the role {role}\n")
    return grant


@web.middleware
async def _answers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Full as full:
        if not full.retry_after_s:  # it will never fit
            return web.Response(status=413, text=f"{full.reason}\n")
        return web.Response(
            status=429, text=f"{full.reason}\n", headers={"Retry-After": str(full.retry_after_s)}
        )
    except TimeoutError:
        return web.Response(status=408, text="the body did not come in time\n")
    except web.HTTPException:
        raise
    except Exception:  # a bug must not take a connection of other senders down, nor be quiet
        _log.exception("a request to %s failed", request.path)
        return web.Response(status=500, text="internal error; the log says more\n")


def tls_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return the TLS side of a listener.

    Args:
        certificate: PEM, the server's certificate and those between it and its root.
        key: PEM, its private key.
        client_ca: PEM, who signs certificates of clients; then every client must have one.

    Raises:
        TrailhoundError: A file is missing, or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise TrailhoundError(f"TLS with {certificate} and {key}: {error}") from None
    return context


async def start(
    app: web.Application, host: str, port: int, tls: ssl.SSLContext | None
) -> web.AppRunner:
    """Listen; return the runner, to clean up with.

    Raises:
        TrailhoundError: The address cannot be had.
    """
    # Bodies are decompressed by our own limits.
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=_HEADER_SECONDS, auto_decompress=False
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise TrailhoundError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return runner
