"""Event time of a stream: how far it has come, and how far back it may still go.

Each source has its own time. The time of a window is that of the slowest source that feeds it,
leaving out those that have fallen silent. No clock is read: when records arrived is said by
whoever received them.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

_MINUTE_NS = 60 * 1_000_000_000
_HOUR_NS = 60 * _MINUTE_NS


class Lateness(Struct, frozen=True, kw_only=True):
    """How late an event may come, and whom to wait for."""

    default_ns: int = 24 * _HOUR_NS
    by_source: Mapping[str, int] = {}
    """Source name → its own allowed lateness, nanoseconds."""
    skew_ns: int = 5 * _MINUTE_NS
    """A stamp may lie so far after the arrival. One beyond it moves no time on: whoever can
    write one record could otherwise end every window."""
    idle_ns: int = _HOUR_NS
    """A source of which nothing has arrived for so long is not waited for."""

    def of(self, source: str) -> int:
        """Return the allowed lateness of a source, nanoseconds."""
        return self.by_source.get(source, self.default_ns)


class SourceTime(Struct):
    """How far one source has come."""

    seen_ns: int
    """Its latest event time."""
    arrived_ns: int
    """When something of it last arrived."""


class WindowTime(Struct, frozen=True):
    """How far a window has come, in event time."""

    horizon_ns: int = 0
    """Nothing before this is awaited any more."""
    now_ns: int = 0
    """All of its sources have come to this: what is missing by now is missing."""
    latest_ns: int = 0
    """Some source has come to this; a feed beyond it bears a stamp of the future."""

    def not_before(self, other: "WindowTime") -> "WindowTime":
        """Return this, or of each the other where that is later."""
        return WindowTime(
            max(self.horizon_ns, other.horizon_ns),
            max(self.now_ns, other.now_ns),
            max(self.latest_ns, other.latest_ns),
        )


class Clock(Struct):
    """Event time by source. Moves forward only."""

    sources: dict[str, SourceTime] = field(default_factory=dict)
    arrived_ns: int = 0

    def observe(
        self, source: str, times_ns: Iterable[int], arrived_ns: int, lateness: Lateness
    ) -> None:
        """Take note of event times of a source that arrived at some time (0: unknown)."""
        limit_ns = arrived_ns + lateness.skew_ns
        latest_ns = max((t for t in times_ns if not arrived_ns or t <= limit_ns), default=0)
        known = self.sources.setdefault(source, SourceTime(0, arrived_ns))
        known.seen_ns = max(known.seen_ns, latest_ns)
        known.arrived_ns = max(known.arrived_ns, arrived_ns)
        self.arrived_ns = max(self.arrived_ns, arrived_ns)

    def of(self, sources: Iterable[str], lateness: Lateness) -> "WindowTime":
        """Return how far the windows have come that these sources feed."""
        awaited = self._awaited(sources, lateness)
        return WindowTime(
            horizon_ns=max(0, min((t.seen_ns - lateness.of(s) for s, t in awaited), default=0)),
            now_ns=min((time.seen_ns for _, time in awaited), default=0),
            latest_ns=max((time.seen_ns for _, time in awaited), default=0),
        )

    def _awaited(self, sources: Iterable[str], lateness: Lateness) -> list[tuple[str, SourceTime]]:
        known = [(s, self.sources[s]) for s in sources if s in self.sources]
        known = [(name, time) for name, time in known if time.seen_ns]
        since_ns = self.arrived_ns - lateness.idle_ns
        return [(n, t) for n, t in known if t.arrived_ns >= since_ns] or known
