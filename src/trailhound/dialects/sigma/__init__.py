"""Sigma: rules, correlations and filters (Sigma specification 2.1), parsed by pySigma.

pySigma is imported when the first file is read, not when this module is: with a warm cache
of compiled rules a run never needs it.
"""

import re

from trailhound.dialects.contract import Dialect, Placeholders, RuleFile
from trailhound.rules.book import RuleBook

_CONTENT = re.compile(rb"(?!---|\s*#)\s*\S")


def _recognises(file: RuleFile) -> bool:
    # A list at the top is another language, whatever words stand in it.
    content = next((line for line in file.data.splitlines() if _CONTENT.match(line)), b"")
    return not content.startswith((b"- ", b"[")) and any(
        mark in file.data for mark in (b"detection:", b"correlation:", b"filter:")
    )


def _read(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    from trailhound.dialects.sigma.read import read_file  # noqa: PLC0415 - see the docstring

    return read_file(file, placeholders)


DIALECT = Dialect(name="sigma", recognises=_recognises, read=_read, version=6)
