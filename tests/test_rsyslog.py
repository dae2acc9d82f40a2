"""Real rsyslog, sudo and sshd of Debian write to our syslog intake."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from trailhound.intake import syslog
from trailhound.intake.arrivals import Arrival
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

PROGRAMS = {name: shutil.which(name) for name in ("rsyslogd", "sudo", "sshd", "ssh", "ssh-keygen")}
DEV_LOG = Path("/dev/log")

pytestmark = [
    pytest.mark.skipif(
        not all(PROGRAMS.values()) or os.geteuid() != 0,
        reason="needs root, and Debian's rsyslog, sudo and openssh-server (tools/peers.sh)",
    ),
    pytest.mark.skipif(
        DEV_LOG.exists() or DEV_LOG.is_symlink(), reason="this machine has a log daemon of its own"
    ),
]

FORMATS = {
    "RSYSLOG_SyslogProtocol23Format": "octet-counted",
    "RSYSLOG_ForwardFormat": "traditional",
    "RSYSLOG_TraditionalForwardFormat": "octet-counted",
}


@contextmanager
def running(command: Sequence[str], ready: Callable[[], bool]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not ready():
            assert process.poll() is None, command
            assert time.monotonic() < until, command
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def rsyslog(folder: Path, port: int, template: str) -> Iterator[None]:
    """Run rsyslog as the log daemon of this machine, forwarding all to a port."""
    place = folder / "log.sock"
    config = folder / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{folder}")\n'
        f'module(load="imuxsock" SysSock.Name="{place}" SysSock.UnlinkOnExit="on")\n'
        f'*.* action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp"\n'
        f'  template="{template}" TCP_Framing="{FORMATS[template]}")\n'
    )
    command = [str(PROGRAMS["rsyslogd"]), "-n", "-f", str(config), "-i", str(folder / "pid")]
    with running(command, place.exists):
        DEV_LOG.symlink_to(place)
        try:
            yield
        finally:
            DEV_LOG.unlink()


@contextmanager
def sshd(folder: Path) -> Iterator[int]:
    key = folder / "key"
    subprocess.run([str(PROGRAMS["ssh-keygen"]), "-q", "-N", "", "-f", str(key)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    command = [
        str(PROGRAMS["sshd"]), "-D", "-f", "/dev/null", "-h", str(key),
        "-o", f"ListenAddress=127.0.0.1:{port}", "-o", "LogLevel=VERBOSE",
    ]  # fmt: skip
    with running(command, ready):
        yield port


def act(folder: Path) -> None:
    """Do what is logged: sudo to another user, and a login that nobody has."""
    subprocess.run([str(PROGRAMS["sudo"]), "-n", "-u", "nobody", "true"], check=True)
    with sshd(folder) as port:
        subprocess.run(
            [str(PROGRAMS["ssh"]), "-p", str(port), "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "mallory@127.0.0.1", "true"],
            check=False, capture_output=True, timeout=20,
        )  # fmt: skip


@pytest.mark.parametrize("template", FORMATS)
def test_sudo_and_sshd_reach_us_through_rsyslog(tmp_path: Path, template: str) -> None:
    taken: list[Arrival] = []

    async def accept(arrivals: Sequence[Arrival]) -> None:
        taken.extend(arrivals)

    async def run() -> None:
        server = await syslog.listen_tcp("127.0.0.1", 0, accept)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.to_thread(forward, port)

    def forward(port: int) -> None:
        with rsyslog(tmp_path, port, template):
            act(tmp_path)
            until = time.monotonic() + 10
            while not any(b"mallory" in arrival.data for arrival in taken):
                assert time.monotonic() < until, taken
                time.sleep(0.05)

    asyncio.run(run())
    decoder = Decoder(all_sources())
    events = [
        item
        for number, arrival in enumerate(taken, 1)
        for item in decoder.decode(
            RawRecord(arrival.data, Origin(arrival.peer, number), arrival.received_ns)
        )
        if isinstance(item, Event)
    ]
    assert {event.source for event in events} == {"linux_auth"}
    said = [view for event in events for views in event.views.values() for view in views]
    assert any(view.get("event") == "sudo" and view.get("target_user") == "nobody" for view in said)
    assert any(event.envelope.actor_name == "mallory" or "mallory" in str(event.document)
               for event in events)  # fmt: skip
    assert all(abs(event.envelope.time_ns - time.time_ns()) < 120 * 10**9 for event in events)
