"""What a kind of window is: a fold over the feeds of one group, in event time."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from trailhound.engine.output import Said
from trailhound.engine.windows.paged import Shelf

Key = tuple[str | None, ...]
"""The values of the group fields, in the order of `group_by`; None: the field was absent."""

NEVER = 2**63 - 1
"""An event time that does not come."""


class Feed(NamedTuple):
    """A hit on its way into one group of one window."""

    time_ns: int
    uid: str
    """Content id of the event. Feeds are ordered by time, then by this, then by rule."""
    rule: int
    """Which rule matched: its position in the window's `rules`."""
    window: int
    """Index of the window rule in the plan."""
    key: Key
    values: tuple[tuple[str, ...], ...] = ()
    """The texts at each of the window's `value_fields`; nulls are left out."""
    request: str = ""
    """Id of the request that the event tells of (`Event.request`); empty: none is known."""
    at: int = 0
    """Where the event is kept, for whoever keeps it."""
    onward: tuple["Feed", ...] = ()
    """What the windows over this window are fed, if this feed completes it; `time_ns`, `uid`,
    `request` and `at` are then those of this feed."""
    said: Said | None = None
    """What the rule says of the event, where the window tells it."""


class Fired(NamedTuple):
    """The condition holds now: the windows over this one are fed. Makes no finding."""

    feed: Feed
    """The feed that made it hold."""
    reason: str = ""
    """What was seen, where a window over this one tells it."""


class Outcome(Struct, frozen=True):
    """What a finding says of its window; depends on the feeds of the group and on nothing else."""

    identity: str
    """What tells it from other outcomes of the same group: the uid of its first event; with more
    to it, where one event can begin two."""
    start_ns: int
    end_ns: int
    """Event time at which it was complete; orders findings."""
    evidence: tuple[int, ...]
    """`Feed.at` of its events, in event time: the first and the last ones, at most
    `EVENTS_KEPT`."""
    count: int
    """How many events it has."""
    reason: str
    """One sentence: what was seen, and what the rule asks for."""
    said: Said | None = None
    """What the rule says of the first event."""


State = TypeVar("State", bound=Struct)


class Fold(Protocol[State]):
    """How the groups of one window rule count. Holds no state itself.

    The state of a group is a `msgspec.Struct` of plain data: it is written to disk and read
    back by its type, copied, and there may be a million of it. A state that equals a fresh one
    is forgotten. Feeds in it stand in fields, lists or dicts, not in other tuples.
    """

    def fresh(self) -> State:
        """Return the state of a group that has seen nothing."""
        ...

    def take(self, state: State, feed: Feed, shelf: Shelf, /) -> Iterable[Outcome | Fired]:
        """Take a feed in. Feeds come by time and uid, each once; changes `state`."""
        ...

    def due(self, state: State) -> int:
        """Return the event time for which `until` wants to be asked next; else `NEVER`."""
        ...

    def until(self, state: State, now_ns: int, shelf: Shelf, /) -> Iterable[Outcome | Fired]:
        """Say what is over, or missing, once event time has come to `now_ns`.

        Asked before a feed of that time is taken, and at the end of the input, whenever
        `due(state) <= now_ns`; afterwards `due` must lie beyond `now_ns`.
        """
        ...

    def finish(self, state: State) -> Iterable[Outcome]:
        """Say what is still open; the input has ended, and `until` has been asked."""
        ...


AnyFold = Fold[Any]
"""A fold of some kind: each knows its own state."""

MakeFold = Callable[[Any, tuple[str, ...]], AnyFold]
"""From a window, and the titles of the rules that feed it (as in its `rules`), to its fold."""
