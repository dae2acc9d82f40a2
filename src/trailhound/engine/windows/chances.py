"""Which groups of a finite input can come to anything: told by how many feeds there are of each.

A window that asks for fifteen refusals from one address says nothing of an address that was
refused twice, however long it is watched. Most addresses are like that, so once all feeds are
collected theirs need not be folded.
"""

import math
from collections.abc import Collection, Iterable, Mapping

from trailhound.engine.plan import Plan
from trailhound.engine.windows.contract import Feed
from trailhound.rules.ir import Condition, Correlation, Deduplicated, Frequency, Window

_SLOTS = 1 << 22
_MOST = 255
_RULES_TOLD_APART = 8


class Chances:
    """Counts the feeds of each group, in 8 MB at most.

    Groups that fall together are counted together, so that a count may be too high and never
    too low.
    """

    def __init__(self, windows: Mapping[int, Window], silent: Collection[int] = ()) -> None:
        """For windows by their index in the plan; `silent` ones make no findings of their own."""
        least = {index: least_feeds(window) for index, window in windows.items()}
        self._least = {index: min(count, _MOST) for index, count in least.items() if count > 1}
        self._by_value = {i for i, window in windows.items() if _counts_values(window)}
        self._by_rule = {i for i, window in windows.items() if _counts_rules(window)}
        self._silent = frozenset(silent)
        self._onward: dict[int, tuple[int, ...] | None] = {}
        """Silent window → the windows over it; None where those group by something else."""
        self._counts = bytearray(_SLOTS if self._least else 0)
        self._rules = bytearray(_SLOTS if self._by_rule else 0)

    def add(self, feeds: Iterable[Feed]) -> None:
        """Count feeds, and those that they may lead to in outer windows."""
        for feed in feeds:
            window = feed.window
            if window in self._by_rule:
                self._rules[hash((window, feed.key)) % _SLOTS] |= 1 << feed.rule
            elif window in self._least:
                slot = hash((window, feed.key)) % _SLOTS
                # An inner window may give a value where there was none.
                more = max(1, len(feed.values[0])) if window in self._by_value else 1
                self._counts[slot] = min(self._counts[slot] + more, _MOST)
            if window in self._silent:
                self._follow(feed)
            if feed.onward:
                self.add(feed.onward)

    def possible(self, feed: Feed) -> bool:
        """Whether the group of a feed may say something, once all feeds have been counted."""
        window = feed.window
        least = self._least.get(window)
        if least is not None:
            slot = hash((window, feed.key)) % _SLOTS
            by_rule = window in self._by_rule
            if (self._rules[slot].bit_count() if by_rule else self._counts[slot]) < least:
                return False
        if window not in self._silent or self._onward[window] is None:
            return True
        return any(map(self.possible, feed.onward))

    def _follow(self, feed: Feed) -> None:
        # A feed counts in its group also where it is another one that leads to an outer group, so
        # outer groups tell of all feeds of a group or of none.
        key, onward = feed.key, tuple([outer.window for outer in feed.onward])
        if self._onward.setdefault(feed.window, onward) != onward or any(
            [outer.key != key for outer in feed.onward]  # noqa: C419 - mostly one
        ):
            self._onward[feed.window] = None


def chances_in(plan: Plan) -> Chances:
    """Return counts for the windows of a plan."""
    windows = {index: rule.window for index, rule in enumerate(plan.rules) if rule.window}
    return Chances(windows, [index for index in windows if plan.rules[index].silent])


def _counts_values(window: Window) -> bool:
    return isinstance(window, Correlation) and window.kind == "value_count"


def _counts_rules(window: Window) -> bool:
    return (
        isinstance(window, Correlation)
        and window.kind in ("temporal", "temporal_ordered")
        and window.expression is None
        and len(window.rules) <= _RULES_TOLD_APART
    )


def least_feeds(window: Window) -> int:
    """Return with how many feeds a group says something at the earliest.

    Values, where values are counted; rules, where it asks for several. 1 where that is not known:
    a window may also miss something.
    """
    if isinstance(window, Frequency):
        return max(1, window.count)
    if isinstance(window, Deduplicated):
        return max(1, window.threshold)
    if not isinstance(window, Correlation):
        return 1
    if window.kind in ("event_count", "value_count"):
        return max(1, *map(_at_least, window.conditions)) if window.conditions else 1
    if window.kind in ("temporal", "temporal_ordered") and window.expression is None:
        if window.conditions:
            return max(1, *map(_at_least, window.conditions))
        return len(set(window.rules))
    return 1


def _at_least(bound: Condition) -> int:
    """Return the least whole number that a bound holds for, where it holds for none below."""
    if not math.isfinite(bound.value):
        return 1
    match bound.op:
        case "gt":
            return math.floor(bound.value) + 1
        case "gte" | "eq":
            return math.ceil(bound.value)
        case _:
            return 1
