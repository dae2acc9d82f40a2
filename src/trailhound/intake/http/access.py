"""Who may do what over HTTP: tokens by their hash, client certificates by their name."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import tomllib
from pathlib import Path
from typing import Literal

import msgspec
from aiohttp import web

from trailhound.intake.peers import common_name
from trailhound.model.errors import TrailhoundError

Role = Literal["ingest", "ledger", "read", "admin"]
"""`ingest`: hand records in. `ledger`: hand in files of a ledger, which are never overwritten.
`read`: metrics, findings, queries. `admin`: everything."""


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the access file: who, known by what, may do what."""

    name: str
    roles: tuple[Role, ...]
    sha256: str = ""
    """SHA-256 of the token, in hex. Empty: known by a client certificate."""
    certificate: str = ""
    """Common name of the client certificate."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    grant: list[Grant] = []


class Access:
    """The grants of one server."""

    def __init__(self, grants: tuple[Grant, ...]) -> None:
        self._hold(grants)

    def become(self, other: "Access") -> None:
        """Let in whom another lets in, from the next request on."""
        self._hold(other.grants)

    def _hold(self, grants: tuple[Grant, ...]) -> None:
        self.grants = grants
        self._by_token = {grant.sha256.lower(): grant for grant in grants if grant.sha256}
        self._by_certificate = {grant.certificate: grant for grant in grants if grant.certificate}

    def __bool__(self) -> bool:
        return bool(self._by_token or self._by_certificate)

    def grant_of(self, request: web.Request) -> Grant | None:
        """Return who makes a request; None for somebody unknown."""
        token = _token(request)
        if token:
            digest = hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
            # All are compared, and each in constant time: a clock tells nothing of a hash.
            found = None
            for known, grant in self._by_token.items():
                if hmac.compare_digest(known, digest):
                    found = grant
            if found is not None:
                return found
        name = _certificate_name(request)
        return self._by_certificate.get(name) if name else None


def load_access(path: Path) -> Access:
    """Read an access file (TOML, a table `[[grant]]` for each).

    Raises:
        TrailhoundError: It cannot be read, or says something that is not understood.
    """
    try:
        parsed = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise TrailhoundError(f"the access file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise TrailhoundError(f"the access file {path}: {error}") from None
    for grant in parsed.grant:
        if bool(grant.sha256) == bool(grant.certificate):
            raise TrailhoundError(
                f"the access file {path}: {grant.name!r} needs either sha256 or certificate"
            )
    return Access(tuple(parsed.grant))


def new_token() -> tuple[str, str]:
    """Return a new token, 256 bits from the operating system, and its SHA-256 in hex."""
    token = "th_" + secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


def add_grant(path: Path, name: str, roles: tuple[Role, ...]) -> str:
    """Add a grant with a new token to an access file, made if missing; return the token.

    Raises:
        TrailhoundError: The file cannot be read or written, or knows the name already.
    """
    text = ""
    if path.exists():
        if any(grant.name == name for grant in load_access(path).grants):
            raise TrailhoundError(f"the access file {path} has {name!r} already")
        text = path.read_text(encoding="utf-8")
    token, digest = new_token()
    listed = ", ".join(json.dumps(role) for role in roles)
    text += f'[[grant]]\nname = {json.dumps(name)}\nroles = [{listed}]\nsha256 = "{digest}"\n\n'
    # Written beside it and moved into place, so that a server never reads half of it.
    beside = path.with_name(path.name + ".new")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    except OSError as error:
        raise TrailhoundError(f"the access file {path}: {error.strerror}") from None
    return token


def _token(request: web.Request) -> str:
    header = request.headers.get("Authorization", "")
    kind, _, value = header.partition(" ")
    match kind.lower():
        # `Splunk` and `ApiKey` as those senders write it.
        case "bearer" | "splunk" | "apikey":
            return value.strip()
        case "basic":
            try:
                return base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                return ""
        case _:
            return ""


def _certificate_name(request: web.Request) -> str:
    transport = request.transport
    return common_name(transport.get_extra_info("ssl_object")) if transport is not None else ""
