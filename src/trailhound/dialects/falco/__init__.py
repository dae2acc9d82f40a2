"""Falco: rules, macros, lists, exceptions and overrides, over the events of its plugins.

The files of a run build on each other, so they are read together.
"""

from collections.abc import Sequence

from trailhound.dialects.contract import Dialect, Placeholders, RuleFile
from trailhound.rules.book import RuleBook

_MARKS = (
    b"- rule:",
    b"- macro:",
    b"- list:",
    b"- required_engine_version:",
    b"- required_plugin_versions:",
)


def _recognises(file: RuleFile) -> bool:
    return any(line.lstrip().startswith(_MARKS) for line in file.data.splitlines()[:2000])


def _read_together(files: Sequence[RuleFile], _placeholders: Placeholders) -> list[RuleBook]:
    from trailhound.dialects.falco.read import read_files  # noqa: PLC0415 - as in sigma

    return read_files(files)


def _read(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    return _read_together([file], placeholders)[0]


DIALECT = Dialect(
    name="falco",
    recognises=_recognises,
    read=_read,
    read_together=_read_together,
    version=4,
)
