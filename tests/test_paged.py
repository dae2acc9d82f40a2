"""Sorted entries in pages, against a list in memory."""

import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.engine.output import Said
from trailhound.engine.windows import paged
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.paged import HeldPages, Paged, Shelf
from trailhound.engine.windows.timeline import Feeds
from trailhound.pipeline.shelf import PassingPages, passing_shelf


class Pairs(Paged[tuple[int, int]]):
    """What is tested."""


class HeavyPairs(Pairs):
    """The same, where entries weigh what their first number says."""

    __orig_bases__ = Pairs.__orig_bases__  # type: ignore[attr-defined]

    @classmethod
    def weight(cls, entry: tuple[int, int]) -> int:
        return entry[0] if entry[0] > 5 else 0


Pair = tuple[int, int]
number = st.integers(0, 40)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), number),
        st.tuples(st.just("append"), number),
        st.tuples(st.just("pop"), st.just(0)),
        st.tuples(st.just("drop"), number),
        st.tuples(st.just("discard"), number),
        st.tuples(st.just("save"), st.just(0)),
    ),
    max_size=80,
)


def change(pairs: Pairs, model: list[Pair], shelf: Shelf, what: str, n: int, turn: int) -> None:
    """Do the same to both."""
    if what in ("add", "append"):
        pair = (n if what == "add" else 100 + turn, turn)
        pairs.add(pair, shelf)
        model.append(pair)
        model.sort()
    elif what == "pop" and model:
        assert pairs.pop(shelf) == model.pop(0)
    elif what == "drop":
        count = min(n // 4, len(model))
        pairs.drop(count)
        del model[:count]
    elif what == "discard":
        # By its whole name, or by a part of it, of which the first is meant.
        expected = next((pair for pair in model if pair[0] >= n), None)
        name: tuple[Any, ...] = (n,) if expected is None else expected[: 1 + turn % 2]
        assert pairs.discard(name, shelf) == expected
        if expected is not None:
            model.remove(expected)


def agree(pairs: Pairs, model: list[Pair], shelf: Shelf, n: int) -> None:
    """Ask both the same."""
    assert len(pairs) == len(model)
    assert pairs.find((n,), shelf) == next((pair for pair in model if pair >= (n,)), None)
    assert pairs.get((n,), shelf) == next((pair for pair in model if pair[0] == n), None)
    assert pairs.rank((n,), shelf) == sum(pair < (n,) for pair in model)
    assert list(pairs.between(n // 3, n, shelf)) == model[n // 3 : n]
    if model:
        assert pairs.at(n % len(model), shelf) == model[n % len(model)]
        assert pairs.last(shelf) == model[-1]


@settings(max_examples=300)
@given(changes, st.integers(0, 6), st.integers(1, 4), st.sampled_from((Pairs, HeavyPairs)))
def test_pages_are_as_one_list(
    done: list[tuple[str, int]], held: int, size: int, kind: type[Pairs]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paged, "HELD_ENTRIES", held)
        patch.setattr(paged, "PAGE_ENTRIES", size)
        patch.setattr(paged, "HELD_BYTES", 40)
        patch.setattr(paged, "PAGE_BYTES", 30)
        patch.setattr(paged, "PAGES_HELD", 2)
        patch.setattr(paged, "PAGES_CACHED", 2)
        pairs, pages = kind(), HeldPages()
        shelf = Shelf(pages)
        model: list[Pair] = []
        copies: list[tuple[bytes, list[Pair]]] = []
        for turn, (what, n) in enumerate(done):
            change(pairs, model, shelf, what, n, turn)
            agree(pairs, model, shelf, n)
            assert set(pairs.shelved()) <= set(range(1, len(pages) + 1))
            if what == "save":
                copies.append((msgspec.msgpack.encode(pairs), [*model]))
                pairs = msgspec.msgpack.decode(copies[-1][0], type=kind)
        # What was written down earlier is still true.
        for saved, then in copies:
            read = msgspec.msgpack.decode(saved, type=kind)
            assert list(read.between(0, len(read), shelf)) == then
        pairs.drop(len(model))
        assert pairs == kind()


def test_few_pages_are_in_memory() -> None:
    pairs, shelf = Pairs(), Shelf()
    for turn in range(20_000):
        pairs.add((turn * 7919 % 20_000, turn), shelf)
    assert pairs.book is not None
    held = [len(page.entries) for page in pairs.book.pages if page.entries is not None]
    assert len(held) <= paged.PAGES_HELD
    assert max(held) <= paged.PAGE_ENTRIES
    assert [first for first, _ in pairs.between(0, 20_000, shelf)] == list(range(20_000))


def test_feeds_of_which_much_is_said_do_not_fill_memory() -> None:
    feeds = Feeds()
    with passing_shelf() as shelf:
        tracemalloc.start()
        try:
            for turn in range(1000):
                time_ns = turn * 7919 % 1000
                said = Said("title", (("context", f"{turn}" * 20_000),))
                feeds.add(Feed(time_ns, f"{turn}", 0, 0, ("key",), said=said), shelf)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 45_000_000, "they are 58 MB, of which the shelf remembers 32 MB as written"
        assert [feed.time_ns for feed in feeds.between(0, 1000, shelf)] == list(range(1000))


class Texts(Paged[tuple[int, str]]):
    """Entries with texts of a log in them."""


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with passing_shelf() as passing:
        yield passing


def test_pages_of_long_texts_do_not_fill_memory(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged, "CACHED_BYTES", 1_000_000, raising=False)
    tracemalloc.start()
    try:
        pages = [shelf.put_entries([(turn, f"{turn}{'x' * 100_000}")]) for turn in range(100)]
        kept, _ = tracemalloc.get_traced_memory()
        assert all(shelf.entries(page, Texts)[0][0] == turn for turn, page in enumerate(pages))
        kept = max(kept, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000
    shelf.free(pages)
    assert shelf.put_entries([(1, "")]) > 0


def test_pages_on_disk_are_what_was_put_there(shelf: Shelf) -> None:
    pages = [shelf.put(b"%d" % n) for n in range(100)]
    shelf.free(pages[::2])
    assert [shelf.get(page) for page in pages[1::2]] == [b"%d" % n for n in range(1, 100, 2)]


def test_a_full_disk_is_an_error_of_the_system() -> None:
    with closing(sqlite3.connect("", isolation_level=None)) as file:
        pages = PassingPages(file)
        file.execute("PRAGMA max_page_count = 5")
        with pytest.raises(OSError, match="no room for windows larger than memory"):
            pages.put(bytes(1_000_000))
