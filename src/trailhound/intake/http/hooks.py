"""Hooks: services that post what happened, each signing in its own way.

Okta event hooks (https://developer.okta.com/docs/concepts/event-hooks/): a one-time challenge,
then a secret in `Authorization`. GitHub webhooks
(https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries): an HMAC over
the body. Falco's `http_output`: plain JSON.
"""

import hashlib
import hmac
from collections.abc import Callable

import msgspec
from aiohttp import web

from trailhound.intake.arrivals import Accept
from trailhound.intake.http.body import read_body
from trailhound.intake.http.contract import HttpRoute, arrivals_of
from trailhound.intake.http.json_lines import records_of


class _OktaData(msgspec.Struct):
    events: list[msgspec.Raw]


class _OktaHook(msgspec.Struct):
    data: _OktaData


_okta = msgspec.json.Decoder(_OktaHook)


def okta(secret: str) -> tuple[HttpRoute, ...]:
    """Return the routes of an Okta event hook whose `Authorization` header is `secret`."""

    async def verify(request: web.Request, _accept: Accept) -> web.Response:
        challenge = request.headers.get("X-Okta-Verification-Challenge", "")
        return web.json_response({"verification": challenge})

    async def take(request: web.Request, accept: Accept) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return web.Response(status=401, text="the authorization of this hook is another\n")
        body = (await read_body(request)).strip()
        try:
            events = [bytes(event) for event in _okta.decode(body).data.events]
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            events = [body]
        await accept(arrivals_of(request, "okta", events))
        return web.Response(status=204)

    return (
        HttpRoute("GET", "/hooks/okta", verify, "One-time verification by Okta", role=None),
        HttpRoute("POST", "/hooks/okta", take, "Events of an Okta event hook", role=None),
    )


def github(secret: str) -> tuple[HttpRoute, ...]:
    """Return the route of a GitHub webhook that signs with `secret`."""

    async def take(request: web.Request, accept: Accept) -> web.Response:
        body = await request.read()
        wanted = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        given = request.headers.get("X-Hub-Signature-256", "")
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            return web.Response(status=401, text="the signature does not fit\n")
        kind = request.headers.get("X-GitHub-Event", "")
        delivery = request.headers.get("X-GitHub-Delivery", "")
        if kind != "ping" and body.strip():
            records = records_of(body)
            beside = {"github_event": kind, "github_delivery": delivery}
            await accept(arrivals_of(request, "github", records, f"delivery:{delivery}", beside))
        return web.Response(status=204)

    return (HttpRoute("POST", "/hooks/github", take, "Deliveries of a GitHub webhook", role=None),)


async def _falco(request: web.Request, accept: Accept) -> web.Response:
    records = records_of(await read_body(request))
    if records:
        await accept(arrivals_of(request, "falco", records))
    return web.Response()


FALCO = (HttpRoute("POST", "/falco", _falco, "Alerts of Falco's http_output"),)

HOOKS: dict[str, Callable[[str], tuple[HttpRoute, ...]]] = {"okta": okta, "github": github}
"""Hooks that need a secret, by the name of their setting."""
