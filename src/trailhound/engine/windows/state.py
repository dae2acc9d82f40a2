"""What the windows remember between batches."""

from collections import Counter
from dataclasses import dataclass, field

from trailhound.engine.windows.clock import Clock, Lateness, WindowTime
from trailhound.engine.windows.groups import Groups, HeldGroups
from trailhound.engine.windows.paged import Shelf


@dataclass(slots=True)
class WindowState:
    """What the windows remember. Groups stand apart, so that it can be split by key."""

    groups: Groups = field(default_factory=HeldGroups)
    shelf: Shelf = field(default_factory=Shelf)
    """Where groups put what they do not hold in memory."""
    lateness: Lateness | None = None
    """How late feeds may come; None: they come sorted."""
    clock: Clock = field(default_factory=Clock)
    times: dict[int, WindowTime] = field(default_factory=dict)
    """Window → how far it has come."""
    now_ns: int = 0
    """Event time of the last feed, where they come sorted."""
    repeats: int = 0
    """Feeds left out because the same event had fed the same group."""
    late: Counter[int] = field(default_factory=Counter)
    """Window → feeds that came too late to be taken in."""
    full: Counter[int] = field(default_factory=Counter)
    """Window → how often a bound made the oldest feeds of a group final before their time."""
    spilled: Counter[int] = field(default_factory=Counter)
    """Window → pages of its groups that went to the shelf."""
