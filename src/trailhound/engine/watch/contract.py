"""What the watch is told of an event, and whom it watches."""

from enum import IntEnum

from msgspec import Struct

from trailhound.model.records import Origin

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_MIN = 60
DAY_MIN = 24 * HOUR_MIN
WEEK_MIN = 7 * DAY_MIN

Key = tuple[str, str, str]
"""Whom or what is watched: source, sender, kind of event. An empty part stands for all of them:
`("", "", "")` is everything, `("auditd", "", "")` all that auditd logs of any host tell."""

EVERYTHING: Key = ("", "", "")


class Stage(IntEnum):
    """Which part of a request an event tells of, where its source tells of several."""

    WHOLE = 0
    BEGUN = 1
    ENDED = 2


class Sighting(Struct, frozen=True, kw_only=True, gc=False):
    """What the watch needs to know of one event."""

    source: str
    sender: str
    """Host, cluster or account that the event names, else the intake and address it came by."""
    kind: str = ""
    """What sort of event it is: resource, system call, event name. Empty: of no sort."""
    time_ns: int
    """Event time, UTC nanoseconds; 0: unknown."""
    arrived_ns: int
    """When it arrived by our clock, UTC nanoseconds."""
    origin: Origin
    repeat: bool = False
    """It was there before."""
    serial: int = 0
    """Its number, where the sender numbers its events (auditd); 0: it has none."""
    request: str = ""
    stage: Stage = Stage.WHOLE


def parents(key: Key) -> tuple[Key, ...]:
    """Return what a key is part of, widest first."""
    source, sender, kind = key
    wider: list[Key] = [EVERYTHING] if source else []
    if sender:
        wider.append((source, "", ""))
    if kind:
        wider.append((source, sender, ""))
    return tuple(wider)
