"""Whether a JSON value is worth taking out of what it stands in."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.contents import within
from trailhound.sources.contract import Source
from trailhound.sources.document import JsonFailure, read_json
from trailhound.sources.readings import distinct
from trailhound.sources.unwrap import WRAPPINGS_TAKEN_OFF, unwrap

SourceOf = Callable[[Payload], Source | None]
"""Finds the source that knows a payload."""

_ASKED = 4  # records of one wrapping


def knows(readings: Sequence[Any], outer: Payload, source_of: SourceOf) -> bool:
    """Whether some source knows a JSON value, or the first records that it wraps.

    Asked before a record that has a meaning of its own is taken for a wrapping.
    """
    payloads = [within(outer, document=v) for v in readings if isinstance(v, dict)]
    known = (source_of(payload) is not None for payload in payloads)
    return any(known) or knows_inside(payloads, source_of)


def knows_inside(payloads: Iterable[Payload], source_of: SourceOf) -> bool:
    """Whether some source knows one of the first records that documents wrap."""
    contents: list[Payload | ParseFailure] = []
    for payload in payloads:
        if len(payload.wrapping) < WRAPPINGS_TAKEN_OFF:
            found = unwrap(payload, itertools.count(1))
            contents.extend(itertools.islice(found or (), _ASKED))
    return any(_knows_content(content, source_of) for content in distinct(contents))


def _knows_content(content: Payload | ParseFailure, source_of: SourceOf) -> bool:
    if isinstance(content, ParseFailure):
        return False
    if content.document is not None:
        return knows((content.document,), content, source_of)
    text = content.text or ""
    if not text.startswith("{"):
        return False
    try:
        return knows(read_json(text.encode(errors="replace")).readings, content, source_of)
    except JsonFailure:
        return False
