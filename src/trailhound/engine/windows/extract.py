"""The first and the last of many events, as evidence."""

from msgspec import Struct, field

from trailhound.engine.output import Said
from trailhound.engine.windows.contract import Feed, Outcome
from trailhound.engine.windows.wording import duration
from trailhound.model.findings import EVENTS_KEPT

_HALF = EVENTS_KEPT // 2


class Extract(Struct):
    """What a finding keeps of its events, by `Feed.at`, and how many there are."""

    start_ns: int
    identity: str
    head: list[int] = field(default_factory=list)
    tail: list[int] = field(default_factory=list)
    count: int = 0
    end_ns: int = 0

    def add(self, time_ns: int, at: int) -> None:
        """Take in an event; they come in their order."""
        self.count += 1
        self.end_ns = time_ns
        if len(self.head) < _HALF:
            self.head.append(at)
        else:
            self.tail.append(at)
            if len(self.tail) > _HALF:
                del self.tail[0]

    def evidence(self) -> tuple[int, ...]:
        """Return the events kept."""
        return tuple(dict.fromkeys((*self.head, *self.tail)))

    def outcome(self, reason: str, said: Said | None = None) -> Outcome:
        """Return what a finding says of them."""
        return Outcome(
            self.identity, self.start_ns, self.end_ns, self.evidence(), self.count, reason, said
        )

    def matches(self) -> str:
        """Return how many they are, and in what time, in words."""
        noun = "match" if self.count == 1 else "matches"
        return f"{self.count:,} {noun} in {duration(self.end_ns - self.start_ns)}"


def begun(feed: Feed) -> Extract:
    """Return an extract that begins with an event."""
    extract = Extract(feed.time_ns, feed.uid)
    extract.add(feed.time_ns, feed.at)
    return extract


def joined(first: Extract, rest: list[Feed]) -> Extract:
    """Return a copy of an extract with further events."""
    copy = Extract(
        first.start_ns, first.identity, [*first.head], [*first.tail], first.count, first.end_ns
    )
    for feed in rest:
        copy.add(feed.time_ns, feed.at)
    return copy
