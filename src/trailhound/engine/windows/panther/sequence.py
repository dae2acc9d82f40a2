"""Correlation rules that ask for one match after the other (Panther's `Sequence`).

Of all ways to read a sequence out of the matches the one that begins last counts, for it is the
shortest: where it does not fit the time, none does. So each signal keeps its newest end, and
what began it. What made a finding is spent: the next one begins after it.

A signal that must be absent bars the way between its neighbours; as the first it must not have
come for its time, as the last it is waited for.
"""

from collections.abc import Iterator

from msgspec import Struct, field

from trailhound.engine.windows.contract import Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract, begun, joined
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.panther.waiting import Waiting, WaitingFold, WaitingState
from trailhound.engine.windows.wording import duration
from trailhound.model.findings import EVENTS_KEPT
from trailhound.rules.ir import Sequence, Signal


class Opening(Struct):
    """A match that can be the first of its signal, after all that must come before."""

    number: int
    """Which match of the signal it is."""
    before: Extract | None
    """Those of the signals before."""
    start_ns: int


class Progress(Struct):
    """How far one signal is."""

    count: int = 0
    openings: list[Opening] = field(default_factory=list)
    """Those that still wait for as many matches as the signal needs."""
    best: Opening | None = None
    """The newest that has them."""
    recent: list[Feed] = field(default_factory=list)
    end: Extract | None = None
    """The sequence up to here, as it ended last."""


class SequenceState(WaitingState):
    """The state of a group."""

    progress: list[Progress] = field(default_factory=list)
    seen_ns: dict[int, int] = field(default_factory=dict)
    """Absent signals at the beginning → when they came last."""


class SequenceFold(WaitingFold[SequenceState]):
    """Follows the sequence of each group."""

    def __init__(self, window: Sequence, _titles: tuple[str, ...]) -> None:
        self._window = window
        self._present = [signal for signal in window.signals if not signal.absent]
        self._absent: list[tuple[int, Signal]] = []
        """Each with the number of present signals before it."""
        before = 0
        for signal in window.signals:
            if signal.absent:
                self._absent.append((before, signal))
            else:
                before += 1
        self._last = len(self._present)
        self._trailing = [signal for at, signal in self._absent if at == self._last]

    def fresh(self) -> SequenceState:
        """See `Fold`."""
        return SequenceState()

    def clear(self, state: SequenceState) -> None:
        """See `WaitingFold`."""
        state.progress, state.seen_ns = [], {}
        state.waiting, state.until_ns = None, 0

    def take(self, state: SequenceState, feed: Feed, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        yield from self.until(state, feed.time_ns, shelf)
        state.until_ns = feed.time_ns + self._window.timespan_ns + 1
        self._bar(state, feed)
        # From the last to the first, so that one match is not two in a row.
        for at in range(self._last - 1, -1, -1):
            if feed.rule in self._present[at].rules:
                found = self._advance(state, at, feed)
                if found is not None and at == self._last - 1:
                    yield from self._complete(state, found, feed)
                    if not state.progress:
                        return

    def _bar(self, state: SequenceState, feed: Feed) -> None:
        for number, (at, signal) in enumerate(self._absent):
            if feed.rule not in signal.rules:
                continue
            if at == 0:
                state.seen_ns[number] = feed.time_ns
            if at == self._last:
                waiting = state.waiting
                if waiting is not None and feed.time_ns - waiting.since_ns <= self._span(signal):
                    state.waiting = None
            if 0 < at < self._last and state.progress:
                before = state.progress[at - 1]
                if before.end and feed.time_ns - before.end.end_ns <= self._span(signal):
                    before.end = None

    def _advance(self, state: SequenceState, at: int, feed: Feed) -> Extract | None:
        if not state.progress:
            state.progress = [Progress() for _ in self._present]
        signal, here = self._present[at], state.progress[at]
        here.count += 1
        here.recent.append(feed._replace(onward=(), said=None))
        if len(here.recent) > EVENTS_KEPT:
            del here.recent[0]
        opening = self._opening(state, at, feed)
        if opening is not None:
            here.openings.append(opening)
        while here.openings and here.openings[0].number <= here.count - signal.at_least + 1:
            here.best = here.openings.pop(0)
        best = here.best
        if best is None or feed.time_ns - best.start_ns > self._window.timespan_ns:
            return None
        own = here.count - best.number + 1
        shown = here.recent[-own:]
        if best.before is None:
            found = joined(begun(shown[0]), shown[1:])
            found.start_ns = best.start_ns
        else:
            found = joined(best.before, shown)
        found.count += own - len(shown)
        here.end = found
        return found

    def _opening(self, state: SequenceState, at: int, feed: Feed) -> Opening | None:
        now_ns = feed.time_ns
        if at == 0:
            for number, (place, signal) in enumerate(self._absent):
                seen_ns = state.seen_ns.get(number) if place == 0 else None
                if seen_ns is not None and now_ns - seen_ns <= self._span(signal):
                    return None
            return Opening(state.progress[0].count, None, now_ns)
        end = state.progress[at - 1].end
        within_ns = self._present[at].within_ns or self._window.timespan_ns
        if end is None or now_ns - end.end_ns > within_ns:
            return None
        if now_ns - end.start_ns > self._window.timespan_ns:
            return None
        return Opening(state.progress[at].count, end, end.start_ns)

    def _complete(
        self, state: SequenceState, found: Extract, feed: Feed
    ) -> Iterator[Outcome | Fired]:
        if not self._trailing:
            yield from self.tell(state, found, feed)
        elif state.waiting is None:
            longest_ns = max(map(self._span, self._trailing))
            state.waiting = Waiting(found, feed.time_ns, feed.time_ns + longest_ns + 1, feed)
        else:
            state.waiting.found = joined(state.waiting.found, [feed])

    def _span(self, signal: Signal) -> int:
        span_ns = self._window.timespan_ns
        return min(signal.within_ns, span_ns) if signal.within_ns else span_ns

    def outcome(self, found: Extract) -> Outcome:
        """See `WaitingFold`."""
        steps = " → ".join(described(signal, self._span(signal)) for signal in self._window.signals)
        return found.outcome(f"{found.matches()}: {steps}")


def described(signal: Signal, absent_ns: int) -> str:
    """Return a signal in words: `10 × Login failed`, `no Login in 15 min`."""
    if signal.absent:
        return f"no {signal.name} in {duration(absent_ns)}"
    return f"{signal.at_least:,} × {signal.name}" if signal.at_least > 1 else signal.name
