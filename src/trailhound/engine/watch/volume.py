"""How many events a sender usually sends, by the hour of the week; far more and far fewer."""

import math

from msgspec import Struct

from trailhound.engine.watch.contract import DAY_MIN, HOUR_MIN, WEEK_MIN

FLOOD_TIMES = 20
"""So many times the most that ever came in an hour is a flood."""
FEWER_TIMES = 20
"""So many times less than usual is far fewer."""
_FLOOD_LEAST = 20_000
_FEWER_LEAST = 1_000
_BACK_TIMES = 4
_SLOTS = 168
_UNKNOWN = 255
_STEPS = 8
"""Steps of the scale to a doubling; 255 stands behind 2³¹."""


class Volume(Struct):
    """Events of one sender, by hour."""

    first_min: int
    hour: int
    events: int = 0
    """Events of the hour that is being counted."""
    whole: bool = False
    most: int = 0
    """Most events in an hour that were no flood."""
    slots: bytes = bytes([_UNKNOWN]) * _SLOTS
    """Usual events in each hour of the week, on a scale of eighths of a doubling."""


class Hour(Struct, frozen=True):
    """An hour that is over, and was watched whole."""

    hour: int
    events: int
    usual: int
    """What the same hour of the weeks before had; 0 where that is not known or not many."""

    @property
    def fewer(self) -> bool:
        """Whether far fewer came than usual. None at all is a silence, and not told here."""
        return 0 < self.events < self.usual // FEWER_TIMES

    @property
    def enough(self) -> bool:
        """Whether about as many came as usual."""
        return self.events * _BACK_TIMES >= self.usual


def new_volume(minute: int) -> Volume:
    """Return the volume of somebody who is heard for the first time."""
    return Volume(minute, minute // HOUR_MIN)


def close_hour(volume: Volume, minute: int, *, learn: bool) -> Hour | None:
    """Close the hour that is over at a minute; return it if it was whole.

    Args:
        volume: what is known of the sender.
        minute: the minute it is.
        learn: that what came in it is usual.
    """
    hour = minute // HOUR_MIN
    if hour <= volume.hour:
        return None
    slot = volume.hour % _SLOTS
    before = volume.slots[slot]
    closed = None
    if volume.whole:
        ripe = minute - volume.first_min >= WEEK_MIN + DAY_MIN and before != _UNKNOWN
        many = _many(before) if ripe else 0
        closed = Hour(volume.hour, volume.events, many if many >= _FEWER_LEAST else 0)
        if learn and not closed.fewer:
            slots = bytearray(volume.slots)
            now = _scaled(volume.events)
            slots[slot] = now if before == _UNKNOWN else round(before + (now - before) / 4)
            volume.slots = bytes(slots)
    if learn:
        volume.most = max(volume.most, volume.events)
    volume.whole = hour == volume.hour + 1
    volume.hour, volume.events = hour, 0
    return closed


def flood_at(volume: Volume, minute: int) -> int:
    """Return how many events in an hour are a flood; 0 while too little is known."""
    if minute - volume.first_min < DAY_MIN:
        return 0
    return max(_FLOOD_LEAST, FLOOD_TIMES * volume.most)


def _scaled(events: int) -> int:
    return min(_UNKNOWN - 1, round(_STEPS * math.log2(1 + events)))


def _many(scaled: int) -> int:
    return round(2 ** (scaled / _STEPS)) - 1
