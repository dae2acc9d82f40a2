"""Findings told, each once: what was told before is known, and revisions are numbered."""

import hashlib
from collections.abc import Callable, Iterable

from msgspec import structs

from trailhound.model.findings import Finding
from trailhound.pipeline.serve.findings_log import FindingsLog
from trailhound.pipeline.serve.journal import Journal

_AMENDED_NS = 9 * 24 * 3600 * 1_000_000_000
"""How long a finding may still change: lateness, and how long windows keep their evidence."""


class Telling:
    """Writes findings, and remembers what it wrote of each."""

    def __init__(self, log: FindingsLog, journal: Journal) -> None:
        self._log = log
        self._journal = journal

    def tell(
        self,
        findings: Iterable[Finding],
        prove: Callable[[list[Finding]], list[Finding]],
        behind: int,
        now_ns: int,
    ) -> list[Finding]:
        """Write findings that say something new; return them as they were written.

        A crash may lead to the same findings by other steps: what counts is whether they say
        something else than was told last, and the number of a revision is given here.

        Args:
            findings: of one uid, the last one holds.
            prove: gives findings that are about to be written their proofs.
            behind: number behind the last record that was read for them.
            now_ns: the time by which they are forgotten, UTC nanoseconds.
        """
        fresh: dict[str, tuple[Finding, bytes]] = {}
        for finding in findings:
            said = _said(finding)
            known = self._journal.last_told(finding.uid)
            if finding.uid in fresh:
                known = fresh[finding.uid][0].revision, fresh[finding.uid][1]
            if known is None:
                fresh[finding.uid] = finding, said
            elif known[1] != said:
                revision = max(finding.revision, known[0] + 1)
                fresh[finding.uid] = structs.replace(finding, revision=revision), said
        if not fresh:
            return []
        told = prove([finding for finding, _ in fresh.values()])
        sizes = self._log.append(told)
        until_ns = now_ns + _AMENDED_NS
        noted = [
            (f.uid, f.revision, said, until_ns if f.group or f.reason else 0)
            for f, said in fresh.values()
        ]
        self._journal.told(noted, behind, sizes)
        return told


def _said(finding: Finding) -> bytes:
    """Return what tells one telling of a finding from the next: a digest of what it says."""
    told = (
        finding.status.value,
        finding.start_ns,
        finding.time_ns,
        finding.event_count,
        finding.reason,
        [event.uid for event in finding.events],
    )
    return hashlib.blake2b(repr(told).encode(errors="surrogatepass"), digest_size=16).digest()
