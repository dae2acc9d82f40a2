"""Which words of a line are behind what the reader says of it: for the search of whole blocks.

Each text is in lower case, and stands in some case in any line of which the reader says so.
"""

from collections.abc import Callable, Mapping

from trailhound.model.spelling import Spelling
from trailhound.sources.linux_auth.catalogue import PROCESS_VIEW, SERVICES
from trailhound.sources.linux_auth.messages import FAMILY_NAMES, LOGIN_PREFIXES, family_of
from trailhound.sources.linux_auth.services import DESCRIBED, LOGGERS


def _phrases(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.lower().encode() for text in texts)


def _sshd(*words: str) -> tuple[bytes, ...]:
    """The first word of a message stands behind a blank, or behind the mark of repeats."""
    return _phrases(*(before + word for word in words for before in " ["))


def _tags(*names: str) -> tuple[bytes, ...]:
    """A program as tags name it: `su:`, `su[1]`, `(su)`, `su(pam_unix)`."""
    return _phrases(*(name + behind for name in names for behind in ":[()"))


_SUDO_KEYS = ("HOST", "TTY", "CHROOT", "PWD", "USER", "GROUP", "TSID", "ENV", "COMMAND")
_SUDO = _phrases(*(f" {mark} {key}=" for key in _SUDO_KEYS for mark in ":;"))
_SU = _tags("su", "su-l", "runuser")
_STOPS = _phrases(*(stop for _, stop, _ in LOGGERS.values()))
_STARTS = _phrases(*(start for start, _, _ in LOGGERS.values()))

EVENTS: Mapping[str, tuple[bytes, ...]] = {
    "ssh-login": _sshd("Accepted"),
    "ssh-key-accepted": _sshd("Accepted"),
    "ssh-certificate-accepted": _sshd("Accepted"),
    "ssh-login-failed": _sshd("Failed"),
    "ssh-login-partial": _sshd("Partial", "Postponed"),
    "ssh-invalid-user": _sshd("Invalid", "Illegal", "input_userauth_request:"),
    "ssh-disconnect": _sshd("Connection", "Disconnect", "Received disconnect from "),
    "ssh-connection": _sshd("Connection from "),
    "ssh-user-denied": (*_sshd("User", "ROOT", "Access"), *_phrases("Authentication ")),
    "ssh-probe": _sshd("Did", "Bad", "banner", "kex_exchange_identification:", "Protocol"),
    "ssh-negotiation-failed": _sshd("Unable", "ssh_dispatch_run_fatal:"),
    "ssh-timeout": _sshd("Timeout"),
    "ssh-throttled": _sshd("drop"),
    "ssh-reverse-mapping": _sshd("reverse", "Address", "Nasty"),
    "ssh-session-started": _sshd("Starting", "subsystem"),
    "ssh-session-closed": _sshd("Close"),
    "ssh-server-stopped": _sshd("Received signal "),
    "ssh-max-attempts": _sshd("maximum"),
    "ssh-server-listening": _sshd("Server"),
    "session-opened": _phrases("session opened for user "),
    "session-closed": _phrases("session closed for user "),
    "auth-failure": (
        *_phrases("authentication failure", "received for user ", "could not identify password"),
        *_sshd("PAM"),
    ),
    "auth-user-unknown": _phrases("user unknown"),
    "access-denied": _phrases(
        '" not met by user "', "access denied for user ", "Refused user ", " has expired"
    ),
    "account-locked": _phrases(
        "Consecutive login failures for user ", ") tally ", ") has been locked"
    ),
    "login": _phrases("login "),
    "login-failed": _phrases("failed login "),
    "sudo": _SUDO,
    "sudo-failed": _SUDO,
    "sudo-continued": _phrases("(command continued) "),
    "su": _SU,
    "su-failed": _SU,
    "pkexec": _phrases(" [USER="),
    "pkexec-failed": _phrases(" [USER="),
    "polkit-authorised": _phrases("Operator of "),
    "polkit-refused": _phrases("Operator of "),
    "cron-command": _phrases(") CMD ("),
    "cron-edited": _phrases(") REPLACE ("),
    "cron-edit-ended": _phrases(") END EDIT ("),
    "cron-edit-begun": _phrases(") BEGIN EDIT ("),
    "cron-deleted": _phrases(") DELETE ("),
    "cron-listed": _phrases(") LIST ("),
    "cron-reloaded": _phrases(") RELOAD ("),
    "cron-denied": _phrases(") AUTH ("),
    "logind-session": _phrases("New session "),
    "logind-session-removed": _phrases("Removed session "),
    "logind-session-ended": _phrases(" logged out"),
    "logind-seat": _phrases("New seat "),
    "service-starting": _phrases("Starting "),
    "service-started": (*_phrases("Started "), *_STARTS),
    "service-stopping": _phrases("Stopping "),
    "service-stopped": (*_phrases("Stopped "), *_STOPS),
    "service-failed": _phrases("Failed to start ", "Failed with result", "Main process exited"),
    "service-ended": _phrases("Succeeded", "Deactivated successfully"),
    "service-reloading": _phrases("Reloading "),
    "service-reloaded": _phrases("Reloaded "),
    "user-created": _phrases("new user: ", "failed adding user "),
    "user-deleted": _phrases("delete user "),
    "user-changed": _phrases("change user ", "changed user ", "changed password expiry for "),
    "user-locked": _phrases("lock user ", "password locked for "),
    "user-unlocked": _phrases("unlock user "),
    "password-changed": _phrases(
        "change user '",
        "change user `",
        "password for '",
        "password for `",
        "password changed for ",
    ),
    "group-created": _phrases("new group: ", "group added to "),
    "group-deleted": _phrases(
        *("remove group ", "removed group ", "remove shadow group ", "removed shadow group "),
        *("group '", "group `"),
    ),
    "group-changed": (
        *_phrases("members of ", "administrators of ", "change group ", "change gid for "),
        *_phrases("group changed in ", "password of group "),
    ),
    "group-member-added": (*_phrases("add '", "add `", "add member "), *_phrases(" added by ")),
    "group-member-removed": _phrases("delete '", "delete `", "remove member ", " removed by "),
}
"""`event` → what a message of it holds."""

_VERBATIM_NAMES = (
    "timestamp host program pid message detail attempts user target_user by_user by_uid "
    "logname ruser uid euid gid group home shell old_value new_value src_ip src_host src_port "
    "method key_type key_fingerprint key_source certificate_id certificate_serial "
    "ca_fingerprint kind tty pwd command chroot environment tsid submit_host pam_module "
    "pam_service pam_type polkit_action crontab unit_description session session_class "
    "session_type seat"
)
_PROCESS_FIELDS = ("Image", "CommandLine", "User", "CurrentDirectory", "LogonUser", "host")
_FIXED_REASON = "PAM account configuration"


def _units() -> Mapping[str, tuple[bytes, ...]]:
    named: dict[str, tuple[bytes, ...]] = {}
    for description, unit in DESCRIBED.items():
        named[unit] = (*named.get(unit, ()), *_phrases(description))
    for start, stop, unit in LOGGERS.values():
        named[unit] = (*named.get(unit, ()), *_phrases(start, stop))
    return named


_UNITS = _units()
_HERE = Spelling()
_FIELDS: Mapping[str, Spelling] = {
    **dict.fromkeys(_VERBATIM_NAMES.split(), _HERE),
    "event": Spelling(verbatim=False, named=EVENTS),
    "unit": Spelling(named=_UNITS),
    "reason": Spelling(named={_FIXED_REASON: (b"pam account",)}),
}
_ANYWHERE = Spelling(
    named={**EVENTS, **_UNITS, _FIXED_REASON: (b"pam account",)},
    made_up="success\nfailure\ntrue\nfalse\nname",
    made_of="0123456789.:-+tz",
)
_LINE: Mapping[str, Spelling] = {**_FIELDS, "": _ANYWHERE}
_PROCESS: Mapping[str, Spelling] = {**dict.fromkeys(_PROCESS_FIELDS, _HERE), "": _ANYWHERE}


def spelling(view: str) -> Callable[[str], Spelling | None]:
    """Return how fields of a view are spelt in a line; an empty name stands for any field."""
    return _PROCESS.get if view == PROCESS_VIEW else _LINE.get


def _shows() -> Mapping[str, tuple[bytes, ...]]:
    named: dict[str, list[str]] = {}
    for name in FAMILY_NAMES:
        for view in family_of(name).views:
            named.setdefault(view, []).append(name)
    shown = {view: _tags(*names) for view, names in named.items()}
    shown["pam"] = (b"pam_",)
    for view in ("login", "auth"):
        shown[view] += _phrases(*LOGIN_PREFIXES)
    shown["auth"] += (b"pam_",)
    shown[PROCESS_VIEW] = (*_SUDO, *_phrases(" [USER="))
    return {view: shown[view] for view in (*SERVICES, PROCESS_VIEW) if view in shown}


SHOWS = _shows()
"""View → texts of which one is in any plain line of an event of that view; all are `syslog`."""
