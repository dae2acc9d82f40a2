"""Signed notes of c2sp.org/signed-note, with Ed25519 keys.

Keys are written as Go's `golang.org/x/mod/sumdb/note` writes them, so that other tools of
transparency logs read ours: `name+hash+base64` for the public one, and
`PRIVATE+KEY+name+hash+base64` for the private one.
"""

import base64
import binascii
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from trailhound.model.errors import TrailhoundError

_ED25519 = b"\1"
_SIGNATURES_LIMIT = 100
_NOTE_LIMIT_BYTES = 1_000_000
_NAME = re.compile(r"[^\s+\x00-\x1f]+")
_KEY = re.compile(r"(?P<name>[^\s+\x00-\x1f]+)\+(?P<hash>[0-9a-f]{8})\+(?P<data>[A-Za-z0-9+/=]+)")
_PRIVATE = "PRIVATE+KEY+"


class NoteError(TrailhoundError):
    """A note or a key that is malformed, or that no trusted key signed."""


class Verifier:
    """A public key, and the name of whom it belongs to."""

    def __init__(self, name: str, public: bytes) -> None:
        """Make one from a name and the 32 bytes of an Ed25519 public key."""
        self.name = name
        self.public = public
        self.key_id = key_id(name, public)
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read a verifier key, `name+hash+base64`. Raises `NoteError`."""
        name, data = _parse_key(text.strip(), "public key")
        if len(data) != 32:
            raise NoteError("malformed public key: an Ed25519 key has 32 bytes")
        try:
            verifier = cls(name, data)
        except ValueError as error:
            raise NoteError(f"malformed public key: {error}") from None
        _check_hash(text.strip(), verifier.key_id, "public key")
        return verifier

    def __str__(self) -> str:
        return _written(self.name, self.key_id, self.public)

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether a signature over `text` is this key's."""
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private key. Its text never appears in `repr`, messages or logs."""

    def __init__(self, name: str, private: bytes) -> None:
        """Make one from a name and the 32 bytes of an Ed25519 private key (its seed)."""
        self._private = private
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> "Signer":
        """Make a new key. Raises `NoteError` for a name that a note cannot hold."""
        if not _NAME.fullmatch(name):
            raise NoteError(f"{name!r} is no key name: it may hold no space and no plus sign")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read a signer key, `PRIVATE+KEY+name+hash+base64`. Raises `NoteError`."""
        text = text.strip()
        if not text.startswith(_PRIVATE):
            raise NoteError("malformed private key: it must begin with PRIVATE+KEY+")
        name, data = _parse_key(text[len(_PRIVATE) :], "private key")
        if len(data) != 32:
            raise NoteError("malformed private key: an Ed25519 key has 32 bytes")
        signer = cls(name, data)
        _check_hash(text[len(_PRIVATE) :], signer.verifier.key_id, "private key")
        return signer

    def secret_text(self) -> str:
        """The key as its file holds it."""
        return _PRIVATE + _written(self.verifier.name, self.verifier.key_id, self._private)

    def sign(self, text: str) -> str:
        """Return a note: `text`, which ends in a newline, and the signature."""
        if not text.endswith("\n"):
            raise ValueError("the text of a note ends in a newline")
        signature = self.verifier.key_id + self._key.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {base64.b64encode(signature).decode()}\n"


def key_id(name: str, public: bytes) -> bytes:
    """Return the four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def open_note(note: bytes, verifier: Verifier) -> str:
    """Return the text of a note that `verifier` signed.

    Raises `NoteError` where the note is malformed, its signature wrong, or not there.
    """
    text, signatures = split_note(note)
    found = False
    for name, data in signatures:
        if name != verifier.name or data[:4] != verifier.key_id:
            continue  # signatures of keys that nobody trusts are ignored, as the standard says
        if not verifier.signed(text.encode(), data[4:]):
            raise NoteError(f"the signature of {verifier.name} is wrong")
        found = True
    if not found:
        raise NoteError(f"not signed by {verifier}")
    return text


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the text of a note and its signatures, unchecked, as (name, key id + signature)."""
    if len(note) > _NOTE_LIMIT_BYTES:
        raise NoteError("malformed note: too long")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise NoteError("malformed note: not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise NoteError("malformed note: a control character")
    text, separator, tail = whole.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("malformed note: no signatures")
    lines = tail[:-1].split("\n")
    if len(lines) > _SIGNATURES_LIMIT:
        raise NoteError("malformed note: too many signatures")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    if not line.startswith("— "):
        raise NoteError("malformed note: a line among the signatures is none")
    name, _, encoded = line[2:].partition(" ")
    data = _decoded(encoded)
    if not _NAME.fullmatch(name) or data is None or len(data) < 5:
        raise NoteError("malformed note: malformed signature")
    return name, data


def _parse_key(text: str, what: str) -> tuple[str, bytes]:
    found = _KEY.fullmatch(text)
    data = _decoded(found["data"]) if found else None
    if found is None or data is None:
        raise NoteError(f"malformed {what}: expected name+hash+base64")
    if data[:1] != _ED25519:
        raise NoteError(f"unknown kind of {what}: only Ed25519 is understood")
    return found["name"], data[1:]


def _check_hash(text: str, right: bytes, what: str) -> None:
    found = _KEY.fullmatch(text)
    if found is None or found["hash"] != right.hex():
        raise NoteError(f"malformed {what}: its hash does not fit")


def _written(name: str, identity: bytes, key: bytes) -> str:
    return f"{name}+{identity.hex()}+{base64.b64encode(_ED25519 + key).decode()}"


def _decoded(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # One value has one spelling only.
    return data if base64.b64encode(data).decode() == text else None
