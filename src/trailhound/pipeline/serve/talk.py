"""What the two processes of `serve` say to each other."""

from multiprocessing.connection import Connection
from typing import Any

import msgspec

EXIT_UNUSABLE = 4
"""The detector's exit code where trying again cannot help: its state is damaged."""


class Mark(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """To the detector: the queue is synced so far."""

    segment: int
    offset: int


class Reload(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """To the detector: read the rules anew."""


class Stop(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """To the detector: finish what is marked, save, and end."""


class Ready(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """From the detector: rules are loaded; reading begins at this number."""

    number: int
    rules: int
    problems: tuple[str, ...] = ()
    """Rules that cannot be used, and why."""


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """From the detector: what is below this number is kept, judged, and may be forgotten."""

    number: int


class Stats(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """From the detector: counters by name, with labels, for `/metrics`."""

    values: tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]


class Late(msgspec.Struct, frozen=True, array_like=True):
    """What came too late for a rule over several events."""

    rule: str
    """Its uid."""
    title: str
    path: str
    """Its file."""
    events: int
    first_ns: int
    last_ns: int
    """Event times of the first and the last of them."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """How a place does to which the ledger is forwarded."""

    place: str
    """As the settings name it, without passwords."""
    records: int = 0
    """Records that it has, under a head."""
    failures: int = 0
    reason: str = ""
    """Why the last attempt failed; empty where it did not."""


class Report(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """From the detector: what a person should know beside the counters."""

    late: tuple[Late, ...] = ()
    places: tuple[Place, ...] = ()
    records: int = 0
    """Records in the ledger."""
    signed: int = 0
    """Those that are under its last head."""


ToDetector = Mark | Reload | Stop
FromDetector = Ready | Done | Stats | Report

_encode = msgspec.msgpack.Encoder().encode
_to = msgspec.msgpack.Decoder(ToDetector)
_from = msgspec.msgpack.Decoder(FromDetector)


def say(connection: "Connection[Any, Any]", message: ToDetector | FromDetector) -> None:
    """Send a message. Raises `OSError` where the other side is gone."""
    connection.send_bytes(_encode(message))


def hear_order(connection: "Connection[Any, Any]") -> ToDetector:
    """Wait for a message to the detector. Raises `EOFError` where the other side is gone."""
    order: ToDetector = _to.decode(connection.recv_bytes())
    return order


def hear_report(connection: "Connection[Any, Any]") -> FromDetector:
    """Wait for a message from the detector. Raises `EOFError` where it is gone."""
    report: FromDetector = _from.decode(connection.recv_bytes())
    return report
