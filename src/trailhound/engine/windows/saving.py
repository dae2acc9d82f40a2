"""What windows remember, as bytes: each group by itself, and the rest.

Everything is named by the ids of rules, not by their place in a plan, so that a state can be
read again after rules came and went. A rule whose window changed finds nothing of its own and
begins anew: a state means nothing to another window. Whoever keeps these bytes keeps `VERSION`
with them, and reads none of another version.
"""

import hashlib
from collections import Counter
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from trailhound.engine.plan import Plan
from trailhound.engine.windows import timeline
from trailhound.engine.windows.clock import Clock, Lateness, WindowTime
from trailhound.engine.windows.contract import AnyFold, Feed, Fired, Key
from trailhound.engine.windows.groups import Group, Groups
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.state import WindowState
from trailhound.engine.windows.timeline import AnyLine, Timeline

VERSION = 6
"""Of all that is saved here. The state of each fold counts: it is read by its fields."""


class _Name(Struct, array_like=True):
    window: str
    key: Key


class _Rest(Struct, array_like=True):
    windows: dict[str, int]
    clock: Clock
    times: dict[str, WindowTime]
    now_ns: int
    repeats: int
    late: dict[str, int]
    full: dict[str, int]
    spilled: dict[str, int]


_NAMES = msgspec.msgpack.Decoder(_Name)
_RESTS = msgspec.msgpack.Decoder(_Rest)
_ANY_LINES = msgspec.msgpack.Decoder(Timeline[Any])


class Names:
    """Names of the windows of a plan that outlive it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._by_index = {index: _window_name(plan, index) for index in plan.folds}
        self._by_name = {name: index for index, name in self._by_index.items()}
        self._lines = {index: _line_decoder(_kind(fold)) for index, fold in plan.folds.items()}

    def group_name(self, group: Group) -> bytes:
        """Return the name of a group; `group` is its inverse."""
        return msgspec.msgpack.encode(_Name(self._by_index[group[0]], group[1]))

    def group(self, name: bytes) -> Group | None:
        """Return the group of a name; None where its window is gone or has changed.

        Raises:
            msgspec.MsgspecError: these bytes are no name.
        """
        read = _NAMES.decode(name)
        index = self._by_name.get(read.window)
        return None if index is None else (index, read.key)

    def save_group(self, line: AnyLine) -> bytes:
        """Return the bytes of a timeline; `load_group` is its inverse."""
        return msgspec.msgpack.encode(line)

    def load_group(self, group: Group, data: bytes) -> AnyLine:
        """Read what `save_group` wrote; `msgspec.MsgspecError` where it is something else."""
        line: AnyLine = self._lines[group[0]].decode(data)
        line.queued_ns = -1
        return line

    def save_rest(self, state: WindowState) -> bytes:
        """Return the bytes of everything but the groups; `load_rest` is its inverse."""
        name = self._by_index
        return msgspec.msgpack.encode(
            _Rest(
                self._by_name,
                state.clock,
                {name[index]: time for index, time in state.times.items()},
                state.now_ns,
                state.repeats,
                {name[index]: count for index, count in state.late.items()},
                {name[index]: count for index, count in state.full.items()},
                {name[index]: count for index, count in state.spilled.items()},
            )
        )

    def load_rest(
        self, data: bytes, groups: Groups, shelf: Shelf, lateness: Lateness | None
    ) -> WindowState:
        """Read what `save_rest` wrote; `msgspec.MsgspecError` where it is something else."""
        rest = _RESTS.decode(data)
        index = self._by_name
        return WindowState(
            groups=groups,
            shelf=shelf,
            lateness=lateness,
            clock=rest.clock,
            times={index[name]: time for name, time in rest.times.items() if name in index},
            now_ns=rest.now_ns,
            repeats=rest.repeats,
            late=Counter({index[n]: count for n, count in rest.late.items() if n in index}),
            full=Counter({index[n]: count for n, count in rest.full.items() if n in index}),
            spilled=Counter({index[n]: count for n, count in rest.spilled.items() if n in index}),
        )

    def moves(self, data: bytes) -> dict[int, int] | None:
        """Return where the windows of a saved state stand in this plan; None: where they did.

        `data` is from `save_rest`. A window that is not in the plan any more is left out.
        """
        before = _RESTS.decode(data).windows
        if before == self._by_name:
            return None
        return {old: self._by_name[n] for n, old in before.items() if n in self._by_name}

    def move(self, group: Group, line: AnyLine, moves: dict[int, int], shelf: Shelf) -> None:
        """Make the feeds of a timeline name windows by their new places."""
        fold = self._plan.folds[group[0]]
        line.state = _moved(line.state, moves)
        history = line.history
        if history is None:
            return
        feeds = timeline.Feeds()
        for feed in history.feeds.between(0, len(history.feeds), shelf):
            feeds.add(_moved(feed, moves), shelf)
        history.feeds = feeds
        history.told = _moved(history.told, moves)
        timeline.change_marks(fold, line, lambda state: _moved(state, moves), shelf)
        timeline.tidy(fold, line, shelf)


def pages_of(data: bytes) -> list[int]:
    """Return the pages of a timeline of which nobody knows any more what window it is of.

    `data` is from `Names.save_group`.
    """
    return _ANY_LINES.decode(data).pages or []


def _moved(value: Any, moves: dict[int, int]) -> Any:
    """Return a value with every feed in it moved; feeds to windows that are gone are left out."""
    if isinstance(value, Feed):
        onward = tuple(_moved(feed, moves) for feed in value.onward if feed.window in moves)
        return value._replace(window=moves[value.window], onward=onward)
    if isinstance(value, Fired):
        return value._replace(feed=_moved(value.feed, moves))
    if isinstance(value, list):
        return [_moved(item, moves) for item in value]
    if isinstance(value, dict):
        return {key: _moved(item, moves) for key, item in value.items()}
    if isinstance(value, Struct) and not value.__struct_config__.frozen:
        for name in value.__struct_fields__:
            setattr(value, name, _moved(getattr(value, name), moves))
    return value


def _window_name(plan: Plan, index: int) -> str:
    rule = plan.rules[index]
    digest = hashlib.blake2b(msgspec.json.encode(rule.window), digest_size=8)
    return f"{rule.info.uid}:{digest.hexdigest()}"


def _kind(fold: AnyFold) -> type[Struct]:
    return type(fold.fresh())


@lru_cache(maxsize=64)
def _line_decoder(kind: type[Struct]) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(Timeline[kind])  # type: ignore[valid-type]
