"""IR to JSON and back."""

from collections.abc import Sequence

import msgspec

from trailhound.rules.ir import Rule, RuleError


class RuleBook(msgspec.Struct, frozen=True):
    """What came out of one rule file."""

    rules: tuple[Rule, ...] = ()
    errors: tuple[RuleError, ...] = ()


_BOOKS = msgspec.json.Decoder(list[RuleBook])


def dump_books(books: Sequence[RuleBook]) -> bytes:
    """Return the JSON form of rule books; `load_books` is its inverse."""
    return msgspec.json.encode(books)


def load_books(data: bytes) -> list[RuleBook]:
    """Read what `dump_books` wrote; `msgspec.DecodeError` where it is something else."""
    return _BOOKS.decode(data)
