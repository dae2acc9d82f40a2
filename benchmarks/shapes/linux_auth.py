"""An authentication log (`/var/log/auth.log`) of a machine that faces the Internet.

Guessing robots make up half of it, timers and deployments most of the rest.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from benchmarks.shapes.dice import Clock, Dice, slots

EVENTS_PER_S = 6.0

_GUESSED = (
    "root",
    "admin",
    "ubuntu",
    "test",
    "oracle",
    "postgres",
    "git",
    "user",
    "ftpuser",
    "pi",
    "deploy",
)
_PEOPLE = (("ana", 1001), ("ben", 1002), ("deploy", 1100), ("ansible", 1101))
_SUDO = (
    "/usr/bin/apt-get update",
    "/usr/bin/systemctl status nginx",
    "/usr/bin/journalctl -u app --since today",
    "/usr/bin/tail -n 100 /var/log/nginx/error.log",
    "/usr/bin/docker ps",
)
_HOSTILE = (
    (
        "useradd",
        "new user: name=backup2, UID=0, GID=0, home=/root, shell=/bin/bash, from=/dev/pts/0",
    ),
    (
        "sudo",
        (
            "     ben : TTY=pts/1 ; PWD=/home/ben ; USER=root ; COMMAND=/usr/bin/rm -f "
            "/root/.bash_history"
        ),
    ),
    (
        "sudo",
        "     ben : TTY=pts/1 ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/tee -a /etc/ld.so.preload",
    ),
)


class _Log:
    """Draws (time in µs, program with pid, message) after another."""

    def __init__(self, seed: int) -> None:
        self.dice = Dice(seed)
        self.clock = Clock(self.dice, EVENTS_PER_S)
        self.robots = tuple(self.dice.public_ip() for _ in range(40))
        self.table: tuple[Callable[[], tuple[str, str]], ...] = slots(
            (
                (17.0, self.failed),
                (11.0, self.invalid),
                (16.0, self.closed),
                (6.0, self.pam_failure),
                (22.0, self.cron),
                (8.0, self.accepted),
                (9.0, self.ssh_session),
                (5.5, self.sudo),
                (4.5, self.sudo_session),
                (0.9, self.logind),
                (0.05, self.account),
                (0.03, self.oddity),
                (0.02, self.hostile),
            )
        )

    def _sshd(self) -> str:
        return f"sshd[{700 + self.dice.below(60_000)}]"

    def _port(self) -> int:
        return 30_000 + self.dice.below(35_000)

    def failed(self) -> tuple[str, str]:
        name, ip = self.dice.pick(_GUESSED), self.dice.pick(self.robots)
        who = name if name in ("root", "deploy") else f"invalid user {name}"
        return self._sshd(), f"Failed password for {who} from {ip} port {self._port()} ssh2"

    def invalid(self) -> tuple[str, str]:
        name, ip = self.dice.pick(_GUESSED), self.dice.pick(self.robots)
        return self._sshd(), f"Invalid user {name} from {ip} port {self._port()}"

    def closed(self) -> tuple[str, str]:
        name, ip = self.dice.pick(_GUESSED), self.dice.pick(self.robots)
        how = self.dice.pick(("Connection closed by", "Disconnected from", "Connection reset by"))
        kind = "authenticating" if name == "root" else "invalid"
        return self._sshd(), f"{how} {kind} user {name} {ip} port {self._port()} [preauth]"

    def pam_failure(self) -> tuple[str, str]:
        ip = self.dice.pick(self.robots)
        return self._sshd(), (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
            f"rhost={ip}  user=root"
        )

    def accepted(self) -> tuple[str, str]:
        name, uid = self.dice.pick(_PEOPLE)
        return self._sshd(), (
            f"Accepted publickey for {name} from 10.8.0.{uid % 200} port {self._port()} ssh2: "
            "ED25519 "
            f"SHA256:{self.dice.hex(43)}"
        )

    def ssh_session(self) -> tuple[str, str]:
        name, uid = self.dice.pick(_PEOPLE)
        if self.dice.roll() < 0.5:
            return (
                self._sshd(),
                f"pam_unix(sshd:session): session opened for user {name}(uid={uid}) by (uid=0)",
            )
        return self._sshd(), f"pam_unix(sshd:session): session closed for user {name}"

    def cron(self) -> tuple[str, str]:
        program = f"CRON[{700 + self.dice.below(60_000)}]"
        if self.dice.roll() < 0.5:
            return program, "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"
        return program, "pam_unix(cron:session): session closed for user root"

    def sudo(self) -> tuple[str, str]:
        name, _ = self.dice.pick(_PEOPLE)
        return "sudo", (
            f"{name:>8} : TTY=pts/{self.dice.below(4)} ; PWD=/home/{name} ; USER=root ; "
            f"COMMAND={self.dice.pick(_SUDO)}"
        )

    def sudo_session(self) -> tuple[str, str]:
        name, uid = self.dice.pick(_PEOPLE)
        if self.dice.roll() < 0.5:
            return "sudo", (
                f"pam_unix(sudo:session): session opened for user root(uid=0) by {name}(uid={uid})"
            )
        return "sudo", "pam_unix(sudo:session): session closed for user root"

    def logind(self) -> tuple[str, str]:
        name, _ = self.dice.pick(_PEOPLE)
        return "systemd-logind[611]", f"New session {self.dice.below(90_000)} of user {name}."

    def account(self) -> tuple[str, str]:
        number = 2000 + self.dice.below(500)
        name = f"svc{number}"
        return f"useradd[{self.dice.below(60_000)}]", (
            f"new user: name={name}, UID={number}, GID={number}, home=/home/{name}, "
            "shell=/bin/bash, from=none"
        )

    def oddity(self) -> tuple[str, str]:
        return self._sshd(), "error: Could not get shadow information: error in libcrypto"

    def hostile(self) -> tuple[str, str]:
        program, message = self.dice.pick(_HOSTILE)
        if program == "useradd":
            program = f"useradd[{self.dice.below(60_000)}]"
        return program, message


def _stream(seed: int) -> Iterator[tuple[int, str, str]]:
    log = _Log(seed)
    table, roll, size = log.table, log.dice.roll, len(log.table)
    while True:
        program, message = table[int(roll() * size)]()
        yield log.clock.tick(), program, message


def lines_iso(seed: int) -> Iterator[str]:
    """Lines without end, with ISO 8601 stamps (rsyslog's default since Debian 12)."""
    stamps = Clock(Dice(0), EVENTS_PER_S)
    for now, program, message in _stream(seed):
        yield f"{stamps.micros(now)[:-1]}+00:00 web-01 {program}: {message}"


def lines_rfc3164(seed: int) -> Iterator[str]:
    """Lines without end, with the old stamps that name neither year nor zone."""
    second, stamp = -1, ""
    for now, program, message in _stream(seed):
        if now // 1_000_000 != second:
            second = now // 1_000_000
            moment = datetime.fromtimestamp(second, UTC)
            stamp = f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}"
        yield f"{stamp} web-01 {program}: {message}"
