"""Command lines in records of Linux auditd: `a0="mysql" a1=2D70736563726574`."""

import re

from trailhound.ledger.secret_text import Replace, redact_arguments, redact_text

_ARGUMENT = re.compile(r'(?<![^\s\'])(a\d+)(?:\[\d+\])?=("[^"]*"|[0-9A-F]+)(?=[\s\']|\Z)')
_ENCODED = re.compile(r'(?<![^\s\'])(?:proctitle|cmd|data)=("[^"]*"|[0-9A-F]+)(?=[\s\']|\Z)')
_EXECVE = re.compile(r"(?:\A|\s|type=)EXECVE\b|\bargc=\d")


def redact_record(text: str, replace: Replace) -> str:
    """Return a record with the secrets in its command lines replaced."""
    if _EXECVE.search(text):
        text = _arguments(text, replace)
    for found in reversed(list(_ENCODED.finditer(text))):
        value = _decoded(found[1])
        # The title of a process is its arguments with NUL between them.
        changed = redact_text(value, replace)
        if changed != value:
            text = text[: found.start(1)] + _encoded(changed, found[1]) + text[found.end(1) :]
    return text


def _arguments(text: str, replace: Replace) -> str:
    found = list(_ARGUMENT.finditer(text))
    old = [_decoded(one[2]) for one in found]
    new = redact_arguments(old, replace)
    for one, before, after in reversed(list(zip(found, old, new, strict=True))):
        if before != after:
            text = text[: one.start(2)] + _encoded(after, one[2]) + text[one.end(2) :]
    return text


def _decoded(value: str) -> str:
    if value.startswith('"'):
        return value[1:-1]
    if len(value) % 2:
        return value
    return bytes.fromhex(value).decode("utf-8", "surrogateescape")


def _encoded(value: str, like: str) -> str:
    if like.startswith('"'):
        return f'"{value}"'
    return value.encode("utf-8", "surrogateescape").hex().upper()
