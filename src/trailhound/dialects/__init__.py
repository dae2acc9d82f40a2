"""Rule languages: text to rules, one file or folder each."""

from trailhound.dialects import elastalert, falco, panther, sigma
from trailhound.dialects.contract import Dialect

DIALECTS: tuple[Dialect, ...] = (
    panther.DIALECT,
    elastalert.DIALECT,
    sigma.DIALECT,
    falco.DIALECT,
)
"""Every dialect that is built in, in the order they are asked whether a file is theirs."""
