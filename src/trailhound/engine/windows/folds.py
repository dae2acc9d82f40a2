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
from trailhound.engine.windows.panther.deduplicated import DeduplicatedFold
from trailhound.engine.windows.panther.sequence import SequenceFold
from trailhound.engine.windows.panther.together import TogetherFold
from trailhound.rules.ir import (
    Aggregate,
    Cardinality,
    Change,
    Correlation,
    Deduplicated,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    NewTerm,
    Sequence,
    Spike,
    Together,
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
    Deduplicated: DeduplicatedFold,
    Sequence: SequenceFold,
    Together: TogetherFold,
}
"""One entry for each struct of `rules/windows.py`."""
