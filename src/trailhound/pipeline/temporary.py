"""The folder for temporary files, and what is said where it is full."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from trailhound.model.errors import TrailhoundError


@contextmanager
def room_needed() -> Iterator[None]:
    """Say, where a disk is full within, that it is the one with the temporary files.

    Raises:
        TrailhoundError: In place of an `OSError` that says that there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TrailhoundError(
            f"no room left in {tempfile.gettempdir()} for temporary files; make room there, or "
            "set TMPDIR to a folder on a larger disk"
        ) from None
