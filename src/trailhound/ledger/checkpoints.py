"""Heads of a ledger (c2sp.org/tlog-checkpoint) and proofs (c2sp.org/tlog-proof)."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from trailhound.ledger.merkle import HASH_BYTES, leaf_hash, root_from_inclusion
from trailhound.ledger.notes import Signer, Verifier, open_note, split_note
from trailhound.model.errors import TrailhoundError

_TIME = "signed-at "
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PROOF = "c2sp.org/tlog-proof@v1"
_PATH_LIMIT = 64


class ProofError(TrailhoundError):
    """A head or a proof that is malformed, or that does not prove what it should."""


class Head(Struct, frozen=True):
    """What a signed head says of a ledger."""

    origin: str
    """Which ledger it is: the name of its key."""
    size: int
    """Leaves in the tree."""
    root: bytes
    signed_ns: int | None = None
    """When the ledger says that it signed this, UTC nanoseconds."""

    def text(self) -> str:
        """The text of the note that is signed."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode()]
        if self.signed_ns is not None:
            lines.append(f"{_TIME}{self.signed_ns}")
        return "\n".join(lines) + "\n"

    @property
    def signed_at(self) -> str:
        """When it was signed, for people; empty where the head does not say."""
        if self.signed_ns is None:
            return ""
        moment = datetime.fromtimestamp(self.signed_ns // 1_000_000_000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sign_head(head: Head, signer: Signer) -> bytes:
    """Return a head as a signed note."""
    return signer.sign(head.text()).encode()


def open_head(note: bytes, verifier: Verifier) -> Head:
    """Read a head and check its signature. Raises `NoteError` or `ProofError`."""
    return parse_head(open_note(note, verifier))


def unverified_head(note: bytes) -> Head:
    """Read a head without checking who signed it."""
    return parse_head(split_note(note)[0])


def parse_head(text: str) -> Head:
    """Read the text of a head. Raises `ProofError`."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise ProofError("malformed head: it has at least three lines, none of them empty")
    origin, size, encoded, *more = lines[:-1]
    if not _NUMBER.fullmatch(size):
        raise ProofError("malformed head: the second line is the size of the tree")
    root = _hash(encoded)
    if root is None:
        raise ProofError("malformed head: the third line is the root hash")
    stamps = [line[len(_TIME) :] for line in more if line.startswith(_TIME)]
    signed = int(stamps[0]) if stamps and _NUMBER.fullmatch(stamps[0]) else None
    return Head(origin, int(size), root, signed)


class Proof(Struct, frozen=True):
    """An inclusion proof that stands for itself: the entry, its path, and a signed head."""

    index: int
    """Of the entry, from 0."""
    path: tuple[bytes, ...]
    """Hashes from the leaf's sibling upwards."""
    head: bytes
    """The signed note, verbatim."""
    entry: bytes
    """The entry that is proven; carried as the extra data of the file."""

    def text(self) -> str:
        """The proof as a file."""
        lines = [_PROOF, f"extra {_b64(self.entry)}", f"index {self.index}", *map(_b64, self.path)]
        return "\n".join(lines) + "\n\n" + self.head.decode()

    def check(self, verifier: Verifier) -> Head:
        """Return the head that this proves the entry to be in.

        Raises `NoteError` or `ProofError` where it does not.
        """
        head = open_head(self.head, verifier)
        root = root_from_inclusion(self.index, head.size, leaf_hash(self.entry), self.path)
        if root is None:
            raise ProofError(f"the path does not fit entry {self.index} of {head.size}")
        if root != head.root:
            raise ProofError(f"entry {self.index} is not what the head was signed over")
        return head


def parse_proof(data: bytes) -> Proof:
    """Read a proof file. Raises `ProofError`."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ProofError("malformed proof: not UTF-8") from None
    above, separator, head = text.partition("\n\n")
    lines = above.split("\n")
    if lines[0] != _PROOF or not separator:
        raise ProofError(f"malformed proof: its first line is {_PROOF}, and a head follows")
    if len(lines) < 3 or not lines[1].startswith("extra "):
        raise ProofError("malformed proof: its second line is `extra` and the entry in base64")
    entry = _bytes(lines[1][6:])
    if entry is None:
        raise ProofError("malformed proof: the entry is no base64")
    if not lines[2].startswith("index ") or not _NUMBER.fullmatch(lines[2][6:]):
        raise ProofError("malformed proof: its third line is `index` and a number")
    path = tuple(map(_hash, lines[3:]))
    if len(path) > _PATH_LIMIT or None in path:
        raise ProofError("malformed proof: a line of the path is no hash")
    return Proof(int(lines[2][6:]), _hashes(path), head.encode(), entry)


def _hashes(path: Sequence[bytes | None]) -> tuple[bytes, ...]:
    return tuple(one for one in path if one is not None)


def _hash(text: str) -> bytes | None:
    data = _bytes(text)
    return data if data is not None and len(data) == HASH_BYTES else None


def _bytes(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _b64(data) == text else None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
