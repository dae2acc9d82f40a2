"""`trailhound setup systemd`: a unit that runs `serve` with no more rights than it needs."""

import argparse
import shutil
import sys
from pathlib import Path

from trailhound.cli.console import PORT
from trailhound.model.errors import TrailhoundError

_DESCRIPTION = """\
Print a systemd unit for `trailhound serve`: a user of its own that exists while it runs, its state
in /var/lib/trailhound, everything else read-only or hidden, and secrets handed over as credentials.
"""
_EPILOG = """\
examples:
  trailhound setup systemd > /etc/systemd/system/trailhound.service
  trailhound setup systemd --credential access.toml=/etc/trailhound/access.toml \\
      --credential tls.key=/etc/trailhound/tls.key --port 6514
  systemd-analyze security trailhound.service
"""
_UNIT = """\
# /etc/systemd/system/trailhound.service
# Written by `trailhound setup systemd`. Then:
#   systemctl daemon-reload && systemctl enable --now trailhound

[Unit]
Description=Trailhound: takes audit logs in, and finds what happened
Documentation=man:systemd.exec(5)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} serve --config %d/settings.toml --state /var/lib/trailhound
ExecReload=kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
WatchdogSec=30
# What is acknowledged is on disk; what is not judged when it ends is judged at the next start.
TimeoutStopSec=90

# Only root can read these files; the service finds copies in {credentials}.
LoadCredential=settings.toml:{settings}
{load}
# A user that exists while the service runs, and owns /var/lib/trailhound.
DynamicUser=yes
StateDirectory=trailhound
StateDirectoryMode=0700
UMask=0077
{groups}
# It needs its state, its rules, and the network.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers={private_users}
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
LimitNOFILE=65536
MemoryHigh={memory}

[Install]
WantedBy=multi-user.target
"""
_CREDENTIALS = "/run/credentials/trailhound.service"


def add_target(targets: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the target to `trailhound setup`."""
    command = targets.add_parser(
        "systemd",
        help="a hardened unit for serve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--settings",
        default="/etc/trailhound/settings.toml",
        metavar="FILE",
        help="settings file (default %(default)s)",
    )
    command.add_argument(
        "--credential",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help=f"hand a file over that only root can read; settings name it as {_CREDENTIALS}/NAME",
    )
    command.add_argument(
        "--port",
        type=PORT,
        default=9610,
        help="lowest port it listens on; one below 1024 needs a capability (default %(default)s)",
    )
    command.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME",
        help="a group whose files it follows, such as adm for /var/log",
    )
    command.add_argument(
        "--memory", default="2G", metavar="SIZE", help="memory it may use (default %(default)s)"
    )
    command.add_argument(
        "--program", metavar="FILE", help="the trailhound to run (default: the one that runs now)"
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(unit(options), end="")
    return 0


def unit(options: argparse.Namespace) -> str:
    """Return the unit. Raises `TrailhoundError` for what no unit can hold."""
    load = []
    for credential in options.credential:
        name, _, file = credential.partition("=")
        if not name or not file.startswith("/") or "/" in name:
            raise TrailhoundError(f"--credential {credential!r} is not NAME=/FILE")
        load.append(f"LoadCredential={_plain(name)}:{_plain(file)}\n")
    groups = [_plain(group) for group in options.group]
    program = options.program or shutil.which("trailhound") or _beside_python()
    low = options.port < 1024
    return _UNIT.format(
        program=_plain(str(Path(program).absolute())),
        settings=_plain(options.settings),
        credentials=_CREDENTIALS,
        load="".join(load),
        groups=f"SupplementaryGroups={' '.join(groups)}\n" if groups else "",
        capabilities="CAP_NET_BIND_SERVICE" if low else "",
        # In a user namespace of its own it has no capability and no group that counts outside.
        private_users="no" if low or groups else "yes",
        memory=_plain(options.memory),
    )


def _beside_python() -> str:
    return str(Path(sys.executable).with_name("trailhound"))


def _plain(text: str) -> str:
    # A line end would begin another setting; `%` and `$` mean something to systemd.
    if not text or any(
        char.isspace() or char in "%$\"'\\;:" or not char.isprintable() for char in text
    ):
        raise TrailhoundError(f"{text!r} cannot stand in a unit")
    return text
