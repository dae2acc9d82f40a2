"""TLS of `serve`: who is let in over HTTP, forward and syslog, with real certificates."""

import asyncio
import contextlib
import http.client
import json
import re
import signal
import socket
import ssl
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgpack
import pytest

from certificates import Authority, Pair
from serving import Serving, free_port
from trailhound.intake import syslog
from trailhound.intake.arrivals import Arrival
from trailhound.intake.http.access import Role, add_grant
from trailhound.intake.http.server import tls_context
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.service import Service
from trailhound.pipeline.serve.settings import load_settings

EVENT = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"Panic"}'


class Place(NamedTuple):
    serving: Serving
    ours: Authority
    others: Authority
    ports: dict[str, int]
    server: Pair
    tokens: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tls")
    ours, others = Authority(folder, "ours"), Authority(folder, "others")
    server = ours.issue("server")
    ports = {"forward": free_port(), "syslog": free_port()}
    access = folder / "access.toml"
    tokens = {
        role: add_grant(access, f"{role}-token", (role,))  # type: ignore[arg-type]
        for role in get_args(Role)
    }
    with access.open("a") as file:
        for name, role in (("cluster-a", "ingest"), ("prometheus", "read")):
            file.write(
                f'[[grant]]\nname = "{name}"\nroles = ["{role}"]\ncertificate = "{name}"\n\n'
            )
    (folder / "key").write_text("hush-hush\n")
    tls = (
        f'tls_certificate = "{server.certificate}"\ntls_key = "{server.key}"\n'
        f'client_ca = "{ours.file}"\n'
    )
    settings = (
        f'access = "{access}"\nbuiltin = false\n'
        f'[forward]\nlisten = "127.0.0.1:{ports["forward"]}"\n'
        f'shared_key_file = "{folder / "key"}"\n{tls}'
        f'[syslog]\ntls = "127.0.0.1:{ports["syslog"]}"\n{tls}'
    )
    serving = Serving(
        folder, settings, http=tls, tls=client(ours, ours.issue("prometheus"))
    ).start()
    serving.wait()
    yield Place(serving, ours, others, {**ports, "http": serving.port}, server, tokens, folder)
    assert serving.stop() == 0
    for secret in ("hush-hush", *tokens.values()):
        assert secret not in serving.log
    assert "Traceback" not in serving.log


def client(authority: Authority, pair: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


def told(port: int, context: ssl.SSLContext, said: bytes) -> bytes:
    """Say something over TLS; return what is answered, at least one byte."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(said)
        return secure.recv(65536)


REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("intake", ["http", "forward"])
def test_who_has_a_certificate_is_let_in(place: Place, intake: str) -> None:
    answer = told(place.ports[intake], client(place.ours, place.ours.issue("cluster-a")), REQUEST)
    if intake == "http":
        assert answer.startswith(b"HTTP/1.1 200")
    else:
        assert msgpack.unpackb(answer)[0] == "HELO"


def test_syslog_over_tls_is_taken(place: Place) -> None:
    context = client(place.ours, place.ours.issue("host-1"))
    with (
        socket.create_connection(("127.0.0.1", place.ports["syslog"]), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.version() == "TLSv1.3"
        message = b"<38>1 2026-05-01T00:00:00Z host-1 sshd 7 - - Server listening"
        secure.sendall(b"%d %s" % (len(message), message))
    until = time.monotonic() + 20
    while b'accepted_total{intake="syslog"} 1' not in place.serving.get("/metrics"):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_certificate_names_who_sends(place: Place) -> None:
    arrivals: list[Arrival] = []

    async def accept(taken: Sequence[Arrival]) -> None:
        arrivals.extend(taken)

    async def run() -> None:
        tls = tls_context(*map(Path, place.server), Path(place.ours.file))
        context = client(place.ours, place.ours.issue("host-1"))
        async with await syslog.listen_tcp("127.0.0.1", 0, accept, tls) as server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("localhost", port, ssl=context)
            writer.write(b"<13>hello\n")
            await writer.drain()
            while not arrivals:
                await asyncio.sleep(0.01)
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(run(), 20))
    assert arrivals[0].peer == "syslog/host-1@127.0.0.1"


@pytest.mark.parametrize("intake", ["http", "forward", "syslog"])
@pytest.mark.parametrize("fault", ["none", "other authority", "expired", "old protocol"])
def test_who_has_none_that_holds_is_refused(place: Place, intake: str, fault: str) -> None:
    context = faulty(place, fault)
    # asyncio ends the connection without the alert that would say why.
    try:
        answer = told(place.ports[intake], context, REQUEST)
    except (ssl.SSLError, ConnectionError):
        answer = b""
    assert answer == b""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("none", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("other authority", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("old protocol", "UNSUPPORTED_PROTOCOL"),
    ],
)
def test_they_are_refused_for_that(place: Place, fault: str, reason: str) -> None:
    context = tls_context(*map(Path, place.server), Path(place.ours.file))
    ends = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    sender = faulty(place, fault).wrap_bio(ends[0], ends[1], server_hostname="localhost")
    us = context.wrap_bio(ends[1], ends[0], server_side=True)

    def shake_hands() -> None:
        for _ in range(6):
            for end in (sender, us):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()

    with pytest.raises(ssl.SSLError, match=reason):
        shake_hands()


def faulty(place: Place, fault: str) -> ssl.SSLContext:
    match fault:
        case "none":
            return client(place.ours, None)
        case "other authority":
            return client(place.ours, place.others.issue("cluster-a"))
        case "expired":
            return client(place.ours, place.ours.issue("cluster-a", days=-1))
        case _:
            return old(client(place.ours, place.ours.issue("cluster-a")))


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("intake", ["http", "forward", "syslog"])
def test_senders_can_tell_that_it_is_us(place: Place, intake: str) -> None:
    context = client(place.others, place.ours.issue("cluster-a"))
    with pytest.raises(ssl.SSLCertVerificationError):
        told(place.ports[intake], context, REQUEST)


@pytest.mark.parametrize("intake", ["http", "forward"])
def test_plain_text_is_no_way_in(place: Place, intake: str) -> None:
    with socket.create_connection(("127.0.0.1", place.ports[intake]), 10) as plain:
        plain.sendall(REQUEST)
        try:
            answer = plain.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert b"HTTP" not in answer
    assert b"HELO" not in answer


def asked(place: Place, method: str, path: str, name: str, token: str = "") -> int:
    connection = http.client.HTTPSConnection(
        "localhost", place.serving.port, context=client(place.ours, place.ours.issue(name))
    )
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, EVENT if method != "GET" else b"", headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_certificate_is_a_grant_with_roles(place: Place) -> None:
    assert asked(place, "POST", "/ingest", "cluster-a") == 200
    assert asked(place, "GET", "/metrics", "cluster-a") == 403
    assert asked(place, "GET", "/metrics", "prometheus") == 200
    assert asked(place, "POST", "/ingest", "prometheus") == 403
    assert asked(place, "POST", "/ingest", "somebody") == 401


def test_every_route_asks_for_its_role(place: Place) -> None:
    """Whatever is served and not said to be open: nobody, the wrong role, the right one."""
    api = json.loads(place.serving.get("/openapi.json"))
    open_to_all = set()
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            where = re.sub(r"\{\w+\}", "name", path)
            known = [
                asked(place, method.upper(), where, "somebody", token) for token in ("", "wrong")
            ]
            by_role = {
                role: asked(place, method.upper(), where, "somebody", token)
                for role, token in place.tokens.items()
            }
            if not operation["security"]:
                open_to_all.add(path)
                assert 401 not in (*known, *by_role.values()), path
                continue
            assert known == [401, 401], path
            assert by_role.pop("admin") not in (401, 403), path
            assert len([status for status in by_role.values() if status != 403]) == 1, path
    assert open_to_all == {
        "/healthz",
        "/readyz",
        "/services/collector/health",
        "/services/collector/health/1.0",
    }


def test_certificates_and_grants_are_renewed_while_it_runs(place: Place) -> None:
    def shown() -> str:
        context = client(place.ours, place.ours.issue("prometheus"))
        with (
            socket.create_connection(("127.0.0.1", place.serving.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            return str(secure.getpeercert()["serialNumber"])  # type: ignore[index]

    before = shown()
    assert shown() == before
    good = [Path(file).read_bytes() for file in place.server]
    new = place.ours.issue("server", number=2)
    for file, fresh in zip(place.server, new, strict=True):
        Path(file).write_bytes(Path(fresh).read_bytes())
    late = add_grant(place.folder / "access.toml", "late", ("read",))
    assert asked(place, "GET", "/metrics", "somebody", late) == 401
    place.serving.send_signal(signal.SIGHUP)
    until = time.monotonic() + 20
    while shown() == before:
        assert time.monotonic() < until, place.serving.log
        time.sleep(0.05)
    assert asked(place, "GET", "/metrics", "somebody", late) == 200
    # What cannot be used changes nothing.
    after = shown()
    Path(place.server.certificate).write_bytes(good[0])
    (place.folder / "access.toml").rename(place.folder / "gone.toml")
    place.serving.send_signal(signal.SIGHUP)
    place.serving.wait_log("the certificate before it stays")
    place.serving.wait_log("what was allowed before it still is")
    assert shown() == after
    assert asked(place, "GET", "/metrics", "somebody", late) == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[forward]\nlisten = "127.0.0.1:0"\nclient_ca = "x"', "client_ca needs a tls_certificate"),
        ('[http]\nclient_ca = "x"', "client_ca needs a tls_certificate"),
        ('[http]\ntls_certificate = "x"', "go together"),
        ('[syslog]\ntls = "127.0.0.1:0"', "tls needs a tls_certificate"),
        ('[forward]\nlisten = "127.0.0.1:0"\nusers = {a = "b"}', "only together with a shared_key"),
        ('access = "empty.toml"', "lets nobody in"),
        ('[forward]\nlisten = "0.0.0.0:0"\nshared_key_file = "empty.toml"', "holds nothing"),
        ('[forward]\nlisten = "0.0.0.0:0"\nshared_key_file = "not-there"', "No such file"),
    ],
)
def test_what_would_guard_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.toml").write_text("")
    file = tmp_path / "settings.toml"
    file.write_text(
        f'state = "{tmp_path / "state"}"\n{settings}\n'.replace("state = ", "state = ", 1)
    )
    with pytest.raises(TrailhoundError, match=said):
        Service(load_settings(file))
