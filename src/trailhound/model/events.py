"""The event: the document as written, and a small envelope in OCSF terms."""

import hashlib
import json
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import orjson
from msgspec import Struct

from trailhound.model.records import Origin

View = tuple[Mapping[str, Any], ...]
"""What rules of one log source read of an event: usually one document; one per record for
auditd, where a rule's conditions must hold on one and the same record."""


Seed = tuple[Callable[..., "Event"], tuple[Any, ...]]
"""A module-level function, and what it takes behind the origins of the event: plain data."""


class Outcome(IntEnum):
    """How the action ended. Values are OCSF `status_id`."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2


class Envelope(Struct, frozen=True, kw_only=True):
    """Who did what to what, when, from where: the same columns for every source.

    Names follow OCSF 1.5 (https://schema.ocsf.io): `class_uid`, `activity_id`, actor and
    target are flattened. Absent text is the empty string.
    """

    time_ns: int
    """Event time, UTC, nanoseconds since 1970."""
    class_uid: int = 0
    """OCSF event class: 6003 API Activity, 3002 Authentication, 1007 Process Activity,
    3001 Account Change, 2004 Detection Finding, 0 Base Event."""
    activity_id: int = 0
    """Activity within that class (99: other; 0: unknown)."""
    action: str = ""
    """The action in the source's own word: `create`, `ConsoleLogin`, `execve`, `ssh-login`."""
    actor_name: str = ""
    """The identity the action ran as (after impersonation, assume-role, sudo or su)."""
    actor_uid: str = ""
    actor_type: str = ""
    actor_groups: tuple[str, ...] = ()
    invoked_by: str = ""
    """The identity behind the actor where they differ: the impersonator, the login user."""
    session_uid: str = ""
    target_type: str = ""
    target_name: str = ""
    target_namespace: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    outcome_detail: str = ""
    """Reason or code of the outcome, as the source gives it."""
    src_ip: str = ""
    user_agent: str = ""
    device: str = ""
    """Where it was recorded: host name, cluster, or `account/region`."""
    request_uid: str = ""
    """The sender's own id of the request: `auditID`, `eventID`. The same request may leave
    several events (Kubernetes stages)."""


class Event:
    """One thing that happened, as its source wrote it.

    The envelope, the content id and the id of the request are computed when first asked for:
    most events match no rule, and pay for none of them.
    """

    __slots__ = (
        "_describe",
        "_envelope",
        "_request",
        "_time_ns",
        "_uid",
        "document",
        "notes",
        "origins",
        "seed",
        "source",
        "told",
        "views",
        "written",
    )

    def __init__(
        self,
        source: str,
        document: Mapping[str, Any],
        origins: tuple[Origin, ...],
        views: Mapping[str, View],
        describe: Callable[[Mapping[str, Any]], Envelope],
        notes: tuple[str, ...] = (),
        *,
        time_ns: int | None = None,
        request: str | None = None,
    ) -> None:
        """Make an event.

        Args:
            source: name of the `Source` that read it.
            document: the record as written, parsed; never changed afterwards.
            origins: the records it was read from, at least one.
            views: what rules read, by view name (see `Route.view`).
            describe: computes the envelope from `document`. A module-level function, so
                that events can be sent between processes.
            notes: what was inferred or odd, for a person: `year inferred from …`.
            time_ns: the time that `describe` would find, where the reader knows it.
            request: the same of `request`.
        """
        self.source = source
        self.document = document
        self.origins = origins
        self.views = views
        self.notes = notes
        self._describe = describe
        self._envelope: Envelope | None = None
        self._request = request
        self._time_ns = time_ns
        self._uid: str | None = None
        self.written: bytes | None = None
        """The document as `orjson.dumps` writes it, where whoever read it knows that."""
        self.seed: Seed | None = None
        """What it can be made of again, where its source says so and that is less than itself."""
        self.told: dict[str, Any] = {}
        """What an outlet wrote of it, by the name of the form: many findings may be about one
        event."""

    @property
    def envelope(self) -> Envelope:
        """The OCSF envelope."""
        if self._envelope is None:
            self._envelope = self._describe(self.document)
        return self._envelope

    @property
    def time_ns(self) -> int:
        """The time of the envelope, for those who need no more of it."""
        return self.envelope.time_ns if self._time_ns is None else self._time_ns

    @property
    def described_by(self) -> Callable[[Mapping[str, Any]], Envelope]:
        """What computes the envelope from the document."""
        return self._describe

    @property
    def uid(self) -> str:
        """Content id, 32 hex digits.

        It depends on source and document alone, so that the same event in another wrapping
        or file has the same id.
        """
        if self._uid is None:
            data = self.source.encode() + _canonical(self.document)
            self._uid = hashlib.blake2b(data, digest_size=16).hexdigest()
        return self._uid

    @property
    def request(self) -> str:
        """Id of the request that the event tells of, 32 hex digits; empty where none is known.

        Kubernetes logs a request at several stages, CloudTrail delivers to several trails; the
        sender's id of the request tells.
        """
        if self._request is None:
            self._request = self._request_id()
        return self._request

    def _request_id(self) -> str:
        envelope = self.envelope
        if not envelope.request_uid:
            return ""
        # The id alone proves nothing: clients of Kubernetes may choose it (header `Audit-ID`), and
        # could make a hundred requests look like one. When it arrived, they cannot choose.
        documents = next(filter(None, self.views.values()), ())
        arrived = documents[0].get("requestReceivedTimestamp") if documents else ""
        told: tuple[str, ...]
        if isinstance(arrived, str) and arrived:
            told = (arrived,)
        else:
            told = (
                envelope.actor_name,
                envelope.action,
                envelope.target_type,
                envelope.target_namespace,
                envelope.target_name,
            )
        # Texts come from attackers: a length before each, in bytes, keeps them apart.
        data = envelope.request_uid
        for text in told:
            size = len(text if text.isascii() else text.encode(errors="surrogatepass"))
            data += f"\0{size}\0{text}"
        digest = hashlib.blake2b(data.encode(errors="surrogatepass"), digest_size=16)
        return digest.hexdigest()

    def restore_uid(self, uid: str) -> None:
        """Set the content id of an event that was written down and is read again."""
        self._uid = uid

    def plain(self) -> tuple[Any, ...]:
        """Return all of it but `described_by` and the envelope as plain data, for `restored`."""
        document: Mapping[str, Any] | bytes = self.document
        views: Mapping[str, View] | tuple[str, ...] = self.views
        if self.written is not None and all(
            len(held) == 1 and held[0] is document for held in self.views.values()
        ):  # bytes take less time than a document
            document, views = self.written, tuple(views)
        origins = [(origin.path, origin.line, origin.element) for origin in self.origins]
        time_ns = self._time_ns
        if time_ns is None and self._envelope is not None:
            time_ns = self._envelope.time_ns
        known = self._uid, time_ns, self._request
        return document, views, self.source, origins, self.notes, known

    def __reduce__(self) -> tuple[Callable[..., "Event"], tuple[Any, ...]]:
        """Make it ready to be sent between processes."""
        if self.seed is not None:
            return grown, (self.origins, self.seed, self._uid)
        return restored, (self.plain(), self._describe, self._envelope)

    def __repr__(self) -> str:
        return f"Event({self.source!r}, {self.origins[0]})"


def grown(origins: tuple[Origin, ...], seed: Seed, uid: str | None = None) -> Event:
    """Make an event of its seed."""
    make, rest = seed
    event = make(origins, *rest)
    event.seed = seed
    if uid is not None:
        event.restore_uid(uid)
    return event


def restored(
    plain: tuple[Any, ...],
    describe: Callable[[Mapping[str, Any]], Envelope],
    envelope: Envelope | None = None,
) -> Event:
    """Make an event of what `Event.plain` and `Event.described_by` gave."""
    document, views, source, origins, notes, (uid, time_ns, request) = plain
    written = None
    if isinstance(document, bytes):
        written, document = document, orjson.loads(document)
        views = dict.fromkeys(views, (document,))
    places = tuple(Origin(*origin) for origin in origins)
    event = Event(
        source, document, places, views, describe, notes, time_ns=time_ns, request=request
    )
    event.written = written
    event._uid, event._envelope = uid, envelope  # noqa: SLF001 - its own
    return event


def _canonical(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # what is not of JSON, and keys that are no text, for which it takes longer
        pass
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(document, default=str, option=option)
    except TypeError:  # integers beyond 64 bits and lone surrogates, which orjson refuses
        return json.dumps(document, default=str, sort_keys=True).encode()
