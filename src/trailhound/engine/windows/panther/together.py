"""Correlation rules that ask for matches in any order (Panther's `Group`).

Panther asks on a schedule what the lookback window holds. Here there is no schedule: the group
is found when the last match that it needs comes, all of them within the window. What must be
absent, or must not come too often, is asked of the window before that moment, and waited for
until the window that began with the first match is over.
"""

from collections.abc import Iterator

from msgspec import field

from trailhound.engine.windows.contract import Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract, begun, joined
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.panther.sequence import described
from trailhound.engine.windows.panther.waiting import Waiting, WaitingFold, WaitingState
from trailhound.rules.ir import Signal, Together


class TogetherState(WaitingState):
    """The newest matches of each signal; as many as its bounds ask for."""

    newest: list[list[Feed]] = field(default_factory=list)


class TogetherFold(WaitingFold[TogetherState]):
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

    def clear(self, state: TogetherState) -> None:
        """See `WaitingFold`."""
        state.newest, state.waiting, state.until_ns = [], None, 0

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
        waiting = state.waiting
        if self._too_many(state, waiting.since_ns if waiting else now_ns - span_ns):
            state.waiting = None
            return
        if waiting is not None:
            waiting.found = joined(waiting.found, [feed])
            return
        needed = self._needed(state, now_ns - span_ns)
        if needed is None or feed.rule not in self._wanted:
            return
        found = joined(begun(needed[0]), needed[1:])
        if not self._bounded:
            yield from self.tell(state, found, feed)
            return
        until_ns = found.start_ns + span_ns + 1
        state.waiting = Waiting(found, now_ns - span_ns, until_ns, feed)

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

    def outcome(self, found: Extract) -> Outcome:
        """See `WaitingFold`."""
        span_ns = self._window.timespan_ns
        parts = ", ".join(described(signal, span_ns) for signal in self._window.signals)
        return found.outcome(f"{found.matches()}: {parts}")


def _held(signal: Signal) -> int:
    return max(signal.at_least, (signal.at_most or 0) + 1)
