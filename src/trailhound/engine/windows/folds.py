"""Which fold each kind of window has."""

from collections.abc import Mapping

from trailhound.engine.windows.contract import MakeFold
from trailhound.engine.windows.correlation import CorrelationFold
from trailhound.rules.ir import Correlation, Window

FOLDS: Mapping[type[Window], MakeFold] = {Correlation: CorrelationFold}
"""One entry for each struct of `rules/windows.py`."""
