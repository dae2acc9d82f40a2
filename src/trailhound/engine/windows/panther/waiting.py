"""What correlation rules of Panther share: what is complete waits for what must not come."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from msgspec import Struct

from trailhound.engine.windows.contract import NEVER, Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract
from trailhound.engine.windows.paged import Shelf


class Waiting(Struct):
    """Matches that are complete, unless what must be absent comes."""

    found: Extract
    since_ns: int
    """From when on it must be absent."""
    until_ns: int
    feed: Feed
    """The match that completed them."""


class WaitingState(Struct):
    """The state of a group; each kind adds what it counts."""

    waiting: Waiting | None = None
    until_ns: int = 0
    """When all of it is too old; 0: there is nothing."""


S = TypeVar("S", bound=WaitingState)


class WaitingFold(Generic[S]):
    """A fold that tells what is complete once nothing can come any more that must not."""

    @abstractmethod
    def clear(self, state: S) -> None:
        """Be as if nothing had come."""

    @abstractmethod
    def outcome(self, found: Extract) -> Outcome:
        """Return what is told."""

    def due(self, state: S) -> int:
        """See `Fold`."""
        if state.waiting is not None:
            return state.waiting.until_ns
        return state.until_ns or NEVER

    def until(self, state: S, now_ns: int, _shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        waiting = state.waiting
        if waiting is not None and waiting.until_ns <= now_ns:
            yield from self.tell(state, waiting.found, waiting.feed)
        if state.waiting is None and state.until_ns and state.until_ns <= now_ns:
            self.clear(state)

    def finish(self, state: S) -> Iterator[Outcome]:
        """See `Fold`: whether what must be absent would still have come, nobody knows."""
        self.clear(state)
        return iter(())

    def tell(self, state: S, found: Extract, feed: Feed) -> Iterator[Outcome | Fired]:
        """Tell of matches; what made them is spent."""
        yield self.outcome(found)
        yield Fired(feed)
        self.clear(state)
