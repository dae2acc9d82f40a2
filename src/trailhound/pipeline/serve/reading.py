"""The readers of a service: what they hold back is saved, and let go by the times of arrivals."""

import logging
import pickle

import msgspec

import trailhound
from trailhound.intake.arrivals import Arrival
from trailhound.ledger.leaf import read_context
from trailhound.model.events import Event
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.pipeline.serve.journal import Journal
from trailhound.pipeline.serve.records import Held
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

SETTLE_NS = 3_000_000_000
"""Records that belong together arrive within so much of each other."""
_GRACE_NS = 2_000_000_000
_log = logging.getLogger(__name__)

Item = Event | ParseFailure


class Reading:
    """Records to events, over restarts."""

    def __init__(self, journal: Journal) -> None:
        """Take up what was saved."""
        self.held = _held(journal.value("held"))
        """Records that readers may hold back, as of what was saved."""
        self.given: list[Item] = []
        """What is read out of those at once: readers of another version hold nothing, and are
        given again what may have been held."""
        self._settled_ns = int(journal.value("settled_ns") or b"0")
        self._decoder = _saved(journal.value("decoder")) or self._anew()

    def read(self, number: int, arrival: Arrival, data: bytes) -> list[Item]:
        """Return what is complete by now.

        Args:
            number: of the record in the queue.
            arrival: the record.
            data: of the record, redacted.
        """
        origin = Origin(arrival.peer, number)
        if arrival.failure is not None:
            return [ParseFailure(origin, *arrival.failure)]
        # A stamp without a year is of the year in which it arrives.
        record = RawRecord(data, origin, arrival.received_ns, arrival.context)
        return list(self._decoder.decode(record))

    def settle(self, now_ns: int, *, idle: bool = False) -> list[Item]:
        """Return what was held back for records that would have come by now.

        Args:
            now_ns: when the next record arrived, or the time while none does. May go back.
            idle: whether none does: one may be on its way.
        """
        since_ns = now_ns - self._settled_ns
        if -SETTLE_NS <= since_ns < SETTLE_NS + _GRACE_NS * idle:
            return []
        self._settled_ns = now_ns // SETTLE_NS * SETTLE_NS
        if since_ns < 0:  # a clock was set back: nobody knows how long it has been
            return []
        return list(self._decoder.settle())

    def saved(self, held: Held) -> dict[str, bytes]:
        """Return what is to be saved, by name, when `held` may be held back."""
        self.held = held
        return {
            "decoder": pickle.dumps((trailhound.__version__, self._decoder)),
            "held": held.dump(),
            "settled_ns": b"%d" % self._settled_ns,
        }

    def _anew(self) -> Decoder:
        decoder = Decoder(all_sources())
        for one in self.held:
            context = read_context(one.context)
            record = RawRecord(one.data, Origin(one.peer, one.number), one.received_ns, context)
            self.given += decoder.decode(record)
        return decoder


def _saved(data: bytes | None) -> Decoder | None:
    if data is None:
        return None
    try:
        version, decoder = pickle.loads(data)  # noqa: S301 - our own file, in our own folder
    except Exception:
        return None
    if version != trailhound.__version__ or not isinstance(decoder, Decoder):
        return None
    return decoder


def _held(data: bytes | None) -> Held:
    try:
        return Held(data or b"")
    except msgspec.MsgspecError as error:
        # Sealed they are; going on without them is better than judging nothing ever after.
        _log.error(
            "records that readers held back are not in a form of this version (%s): "
            "events that they begin are not judged",
            error,
        )
        return Held()
