"""From matches to alerts: what all windows of ElastAlert rules have in common.

elastalert2 2.19, `ElastAlerter.run_rule`, `set_realert` and `next_alert_time`, over event time:
the time of an alert is that of the event, or of the run, that made the match. Matches that are
held back are not lost: they are in the finding of the alert that holds them back.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct, field

from trailhound.engine.windows.contract import NEVER, Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.tally import Held, Hits
from trailhound.model.findings import EVENTS_KEPT
from trailhound.rules.ir import Realert

_HALF = EVENTS_KEPT // 2
_SECOND_NS = 1_000_000_000


class Match(NamedTuple):
    """The condition of a rule holds."""

    time_ns: int
    identity: str
    """Tells it from other matches of the group."""
    events: list[Held]
    """Its events, or the first and last of them."""
    size: int
    """How many events it has."""
    reason: str
    lasting: bool = False
    """It is asked again at every run, and holds until `Alerts.rest` is told."""
    feed: Feed | None = None
    """The event that made it; None where a run did."""


class Alert(Struct):
    """An alert, with what it holds back."""

    extract: Extract
    reason: str
    held: int = 0
    """Matches held back."""
    last: tuple[int, str] = (-1, "")
    """Time and uid of the last event taken in."""

    def add(self, match: Match) -> None:
        """Take in a match. Its events may overlap with those of the match before it."""
        extract = self.extract
        count, end_ns = extract.count + match.size, max(extract.end_ns, match.time_ns)
        for seen in match.events:
            extract.start_ns = min(extract.start_ns, seen.time_ns)
            if seen[:2] > self.last:
                self.last = seen[:2]
                extract.add(seen.time_ns, seen.at)
        extract.count, extract.end_ns = count, end_ns

    def outcome(self) -> Outcome:
        """Return what the finding says."""
        more = ""
        if self.held:
            noun = "match" if self.held == 1 else "matches"
            more = f"; {self.held:,} more {noun} held back (realert)"
        return self.extract.outcome(self.reason + more)


def alert_of(match: Match) -> Alert:
    """Return an alert that a match makes."""
    alert = Alert(Extract(match.time_ns, match.identity), match.reason)
    alert.add(match)
    return alert


class Alerts(Struct):
    """The alert of a group that is open, and until when further ones are held back."""

    open: Alert | None = None
    lasting: bool = False
    until_ns: int = 0
    exponent: int = 0
    silenced: bool = False
    """Whether there was an alert that `until_ns` and `exponent` tell of."""

    def due(self, realert: Realert) -> int:
        """Return when the open alert is over, or the last one can be forgotten."""
        if self.lasting:
            return NEVER
        if self.open is not None:
            return self.until_ns
        return self._forgotten_ns(realert) if self.silenced else NEVER

    def take(self, match: Match, realert: Realert) -> Iterator[Outcome | Fired]:
        """Take a match: it goes on, is held back, or is an alert."""
        now_ns = match.time_ns
        if self.lasting and match.lasting and self.open is not None:
            # One condition that goes on: ElastAlert would alert again after each `realert`.
            self.open.extract.end_ns = now_ns
            if now_ns >= self.until_ns:
                self._hold(now_ns, realert)
            return
        if self.open is not None and now_ns < self.until_ns:
            self.open.add(match)
            self.open.held += 1
            self.lasting = match.lasting
            return
        yield from self.close()
        self._hold(now_ns, realert)
        self.open = alert_of(match)
        self.lasting = match.lasting
        if match.feed is not None:
            yield Fired(match.feed)
        if not realert.for_ns and not match.lasting:
            yield from self.close()
            self.forget()

    def rest(self, now_ns: int, realert: Realert) -> Iterator[Outcome]:
        """Take in that a lasting match holds no more."""
        if self.lasting:
            self.lasting = False
            yield from self.until(now_ns, realert)

    def until(self, now_ns: int, realert: Realert) -> Iterator[Outcome]:
        """Close what is over."""
        if self.open is not None and not self.lasting and now_ns >= self.until_ns:
            yield from self.close()
        if self.silenced and self.open is None and now_ns >= self._forgotten_ns(realert):
            self.forget()

    def close(self) -> Iterator[Outcome]:
        """Tell of the open alert."""
        if self.open is not None:
            yield self.open.outcome()
            self.open = None
            self.lasting = False

    def forget(self) -> None:
        """Be as if there had been no alert."""
        self.until_ns = self.exponent = 0
        self.silenced = False

    def _forgotten_ns(self, realert: Realert) -> int:
        if not realert.at_most_ns:
            return self.until_ns
        # By then `_hold` has come down to the exponent 0, as for a first alert.
        doubled: int = 2 ** (max(self.exponent, 0) + 2)
        return self.until_ns + (realert.for_ns + _SECOND_NS) * doubled

    def _hold(self, now_ns: int, realert: Realert) -> None:
        # `next_alert_time`: in whole seconds, and one less of the exponent once at the limit.
        base_s = realert.for_ns // _SECOND_NS
        if not self.silenced or not realert.at_most_ns:
            self.until_ns, self.exponent = now_ns + realert.for_ns, 0
            self.silenced = True
            return
        since_s = (now_ns - self.until_ns) // _SECOND_NS
        exponent = self.exponent
        if since_s < base_s * 2**exponent:
            exponent += 1
        else:
            while exponent > 0 and since_s > base_s * 2**exponent:
                since_s -= int(base_s * 2**exponent)
                exponent -= 1
        wait_ns = int(base_s * 2**exponent) * _SECOND_NS
        if wait_ns >= realert.at_most_ns:
            wait_ns, exponent = realert.at_most_ns, exponent - 1
        self.until_ns, self.exponent = now_ns + wait_ns, exponent


class AlertState(Struct):
    """The state of a group; each kind adds what it counts."""

    alerts: Alerts = field(default_factory=Alerts)
    next_ns: int = NEVER
    """When `ran` has something to do next."""
    fed: Feed | None = None
    """The last event, where windows over this one are fed by the matches of runs."""


S = TypeVar("S", bound=AlertState)


class AlertFold(Generic[S]):
    """A fold that makes matches, and of matches alerts."""

    def __init__(self, window: Any, _titles: tuple[str, ...]) -> None:
        self._realert: Realert = window.realert
        self._every_ns: int = window.every_ns

    @abstractmethod
    def fresh(self) -> S:
        """Return the state of a group that has seen nothing."""

    @abstractmethod
    def seen(self, state: S, feed: Feed, shelf: Shelf, /) -> Iterable[Match]:
        """Count an event in; return the matches that it makes."""

    def next_run(self, _state: S, _shelf: Shelf, /) -> int:
        """Return the next time at which `ran` has something to do; else `NEVER`."""
        return NEVER

    def ran(self, _state: S, _now_ns: int, _shelf: Shelf, /) -> Iterable[Match]:
        """Say what is missing at the end of a run, and let go of what is old.

        A run's time is one nanosecond after its end, so that events of its last moment count.
        Events come before it, and `next_run` lies beyond it afterwards.
        """
        return ()

    def holds(self, _state: S) -> bool:
        """Whether a lasting match held at the last run."""
        return False

    def take(self, state: S, feed: Feed, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        yield from state.alerts.until(feed.time_ns, self._realert)
        if feed.onward:
            state.fed = feed
        for match in self.seen(state, feed, shelf):
            yield from state.alerts.take(match, self._realert)
        self._plan_run(state, shelf)

    def due(self, state: S) -> int:
        """See `Fold`."""
        return min(state.next_ns, state.alerts.due(self._realert))

    def until(self, state: S, now_ns: int, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        while (due_ns := self.due(state)) <= now_ns:
            yield from state.alerts.until(due_ns, self._realert)
            if state.next_ns <= due_ns:
                for match in self.ran(state, due_ns, shelf):
                    by_run = match._replace(feed=_of_run(state, match, due_ns))
                    yield from state.alerts.take(by_run, self._realert)
                self._plan_run(state, shelf)
                if not self.holds(state):
                    yield from state.alerts.rest(due_ns, self._realert)

    def _plan_run(self, state: S, shelf: Shelf) -> None:
        state.next_ns = self.next_run(state, shelf)
        if state.next_ns == NEVER:
            state.fed = None  # or else the group would never be forgotten

    def finish(self, state: S) -> Iterator[Outcome]:
        """See `Fold`."""
        yield from state.alerts.close()

    def run_from(self, time_ns: int) -> int:
        """Return the time of the first run that ends at or after a time."""
        return -(-time_ns // self._every_ns) * self._every_ns + 1


def _of_run(state: AlertState, match: Match, now_ns: int) -> Feed:
    """Return what stands for the event that made a match: the last event, at the time of a run."""
    # Outer windows have come to the time of the run; before it they would be told of their past.
    if state.fed is not None:
        return state.fed._replace(time_ns=now_ns)
    last = match.events[-1]
    return Feed(now_ns, last.uid, last.rule, -1, (), at=last.at)


def ends(hits: Hits, shelf: Shelf, start: int = 0) -> list[Held]:
    """Return the first and the last of many events, from some place on."""
    count = len(hits)
    if count - start <= EVENTS_KEPT:
        return list(hits.between(start, count, shelf))
    last = hits.between(count - _HALF, count, shelf)
    return [*hits.between(start, start + _HALF, shelf), *last]
