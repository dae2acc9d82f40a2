"""How a running service does: what its parts note, and probes and metrics read."""

from dataclasses import dataclass, field

from trailhound.intake.pulling import Progress
from trailhound.intake.syslog import Lost
from trailhound.pipeline.serve.talk import Report, Stats


@dataclass
class Condition:
    """The condition of one service."""

    ready: bool = False
    """Whether the detector has its rules."""
    rules: int = 0
    taken: dict[str, int] = field(default_factory=dict)
    """Records taken in, by intake."""
    refused: int = 0
    """How often senders were told to come again, for want of room."""
    lost: Lost = field(default_factory=Lost)
    """Datagrams that could not be kept."""
    pulls: list[Progress] = field(default_factory=list)
    """How intakes do that fetch from a server."""
    restarts: int = 0
    """How often the detector had to be started again."""
    done: int = 0
    """Number below which records are judged and kept; 0: not known yet."""
    stats: Stats = field(default_factory=lambda: Stats(()))
    """What the detector last counted."""
    report: Report = field(default_factory=Report)
    """What else it last said."""
