"""Rule languages: text to rules, one file or folder each."""

from trailhound.dialects import falco, sigma
from trailhound.dialects.contract import Dialect

DIALECTS: tuple[Dialect, ...] = (sigma.DIALECT, falco.DIALECT)
"""Every dialect that is built in, in the order they are asked whether a file is theirs."""
