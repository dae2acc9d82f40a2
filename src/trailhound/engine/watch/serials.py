"""Numbers that are missing from a numbered log.

The Linux kernel numbers audit events from 1 at each boot (`audit_serial`, kernel/audit.c), and so
they come with a number each and none left out, whatever auditd does with them. A number that never
comes is an event that somebody took away: auditd was stopped, the log was edited, the queue ran
over. Numbers come out of order (several processors), late (a shipper that was away) and twice.
"""

from typing import NamedTuple

from msgspec import Struct

from trailhound.engine.watch.contract import MINUTE_NS, SECOND_NS

GRACE_NS = 5 * MINUTE_NS
"""A missing number may come so much after the one behind it."""
HOLES_KEPT = 256
_OUT_OF_ORDER = 4096
_TOGETHER_NS = 5 * SECOND_NS
_SET_BACK_NS = MINUTE_NS
_OLD_IN_A_ROW = 64
_LEARNING = 2000
_THINNED, _MANY = 0.2, 20
_RESTARTS = 8
_FORGED = 50_000_000
"""No host logs so many events between two that arrive."""


class Hole(NamedTuple):
    """Numbers that have not come."""

    first: int
    last: int
    noticed_ns: int
    """When the number behind it arrived."""
    after_ns: int
    """Event time of the number before it; 0: unknown."""
    before_ns: int
    """Event time of the number behind it."""

    @property
    def missing(self) -> int:
        """How many."""
        return self.last - self.first + 1


class Serials(Struct):
    """Numbers of one host."""

    high: int = 0
    """Highest number since it last began at the beginning; 0: none yet."""
    high_ns: int = 0
    """Event time of that."""
    seen: int = 0
    missing: int = 0
    """Numbers known to be missing, since it was first heard."""
    restarts: int = 0
    old: int = 0
    holes: list[Hole] = []
    unfit: str = ""
    """Why its numbers say nothing: it sends a part of its events, or is several hosts."""


class Step(Struct):
    """What a number says."""

    set_back_ns: int = 0
    """By how much the clock was set back before it; 0: it was not."""
    lost: tuple[Hole, ...] = ()
    """Holes for which there was no more room; they count as lost."""


_PLAIN = Step()


def follow(serials: Serials, serial: int, time_ns: int, arrived_ns: int) -> Step:
    """Take note of the number of an event that was not there before."""
    if serials.unfit:
        return _PLAIN
    serials.seen += 1
    high, high_ns = serials.high, serials.high_ns
    if not high or _begins_anew(serials, serial, time_ns):
        if high:
            serials.restarts += 1
            if serials.restarts > _RESTARTS + serials.seen // 1000:
                serials.unfit = "its numbers go up and down, as if several hosts had one name"
                serials.holes = []
                return _PLAIN
        serials.high, serials.high_ns, serials.old = serial, time_ns, 0
        return _PLAIN
    if serial <= high:
        serials.old += not _fill(serials, serial) and high - serial > _OUT_OF_ORDER
        return _PLAIN
    serials.old = 0
    step = _PLAIN
    if serial > high + 1:
        hole = Hole(high + 1, serial - 1, arrived_ns, high_ns, time_ns)
        serials.holes = [*serials.holes, hole]
        if len(serials.holes) > HOLES_KEPT:
            step = Step(lost=(serials.holes[0],))
            serials.missing += serials.holes[0].missing
            serials.holes = serials.holes[1:]
    if time_ns < high_ns - _SET_BACK_NS:
        step = Step(set_back_ns=high_ns - time_ns, lost=step.lost)
    serials.high, serials.high_ns = serial, time_ns
    return step


def lost_by(serials: Serials, now_ns: int) -> tuple[Hole, ...]:
    """Take out and return the holes that will not be filled any more."""
    if not serials.holes or serials.holes[0].noticed_ns > now_ns - GRACE_NS:
        return ()
    if _thinned(serials):
        serials.unfit = "a part of its events is left out all the time, as by a filter"
        serials.holes = []
        return ()
    lost = tuple(hole for hole in serials.holes if hole.noticed_ns <= now_ns - GRACE_NS)
    serials.holes = [hole for hole in serials.holes if hole.noticed_ns > now_ns - GRACE_NS]
    serials.missing += sum(hole.missing for hole in lost)
    return lost


def _thinned(serials: Serials) -> bool:
    """Whether many of its numbers are missing from the beginning, each by itself."""
    if (serials.missing and serials.seen > _LEARNING) or len(serials.holes) < _MANY:
        return False
    missing = serials.missing + sum(hole.missing for hole in serials.holes)
    return missing > _THINNED * (serials.seen + missing)


def _begins_anew(serials: Serials, serial: int, time_ns: int) -> bool:
    high, high_ns = serials.high, serials.high_ns
    if serial > high + _FORGED:
        return True
    if serial > high or any(hole.first <= serial <= hole.last for hole in serials.holes):
        return False
    far = high - serial > _OUT_OF_ORDER
    return time_ns > high_ns + (0 if far else _TOGETHER_NS) or serials.old >= _OLD_IN_A_ROW


def _fill(serials: Serials, serial: int) -> bool:
    for at, hole in enumerate(serials.holes):
        if hole.first <= serial <= hole.last:
            parts = [
                hole._replace(last=serial - 1) if serial > hole.first else None,
                hole._replace(first=serial + 1) if serial < hole.last else None,
            ]
            rest = [part for part in parts if part is not None]
            holes = [*serials.holes[:at], *rest, *serials.holes[at + 1 :]]
            serials.holes = holes[-HOLES_KEPT:]
            return True
    return False
