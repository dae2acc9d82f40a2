"""Events as bytes, to be read again in another process or after a restart."""

import json
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin


class _Kept(Struct, array_like=True):
    source: str
    document: bytes
    views: bytes
    """View name → its documents; null for one that is the document itself."""
    envelope: Envelope
    uid: str
    origins: tuple[Origin, ...]
    notes: tuple[str, ...]


_DECODER = msgspec.msgpack.Decoder(_Kept)


def dump_event(event: Event) -> bytes:
    """Return the bytes of an event; `load_event` is its inverse."""
    views = {
        name: [None if document is event.document else document for document in documents]
        for name, documents in event.views.items()
    }
    return msgspec.msgpack.encode(
        _Kept(
            event.source,
            _json(event.document),
            _json(views),
            event.envelope,
            event.uid,
            event.origins,
            event.notes,
        )
    )


def load_event(data: bytes) -> Event:
    """Read what `dump_event` wrote; `msgspec.MsgspecError` or ValueError for anything else."""
    kept = _DECODER.decode(data)
    document = _read(kept.document)
    views = {
        name: tuple(document if one is None else one for one in documents)
        for name, documents in _read(kept.views).items()
    }
    event = Event(kept.source, document, kept.origins, views, lambda _: kept.envelope, kept.notes)
    # The id is that of the event as it came, whatever JSON made of an odd value in it.
    event.restore_uid(kept.uid)
    return event


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits and lone surrogates, which orjson refuses
        return json.dumps(value, default=str).encode()


def _read(data: bytes) -> Any:
    # orjson makes floats of integers beyond 64 bits.
    return json.loads(data)
