"""Correlation rules to windows over the matches of other rules.

Panther documentation, "Correlation Rule Reference", and the style guide for correlation rules
of panther-analysis: whatever is matched on, all signals share one value of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from trailhound.dialects.panther.items import Item, Rejected, whole
from trailhound.dialects.panther.keypath import key_path
from trailhound.rules.ir import Alias, Field, Sequence, Signal, Together

_MINUTE_NS = 60_000_000_000
_DEFAULT_MINUTES = 15
_COUNT_LIMIT = 10_000
_SIGNALS_LIMIT = 32
_SIGNAL_KEYS = {"ID", "RuleID", "MinMatchCount", "MaxMatchCount", "Absence"}
_COMMON = {"Schedule", "LookbackWindowMinutes", "EventEvaluationOrder"}

FieldOf = Callable[[str, str], Field]
"""From the uid of a rule over events, and a key path, to the field."""
FedBy = Callable[[str], tuple[str, ...]]
"""From the id of a rule to the uids of the rules whose hits are its matches."""


class NoteOf(Protocol):
    """Takes what is to be said of the rule."""

    def __call__(self, text: str, *, ignored: bool = False) -> None:
        """Say it; `ignored`: something in the rule has no effect."""


def window_of(item: Item, fed_by: FedBy, field_of: FieldOf, note: NoteOf) -> Sequence | Together:
    """Return the window of a correlation rule.

    Args:
        item: the rule.
        fed_by: see `FedBy`.
        field_of: see `FieldOf`.
        note: see `NoteOf`.
    """
    listed = item.listed("Detection")
    if len(listed) != 1 or not isinstance(listed[0], Mapping):
        raise Rejected("Detection must be a list of one Sequence or Group", "Detection")
    detection: Mapping[str, Any] = listed[0]
    kind = "Sequence" if "Sequence" in detection else "Group"
    if kind not in detection or ("Sequence" in detection and "Group" in detection):
        raise Rejected("Detection must hold a Sequence or a Group", "Detection")
    own = "Transitions" if kind == "Sequence" else "MatchCriteria"
    for key in detection:
        if key not in (kind, own, *_COMMON):
            raise Rejected(f"{key!r} is no part of a correlation of kind {kind}", "Detection", key)
    if detection.get("EventEvaluationOrder", "Chronological") != "Chronological":
        note(
            "EventEvaluationOrder: matches are read in the order in which they happened",
            ignored=True,
        )
    minutes = whole(detection, "LookbackWindowMinutes", _DEFAULT_MINUTES, "Detection")
    entries = _Signals(detection[kind], kind, fed_by)
    if kind == "Sequence":
        _transitions(entries, detection.get("Transitions") or [])
    else:
        _criteria(entries, detection.get("MatchCriteria") or {})
    group_by, aliases = entries.groups(field_of)
    make = Sequence if kind == "Sequence" else Together
    if all(signal.absent for signal in entries.signals.values()):
        raise Rejected("all of its signals are absent: nothing can make it match", "Detection")
    if any(signal.absent for signal in entries.signals.values()):
        note("what must be absent is waited for; nothing is found where the logs end before")
    return make(
        rules=entries.rules,
        signals=tuple(entries.signals.values()),
        timespan_ns=minutes * _MINUTE_NS,
        group_by=group_by,
        aliases=aliases,
    )


class _Signals:
    """The signals of a rule while it is read."""

    def __init__(self, listed: Any, kind: str, fed_by: FedBy) -> None:
        if not isinstance(listed, list) or not 0 < len(listed) <= _SIGNALS_LIMIT:
            reason = f"{kind} must be a list of 1 to {_SIGNALS_LIMIT} signals"
            raise Rejected(reason, "Detection", kind)
        self.kind = kind
        self.signals: dict[str, Signal] = {}
        self._uids: dict[str, tuple[str, ...]] = {}
        self._matches: dict[str, dict[str, str]] = {}
        """Name of a group field → signal → key path."""
        order: dict[str, int] = {}
        for entry in listed:
            self._add(entry, fed_by, order)
        self.rules = tuple(order)

    def _add(self, entry: Any, fed_by: FedBy, order: dict[str, int]) -> None:
        where = ("Detection", self.kind)
        if not isinstance(entry, Mapping):
            raise Rejected("a signal must be a mapping", *where)
        for key in entry:
            if key not in _SIGNAL_KEYS:
                raise Rejected(f"{key} of a signal is not supported", *where, key)
        name, rule = entry.get("ID"), entry.get("RuleID")
        if not isinstance(name, str) or not isinstance(rule, str):
            raise Rejected("a signal needs an ID and a RuleID", *where)
        if name in self.signals:
            raise Rejected(f"signal {name!r} stands twice", *where, name)
        absent = entry.get("Absence") is True
        least = whole(entry, "MinMatchCount", 1, *where, entry.get("MinMatchCount"))
        most = whole(entry, "MaxMatchCount", _COUNT_LIMIT, *where, entry.get("MaxMatchCount"))
        if max(least, most) > _COUNT_LIMIT or (most < least and not absent):
            raise Rejected("match counts must make sense, and be 10,000 at most", *where)
        bounded = "MaxMatchCount" in entry and not absent
        if bounded and self.kind == "Sequence":
            raise Rejected("MaxMatchCount is not supported in a Sequence", *where, "MaxMatchCount")
        uids = fed_by(rule)
        for uid in uids:
            order.setdefault(uid, len(order))
        self._uids[name] = uids
        self.signals[name] = Signal(
            name=name,
            rules=tuple(order[uid] for uid in uids),
            at_least=least,
            at_most=0 if absent else most if bounded else None,
        )

    def within(self, name: str, minutes: int) -> None:
        """Bound the time of a signal."""
        changed = msgspec.structs.replace(self.signals[name], within_ns=minutes * _MINUTE_NS)
        self.signals[name] = changed

    def match(self, group: str, signal: str, path: str) -> None:
        """Say what a signal is matched on."""
        where = ("Detection", self.kind, path)
        if signal not in self.signals:
            raise Rejected(f"there is no signal {signal!r}", *where)
        known = self._matches.setdefault(group, {}).setdefault(signal, path)
        if known != path:
            raise Rejected(
                f"signal {signal!r} is matched on {known} and on {path}: not supported", *where
            )

    def groups(self, field_of: FieldOf) -> tuple[tuple[Field, ...], tuple[Alias, ...]]:
        """Return what the matches are grouped by."""
        fields: list[Field] = []
        aliases: list[Alias] = []
        for group, paths in self._matches.items():
            missing = [name for name in self.signals if name not in paths]
            if missing:
                reason = f"signal {missing[0]!r} is not matched on anything, and others are"
                raise Rejected(f"{reason}: not supported", "Detection", missing[0])
            by_uid: dict[str, Field] = {}
            for signal, path in paths.items():
                for uid in self._uids[signal]:
                    field = field_of(uid, path)
                    if by_uid.setdefault(uid, field) != field:
                        reason = f"one rule is matched on {path} and on another field"
                        raise Rejected(f"{reason}: not supported", "Detection", path)
            name = group or " = ".join(dict.fromkeys(paths.values()))
            fields.append(Field(name, (key_path(next(iter(paths.values()))).path,)))
            aliases.append(Alias(name, tuple(by_uid.items())))
        return tuple(fields), tuple(aliases)


def _transitions(signals: _Signals, listed: Any) -> None:
    where = ("Detection", "Transitions")
    if not isinstance(listed, list):
        raise Rejected("Transitions must be a list", *where)
    names = list(signals.signals)
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise Rejected("a transition must be a mapping", *where)
        for key in entry:
            if key not in ("ID", "From", "To", "WithinTimeFrameMinutes", "Match"):
                raise Rejected(f"{key!r} is no part of a transition", *where, key)
        first, second = entry.get("From"), entry.get("To")
        if first not in names or second not in names:
            raise Rejected("From and To of a transition must name signals", *where, first)
        between = names[names.index(first) + 1 : names.index(second)]
        if names.index(first) >= names.index(second) or any(
            not signals.signals[name].absent for name in between
        ):
            raise Rejected("a transition must lead from one signal to the next", *where, second)
        if "WithinTimeFrameMinutes" in entry:
            minutes = whole(entry, "WithinTimeFrameMinutes", 1, *where)
            _bound(signals, names, first, second, minutes)
        matched = entry.get("Match") or []
        if not isinstance(matched, list) or not all(isinstance(m, Mapping) for m in matched):
            raise Rejected("Match must be a list", *where, "Match")
        for match in matched:
            on = match.get("On")
            sides = (on, on) if on is not None else (match.get("From"), match.get("To"))
            if not all(isinstance(side, str) and side for side in sides):
                raise Rejected("Match needs On, or From and To", *where, "Match")
            signals.match("", first, str(sides[0]))
            signals.match("", second, str(sides[1]))


def _bound(signals: _Signals, names: list[str], first: str, second: str, minutes: int) -> None:
    if signals.signals[first].absent and not signals.signals[second].absent:
        if names.index(first) == 0:
            # Nothing came for so long before the second.
            signals.within(first, minutes)
            return
        minutes += signals.signals[first].within_ns // _MINUTE_NS
    signals.within(second, minutes)


def _criteria(signals: _Signals, criteria: Any) -> None:
    where = ("Detection", "MatchCriteria")
    if not isinstance(criteria, Mapping):
        raise Rejected("MatchCriteria must be a mapping", *where)
    for name, listed in criteria.items():
        for entry in listed if isinstance(listed, list) else [None]:
            if not isinstance(entry, Mapping) or not all(
                isinstance(entry.get(key), str) for key in ("GroupID", "Match")
            ):
                raise Rejected("MatchCriteria lists GroupID and Match", *where, name)
            signals.match(str(name), entry["GroupID"], entry["Match"])
