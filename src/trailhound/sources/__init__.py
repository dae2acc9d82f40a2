"""What bytes mean: raw record to event, one file per log format."""

from importlib import import_module

from trailhound.sources.contract import Source

_NAMES = ("k8s_audit", "cloudtrail", "falco", "auditd", "linux_auth")


def _landed() -> tuple[Source, ...]:
    found = []
    for name in _NAMES:
        try:
            found.append(import_module(f"trailhound.sources.{name}").SOURCE)
        except (ImportError, AttributeError, SyntaxError):
            continue
    return tuple(found)


SOURCES = _landed()
