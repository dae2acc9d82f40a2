"""Counting what a scan meets."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from trailhound.engine.matching import Undecided
from trailhound.intake.blocks import BINARY
from trailhound.model.findings import Finding
from trailhound.model.levels import Level
from trailhound.model.records import ParseFailure
from trailhound.model.totals import EXAMPLES_KEPT, FailureCount

_REASONS_LIMIT = 500
_OF_THE_FILE = (BINARY, "damaged compression", "unreadable file")


@dataclass(slots=True)
class Tally:
    """Running counts; those of several units of work add up."""

    events: Counter[str] = field(default_factory=Counter)
    views: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: int = 0
    lines: int = 0
    """Lines read in blocks; of a part of a file, how far the next part's numbers are off."""
    records: int = 0
    size_bytes: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[ParseFailure]] = field(default_factory=dict)
    binary: str = ""
    """Path of the last binary file."""
    undecided: Counter[int] = field(default_factory=Counter)
    """Rule index → events on which its pattern gave up."""
    undecided_at: dict[int, str] = field(default_factory=dict)
    """Rule index → where that happened first."""
    repeats: int = 0
    """Findings left out because the same rule had one of the same request."""
    levels: Counter[Level] = field(default_factory=Counter)
    first_ns: int | None = None
    last_ns: int | None = None

    def fail(self, failure: ParseFailure) -> None:
        """Count a parse failure; one has spoken for all lines of a binary file."""
        reason = failure.reason
        if reason == BINARY:
            self.binary = failure.origin.path
        elif failure.origin.path == self.binary and reason not in _OF_THE_FILE:
            return
        if reason not in self.examples and len(self.examples) >= _REASONS_LIMIT:
            reason = "other"
        (self.lost if failure.lost else self.kept)[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < EXAMPLES_KEPT:
            kept.append(failure)

    def found(self, finding: Finding) -> None:
        """Count a finding."""
        self.levels[finding.rule.level] += 1
        if finding.time_ns:
            first, last = self.first_ns, self.last_ns
            self.first_ns = finding.start_ns if first is None else min(first, finding.start_ns)
            self.last_ns = finding.time_ns if last is None else max(last, finding.time_ns)

    def give_up(self, verdict: Undecided) -> None:
        """Count an event that a rule could not judge."""
        self.undecided[verdict.rule] += 1
        self.undecided_at.setdefault(verdict.rule, str(verdict.event.origins[0]))

    def add(self, other: "Tally") -> None:
        """Add what another unit of work counted."""
        self.events += other.events
        self.views += other.views
        self.files += other.files
        self.lines += other.lines
        self.records += other.records
        self.size_bytes += other.size_bytes
        self.lost += other.lost
        self.kept += other.kept
        for reason, failures in other.examples.items():
            kept = self.examples.setdefault(reason, [])
            kept.extend(failures[: EXAMPLES_KEPT - len(kept)])
        self.undecided += other.undecided
        for rule, place in other.undecided_at.items():
            self.undecided_at.setdefault(rule, place)

    def shift(self, lines: int) -> None:
        """Move what was counted in a part of a file to where the part begins."""
        if lines:
            for failures in self.examples.values():
                failures[:] = [
                    replace(failure, origin=failure.origin.shifted(lines)) for failure in failures
                ]

    def failures(self) -> tuple[FailureCount, ...]:
        """Return the parse failures by reason, most frequent first."""
        reasons: Iterable[str] = self.examples
        counts = (
            FailureCount(
                reason=reason,
                lost=self.lost[reason],
                kept=self.kept[reason],
                examples=tuple(self.examples[reason]),
            )
            for reason in reasons
        )
        return tuple(sorted(counts, key=lambda count: (-count.count, count.reason)))
