"""Correlation rules that ask for matches in any order (Panther's `Group`).

Panther asks on a schedule what the lookback window holds. Here there is no schedule: the group
is found when the last match that it needs comes, all of them within the window. What must be
absent, or must not come too often, is asked of the window before that moment, and waited for
until the window that began with the first match is over.
"""

from collections.abc import Iterator

from msgspec import Struct, field

from trailhound.engine.windows.contract import NEVER, Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract, begun, joined
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.panther.sequence import described
from trailhound.rules.ir import Signal, Together


class Pending(Struct):
    """A group that is complete, unless something comes that must not."""

    found: Extract
    since_ns: int
    until_ns: int
    feed: Feed


class TogetherState(Struct):
    """The newest matches of each signal; as many as its bounds ask for."""

    newest: list[list[Feed]] = field(default_factory=list)
    pending: Pending | None = None
    until_ns: int = 0
    """When all of it is too old; 0: there is nothing."""


class TogetherFold:
    """Watches the signals of each group."""

    def __init__(self, window: Together, _titles: tuple[str, ...]) -> None:
        self._window = window
        self._bounded = [
            (at, signal.at_most)
            for at, signal in enumerate(window.signals)
            if signal.at_most is not None
        ]

        self._wanted = {
            rule for signal in window.signals if not signal.absent for rule in signal.rules
        }

    def fresh(self) -> TogetherState:
        """See `Fold`."""
        return TogetherState()

    def due(self, state: TogetherState) -> int:
        """See `Fold`."""
        if state.pending is not None:
            return state.pending.until_ns
        return state.until_ns or NEVER

    def take(self, state: TogetherState, feed: Feed, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        yield from self.until(state, feed.time_ns, shelf)
        now_ns, span_ns = feed.time_ns, self._window.timespan_ns
        state.until_ns = now_ns + span_ns + 1
        state.newest = state.newest or [[] for _ in self._window.signals]
        for newest, signal in zip(state.newest, self._window.signals, strict=True):
            if feed.rule in signal.rules:
                newest.append(feed._replace(onward=(), said=None))
                if len(newest) > _held(signal):
                    del newest[0]
        pending = state.pending
        if self._too_many(state, pending.since_ns if pending else now_ns - span_ns):
            state.pending = None
            return
        if pending is not None:
            pending.found = joined(pending.found, [feed])
            return
        needed = self._needed(state, now_ns - span_ns)
        if needed is None or feed.rule not in self._wanted:
            return
        found = joined(begun(needed[0]), needed[1:])
        if not self._bounded:
            yield self._outcome(found)
            yield Fired(feed)
            _clear(state)
            return
        until_ns = found.start_ns + span_ns + 1
        state.pending = Pending(found, now_ns - span_ns, until_ns, feed)

    def until(self, state: TogetherState, now_ns: int, _shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        pending = state.pending
        if pending is not None and pending.until_ns <= now_ns:
            yield self._outcome(pending.found)
            yield Fired(pending.feed)
            _clear(state)
        if state.pending is None and state.until_ns and state.until_ns <= now_ns:
            _clear(state)

    def finish(self, state: TogetherState) -> Iterator[Outcome]:
        """See `Fold`: whether what must be absent would still have come, nobody knows."""
        _clear(state)
        return iter(())

    def _too_many(self, state: TogetherState, since_ns: int) -> bool:
        return any(
            len(state.newest[at]) > most and state.newest[at][-most - 1].time_ns >= since_ns
            for at, most in self._bounded
        )

    def _needed(self, state: TogetherState, since_ns: int) -> list[Feed] | None:
        """Return the matches that make the group, in their order; None where some are missing."""
        needed: list[Feed] = []
        for newest, signal in zip(state.newest, self._window.signals, strict=True):
            if signal.absent:
                continue
            if len(newest) < signal.at_least or newest[-signal.at_least].time_ns < since_ns:
                return None
            needed.extend(newest[-signal.at_least :])
        by_place = {(feed.time_ns, feed.uid, feed.rule): feed for feed in needed}
        return [by_place[place] for place in sorted(by_place)]

    def _outcome(self, found: Extract) -> Outcome:
        span_ns = self._window.timespan_ns
        parts = ", ".join(described(signal, span_ns) for signal in self._window.signals)
        return found.outcome(f"{found.matches()}: {parts}")


def _held(signal: Signal) -> int:
    return max(signal.at_least, (signal.at_most or 0) + 1)


def _clear(state: TogetherState) -> None:
    state.newest, state.pending, state.until_ns = [], None, 0
