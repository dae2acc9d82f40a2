"""How late events arrive, and whether the clock of their sender is right.

A sender is judged by whole minutes: late is a minute of which *every* event is late, ahead one of
which every event bears a stamp of the future. One stray or forged stamp says nothing.
"""

from enum import StrEnum

from msgspec import Struct

AHEAD_S = 120
"""A stamp may lie so far after its arrival."""
LATE_S = 900
"""Nobody counts as late before that."""
_TIMES_USUAL = 4
_USUAL_LIMIT_S = 6 * 3600
_LEARNING_MIN = 60
_LATE_MINUTES, _AHEAD_MINUTES, _GOOD_MINUTES = 10, 5, 5


class Turn(StrEnum):
    """What has changed."""

    NONE = ""
    LATE = "late"
    AHEAD = "ahead"
    GOOD = "good"
    """Neither late nor ahead any more."""


class Delay(Struct):
    """Delay of one sender's events. Seconds; negative: the stamp lies in the future."""

    minute: int
    least_s: int
    most_s: int
    minutes: int = 0
    usual_s: int = 0
    """Longest usual delay."""
    late: int = 0
    ahead: int = 0
    good: int = 0
    """Active minutes in a row that were so."""

    @property
    def limit_s(self) -> int:
        """What is later than this is late."""
        return max(LATE_S, _TIMES_USUAL * self.usual_s)


def measure(delay: Delay, minute: int, delay_s: int, *, wrong: bool) -> Turn:
    """Take note of how late an event came; return what the minute before turned out to be.

    Args:
        delay: what is known of the sender.
        minute: the minute in which it arrived.
        delay_s: arrival less event time, seconds.
        wrong: whether the sender counts as late or ahead at the moment.
    """
    if minute <= delay.minute:
        delay.least_s = min(delay.least_s, delay_s)
        delay.most_s = max(delay.most_s, delay_s)
        return Turn.NONE
    turn = _judge(delay, wrong=wrong)
    delay.minute, delay.least_s, delay.most_s = minute, delay_s, delay_s
    return turn


def _judge(delay: Delay, *, wrong: bool) -> Turn:
    late, ahead = delay.least_s > delay.limit_s, delay.most_s < -AHEAD_S
    delay.minutes += 1
    if delay.minutes <= _LEARNING_MIN and not ahead:
        late = False
    delay.late = delay.late + 1 if late else 0
    delay.ahead = delay.ahead + 1 if ahead else 0
    delay.good = 0 if late or ahead else delay.good + 1
    if not late:
        delay.usual_s = min(_USUAL_LIMIT_S, max(delay.usual_s, delay.least_s))
    if wrong:
        return Turn.GOOD if delay.good >= _GOOD_MINUTES else Turn.NONE
    if delay.late >= _LATE_MINUTES:
        return Turn.LATE
    return Turn.AHEAD if delay.ahead >= _AHEAD_MINUTES else Turn.NONE
