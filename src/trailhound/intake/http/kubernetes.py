"""The audit webhook backend of the Kubernetes API server.

It posts an `EventList` (audit.k8s.io/v1) in batches, or each event before it answers a request
(mode `blocking`), and takes any 2xx for success; 429 and 5xx are tried again
(https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/, "Webhook backend";
k8s.io/apiserver/pkg/util/webhook, `DefaultShouldRetry`).
"""

import msgspec
from aiohttp import web

from trailhound.intake.arrivals import Accept
from trailhound.intake.http.body import read_body, work_on
from trailhound.intake.http.contract import HttpRoute, arrivals_of

_HEADS = (
    b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[',
    b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[',
)


class _EventList(msgspec.Struct):
    items: list[msgspec.Raw]


_decoder = msgspec.json.Decoder(_EventList)


def events_of(body: bytes) -> list[bytes]:
    """Return the events of a list as they were sent, or the body whole where it is no plain list.

    A body in any other spelling is left whole for the reader behind the queue, which knows them
    all and finds what a second `items` hides.
    """
    bare = body.strip()
    head = next((head for head in _HEADS if bare.startswith(head)), None)
    if head is None:
        return [bare]
    try:
        events = [bytes(item) for item in _decoder.decode(bare).items]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return [bare]
    # Nothing else stands in it: head, events, commas between them, and the end.
    if len(head) + sum(map(len, events)) + max(0, len(events) - 1) + len(b"]}") != len(bare):
        return [bare]
    return events


async def _take(request: web.Request, accept: Accept) -> web.Response:
    body = await read_body(request)
    if body.strip():
        events = await work_on(body, events_of)
        if events:
            await accept(arrivals_of(request, "kubernetes", events))
    return web.Response()


ROUTES = (
    HttpRoute(
        "POST",
        "/kubernetes/audit",
        _take,
        "Audit events of a Kubernetes API server (webhook backend)",
    ),
)
