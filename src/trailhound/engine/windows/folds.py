"""Which fold each kind of window has."""

from collections.abc import Mapping

from trailhound.engine.windows.contract import MakeFold
from trailhound.engine.windows.correlation import CorrelationFold
from trailhound.engine.windows.elastalert.counting import (
    CardinalityFold,
    ChangeFold,
    FlatlineFold,
    FrequencyFold,
    GatheredFold,
    MatchesFold,
    NewTermFold,
)
from trailhound.engine.windows.elastalert.measuring import AggregateFold
from trailhound.engine.windows.elastalert.spiking import SpikeFold
from trailhound.rules.ir import (
    Aggregate,
    Cardinality,
    Change,
    Correlation,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    NewTerm,
    Spike,
    Window,
)

FOLDS: Mapping[type[Window], MakeFold] = {
    Correlation: CorrelationFold,
    Matches: MatchesFold,
    Gathered: GatheredFold,
    Frequency: FrequencyFold,
    Flatline: FlatlineFold,
    Spike: SpikeFold,
    Change: ChangeFold,
    NewTerm: NewTermFold,
    Cardinality: CardinalityFold,
    Aggregate: AggregateFold,
}
"""One entry for each struct of `rules/windows.py`."""
