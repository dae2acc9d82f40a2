"""Times of one report: as short as its time range allows, always UTC."""

from trailhound.sinks.wording import duration, moment

_SAME_DAY, _SAME_YEAR, _FULL = "%H:%M:%S", "%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S"


class Clock:
    """Shows times of a range: without the date if all lie on one day."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        self._first_ns, self._last_ns = first_ns, last_ns
        first, last = moment(first_ns), moment(last_ns)
        self._format = _FULL
        if first and last and first.year == last.year:
            self._format = _SAME_DAY if first.date() == last.date() else _SAME_YEAR

    @property
    def width(self) -> int:
        """Characters of each time."""
        return {_SAME_DAY: 8, _SAME_YEAR: 14, _FULL: 19}[self._format]

    def time(self, time_ns: int) -> str:
        """Return one time, `no time` where the source gave none that is readable."""
        when = moment(time_ns)
        return when.strftime(self._format) if when else "no time"

    def span(self, first_ns: int, last_ns: int) -> str:
        """Return a range: one time, or two with a dash."""
        first, last = self.time(first_ns), self.time(last_ns)
        return first if first == last else f"{first} – {last}"

    def heading(self) -> str:
        """Return the whole range with its dates and how long it lasts."""
        first, last = moment(self._first_ns), moment(self._last_ns)
        if first is None or last is None:
            return "at unknown times"
        begin = first.strftime(_FULL)
        end = last.strftime(_SAME_DAY if first.date() == last.date() else _FULL)
        if first == last:
            return f"{begin} UTC"
        return f"{begin} – {end} UTC, {duration(self._last_ns - self._first_ns)}"
