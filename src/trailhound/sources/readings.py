"""One record in several readings: told apart, and laid together to one event."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from trailhound.model.events import Event
from trailhound.model.records import ParseFailure, Payload

T = TypeVar("T")


def distinct(contents: Iterable[T]) -> list[T]:
    """Without repetition, by what is said and not by where; 1, 1.0 and true are different."""
    found: dict[str, T] = {}
    for content in contents:
        if isinstance(content, Payload):
            found.setdefault(repr((content.document, content.text)), content)
        elif isinstance(content, ParseFailure):
            found.setdefault(repr((content.reason, content.detail)), content)
        else:
            found.setdefault(repr(content), content)
    return list(found.values())


def laid_together(row: Sequence[Event]) -> Event:
    """Make one event of those of several readings: its views hold the documents of all of them."""
    first = row[0]
    first.views = {
        name: tuple(distinct(itertools.chain(*(event.views.get(name, ()) for event in row))))
        for name in dict.fromkeys(itertools.chain(*(event.views for event in row)))
    }
    if len(row) > 1:
        first.notes = (*first.notes, f"repeats keys; judged in {len(row)} readings")
    return first
