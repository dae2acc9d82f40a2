"""A plain folder, such as a WORM file system, a mounted appliance or a write-once share."""

import hashlib
import os
from pathlib import Path

from trailhound.ledger.forward import TargetError
from trailhound.ledger.journal import sync_folder


class FolderTarget:
    """Creates files and never opens one that is there for writing."""

    def __init__(self, place: str) -> None:
        """Make one; the folder must exist, so that a typing error makes no new one."""
        self._folder = Path(place).absolute()
        if not self._folder.is_dir():
            raise TargetError(f"no such folder: {place}")
        digest = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:12]
        self.name = f"folder-{digest}"
        self._folders: set[Path] = set()

    def put(self, path: str, data: bytes) -> None:
        """Create a file: `Target.put`."""
        file = self._folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                stream = open(file, "xb")  # noqa: SIM115 - closed below
            except FileExistsError:
                self._check(file, path, data)
                return
            with stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            file.chmod(0o444)
        except OSError as error:
            raise TargetError(f"cannot write {file}: {error.strerror}") from None
        self._folders.update((file.parent, *file.parent.relative_to(self._folder).parents))

    def finish(self) -> None:
        """Make the names durable as well: `Target.finish`."""
        for folder in self._folders:
            sync_folder(self._folder / folder)
        self._folders.clear()

    def _check(self, file: Path, path: str, data: bytes) -> None:
        there = file.read_bytes()
        if there == data:
            return
        if data.startswith(there):
            # A crash cut it short; a file system that lets nothing be completed says so.
            with file.open("ab") as stream:
                stream.write(data[len(there) :])
                stream.flush()
                os.fsync(stream.fileno())
            return
        raise TargetError(
            f"{path} is there with other content: this place, or the ledger, was changed"
        )
