"""Names of accounts in logs that auditd did not enrich: learnt from logins in the same log.

A raw log writes users as numbers. Only the records that a login leaves name an account beside
its number: `USER_START … auid=1001 ses=3 … acct="deploy"`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

from trailhound.sources.auditd.document import NOBODY, Record

Known = Mapping[str, str]
"""Names as auditd would have added them: `AUID` → `deploy`."""
_V = TypeVar("_V")

_KEPT = 16_384
SESSION_RECORDS = ("USER_START", "USER_LOGIN", "USER_END", "CRED_REFR", "CRED_DISP")
"""Records of programs that log in, written after the login user was set. Those written before
(USER_AUTH, USER_ACCT, CRED_ACQ) may carry that of whoever started the program."""
_LOGINS = frozenset(
    (
        *("sshd", "sshd-session", "login", "systemd", "systemd-executor", "cron", "crond", "atd"),
        *("gdm-session-worker", "lightdm", "sddm-helper", "xdm", "cockpit-session", "xrdp-sesman"),
    )
)
"""Programs whose account is the login user. That of su and sudo is whom somebody becomes."""
_IDS = {"auid": "AUID", "uid": "UID", "euid": "EUID", "id": "ID"}
_NOTE = "the name of user {} comes from a login in this log"


class Accounts:
    """What names of accounts logins have shown so far, of each host, in bounded memory.

    Events are given out in order of time, so what is known does not depend on the order in
    which near records stand.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()

    def know_none(self) -> bool:
        """Whether no login has shown any name yet."""
        return not self._names

    def learn(self, host: str, record: Record) -> None:
        """Take in what a record says; most say nothing."""
        if record["type"] not in SESSION_RECORDS or record.get("res") != "success":
            return
        name, number = record.get("acct", ""), record.get("auid", "unset")
        program = record.get("exe", "").rpartition("/")[2]
        if number == "unset" or name in NOBODY or program not in _LOGINS:
            return
        session = record.get("ses", "unset")
        if session != "unset":
            _put(self._sessions, (host, session), (number, name))
        # Two accounts may share a number; then it names neither.
        known = self._names.get((host, number), name)
        _put(self._names, (host, number), name if known == name else "")

    def names(self, host: str, record: Record) -> Known:
        """Name the users of a record that are not named in it.

        User 0 is root, but for the login user: several accounts may have that number, and the
        session says which one it was.
        """
        if not self._names:
            return {}
        found = {}
        session = self._sessions.get((host, record.get("ses", "")))
        for field, added in _IDS.items():
            number = record.get(field, "unset")
            if number == "unset" or not record.get(added, "unknown(").startswith("unknown("):
                continue
            if session is not None and session[0] == number and (number != "0" or field == "auid"):
                name = session[1]
            else:
                name = "" if number == "0" else self._names.get((host, number), "")
            if name and (number != "0" or name != "root"):
                found[added] = name
        return found


def notes_on(record: Record, known: Known) -> tuple[str, ...]:
    """Say which names of a record were learnt elsewhere."""
    if record.get("acct") in known.values():
        return ()  # it says so itself
    numbers = dict.fromkeys(record[added.lower()] for added in known)
    return tuple(_NOTE.format(number) for number in numbers)


def _put(store: OrderedDict[tuple[str, str], _V], key: tuple[str, str], value: _V) -> None:
    store[key] = value
    store.move_to_end(key)
    if len(store) > _KEPT:
        store.popitem(last=False)
