"""Matches to alerts: those of one dedup string within a time are one.

Panther documentation, "Rules and Scheduled Rules": *Deduplication of alerts* and
*Unique value thresholding*; over event time.
"""

from collections.abc import Iterator

from msgspec import Struct

from trailhound.engine.output import Said
from trailhound.engine.windows.contract import NEVER, Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract, begun
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.wording import duration
from trailhound.rules.ir import Deduplicated


class DeduplicatedState(Struct):
    """The matches of the period that is open."""

    open: Extract | None = None
    until_ns: int = 0
    said: Said | None = None
    values: dict[str, None] | None = None
    """Different values so far; no more than the threshold asks for."""


class DeduplicatedFold:
    """Tells the matches of a period as one alert."""

    def __init__(self, window: Deduplicated, _titles: tuple[str, ...]) -> None:
        self._window = window

    def fresh(self) -> DeduplicatedState:
        """See `Fold`."""
        return DeduplicatedState()

    def due(self, state: DeduplicatedState) -> int:
        """See `Fold`."""
        return state.until_ns if state.open is not None else NEVER

    def take(self, state: DeduplicatedState, feed: Feed, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        yield from self.until(state, feed.time_ns, shelf)
        if state.open is None:
            state.open = begun(feed)
            state.until_ns = feed.time_ns + self._window.period_ns
            state.said = feed.said
            reached = False
        else:
            reached = self._number(state) >= self._window.threshold
            state.open.add(feed.time_ns, feed.at)
        if self._window.unique:
            values = state.values = state.values or {}
            if len(values) < self._window.threshold:
                values.update(dict.fromkeys(value for found in feed.values for value in found))
        if not reached and self._number(state) >= self._window.threshold:
            yield Fired(feed)

    def until(self, state: DeduplicatedState, now_ns: int, _shelf: Shelf) -> Iterator[Outcome]:
        """See `Fold`."""
        if state.open is not None and state.until_ns <= now_ns:
            yield from self.finish(state)

    def finish(self, state: DeduplicatedState) -> Iterator[Outcome]:
        """See `Fold`."""
        if state.open is not None and self._number(state) >= self._window.threshold:
            yield self._outcome(state.open, state.said)
        state.open = state.said = state.values = None
        state.until_ns = 0

    def _number(self, state: DeduplicatedState) -> int:
        if self._window.unique:
            return len(state.values or ())
        return state.open.count if state.open is not None else 0

    def _outcome(self, alert: Extract, said: Said | None) -> Outcome:
        window = self._window
        matches = "match" if alert.count == 1 else "matches"
        reason = f"{alert.count:,} {matches} within {duration(window.period_ns)}"
        if window.threshold > 1:
            what = "different values" if window.unique else "matches"
            reason += f" (rule: at least {window.threshold:,} {what})"
        return alert.outcome(reason, said)
