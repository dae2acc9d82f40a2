"""Where the groups of windows are held, and which of them want to be woken."""

import heapq
from collections.abc import Iterator
from typing import Protocol

from trailhound.engine.windows.contract import Key
from trailhound.engine.windows.timeline import AnyLine

Group = tuple[int, Key]
"""(index of the window rule, key)"""


class Groups(Protocol):
    """Holds timelines by group. One that the pipeline gives may hold them on disk."""

    def get(self, group: Group) -> AnyLine | None:
        """Return the timeline of a group; whoever changes it puts it back."""
        ...

    def put(self, group: Group, line: AnyLine) -> None:
        """Hold a timeline, and queue its group for `wake_ns`."""
        ...

    def drop(self, group: Group) -> None:
        """Forget a group."""
        ...

    def due(self, now_ns: int) -> Iterator[Group]:
        """Yield groups that want to be woken by now, the earliest first.

        Each is then queued no longer, until it is put back. Groups may be put and dropped
        between.
        """
        ...

    def names(self) -> Iterator[Group]:
        """Yield every group; only those already yielded may be put or dropped between."""
        ...


class HeldGroups:
    """Groups in memory."""

    def __init__(self) -> None:
        self._lines: dict[Group, AnyLine] = {}
        self._queue: list[tuple[int, int, Group]] = []
        self._turn = 0

    def get(self, group: Group) -> AnyLine | None:
        """Return the timeline of a group."""
        return self._lines.get(group)

    def put(self, group: Group, line: AnyLine) -> None:
        """Hold a timeline, and queue its group for `wake_ns`."""
        self._lines[group] = line
        if line.wake_ns != line.queued_ns:
            line.queued_ns = line.wake_ns
            self._turn += 1
            heapq.heappush(self._queue, (line.wake_ns, self._turn, group))

    def drop(self, group: Group) -> None:
        """Forget a group."""
        self._lines.pop(group, None)

    def due(self, now_ns: int) -> Iterator[Group]:
        """Yield groups that want to be woken by now."""
        queue = self._queue
        while queue and queue[0][0] <= now_ns:
            wake_ns, _, group = heapq.heappop(queue)
            line = self._lines.get(group)
            if line is not None and line.queued_ns == wake_ns:
                line.queued_ns = -1
                yield group

    def names(self) -> Iterator[Group]:
        """Yield every group."""
        return iter(list(self._lines))

    def __len__(self) -> int:
        return len(self._lines)
