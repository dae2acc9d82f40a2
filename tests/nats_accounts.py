"""A nats-server that asks for TLS and for a JWT of its operator's accounts."""

import base64
import hashlib
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import nkeys

from certificates import Authority


class Made(NamedTuple):
    configuration: Path
    authority: Path
    credentials: Path


def make(folder: Path) -> Made:
    """Write certificates, the configuration of a server, and credentials of one user."""
    authority = Authority(folder, "nats")
    certificate, key = authority.issue("server")
    operator, account, system, user = (_pair(kind) for kind in "OAAU")
    common = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
    streams = ("mem_storage", "disk_storage", "streams", "consumer")
    # The system's own account has no streams.
    plain = {**dict.fromkeys(common, -1), "wildcards": True}
    limits = {**plain, **dict.fromkeys(streams, -1)}
    operator_jwt = _jwt(operator, operator, "operator", {"system_account": _public(system)})
    account_jwt = _jwt(operator, account, "account", {"limits": limits})
    system_jwt = _jwt(operator, system, "account", {"limits": plain})
    may = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    user_jwt = _jwt(account, user, "user", may)
    configuration = folder / "nats.conf"
    configuration.write_text(
        f"operator: {operator_jwt}\n"
        "resolver: MEMORY\n"
        f"system_account: {_public(system)}\n"
        f"resolver_preload: {{\n{_public(account)}: {account_jwt}\n"
        f"{_public(system)}: {system_jwt}\n}}\n"
        f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
    )
    credentials = folder / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    return Made(configuration, Path(authority.file), credentials)


def _pair(kind: str) -> nkeys.KeyPair:
    prefix = {
        "O": nkeys.PREFIX_BYTE_OPERATOR,
        "A": nkeys.PREFIX_BYTE_ACCOUNT,
        "U": nkeys.PREFIX_BYTE_USER,
    }[kind]
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), prefix))


def _public(pair: nkeys.KeyPair) -> str:
    return str(pair.public_key.decode())


def _jwt(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, kind: str, claims: dict[str, Any]) -> str:
    body: dict[str, Any] = {
        "iat": int(datetime.now(UTC).timestamp()),
        "iss": _public(issuer),
        "name": kind,
        "sub": _public(subject),
        "nats": {**claims, "type": kind, "version": 2},
    }
    digest = hashlib.sha256(json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    head = _part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = f"{head}.{_part(json.dumps(body).encode())}"
    return f"{signed}.{_part(issuer.sign(signed.encode()))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
