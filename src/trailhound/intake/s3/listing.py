"""Buckets are listed, and what they have is written down."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from trailhound.intake.pulling import Hand, Progress
from trailhound.intake.s3.layout import day_of, is_digest, starts
from trailhound.intake.s3.places import Buckets
from trailhound.intake.s3.work import Found, Work

_WHOLE_SECONDS = 3600.0
"""How often a bucket is listed whole where short listings do in between."""
_LISTING_SHARE = 10
"""Time between two whole listings, in times that the last one took, at least."""
_PLACES = 10_000
"""With more places that have days than this, a bucket is always listed whole."""


class Lister:
    """Writes down what a bucket has, again and again."""

    def __init__(
        self, client: Any, buckets: Buckets, place: tuple[str, str], work: Work, progress: Progress
    ) -> None:
        self._client = client
        self._buckets = buckets
        self._bucket, self._prefix = place
        self._work = work
        self._progress = progress

    def run(self, hand: Hand) -> None:
        """List until told to stop."""
        whole_s = float("-inf")
        newest: dict[str, str] = {}
        while not hand.stopping.is_set():
            begun = time.monotonic()
            pause = self._buckets.list_seconds
            if not newest or begun >= whole_s:
                newest = self._whole(hand)
                took = time.monotonic() - begun
                whole_s = begun + max(_WHOLE_SECONDS, _LISTING_SHARE * took)
                if not newest:
                    pause = max(pause, _LISTING_SHARE * took)
            else:
                for prefix, after in starts(newest):
                    for keys in self._pages(hand, prefix, after):
                        _note_days(keys, newest)
            self._work.forget()
            hand.stopping.wait(pause)

    def _whole(self, hand: Hand) -> dict[str, str]:
        """List all; return the newest day of each place where short listings are worth it."""
        newest: dict[str, str] = {}
        pages, dated = 0, True
        for keys in self._pages(hand, self._prefix, ""):
            pages += 1
            dated = _note_days(keys, newest) and dated
        return newest if dated and pages > 2 * len(newest) else {}

    def _pages(self, hand: Hand, prefix: str, after: str) -> Iterator[list[str]]:
        """Note the objects of a listing page by page; yield the keys that are not empty."""
        arguments = {"Bucket": self._bucket, "Prefix": prefix}
        if after:
            arguments["StartAfter"] = after
        for page in self._client.get_paginator("list_objects_v2").paginate(**arguments):
            self._progress.connected = True
            found = [
                Found(
                    self._bucket,
                    item["Key"],
                    item["ETag"].strip('"'),
                    "",
                    item["Size"],
                    int(item["LastModified"].timestamp() * 1_000_000_000),
                )
                for item in page.get("Contents", ())
            ]
            write_down(found, self._buckets, self._work, self._progress)
            yield [item.key for item in found if item.size_bytes]
            if hand.stopping.is_set():
                return


def write_down(found: Sequence[Found], buckets: Buckets, work: Work, progress: Progress) -> None:
    """Note objects for reading; those that are no logs are counted, each once."""
    kinds: dict[str, list[Found]] = {"": [], "digest": [], "empty": []}
    for item in found:
        # An earlier day may be asked for later, so these are not noted at all.
        if not 0 < item.modified_ns < buckets.since_ns:
            kinds[_kind(item)].append(item)
    work.add(kinds.pop(""))
    for kind, items in kinds.items():
        _, fresh = work.add((), items)
        if fresh:
            progress.skip(kind, fresh)
    progress.lag = work.waiting


def _kind(item: Found) -> str:
    if is_digest(item.key):
        return "digest"
    return "empty" if item.size_bytes == 0 or item.key.endswith("/") else ""


def _note_days(keys: Sequence[str], newest: dict[str, str]) -> bool:
    """Note the newest day of each place; return whether every key has a day."""
    dated = True
    for key in keys:
        known = day_of(key)
        if known is None or len(newest) > _PLACES:
            dated = False
        else:
            place, day = known
            newest[place] = max(newest.get(place, ""), day)
    return dated
