"""Ledgers of others: what they forward is taken in, and never changed or given away again.

Each sender has a folder of its own, named after its token. A file is written beside its place,
synced, and linked into it, which fails where there is one already.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from trailhound.intake.arrivals import Accept
from trailhound.intake.http.access import Access
from trailhound.intake.http.contract import HttpRoute
from trailhound.ledger.journal import sync_folder
from trailhound.ledger.log import HEADS

_FILE_BYTES = 256 * 1024 * 1024
"""Of one file; a bundle has 256 records."""
_CHUNK_BYTES = 1024 * 1024
_ROOM_LEFT = 20
"""One part in so many of the disk stays free: whoever sends must not fill it."""
_PARTS = ".parts"
_TILE = r"(?:x\d{3}/){0,5}\d{3}(?:\.p/(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-5]))?"
_PATH = re.compile(
    r"ledger\.json|key\.pub"
    r"|heads/\d{4}-\d\d-\d\d/\d{6}\.\d{9}-\d{1,19}"
    rf"|(?:tile/(?:entries|[0-7])|records)/{_TILE}",
    re.ASCII,
)
"""What a ledger forwards (`ledger/forward.py`), and nothing else."""


class Receiving:
    """The folder of ledgers that others forward."""

    def __init__(self, folder: Path, access: Access) -> None:
        """Name the folder, which is made when something comes, and those who may send."""
        self._folder = folder
        self._access = access
        self.files = 0
        """Files taken in."""
        self.refused = 0
        """Files that would have taken the place of others."""
        shutil.rmtree(folder / _PARTS, ignore_errors=True)

    def heads(self) -> dict[str, float]:
        """Return when each sender was last heard to sign, seconds since 1970 by the clock here."""
        found: dict[str, float] = {}
        for sender in self._folder.iterdir() if self._folder.is_dir() else ():
            days = [day.stat().st_mtime for day in (sender / HEADS).glob("*")]
            if days:
                found[sender.name] = max(days)
        return found

    def route(self) -> HttpRoute:
        """Return the route by which files come."""
        answers = {
            "201": {"description": "On disk."},
            "200": {"description": "The very same file was there."},
            "400": {"description": "A path that no ledger has."},
            "401": {"description": "Nobody known."},
            "403": {"description": "Somebody who may not."},
            "408": {"description": "The body did not come in time."},
            "409": {"description": "Another file is there, and stays."},
            "413": {"description": "Larger than allowed."},
            "507": {"description": "The disk is nearly full; come again."},
        }
        return HttpRoute(
            "PUT",
            "/ledger/{path:.+}",
            self._take,
            "A file of a ledger that is forwarded; never overwritten",
            {"responses": answers},
            role="ledger",
        )

    async def _take(self, request: web.Request, _accept: Accept) -> web.Response:
        path = request.match_info["path"]
        if not _PATH.fullmatch(path):
            raise web.HTTPBadRequest(text="no file of a ledger has this path\n")
        parts = self._folder / _PARTS
        try:
            parts.mkdir(parents=True, exist_ok=True, mode=0o700)
            disk = shutil.disk_usage(parts)
            if disk.free < disk.total // _ROOM_LEFT:
                raise web.HTTPInsufficientStorage(
                    text="the disk is nearly full\n", headers={"Retry-After": "60"}
                )
            part = parts / secrets.token_hex(16)
            try:
                await _receive(request, part)
                grant = self._access.grant_of(request)
                sender = _folder_name(grant.name if grant else "local")
                place = self._folder / sender / path
                new = await asyncio.to_thread(_link, part, place, self._folder)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()
        except OSError as error:
            raise web.HTTPInsufficientStorage(
                text=f"the disk does not take it: {error.strerror}\n", headers={"Retry-After": "60"}
            ) from None
        if new is None:
            self.refused += 1
            raise web.HTTPConflict(text="another file is there\n")
        self.files += new
        return web.Response(status=201 if new else 200)


async def _receive(request: web.Request, part: Path) -> None:
    size = 0
    with part.open("xb") as file:
        async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
            size += len(chunk)
            if size > _FILE_BYTES:
                raise web.HTTPRequestEntityTooLarge(_FILE_BYTES, size)
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(_sync, file.fileno())


def _sync(file: int) -> None:
    os.fchmod(file, 0o444)
    os.fsync(file)


def _link(part: Path, place: Path, top: Path) -> bool | None:
    """Put a file in its place; whether it is new; None where another one is there."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(part, place)
    except FileExistsError:
        return False if _same(part, place) else None
    for folder in place.parents:
        sync_folder(folder)
        if folder == top:
            break
    return True


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as mine, other.open("rb") as theirs:
        while chunk := mine.read(_CHUNK_BYTES):
            if chunk != theirs.read(_CHUNK_BYTES):
                return False
    return True


def _folder_name(name: str) -> str:
    """Return a name that is safe on every file system, another one for every other sender."""
    safe = quote(name, safe=" -_@")
    return safe.replace(".", "%2E") if safe.startswith(".") else safe
