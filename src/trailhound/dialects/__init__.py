"""Rule languages: text to rules, one file or folder each."""

from trailhound.dialects import sigma
from trailhound.dialects.contract import Dialect

DIALECTS: tuple[Dialect, ...] = (sigma.DIALECT,)
"""Every dialect that is built in, in the order they are asked whether a file is theirs."""
