"""Sorted entries of one group, however many: a few pages of them in memory, the rest on a shelf.

A group holds few entries mostly, and then they are one list. Beyond a bound they are cut into
pages, of which those used last stay in memory. A page on a shelf never changes: one that has to
is put there anew, as another. So a copy of the state that was written down earlier stays true;
which pages nothing refers to any more is for `timeline.tidy` to find out.

Entries are tuples in their natural order. The first fields of an entry that tell it from all
others are its name.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from types import GenericAlias
from typing import Any, Generic, Protocol, TypeVar, get_args

import msgspec
from msgspec import Struct, field

HELD_ENTRIES = 4096
"""So many entries are one list in memory; more are cut into pages."""

HELD_BYTES = 1024 * 1024
"""So much may `Paged.weight` of them be; an event can have very many values, or very long ones."""

PAGE_ENTRIES = 256

PAGE_BYTES = HELD_BYTES // 4
"""So much may the weight of a page's entries be, if they are more than one."""

PAGES_HELD = 4
"""Pages of one list that are in memory; at least 2, or else each event would fetch both ends."""

PAGES_CACHED = 512
"""Pages of all lists together that are in memory though they are on the shelf."""

CACHED_BYTES = 32 * 1024 * 1024
"""What they may take as written; in memory it is a few times that. Texts in entries come from
logs, and may be long."""

T = TypeVar("T", bound=tuple[Any, ...])
Name = tuple[Any, ...]


class Pages(Protocol):
    """Keeps pages as bytes. Those that the pipeline gives keep them on disk."""

    def put(self, data: bytes) -> int:
        """Keep a page; return its number, which is greater than 0."""
        ...

    def get(self, page: int) -> bytes:
        """Return a page."""
        ...

    def free(self, pages: Iterable[int]) -> None:
        """Forget pages."""
        ...


class HeldPages:
    """Pages in memory."""

    def __init__(self) -> None:
        self._pages: dict[int, bytes] = {}
        self._last = 0

    def put(self, data: bytes) -> int:
        """See `Pages`."""
        self._last += 1
        self._pages[self._last] = data
        return self._last

    def get(self, page: int) -> bytes:
        """See `Pages`."""
        return self._pages[page]

    def free(self, pages: Iterable[int]) -> None:
        """See `Pages`."""
        for page in pages:
            del self._pages[page]

    def __len__(self) -> int:
        return len(self._pages)


class Shelf:
    """Where all groups put what they do not hold in memory."""

    def __init__(self, pages: Pages | None = None) -> None:
        self.made: list[int] = []
        """Pages put since somebody last emptied this; whose they are is for that one to know."""
        self._pages = pages if pages is not None else HeldPages()
        self._cached: dict[int, tuple[list[Any], int]] = {}
        """Page → its entries, and how many bytes they are; those used last at the end."""
        self._cached_bytes = 0

    def put(self, data: bytes) -> int:
        """Keep a page; return its number, which is greater than 0."""
        page = self._pages.put(data)
        self.made.append(page)
        return page

    def get(self, page: int) -> bytes:
        """Return a page."""
        return self._pages.get(page)

    def put_entries(self, entries: list[Any]) -> int:
        """Keep entries, which must not be changed any more; return their page."""
        data = msgspec.msgpack.encode(entries)
        page = self.put(data)
        self._cache(page, entries, len(data))
        return page

    def entries(self, page: int, kind: "type[Paged[T]]") -> list[T]:
        """Return the entries of a page, which must not be changed."""
        entries: list[T]
        if page in self._cached:
            entries, size = self._cached[page]
            self._uncache(page)
        else:
            data = self._pages.get(page)
            entries, size = _decoder(kind).decode(data), len(data)
        self._cache(page, entries, size)
        return entries

    def free(self, pages: Iterable[int]) -> None:
        """Forget pages."""
        gone = list(pages)
        for page in gone:
            self._uncache(page)
        self._pages.free(gone)

    def _cache(self, page: int, entries: list[Any], size: int) -> None:
        self._cached[page] = entries, size
        self._cached_bytes += size
        while len(self._cached) > PAGES_CACHED or self._cached_bytes > CACHED_BYTES:
            self._uncache(next(iter(self._cached)))

    def _uncache(self, page: int) -> None:
        _, size = self._cached.pop(page, ((), 0))
        self._cached_bytes -= size


class Page(Struct, Generic[T], array_like=True):
    """Some entries that follow on each other."""

    least: T
    """None of them is less; those of the page before all are."""
    count: int
    entries: list[T] | None
    """None: they are on the shelf."""
    at: int = 0
    """The page on the shelf that holds them; 0: none, they are here alone."""
    skipped: int = 0
    """So many at the head of that page are gone."""


class Book(Struct, Generic[T], array_like=True):
    """Entries in pages."""

    pages: list[Page[T]]
    size: int
    open: list[T] = field(default_factory=list)
    """`least` of the pages in memory, the one used last at the end."""
    near: int = 0
    """A page, and how many entries lie before it: a place to count from."""
    before: int = 0


class Paged(Struct, Generic[T], array_like=True):
    """Sorted entries. Each kind of entry has its own subclass, by which they are read again."""

    held: list[T] = field(default_factory=list)
    book: Book[T] | None = None
    heavy: int = 0
    """Weight of those held, and of some that are gone."""

    @classmethod
    def weight(cls, _entry: T) -> int:
        """Return about how many bytes an entry takes, if they are many; else 0."""
        return 0

    def __len__(self) -> int:
        return len(self.held) if self.book is None else self.book.size

    def __bool__(self) -> bool:
        return bool(self.held) or self.book is not None

    def add(self, entry: T, shelf: Shelf) -> None:
        """Put an entry in its place."""
        book = self.book
        if book is None:
            if not self.held or self.held[-1] < entry:
                self.held.append(entry)
            else:
                insort(self.held, entry)
            self.heavy += self.weight(entry)
            if len(self.held) > HELD_ENTRIES or (self.heavy > HELD_BYTES and self._is_heavy()):
                self._cut_up(shelf)
            return
        number = _page_of(book, entry)
        page, entries = self._opened(book, number, shelf)
        if entry < page.least:
            page.least = book.open[-1] = entry
        insort(entries, entry)
        _changed(book, number, 1)
        page.at = page.skipped = 0
        if len(entries) > PAGE_ENTRIES or (self.weight(entry) and self._too_heavy(entries)):
            self._split(book, number, shelf)

    def get(self, name: Name, shelf: Shelf) -> T | None:
        """Return the entry of a name."""
        if self.book is None:
            at = bisect_left(self.held, name)
            found = self.held[at] if at < len(self.held) else None
        else:
            found = self.find(name, shelf)
        return found if found is not None and found[: len(name)] == name else None

    def find(self, name: Name, shelf: Shelf) -> T | None:
        """Return the first entry that is not before a name."""
        book = self.book
        if book is None:
            at = bisect_left(self.held, name)
            return self.held[at] if at < len(self.held) else None
        number = _page_of(book, name)
        entries, start = self._read(book, number, shelf)
        at = bisect_left(entries, name, start)
        if at < len(entries):
            return entries[at]
        if number + 1 == len(book.pages):
            return None
        entries, start = self._read(book, number + 1, shelf)
        return entries[start]

    def rank(self, name: Name, shelf: Shelf) -> int:
        """Return how many entries come before a name."""
        book = self.book
        if book is None:
            return bisect_left(self.held, name)
        number = _page_of(book, name)
        if number * 2 < book.near:
            book.near = book.before = 0
        elif len(book.pages) - number < number - book.near:
            _go_to_last(book)
        while book.near < number:
            book.before += book.pages[book.near].count
            book.near += 1
        while book.near > number:
            book.near -= 1
            book.before -= book.pages[book.near].count
        entries, start = self._read(book, number, shelf)
        return book.before + bisect_left(entries, name, start) - start

    def at(self, index: int, shelf: Shelf) -> T:
        """Return the entry before which so many others come."""
        book = self.book
        if book is None:
            return self.held[index]
        entries, start = self._read(book, _page_at(book, index), shelf)
        return entries[start + index - book.before]

    def last(self, shelf: Shelf) -> T:
        """Return the last entry; there must be one."""
        return self.at(len(self) - 1, shelf)

    def between(self, start: int, stop: int, shelf: Shelf) -> Iterator[T]:
        """Yield the entries of some places; nothing may be changed meanwhile."""
        book = self.book
        if book is None:
            yield from self.held[start:stop]
            return
        stop = min(stop, book.size)
        while start < stop:
            entries, offset = self._read(book, _page_at(book, start), shelf)
            offset -= book.before
            part = entries[start + offset : stop + offset]
            start += len(part)
            yield from part

    def pop(self, shelf: Shelf) -> T:
        """Take the first entry out, and return it; there must be one."""
        if self.book is None:
            first = self.held.pop(0)
            if not self.held:
                self.heavy = 0
            return first
        first = self.at(0, shelf)
        self.drop(1)
        return first

    def drop(self, count: int) -> None:
        """Take so many entries out, from the first on."""
        book = self.book
        if book is None:
            del self.held[:count]
            if not self.held:
                self.heavy = 0
            return
        book.size -= count
        book.before = max(0, book.before - count)
        gone = 0
        while gone < len(book.pages) and book.pages[gone].count <= count:
            page = book.pages[gone]
            count -= page.count
            if page.entries is not None:
                book.open.remove(page.least)
            gone += 1
        del book.pages[:gone]
        book.near = max(0, book.near - gone)
        if not book.near:
            book.before = 0
        if count:
            page = book.pages[0]
            page.count -= count
            if page.entries is None:  # the page on the shelf is as good as before
                page.skipped += count
            else:
                del page.entries[:count]
                page.at = page.skipped = 0
        if not book.pages:
            self.book = None

    def discard(self, name: Name, shelf: Shelf) -> T | None:
        """Take the entry of a name out, and return it; None: there was none."""
        book = self.book
        if book is None:
            at = bisect_left(self.held, name)
            if at == len(self.held) or self.held[at][: len(name)] != name:
                return None
            found = self.held.pop(at)
            if not self.held:
                self.heavy = 0
            return found
        number = _page_of(book, name)
        page, entries = self._opened(book, number, shelf)
        at = bisect_left(entries, name)
        if at == len(entries) and number + 1 < len(book.pages):
            number += 1
            page, entries = self._opened(book, number, shelf)
            at = 0
        if at == len(entries) or entries[at][: len(name)] != name:
            return None
        if len(entries) == 1:
            return self._without_page(book, number)
        entry = entries.pop(at)
        _changed(book, number, -1)
        page.at = page.skipped = 0
        return entry

    def shelved(self) -> Iterator[int]:
        """Yield the pages on the shelf that this refers to."""
        if self.book is not None:
            for page in self.book.pages:
                if page.at:
                    yield page.at

    def _cut_up(self, shelf: Shelf) -> None:
        pages = [Page(part[0], len(part), part) for part in self._parts()]
        book = self.book = Book(pages, len(self.held))
        book.open = [page.least for page in book.pages]
        self.held, self.heavy = [], 0
        self._make_room(book, shelf)

    def _parts(self) -> Iterator[list[T]]:
        part: list[T] = []
        heavy = 0
        for entry in self.held:
            weight = self.weight(entry)
            if part and (len(part) >= PAGE_ENTRIES or heavy + weight > PAGE_BYTES):
                yield part
                part, heavy = [], 0
            part.append(entry)
            heavy += weight
        yield part

    def _is_heavy(self) -> bool:
        self.heavy = sum(map(self.weight, self.held))
        return self.heavy > HELD_BYTES and len(self.held) > 1

    def _too_heavy(self, entries: list[T]) -> bool:
        return len(entries) > 1 and sum(map(self.weight, entries)) > PAGE_BYTES

    def _split(self, book: Book[T], number: int, shelf: Shelf) -> None:
        page = book.pages[number]
        entries = page.entries or []
        # What comes in order fills its pages.
        full = min(PAGE_ENTRIES, len(entries) - 1)
        keep = full if number + 1 == len(book.pages) else len(entries) // 2
        rest = entries[keep:]
        del entries[keep:]
        page.count = keep
        book.pages.insert(number + 1, Page(rest[0], len(rest), rest))
        if number < book.near:
            book.near += 1
        book.open.append(rest[0])
        self._make_room(book, shelf)

    def _without_page(self, book: Book[T], number: int) -> T | None:
        page = book.pages.pop(number)
        book.open.remove(page.least)
        book.size -= 1
        if number < book.near:
            book.near -= 1
            book.before -= 1
        elif book.near == len(book.pages):
            book.near = book.before = 0
        if not book.pages:
            self.book = None
        return page.entries[0] if page.entries else None

    def _read(self, book: Book[T], number: int, shelf: Shelf) -> tuple[list[T], int]:
        """Return a page's entries, which must not be changed, and how many to skip of them."""
        page = book.pages[number]
        if page.entries is not None:
            return page.entries, 0
        return shelf.entries(page.at, type(self)), page.skipped

    def _opened(self, book: Book[T], number: int, shelf: Shelf) -> tuple[Page[T], list[T]]:
        """Return a page and its entries, to be changed."""
        page = book.pages[number]
        entries = page.entries
        if entries is None:
            entries = page.entries = shelf.entries(page.at, type(self))[page.skipped :]
            if page.skipped:
                page.at = page.skipped = 0
            book.open.append(page.least)
            self._make_room(book, shelf)
        elif book.open[-1] != page.least:
            book.open.remove(page.least)
            book.open.append(page.least)
        return page, entries

    def _make_room(self, book: Book[T], shelf: Shelf) -> None:
        while len(book.open) > PAGES_HELD:
            page = book.pages[_page_of(book, book.open.pop(0))]
            page.at = page.at or shelf.put_entries(page.entries or [])
            page.entries = None


_LEAST = attrgetter("least")


def _page_of(book: Book[Any], name: Name) -> int:
    """Return the page in which a name would be."""
    return max(0, bisect_right(book.pages, name, key=_LEAST) - 1)


def _go_to_last(book: Book[Any]) -> None:
    book.near = len(book.pages) - 1
    book.before = book.size - book.pages[-1].count


def _page_at(book: Book[Any], index: int) -> int:
    """Return the page that holds the entry at an index; `book.before` is then its start."""
    if index * 2 < book.before:
        book.near = book.before = 0
    elif book.size - index < index - book.before:
        _go_to_last(book)
    pages, near, before = book.pages, book.near, book.before
    while before > index:
        near -= 1
        before -= pages[near].count
    while before + pages[near].count <= index:
        before += pages[near].count
        near += 1
    book.near, book.before = near, before
    return near


def _changed(book: Book[Any], number: int, by: int) -> None:
    book.size += by
    book.pages[number].count += by
    if number < book.near:
        book.before += by


@lru_cache(maxsize=64)
def _decoder(kind: type[Paged[Any]]) -> "msgspec.msgpack.Decoder[Any]":
    (base,) = kind.__orig_bases__  # type: ignore[attr-defined]
    return msgspec.msgpack.Decoder(GenericAlias(list, get_args(base)))
