"""What a way to send over HTTP is: routes, each with a handler and what its page says."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from trailhound.intake.arrivals import Accept, Arrival, beside
from trailhound.intake.http.access import Role

SENDER = web.RequestKey("sender", str)
"""Name of the grant by which a request was let in."""
Handler = Callable[[web.Request, Accept], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One route of the intake."""

    method: str
    path: str
    """As aiohttp writes it: `/k8s/audit`, `/{index}/_bulk`."""
    handler: Handler
    summary: str
    """One line for the OpenAPI document and the reference."""
    operation: Mapping[str, Any] = field(default_factory=dict)
    """More of its OpenAPI operation: `requestBody`, `responses`."""
    role: Role | None = "ingest"
    """What a sender must be allowed to do; None: everybody may, as with hooks that sign."""


def peer_of(request: web.Request, intake: str) -> str:
    """Return the intake and who sent a request, for `Arrival.peer`.

    `kubernetes/10.0.0.7`, or `kubernetes/cluster-a@10.0.0.7` where a grant names the sender.
    """
    name = request.get(SENDER, "")
    return f"{intake}/{name}{'@' if name else ''}{request.remote or 'unknown'}"


def arrivals_of(
    request: web.Request,
    intake: str,
    records: Sequence[bytes],
    position: str = "",
    context: Mapping[str, str] | None = None,
) -> list[Arrival]:
    """Return records of one request as arrivals.

    Args:
        request: the request they came in.
        intake: name of the intake.
        records: the records, in order.
        position: where the first stands for its sender; the others get its index behind it.
        context: what came beside them all.
    """
    peer = peer_of(request, intake)
    now_ns = time.time_ns()
    shared = beside(context or {})
    return [
        Arrival(data, peer, now_ns, f"{position}#{index}" if position else "", shared)
        for index, data in enumerate(records)
    ]
