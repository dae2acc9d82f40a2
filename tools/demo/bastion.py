"""The bastion: an ordinary evening of logins and jobs, and the intrusion."""

from collections.abc import Sequence
from functools import partial

from demo.bastion_intrusion import plan_guessing, plan_intrusion
from demo.cast import BASTION, DEPLOY, HOME, JONAS, MARTA, OFFICE, PRIYA, SCANNERS, Person
from demo.clock import MINUTE, SECOND, Dice, at
from demo.linux_host import LinuxHost, Login
from demo.linux_login import cron_job, run_as_typed, ssh_login, ssh_logout, ssh_refused

Command = tuple[int, Sequence[str], str]
"""Seconds after login, argument list, executable."""


def build_bastion(dice: Dice) -> LinuxHost:
    """Return the bastion after the evening."""
    host = LinuxHost(
        BASTION,
        dice,
        names={0: "root", DEPLOY.uid: "deploy"},
        enriched=False,
        pid=18211,
        session=391,
        serial=40217,
    )
    _jobs(host)
    _people(host)
    _noise(host)
    plan_guessing(host)
    plan_intrusion(host)
    host.run()
    return host


def _jobs(host: LinuxHost) -> None:
    metrics = "/usr/local/bin/push-metrics --textfile /var/lib/node_exporter/bastion.prom"
    for time in host.dice.every(at("17:00"), at("22:00"), MINUTE, SECOND // 2):
        runs = [(metrics.split(), "/usr/local/bin/push-metrics")]
        host.plan(time + SECOND, partial(cron_job, host, metrics, runs))
    collect = "command -v debian-sa1 > /dev/null && debian-sa1 1 1"
    for time in host.dice.every(at("17:05"), at("22:00"), 10 * MINUTE, SECOND // 2):
        runs = [
            (["debian-sa1", "1", "1"], "/usr/lib/sysstat/debian-sa1"),
            (
                ["/usr/lib/sysstat/sadc", "-F", "-L", "-S", "DISK", "1", "1", "/var/log/sysstat"],
                "/usr/lib/sysstat/sadc",
            ),
        ]
        host.plan(time + SECOND, partial(cron_job, host, collect, runs))
    hourly = "cd / && run-parts --report /etc/cron.hourly"
    for time in host.dice.every(at("17:17:01"), at("22:00"), 60 * MINUTE, SECOND // 2):
        runs = [
            (["run-parts", "--report", "/etc/cron.hourly"], "/usr/bin/run-parts"),
            (["/usr/sbin/logrotate", "/etc/logrotate.conf"], "/usr/sbin/logrotate"),
        ]
        host.plan(time, partial(cron_job, host, hourly, runs, 3 * SECOND))
    for time in host.dice.every(at("17:09"), at("22:00"), 41 * MINUTE, 9 * MINUTE):
        unit = host.dice.choice(
            ("apt-daily", "motd-news", "fwupd-refresh", "man-db", "sysstat-collect")
        )
        host.plan(time, partial(_unit, host, unit))


def _unit(host: LinuxHost, unit: str) -> None:
    message = (
        f'unit={unit} comm="systemd" exe="/usr/lib/systemd/systemd" hostname=? addr=? '
        "terminal=? res=success"
    )
    host.log("systemd", 1, f"Starting {unit}.service...", auth=False)
    host.user_record("SERVICE_START", Login(), 1, message)
    host.pause(200, 900)
    host.log("systemd", 1, f"{unit}.service: Deactivated successfully.", auth=False)
    host.user_record("SERVICE_STOP", Login(), 1, message)


def _visit(
    host: LinuxHost, person: Person, clock: str, commands: Sequence[Command], minutes: int
) -> None:
    """Somebody of the staff logs in with a key, runs commands, and leaves."""
    start = at(clock)

    def arrive() -> None:
        login = ssh_login(host, person.user, person.uid, person.address, person.fingerprint)
        for seconds, argv, exe in commands:
            host.plan(start + seconds * SECOND, run_as_typed(host, login, argv, exe))
        host.plan(start + minutes * MINUTE, partial(ssh_logout, host, login))

    host.plan(start, arrive)


def _people(host: LinuxHost) -> None:
    kubectl, ls, less = "/usr/local/bin/kubectl", "/usr/bin/ls", "/usr/bin/less"
    aws, git = "/usr/local/bin/aws", "/usr/bin/git"
    _visit(
        host,
        MARTA,
        "17:06:12",
        [
            (9, ["ls", "--color=auto", "-la"], ls),
            (31, [kubectl, "get", "nodes", "-o", "wide"], kubectl),
            (74, ["sudo", "apt-get", "update"], "/usr/bin/apt-get"),
            (131, ["sudo", "apt-get", "install", "-y", "htop"], "/usr/bin/apt-get"),
            (190, ["htop"], "/usr/bin/htop"),
            (401, ["sudo", "journalctl", "-u", "ssh", "--since", "today"], "/usr/bin/journalctl"),
        ],
        14,
    )
    _visit(
        host,
        JONAS,
        "17:31:40",
        [
            (12, ["git", "pull", "--ff-only"], git),
            (55, [kubectl, "-n", "staging", "get", "pods"], kubectl),
            (
                190,
                [kubectl, "-n", "staging", "logs", "web-5d8c7f9b66-q4zlm", "--tail=200"],
                kubectl,
            ),
            (260, ["grep", "-rn", "timeout: 30s", "charts/"], "/usr/bin/grep"),
            (610, ["vim", "charts/web/values.yaml"], "/usr/bin/vim.basic"),
        ],
        22,
    )
    _visit(
        host,
        PRIYA,
        "18:17:20",
        [
            (14, [kubectl, "-n", "staging", "get", "pods", "-w"], kubectl),
            (171, [kubectl, "-n", "staging", "exec", "-it", "debug-priya", "--", "bash"], kubectl),
            (890, [kubectl, "-n", "staging", "delete", "pod", "debug-priya"], kubectl),
        ],
        18,
    )
    _visit(
        host,
        MARTA,
        "18:42:05",
        [
            (20, ["df", "-h"], "/usr/bin/df"),
            (44, ["sudo", "systemctl", "restart", "chrony"], "/usr/bin/systemctl"),
            (90, ["sudo", "tail", "-n", "100", "/var/log/auth.log"], "/usr/bin/tail"),
            (150, [aws, "eks", "describe-cluster", "--name", "harbor-prod"], aws),
        ],
        9,
    )
    _visit(
        host,
        JONAS,
        "19:20:02",
        [
            (25, [kubectl, "-n", "staging", "rollout", "status", "deployment/web"], kubectl),
            (80, ["less", "/var/log/rollout.log"], less),
        ],
        16,
    )
    _visit(
        host,
        MARTA,
        "21:28:47",
        [
            (15, ["sudo", "systemctl", "status", "ssh"], "/usr/bin/systemctl"),
            (70, ["last", "-20"], "/usr/bin/last"),
        ],
        12,
    )
    rollout = "/usr/local/bin/rollout.sh"
    for number, clock in enumerate(
        ("17:12:30", "17:58:02", "18:36:44", "19:05:19", "20:20:10", "21:11:33")
    ):
        service = ("web", "ledger-api", "search", "web", "invoices", "web")[number]
        _visit(
            host,
            DEPLOY,
            clock,
            [
                (2, ["/bin/bash", rollout, service, f"2026.11.12-{number + 4}"], "/usr/bin/bash"),
                (
                    5,
                    [kubectl, "-n", "staging", "rollout", "status", f"deployment/{service}"],
                    kubectl,
                ),
            ],
            2,
        )


def _noise(host: LinuxHost) -> None:
    """The internet knocks now and then, and Jonas mistypes a password."""
    for time in host.dice.every(at("17:02"), at("22:00"), 17 * MINUTE, 12 * MINUTE):
        user = host.dice.choice(("admin", "ubnt", "root", "test", "solana"))
        address = host.dice.choice(SCANNERS)
        host.plan(time, partial(ssh_refused, host, user, address, polite=True))
    for time in host.dice.every(at("17:08"), at("22:00"), 23 * MINUTE, 15 * MINUTE):
        address, port = host.dice.choice(SCANNERS), host.dice.randint(33000, 60000)
        host.plan(time, partial(_knock, host, address, port))
    for clock in ("19:19:31", "19:19:44"):
        host.plan(at(clock), partial(ssh_refused, host, "jonas", HOME))
    host.plan(at("18:12:09"), partial(ssh_refused, host, "marta", OFFICE))


def _knock(host: LinuxHost, address: str, port: int) -> None:
    host.log("sshd", host.new_pid(), f"Connection closed by {address} port {port} [preauth]")
