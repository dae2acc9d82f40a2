"""How often somebody is usually heard, by the hour of the week, and when a silence is none of that.

Time is counted in *active minutes*: minutes in which at least one event arrived. A flood of events
moves them no more than one event does, so nobody can teach the watch a wrong measure by shouting.
A pause is measured by the active minutes that would usually have been in it. Until a whole week is
known, "usually" is the mean; behind that, the same hours of the weeks before.
"""

import math

from msgspec import Struct

from trailhound.engine.watch.contract import DAY_MIN, HOUR_MIN, WEEK_MIN

KNOWN_MIN = WEEK_MIN + DAY_MIN
"""After so long, each hour of the week has been heard whole."""
FORGOTTEN_MIN = WEEK_MIN + DAY_MIN
"""Who was not heard for so long is no longer awaited."""
_SLOTS = 168
_UNKNOWN = 255
_QUARTERS = 4
_NEWEST_WEIGHS = 0.25
_FADES_HOURLY = 0.999
"""The longest usual pause counts for half after four weeks."""
_TIMES_THE_LONGEST = 3
_STEADY = 0.9
"""Heard in so many of its minutes, a sender is a machine that never rests."""
STEADY_WAIT = 10.0
"""Active minutes that may always be missed."""
_WAIT, _NEW_WAIT = 30.0, 60.0
_LEAST_PAUSE_MIN = 2


class Rhythm(Struct):
    """When somebody was heard. Minutes and hours are those since 1970, UTC, of our clock."""

    first_min: int
    last_min: int
    """The last active minute; time in which nobody watched is put on top of it."""
    hour: int
    """The hour that is being counted."""
    active_min: int = 0
    in_hour: int = 0
    whole: bool = False
    """Whether that hour was watched from its beginning."""
    unwatched_min: int = 0
    slots: bytes = bytes([_UNKNOWN]) * _SLOTS
    """Usual active minutes in each hour of the week, in quarters of a minute; 255: unknown."""
    rough: float = 0.0
    """Longest usual pause, in active minutes by the mean."""
    longest: float = 0.0
    """Longest usual pause, in active minutes by the hour of the week."""

    def age_min(self, minute: int) -> int:
        """Return for how many minutes it has been watched."""
        return max(0, minute - self.first_min - self.unwatched_min)

    def known(self, minute: int) -> bool:
        """Whether the same hours of a week before are known."""
        return self.age_min(minute) >= KNOWN_MIN


class Wait(Struct, frozen=True):
    """What a pause looks like."""

    missed: float
    """Active minutes that would usually have been in it."""
    allowed: float
    """So many are no reason to worry; infinite where nothing can be said yet."""


def new_rhythm(minute: int) -> Rhythm:
    """Return the rhythm of somebody who is heard for the first time."""
    return Rhythm(minute, minute, minute // HOUR_MIN, active_min=1, in_hour=1)


def beat(rhythm: Rhythm, minute: int, *, learn: bool) -> None:
    """Take note of a minute in which somebody was heard; `learn` that pauses like it are usual."""
    if minute <= rhythm.last_min:
        return
    if learn and minute - rhythm.last_min > _LEAST_PAUSE_MIN:
        missed = _missed(rhythm, minute)
        if rhythm.known(minute):
            rhythm.longest = max(rhythm.longest, missed)
        else:
            rhythm.rough = max(rhythm.rough, missed)
    _roll(rhythm, minute // HOUR_MIN, learn=learn)
    rhythm.last_min = minute
    rhythm.active_min += 1
    rhythm.in_hour += 1


def excuse(rhythm: Rhythm, begin: int, end: int, *, learn: bool) -> None:
    """Leave minutes out: nobody watched, or all were silent; `learn` what was before them."""
    _roll(rhythm, begin // HOUR_MIN, learn=learn)
    rhythm.last_min += end - begin
    rhythm.unwatched_min += end - begin
    rhythm.hour, rhythm.in_hour, rhythm.whole = end // HOUR_MIN, 0, False


def wait(rhythm: Rhythm, minute: int) -> Wait:
    """Return what the pause since somebody was last heard looks like at a minute."""
    pause = minute - rhythm.last_min
    age = rhythm.age_min(rhythm.last_min)
    missed = _missed(rhythm, minute)
    if age < HOUR_MIN:
        return Wait(missed, math.inf)
    steady = missed >= _STEADY * pause
    if rhythm.known(rhythm.last_min):
        least = _WAIT if age >= KNOWN_MIN + WEEK_MIN else _NEW_WAIT
        return Wait(
            missed, max(STEADY_WAIT if steady else least, _TIMES_THE_LONGEST * rhythm.longest)
        )
    # Who rested at night may rest on Saturday. Only who never does can be missed so early.
    if steady or (age >= DAY_MIN and rhythm.rough < STEADY_WAIT):
        return Wait(missed, max(STEADY_WAIT, _TIMES_THE_LONGEST * rhythm.rough))
    return Wait(missed, math.inf)


def usual(rhythm: Rhythm, minute: int) -> str:
    """Say how often somebody is usually heard at a minute."""
    hour = minute // HOUR_MIN
    if rhythm.known(minute) and rhythm.slots[hour % _SLOTS] != _UNKNOWN:
        return f"in {_rate(rhythm, hour):.0f} of 60 minutes at this hour of the week"
    return f"in {_rate(rhythm, hour):.0f} of 60 minutes, as far as is known"


def _missed(rhythm: Rhythm, minute: int) -> float:
    begin, total = max(rhythm.last_min + 1, minute - FORGOTTEN_MIN), 0.0
    if not rhythm.known(rhythm.last_min):
        return _rate(rhythm, 0) * max(0, minute - begin) / HOUR_MIN
    while begin < minute:
        hour = begin // HOUR_MIN
        end = min(minute, (hour + 1) * HOUR_MIN)
        total += _rate(rhythm, hour) * (end - begin) / HOUR_MIN
        begin = end
    return total


def _rate(rhythm: Rhythm, hour: int) -> float:
    slot = rhythm.slots[hour % _SLOTS]
    if slot != _UNKNOWN and rhythm.known(rhythm.last_min):
        return slot / _QUARTERS
    minutes = rhythm.age_min(rhythm.last_min) + 1
    return min(60.0, 60.0 * rhythm.active_min / minutes)


def _roll(rhythm: Rhythm, hour: int, *, learn: bool) -> None:
    """Close the hours up to one. Hours of a pause that was none are not learned."""
    if hour <= rhythm.hour:
        return
    slots = bytearray(rhythm.slots)
    for past in range(rhythm.hour, min(hour, rhythm.hour + _SLOTS)):
        if rhythm.whole and learn:
            heard, before = rhythm.in_hour * _QUARTERS, slots[past % _SLOTS]
            if before != _UNKNOWN:
                heard = round(before + (heard - before) * _NEWEST_WEIGHS)
            slots[past % _SLOTS] = heard
        rhythm.in_hour, rhythm.whole = 0, True
    rhythm.slots = bytes(slots)
    fades = _FADES_HOURLY ** (hour - rhythm.hour)
    rhythm.longest *= fades
    rhythm.rough *= fades
    rhythm.hour, rhythm.in_hour = hour, 0
    rhythm.whole = learn
