"""What a finding says, in the words and places a person needs. Nothing here is escaped yet."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.findings import Explanation, Finding
from trailhound.model.records import Origin

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))
_VALUE_LIMIT = 120
_LABEL_LIMIT = 200
_DEPTH_LIMIT = 60


# --- time --------------------------------------------------------------------------------


def moment(time_ns: int) -> datetime | None:
    """Return the UTC second a time lies in; None where it is unknown (0) or past year 9999."""
    if time_ns == 0:
        return None
    try:
        return _EPOCH + timedelta(seconds=time_ns // 1_000_000_000)
    except OverflowError:
        return None


@lru_cache(maxsize=64)  # a finding tells the time of one event in several places
def rfc3339(time_ns: int) -> str | None:
    """Return a time as RFC 3339 in UTC with as many digits as it needs: none, 3, 6 or 9."""
    minute, rest = divmod(time_ns, 60_000_000_000)
    begun = _minute(minute) if time_ns else None
    if begun is None:
        return None
    second, fraction = divmod(rest, 1_000_000_000)
    stamp = f"{begun}:{_TWO_DIGITS[second]}"
    if fraction == 0:
        return f"{stamp}Z"
    if fraction % 1_000:
        return f"{stamp}.{fraction:09}Z"
    if fraction % 1_000_000:
        return f"{stamp}.{fraction // 1_000:06}Z"
    return f"{stamp}.{fraction // 1_000_000:03}Z"


@lru_cache(maxsize=1024)  # neighbours in a log share their minute
def _minute(minute: int) -> str | None:
    try:
        return (_EPOCH + timedelta(minutes=minute)).replace(tzinfo=None).isoformat("T", "minutes")
    except OverflowError:
        return None


def duration(nanoseconds: int) -> str:
    """Return a span in its two largest units: `1 h 31 min`, `12 s`, `3 d 4 h`."""
    seconds = max(0, nanoseconds) // 1_000_000_000
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts: list[str] = []
    for size, unit in units:
        count, seconds = divmod(seconds, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size(count: int) -> str:
    """Return bytes in decimal units: `62.1 MB`."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 finding`, `1,204 findings`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


# --- who did what ------------------------------------------------------------------------


def subject(finding: Finding) -> Envelope:
    """Return the envelope that speaks for a finding: of the event its actor is taken from."""
    actor = finding.actor
    for event in reversed(finding.events):
        if event.envelope.actor_name == actor:
            return event.envelope
    return Envelope(time_ns=finding.time_ns)


def source_ip(finding: Finding) -> str:
    """Return the source address of the last event that has one."""
    return next((e.envelope.src_ip for e in reversed(finding.events) if e.envelope.src_ip), "")


def is_window(finding: Finding) -> bool:
    """Whether a finding stands for several events that belong together."""
    return bool(finding.reason or finding.group or finding.event_count > 1)


NOBODY = "unknown"
"""Who acted, where nothing says it."""


def who(actor: str, invoked_by: str) -> str:
    """Return who acted: `alice`, or `alice as root` where one stands behind the other."""
    if invoked_by and invoked_by != actor:
        return f"{invoked_by} as {actor or 'an unknown identity'}"
    return actor or NOBODY


def identity(finding: Finding) -> str:
    """Return the actor, with the place where a bare name could be anybody's: `root on web-1`.

    Who stands behind a name comes first: `deploy as root`. Where no actor is known, the place
    alone says more than nothing: `somebody on web-1`.
    Names with a separator in them (`system:serviceaccount:…`, `role/session`) say themselves
    where they belong.
    """
    lead = subject(finding).invoked_by
    actor = who(finding.actor, lead) if lead and not set(":/") & set(lead) else finding.actor
    if not actor and (address := source_ip(finding)):
        return f"somebody at {address}"
    device = next((e.envelope.device for e in reversed(finding.events) if e.envelope.device), "")
    if not device or ":" in actor or "/" in actor:
        return actor
    return f"{actor or 'somebody'} on {device.partition('/')[0]}"


def target(envelope: Envelope) -> str:
    """Return what it was done to: `secrets prod/db-password`."""
    name = "/".join(part for part in (envelope.target_namespace, envelope.target_name) if part)
    return " ".join(part for part in (envelope.target_type, name) if part)


def deed(envelope: Envelope) -> str:
    """Return what was done to what: `create pods prod/web-1`."""
    return " ".join(part for part in (envelope.action, target(envelope)) if part)


def outcome(envelope: Envelope) -> str:
    """Return how it ended where it did not succeed: `failed (403)`; else empty."""
    if envelope.outcome != Outcome.FAILURE:
        return ""
    return f"failed ({envelope.outcome_detail})" if envelope.outcome_detail else "failed"


def group_text(finding: Finding) -> str:
    """Return what the events of a window have in common: `src_ip = 203.0.113.5`."""
    return ", ".join(f"{field} = {value}" for field, value in finding.group)


# --- evidence ----------------------------------------------------------------------------


def places(events: Sequence[Event], limit: int) -> tuple[list[str], int]:
    """Return where the records of events stand, neighbouring lines joined.

    Args:
        events: in the order their records shall be listed.
        limit: most places to return, at least 1.

    Returns:
        Places such as `audit.log:10-14` or `trail.json:1#3`, and how many more there are.
        The last place is kept when the list is cut, for a window ends there.
    """
    found = list(_ranges(origin for event in events for origin in event.origins))
    if len(found) <= limit:
        return found, 0
    return [*found[: limit - 1], found[-1]], len(found) - limit


def _ranges(origins: Iterable[Origin]) -> Iterator[str]:
    path, first, last = "", 0, 0
    for origin in origins:
        if path and origin.path == path and origin.element == 0 and origin.line in (last, last + 1):
            last = origin.line
            continue
        if path:
            yield _range(path, first, last)
        path = ""
        if origin.element:
            yield str(origin)
        else:
            path, first, last = origin.path, origin.line, origin.line
    if path:
        yield _range(path, first, last)


def _range(path: str, first: int, last: int) -> str:
    return f"{path}:{first}" if first == last else f"{path}:{first}-{last}"


# --- explanation -------------------------------------------------------------------------


def explanation_line(node: Explanation | None, limit: int = 4) -> str:
    """Return which parts of the rule matched which values, on one line.

    Args:
        node: the tree; None gives an empty line.
        limit: most parts to name; the rest is counted.
    """
    if node is None:
        return ""
    parts = list(dict.fromkeys(_part(leaf) for leaf in _matched_leaves(node, _DEPTH_LIMIT)))
    line = "; ".join(parts[:limit])
    return f"{line}; and {len(parts) - limit} more" if len(parts) > limit else line


def _matched_leaves(node: Explanation, depth: int) -> Iterator[Explanation]:
    """The leaves that made it match. What had to be absent is named only if nothing else is."""
    if not node.matched:
        return
    matched = [child for child in node.children if child.matched]
    if not matched or depth == 0:
        yield node
        return
    affirmed = [child for child in matched if not _negates(child)]
    for child in affirmed or matched:
        yield from _matched_leaves(child, depth - 1)


def _negates(node: Explanation) -> bool:
    return bool(node.children) and not any(child.matched for child in node.children)


def _part(leaf: Explanation) -> str:
    label = leaf.label[:_LABEL_LIMIT]
    if _negates(leaf):
        inner = ", ".join(child.label[:_LABEL_LIMIT] for child in leaf.children[:3])
        return f"{label} ({inner})"
    if leaf.value is None:
        return label
    shown = value_text(leaf.value)
    return label if shown in label else f"{label} → {shown}"


def value_text(value: Any) -> str:
    """Return a value of an event as short text."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except (ValueError, RecursionError):
            text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= _VALUE_LIMIT else f"{text[:_VALUE_LIMIT]}…"


def check_first(description: str) -> tuple[str, str]:
    """Split a rule's description into what it says and what to check first.

    The second part begins with the first sentence or line that says `check first`, and goes
    on to the end; it is empty where there is none.
    """
    position = description.lower().find("check first")
    if position < 0:
        return description.strip(), ""
    start = max(
        description.rfind("\n", 0, position) + 1,
        description.rfind(". ", 0, position) + 2 if ". " in description[:position] else 0,
    )
    return description[:start].strip(), description[start:].strip()
