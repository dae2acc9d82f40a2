"""A nats-server that asks for TLS and for a JWT of its operator's accounts."""

import base64
import hashlib
import ipaddress
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Made(NamedTuple):
    configuration: Path
    authority: Path
    credentials: Path


def make(folder: Path) -> Made:
    """Write certificates, the configuration of a server, and credentials of one user."""
    certificate, key = _certificate(folder)
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
    return Made(configuration, certificate, credentials)


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


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = folder / "server.crt", folder / "server.key"
    written[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    written[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return written
