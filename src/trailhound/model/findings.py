"""Findings: what a rule saw, with the tree that explains it."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from msgspec import Struct

from trailhound.model.events import Event, Outcome
from trailhound.model.levels import Level


class RuleInfo(Struct, frozen=True, kw_only=True):
    """What a finding says of the rule that made it."""

    uid: str
    title: str
    level: Level
    dialect: str
    path: str
    """Rule file."""
    line: int
    """1-based line of the file on which the rule begins."""
    description: str = ""
    tags: tuple[str, ...] = ()
    """As written: `attack.t1078.004`, `attack.privilege-escalation`, `cve.2021-44228`."""
    references: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    author: str = ""
    status: str = ""


class Explanation(Struct, frozen=True):
    """One node of the tree that shows which part of the rule matched which value."""

    label: str
    """The part of the rule, in words of the rule: `verb is 'create'`, `all of`, `not`."""
    matched: bool
    path: str = ""
    """Where the value stands in the event; empty for a node that joins others."""
    value: Any = None
    """The value found there, cut to a showable length; None where there is none."""
    children: tuple["Explanation", ...] = ()


class Status(StrEnum):
    """What has become of a finding since it was last told."""

    NEW = "new"
    AMENDED = "amended"
    """An event that came late, or that came after, changed it."""
    WITHDRAWN = "withdrawn"
    """An event that came late took its ground away: it was none."""


class RecordProof(Struct, frozen=True):
    """Proves that a record behind a finding is sealed: RFC 9162, section 2.1.3."""

    path: str
    line: int
    """Where the record stands, as in the origins of its events."""
    index: int
    """Of its leaf, from 0."""
    entry: str
    """The leaf."""
    hashes: tuple[bytes, ...]
    """From the leaf's sibling upwards."""
    record: bytes | None = None
    """The record as sealed, and behind it what came beside it, where it is carried."""


class Proofs(Struct, frozen=True):
    """Proofs of the records behind a finding, under one signed head."""

    head: str
    """The head, a signed note."""
    records: tuple[RecordProof, ...]
    unproven: int = 0
    """Records behind the finding that are not among these: beyond a bound, or not sealed."""


class Finding(Struct, frozen=True, kw_only=True):
    """A rule matched: one event, or the events of one window."""

    uid: str
    """Stable: depends on the rule and on the events, not on when or where it ran."""
    rule: RuleInfo
    time_ns: int
    """Event time of the last event that completed it, UTC nanoseconds."""
    start_ns: int
    """Event time of the first event in it."""
    events: tuple[Event, ...]
    """Evidence, in event time; for a window at most `EVENTS_KEPT`, first and last ones."""
    event_count: int = 1
    """How many events the rule saw, of which `events` may be an extract."""
    group: tuple[tuple[str, str], ...] = ()
    """For a window: what its events have in common, as (field, value)."""
    explanation: Explanation | None = None
    reason: str = ""
    """For a window: one sentence, e.g. `12 events in 4 min, condition: at least 10`."""
    status: Status = Status.NEW
    revision: int = 0
    """Counts the tellings of one uid, from 0; the last one holds."""
    change: str = ""
    """Why it was amended or withdrawn: `an event of 2026-05-01 12:03:11 UTC arrived late`."""
    message: str = ""
    """What the rule says of the event in its own words, if it has any (Falco's `output`). Values
    of the event in it are cut, and shown as visible text."""
    values: tuple[tuple[str, str], ...] = ()
    """The values in the message, by the names that the rule gives them."""
    proofs: Proofs | None = None
    """That its records are sealed; only of findings that `serve` makes."""

    @property
    def actor(self) -> str:
        """Who did it: the actor of the last event, or of the nearest before it that names one.

        Empty where several were tried and the last one failed as well: names that somebody
        guesses at are not the guesser.
        """
        names = [e.envelope.actor_name for e in self.events if e.envelope.actor_name]
        if not names:
            return ""
        if len(set(names)) > 1 and self.events[-1].envelope.outcome is Outcome.FAILURE:
            return ""
        return names[-1]


EVENTS_KEPT = 20
"""Events that one windowed finding carries."""


def finding_uid(rule_uid: str, event_uids: Iterable[str]) -> str:
    """Return the stable id of a finding: 32 hex digits over the rule and its events' ids."""
    told = "\0".join((rule_uid, *event_uids))
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
