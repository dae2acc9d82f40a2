"""What sudo, su, pkexec and polkit say: one account acting as another.

sudo: lib/eventlog/eventlog.c (`new_logline`); su: util-linux login-utils/su-common.c and shadow
src/su.c; polkit: src/programs/pkexec.c and src/polkitbackend.
"""

import re
from bisect import bisect
from typing import Any

Fields = dict[str, Any]
_Key = tuple[str, int, int]
"""Name, start of its mark, start of its value."""

_SUDO_KEYS = ("HOST", "TTY", "CHROOT", "PWD", "USER", "GROUP", "TSID", "ENV", "COMMAND")
_SUDO_NAMES = {
    "HOST": "submit_host",
    "TTY": "tty",
    "CHROOT": "chroot",
    "PWD": "pwd",
    "USER": "target_user",
    "GROUP": "group",
    "TSID": "tsid",
    "ENV": "environment",
    "COMMAND": "command",
}
_SUDO_KEY = re.compile(r"(?:\A| ; )(" + "|".join(_SUDO_KEYS) + ")=")
_ATTEMPTS = re.compile(r"(\d{1,9}) incorrect password attempt", re.ASCII)
_SU = re.compile(r"(FAILED SU )?\(to (\S{1,255})\) (.*) on (\S{1,255})\Z", re.ASCII | re.DOTALL)
_SU_SHADOW = re.compile(
    r"(Successful|FAILED|BAD) su for (.*) by (\S{1,255})\Z", re.ASCII | re.DOTALL
)
_SU_SIGNED = re.compile(r"([+-]) (\S{1,255}) ([^\s:]{1,255})[:-](.{1,255})\Z", re.ASCII | re.DOTALL)
_SU_BSD = re.compile(r"(BAD SU )?(\S{1,255}) to (\S{1,255}) on (\S{1,255})\Z", re.ASCII)
_SU_OLD = re.compile(r"'su (\S{1,255})' failed for (.*) on (\S{1,255})\Z", re.ASCII | re.DOTALL)
_PKEXEC = re.compile(r"\[(USER|TTY|CWD)=([^\]]{0,4096})\] ?")
_POLKIT_OWNER = re.compile(r" \(owned by unix-user:(\S{1,255})\)\Z", re.ASCII)


def read_sudo(message: str) -> list[Fields]:
    """Return the readings of a sudo message.

    `USER : [REASON ; ][HOST= ; ]TTY= ; [CHROOT= ; ]PWD= ; USER= ; [GROUP= ; ][TSID= ; ][ENV= ; ]
    COMMAND=`. The caller names the directory, the environment and the command, so any of them
    may hold ` ; USER=…`. Keys are read in their fixed order: once from the front, so that all
    after the first `COMMAND=` is the command, and once more, where that differs, from the end.
    """
    user, joint, rest = message.strip(" ").partition(" : ")
    if not joint:
        return []
    if rest.startswith("(command continued) "):
        return [{"event": "sudo-continued", "user": user, "command": rest[20:]}]
    keys = [(found[1], found.start(), found.end()) for found in _SUDO_KEY.finditer(rest)]
    if not keys:
        return []
    base: Fields = {"event": "sudo", "user": user, "outcome": "success"}
    reason = rest[: keys[0][1]].removesuffix(" ;").strip(" ")
    if reason:
        base.update(event="sudo-failed", outcome="failure", reason=reason)
        if (found := _ATTEMPTS.match(reason)) is not None:
            base["attempts"] = int(found[1])
    elif not any(key == "COMMAND" for key, _, _ in keys):
        return []
    first, last = _in_order(keys), _in_order(keys[::-1])[::-1]
    readings = [base | _sudo_values(rest, first, keys)]
    if last != first:
        readings.append(base | _sudo_values(rest, last, keys))
    return readings


def _in_order(keys: list[_Key]) -> list[_Key]:
    """Each key that stands further on in sudo's order than those before it.

    For keys from the end backwards: each that stands further to the front.
    """
    step = 1 if len(keys) < 2 or keys[0][1] < keys[-1][1] else -1
    chosen: list[_Key] = []
    for key in keys:
        place = _SUDO_KEYS.index(key[0]) * step
        if not chosen or place > _SUDO_KEYS.index(chosen[-1][0]) * step:
            chosen.append(key)
    return chosen


def _sudo_values(text: str, chosen: list[_Key], keys: list[_Key]) -> Fields:
    """The values of the chosen keys.

    Directories and the environment reach up to the next chosen key; what the caller cannot
    make up, the target user before all, up to the next key of any kind.
    """
    starts = [start for _, start, _ in keys]
    fields: Fields = {}
    for position, (key, _, begin) in enumerate(chosen):
        if key == "COMMAND":
            end = len(text)
        elif key in ("CHROOT", "PWD", "ENV") and position + 1 < len(chosen):
            end = chosen[position + 1][1]
        else:
            following = bisect(starts, begin)
            end = starts[following] if following < len(starts) else len(text)
        fields[_SUDO_NAMES[key]] = text[begin:end].removesuffix(" ;")
    return fields


def read_su(message: str) -> list[Fields]:
    """Return the readings of an su message, of util-linux, shadow or BSD."""
    text = message.strip(" ")
    if (found := _SU.match(text)) is not None:
        return [_su(found[3], found[2], tty=found[4], failed=bool(found[1]))]
    if (found := _SU_SHADOW.match(text)) is not None:
        return [_su(found[3], found[2], failed=found[1] != "Successful")]
    if (found := _SU_OLD.match(text)) is not None:
        return [_su(found[2], found[1], tty=found[3], failed=True)]
    if (found := _SU_SIGNED.match(text)) is not None:
        return [_su(found[3], found[4], tty=found[2], failed=found[1] == "-")]
    if (found := _SU_BSD.match(text)) is not None:
        return [_su(found[2], found[3], tty=found[4], failed=bool(found[1]))]
    return []


def _su(user: str, target: str, *, tty: str = "", failed: bool) -> Fields:
    fields: Fields = {"event": "su-failed" if failed else "su", "user": user, "target_user": target}
    if tty and tty != "none":
        fields["tty"] = tty
    fields["outcome"] = "failure" if failed else "success"
    return fields


def read_polkit(message: str) -> list[Fields]:
    """Return the readings of a message of pkexec or polkitd.

    pkexec ends its line with `[USER=root] [TTY=…] [CWD=…] [COMMAND=…]`; polkitd ends its own
    with the account that owns the process.
    """
    text = message.strip(" ")
    if text.startswith("Operator of "):
        return _polkit(text)
    head, joint, tail = text.partition(" [USER=")
    user, colon, reason = head.partition(": ")
    if not joint or not colon:
        return []
    executed = reason == "Executing command"
    fields: Fields = {"event": "pkexec" if executed else "pkexec-failed", "user": user}
    names = {"USER": "target_user", "TTY": "tty", "CWD": "pwd"}
    rest, at = "[USER=" + tail, 0
    while (found := _PKEXEC.match(rest, at)) is not None:
        fields.setdefault(names[found[1]], found[2])
        at = found.end()
    fields["outcome"] = "success" if executed else "failure"
    if not executed:
        fields["reason"] = reason
    if not rest.startswith("[COMMAND=", at):
        return [fields]
    readings = [fields | {"command": rest[at + 9 :].removesuffix("]")}]
    last = rest.rfind("] [COMMAND=")
    if last >= at:  # of a directory or a command that is named so
        readings.append(fields | {"command": rest[last + 11 :].removesuffix("]")})
    return readings


def _polkit(text: str) -> list[Fields]:
    failed = " FAILED to authenticate " in text[:512]
    fields: Fields = {"event": "polkit-refused" if failed else "polkit-authorised"}
    if (found := _POLKIT_OWNER.search(text, max(0, len(text) - 300))) is not None:
        fields["user"] = found[1]
        text = text[: found.start()]
    _, joint, rest = text.partition(" successfully authenticated as unix-user:")
    if joint:
        fields["target_user"] = rest.partition(" ")[0]
    _, joint, rest = text.partition(" authorization for action ")
    if joint:
        action, _, subject = rest.partition(" ")
        fields["polkit_action"] = action
        _, joint, command = subject.partition(" [")
        if joint:
            fields["command"] = command.removesuffix("]")
    fields["outcome"] = "failure" if failed else "success"
    return [fields]
