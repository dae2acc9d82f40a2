"""Requests that began and never ended.

An API server writes an event when a request comes (`RequestReceived`) and when it is answered
(`ResponseComplete`, or `Panic`); https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/. The
second of them missing is an event that was lost or taken away, unless the audit policy leaves it
out, in which case it is missing all the time.
"""

from msgspec import Struct

from trailhound.engine.watch.contract import MINUTE_NS

TIMEOUT_NS = 10 * MINUTE_NS
"""No request takes so long, but those that last (watch, exec), which are not told here."""
OPEN_KEPT = 20_000
_EARLY_KEPT = 1000
_LEARNING = 500
_THINNED, _MANY = 0.2, 20


class Stages(Struct):
    """Requests of one cluster."""

    open: dict[str, int] = {}
    """Id of a request → when it began, by arrival; in that order."""
    early: dict[str, None] = {}
    """Requests that ended before they began: batches overtake each other."""
    begun: int = 0
    unended: int = 0
    untold: int = 0
    """Requests that had to be let go of before it was known how they end."""
    unfit: str = ""
    """Why missing ends say nothing."""


def begin(stages: Stages, request: str, arrived_ns: int) -> None:
    """A request came."""
    if stages.unfit or request in stages.open:
        return
    if request in stages.early:
        del stages.early[request]
        return
    if len(stages.open) >= OPEN_KEPT:
        del stages.open[next(iter(stages.open))]
        stages.untold += 1
    stages.open[request] = arrived_ns
    stages.begun += 1


def end(stages: Stages, request: str) -> None:
    """A request was answered."""
    if stages.open.pop(request, None) is None and not stages.unfit:
        stages.early[request] = None
        if len(stages.early) > _EARLY_KEPT:
            del stages.early[next(iter(stages.early))]


def unended_by(stages: Stages, now_ns: int) -> list[tuple[str, int]]:
    """Take out and return the requests that will not end any more, and when they began."""
    over = []
    for request, arrived_ns in stages.open.items():
        if arrived_ns > now_ns - TIMEOUT_NS:
            break
        over.append((request, arrived_ns))
    if not over:
        return []
    learning = not stages.unended or stages.begun <= _LEARNING
    missing = stages.unended + len(stages.open)
    if learning and missing > max(_MANY, _THINNED * stages.begun):
        stages.unfit = "the audit policy leaves out how requests end, for many of them"
        stages.open, stages.early = {}, {}
        return []
    for request, _ in over:
        del stages.open[request]
    stages.unended += len(over)
    return over
