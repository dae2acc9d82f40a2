"""How what a document says stands in the bytes it was read from."""

from collections.abc import Mapping

from msgspec import Struct


class Spelling(Struct, frozen=True, kw_only=True):
    """How the values of a field stand in the text of their record, or of one of its event.

    All texts in bytes are in lower case, and searched for without regard to case.
    """

    verbatim: bool = True
    """Whether a value stands there as it is, but for case. False: only as `named`."""
    joints: str = ""
    """Characters at which a value may have been put together from what stands apart."""
    heads: Mapping[str, tuple[bytes, ...]] = {}
    """Character → texts: what follows the character in a value stands behind the character as
    well, or directly behind one of the texts."""
    before: tuple[bytes, ...] = ()
    """Texts of which one stands directly before the value; empty: nothing is known of that."""
    named: Mapping[str, tuple[bytes, ...]] = {}
    """Value, as the reader writes it → texts of which one stands there where it may be that value
    and does not stand there verbatim."""
    made_up: str = ""
    """Texts in lower case, a line each, that are values and stand nowhere in the record."""
    made_of: str = ""
    """Characters that values consist of which were computed: numbers, times, addresses."""
