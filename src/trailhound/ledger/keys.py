"""Files of secret keys: readable by their owner alone, never shown, never logged."""

import os
import secrets
import stat
from pathlib import Path

from trailhound.ledger.journal import sync_folder
from trailhound.ledger.notes import NoteError, Signer, Verifier
from trailhound.ledger.redaction import Redactor
from trailhound.model.errors import TrailhoundError

_REDACTION = "trailhound-redaction-key/1 "


def write_secret(path: Path, text: str) -> None:
    """Create a file that only its owner may read. Raises `TrailhoundError` where one is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{text}\n")
            stream.flush()
            os.fsync(descriptor)
        sync_folder(path.absolute().parent)
    except FileExistsError:
        raise TrailhoundError(f"{path} is there already; a key is never overwritten") from None
    except OSError as error:
        raise TrailhoundError(f"cannot write {path}: {error.strerror}") from None


def read_secret(path: Path) -> str:
    """Read such a file. Raises `TrailhoundError` where others may read it too."""
    try:
        with path.open() as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a key"
        raise TrailhoundError(f"cannot read the key {path}: {reason}") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise TrailhoundError(f"others may read the key {path}: chmod 600 it, or make a new one")
    return text.strip()


def read_signer(path: Path) -> Signer:
    """Read the private key of a ledger."""
    return Signer.parse(read_secret(path))


def new_redaction_key() -> str:
    """Make a redaction key, as its file holds it."""
    return f"{_REDACTION}{secrets.token_hex(32)}"


def read_redactor(path: Path) -> Redactor:
    """Read a redaction key."""
    text = read_secret(path)
    try:
        if not text.startswith(_REDACTION):
            raise ValueError
        return Redactor(bytes.fromhex(text.removeprefix(_REDACTION)))
    except ValueError:
        raise TrailhoundError(f"{path} is no redaction key") from None


def read_verifier(text: str) -> Verifier:
    """Read a public key, given as itself or as the path of a file that holds it."""
    if "+" in text and not Path(text).is_file():
        return Verifier.parse(text)
    try:
        return Verifier.parse(Path(text).read_text(encoding="utf-8")[:4096])
    except NoteError as error:
        raise TrailhoundError(f"{text}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise TrailhoundError(f"cannot read the public key {text}: {reason}") from None
