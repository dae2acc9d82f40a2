"""Totals of a scan: what was read, what was not, what ran, and what could not."""

from collections.abc import Mapping

from msgspec import Struct

from trailhound.model.levels import Level
from trailhound.model.records import ParseFailure

EXAMPLES_KEPT = 5
"""Parse failures kept as examples for each reason."""


class FailureCount(Struct, frozen=True, kw_only=True):
    """How often records failed for one reason."""

    reason: str
    """`ParseFailure.reason`, which all of them share."""
    lost: int = 0
    """Records that could not be read at all."""
    kept: int = 0
    """Records that were read and judged all the same, with something odd in them."""
    examples: tuple[ParseFailure, ...] = ()
    """The first ones, at most `EXAMPLES_KEPT`."""

    @property
    def count(self) -> int:
        """All records with this reason."""
        return self.lost + self.kept


class RuleProblem(Struct, frozen=True, order=True):
    """A rule that could not be used, or that cannot match, and why."""

    path: str
    line: int
    """1-based, 0 where unknown."""
    reason: str
    rule: str = ""
    """Title or id of the rule where it could be read."""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.reason}"


class PythonCost(Struct, frozen=True, kw_only=True):
    """What one rule in Python was asked, and what it took."""

    rule: str
    """Its id."""
    path: str
    """The file of its Python."""
    asked: int
    """Events it was asked about: those that the test before it let through."""
    matched: int
    failed: int
    """Events on which one of its functions failed."""
    cpu_ns: int
    """Processor time of its process, in nanoseconds."""


class Totals(Struct, frozen=True, kw_only=True):
    """What one scan did, for the end of every report."""

    events: Mapping[str, int] = {}
    """Name of the source → events it read."""
    files_read: int = 0
    records_read: int = 0
    bytes_read: int = 0
    """After decompression."""
    failures: tuple[FailureCount, ...] = ()
    """One entry per reason."""
    rules_loaded: int = 0
    rules_by_dialect: Mapping[str, int] = {}
    """Dialect → rules loaded; sums to `rules_loaded`."""
    rules_ran: int = 0
    """Rules whose log source was in the input."""
    rule_problems: tuple[RuleProblem, ...] = ()
    """Rules, or parts of them, that could not be used."""
    rules_blind: tuple[RuleProblem, ...] = ()
    """Rules that loaded and can never match here: a field or source that is never present."""
    rules_spilling: tuple[RuleProblem, ...] = ()
    """Rules over several events of which a group was too large for memory, and went to disk in
    part. Nothing is lost by it."""
    python: tuple[PythonCost, ...] = ()
    """Rules in Python that were asked, the dearest first. What they took is part of no other
    number."""
    findings: Mapping[Level, int] = {}
    """Level → findings; a level without any may be left out."""
    first_ns: int | None = None
    """Earliest event time among the findings, UTC nanoseconds; None without findings."""
    last_ns: int | None = None
    """Latest event time among the findings."""
    elapsed_s: float | None = None
    """Wall time of the scan in seconds; None where a report must not depend on it."""

    @property
    def records_lost(self) -> int:
        """Records that could not be read at all."""
        return sum(failure.lost for failure in self.failures)

    @property
    def records_kept(self) -> int:
        """Records that were read with something amiss."""
        return sum(failure.kept for failure in self.failures)
