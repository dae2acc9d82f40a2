"""Whoever is watched, and how many of them there may be.

Names of senders stand in logs, and whoever writes a log can make them up. So a name that is new
can push out nothing but another new name; who was heard for a while stays.
"""

from collections.abc import Iterable

from msgspec import Struct

from trailhound.engine.watch.contract import MINUTE_NS, Key, Sighting, parents
from trailhound.engine.watch.delays import Delay
from trailhound.engine.watch.rhythm import Rhythm, new_rhythm
from trailhound.engine.watch.serials import Serials
from trailhound.engine.watch.stages import Stages
from trailhound.engine.watch.volume import Volume, new_volume
from trailhound.model.records import Origin

KEPT = (1, 256, 4096, 8192)
"""Scopes at most: everything, sources, senders of all sources, kinds of events of all senders."""
PARTS_KEPT = (256, 2048, 256)
"""At most: sources, senders of one source, kinds of events of one sender."""
RIPE_MIN = 5
"""Who was heard in so many minutes is no longer new."""


class Episode(Struct):
    """Something that is amiss, from when it was noticed until it is well again.

    Times are of our clock, but for `since_ns` and `last_ns`, which are those of events.
    """

    begun_ns: int
    told: int = 0
    """How often it has been told."""
    count: int = 0
    told_count: int = 0
    last_ns: int = 0
    noticed_ns: int = 0
    """When more of it was last noticed."""
    since_ns: int = 0
    level: int = 0
    names: dict[str, int] = {}


class Scope(Struct):
    """What is known of one sender, of one kind of its events, or of all there are."""

    made: int
    """Counts those that were watched before it."""
    rhythm: Rhythm
    last_ns: int
    """When it was last heard, by our clock."""
    event_ns: int
    """Time of its last event."""
    origin: Origin
    events: int = 0
    repeats: int = 0
    volume: Volume | None = None
    delay: Delay | None = None
    serials: Serials | None = None
    stages: Stages | None = None
    departed: int = 0
    """Of a source: senders that fell silent and never came back."""
    open: dict[str, Episode] = {}
    """What is amiss with it, by the name of the rule."""


class Senders:
    """Everybody who is watched."""

    def __init__(self, scopes: Iterable[tuple[Key, Scope]] = ()) -> None:
        self.scopes: dict[Key, Scope] = {}
        self.parts: dict[Key, dict[Key, None]] = {}
        """Scope → scopes that are a part of it."""
        self._new: tuple[dict[Key, None], ...] = ({}, {}, {}, {})
        """Who is new, in the order they came; as in `KEPT`."""
        self.changed: set[Key] = set()
        self.gone: set[Key] = set()
        self.turned_away = [0, 0, 0, 0]
        """How often there was no room, as in `KEPT`."""
        self._counts = [0, 0, 0, 0]
        self._made = 0
        for key, scope in sorted(scopes, key=lambda pair: pair[1].made):
            self._put(key, scope)
            self._made = scope.made

    def of(self, key: Key, sighting: Sighting) -> Scope | None:
        """Return the scope of a key, made if it is new; None where there is no room."""
        scope = self.scopes.get(key)
        if scope is not None:
            self.changed.add(key)
            return scope
        if not self._room(key):
            self.turned_away[len(parents(key))] += 1
            return None
        self._made += 1
        minute = sighting.arrived_ns // MINUTE_NS
        scope = Scope(
            self._made,
            new_rhythm(minute),
            sighting.arrived_ns,
            sighting.time_ns,
            sighting.origin,
        )
        if key[1] and not key[2]:
            scope.volume = new_volume(minute)
        self._put(key, scope)
        return scope

    def ripened(self, key: Key) -> None:
        """Take note that somebody is no longer new."""
        self._new[len(parents(key))].pop(key, None)

    def drop(self, key: Key) -> None:
        """Forget somebody, and all of its parts."""
        for part in list(self.parts.pop(key, ())):
            self.drop(part)
        if self.scopes.pop(key, None) is None:
            return
        self.ripened(key)
        self.changed.discard(key)
        self.gone.add(key)
        wider = parents(key)
        self._counts[len(wider)] -= 1
        if wider:
            self.parts.get(wider[-1], {}).pop(key, None)

    def _put(self, key: Key, scope: Scope) -> None:
        self.scopes[key] = scope
        self.changed.add(key)
        self.gone.discard(key)
        if scope.rhythm.active_min < RIPE_MIN:
            self._new[len(parents(key))][key] = None
        wider = parents(key)
        self._counts[len(wider)] += 1
        if wider:
            self.parts.setdefault(wider[-1], {})[key] = None

    def _room(self, key: Key) -> bool:
        wider = parents(key)
        if not wider:
            return True
        if wider[-1] not in self.scopes:
            return False
        depth = len(wider)
        fellows, new = self.parts.get(wider[-1], {}), self._new[depth]
        oldest = None
        if len(fellows) >= PARTS_KEPT[depth - 1]:
            oldest = next((fellow for fellow in fellows if fellow in new), None)
        elif self._counts[depth] >= KEPT[depth]:
            oldest = next(iter(new), None)
        else:
            return True
        if oldest is None:
            return False
        self.drop(oldest)
        self.turned_away[depth] += 1
        return True
