"""Panther: rules in Python and in YAML, correlation rules, globals, data models.

The files of a run build on each other, so they are read together; a rule's Python stands in a
file that its YAML names. No Python of a rule is run here: it is read as text and syntax.
"""

import re
from collections.abc import Iterable, Sequence

from trailhound.dialects.contract import Dialect, Placeholders, RuleFile
from trailhound.rules.book import RuleBook

_MARK = re.compile(rb"""^["']?AnalysisType["']?[ \t]*:""", re.MULTILINE)
_FILENAME = re.compile(
    rb"""^Filename[ \t]*:[ \t]*["']?([A-Za-z0-9_][\w .-]{0,200}\.py)["']?[ \t]*(?:\#.*)?\r?$""",
    re.MULTILINE,
)


def _recognises(file: RuleFile) -> bool:
    return _MARK.search(file.data) is not None


def _siblings(file: RuleFile) -> Iterable[str]:
    # Only names of files beside it: a rule is no way to have other files read.
    return (found.decode() for found in _FILENAME.findall(file.data))


def _read_together(files: Sequence[RuleFile], _placeholders: Placeholders) -> list[RuleBook]:
    from trailhound.dialects.panther.read import read_files  # noqa: PLC0415 - as in sigma

    return read_files(files)


def _read(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    return _read_together([file], placeholders)[0]


DIALECT = Dialect(
    name="panther",
    recognises=_recognises,
    read=_read,
    read_together=_read_together,
    siblings=_siblings,
    version=2,
)
