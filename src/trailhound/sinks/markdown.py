"""`--format markdown`: the report as a page for a ticket or a wiki."""

from collections.abc import Iterable
from typing import TextIO

from trailhound.model.findings import Finding
from trailhound.model.levels import Level
from trailhound.model.totals import Totals
from trailhound.sinks.clock import Clock
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.escape import cut, markdown_code, markdown_code_line, markdown_text
from trailhound.sinks.summary import RuleGroup, Sighting, Summary
from trailhound.sinks.totals_text import totals_lines
from trailhound.sinks.wording import check_first, plural

_ACTORS_SHOWN = 50
_RULES_PER_ACTOR = 8
_ACTORS_PER_RULE = 20
_DESCRIPTION_LIMIT = 2_000
_REFERENCES_SHOWN = 5


class _MarkdownWriter:
    """Collects a summary, and writes the page when the input has ended."""

    def __init__(self, stream: TextIO, _options: SinkOptions) -> None:
        self._stream = stream
        self._summary = Summary()

    def write(self, finding: Finding) -> None:
        """Count the finding; keep it only where it is one of the few to be shown."""
        self._summary.add(finding)

    def close(self, totals: Totals) -> None:
        """Write the page."""
        page = _Page(self._stream, self._summary)
        page.write(totals)


class _Page:
    def __init__(self, stream: TextIO, summary: Summary) -> None:
        self._stream = stream
        self._summary = summary
        self._clock = Clock(summary.span.first_ns, summary.span.last_ns)

    def write(self, totals: Totals) -> None:
        self._line("# Trailhound report")
        if self._summary.count:
            self._headline()
            self._actors()
            self._timeline()
            self._line("## Findings by rule")
            for rule in self._summary.rules():
                self._rule(rule)
            self._others()
        else:
            self._line("No findings.")
        for heading, lines in totals_lines(totals):
            self._line(f"## {heading}")
            for depth, text in lines:
                self._stream.write(f"{'  ' * depth}- {_quoted(text, depth)}\n")
            self._stream.write("\n")

    def _headline(self) -> None:
        levels = ", ".join(
            f"{count:,} {level.label}"
            for level in reversed(Level)
            if (count := self._summary.levels[level])
        )
        self._line(f"**{plural(self._summary.count, 'finding')}**: {levels}.")
        self._line(f"{self._clock.heading()}. Several events that belong together are marked ◆.")

    def _actors(self) -> None:
        self._line("## Who")
        actors = self._summary.actors()
        rows = []
        for actor in actors[:_ACTORS_SHOWN]:
            rules = [
                f"{group.count:,} × {_title(rule)}"
                for rule, group in actor.rules[:_RULES_PER_ACTOR]
            ]
            if (more := len(actor.rules) - _RULES_PER_ACTOR) > 0:
                rules.append(f"and {plural(more, 'more rule')}")
            rows.append(
                (
                    markdown_code(actor.actor) or "unknown",
                    actor.level.label,
                    f"{actor.count:,}",
                    self._clock.span(actor.span.first_ns, actor.span.last_ns),
                    ", ".join(rules),
                )
            )
        self._table(("Actor", "Worst", "Findings", "Time (UTC)", "Rules"), rows)
        if (more := len(actors) - _ACTORS_SHOWN) > 0:
            self._line(f"And {plural(more, 'more actor')}.")

    def _timeline(self) -> None:
        moments = self._summary.timeline()
        self._line("## Timeline")
        rows = [
            (
                self._clock.time(moment.first.time_ns),
                moment.rule.rule.level.label,
                _title(moment.rule)
                + (f" ×{moment.group.count:,}" if moment.group.count > 1 else ""),
                markdown_code(moment.who),
                markdown_code(moment.first.deed),
            )
            for moment in moments
        ]
        self._table(("Time (UTC)", "Level", "Finding", "Who", "What"), rows)
        if self._summary.group_count > len(moments):
            self._line(f"These are the {len(moments)} most important.")

    def _rule(self, rule: RuleGroup) -> None:
        info = rule.rule
        self._line(f"### {_title(rule)} ({info.level.label})")
        said, check = check_first(cut(info.description, _DESCRIPTION_LIMIT))
        if said:
            self._line(markdown_text(said))
        if check:
            self._line(f"**{markdown_text(check)}**")
        span = self._clock.span(rule.span.first_ns, rule.span.last_ns)
        place, uid = markdown_code_line(f"{info.path}:{info.line}"), markdown_code_line(info.uid)
        facts = [f"{plural(rule.count, 'finding')}, {span}", f"Rule: {place} {uid}"]
        if rule.techniques or rule.tactics:
            facts.append("ATT&CK: " + ", ".join((*rule.techniques, *rule.tactics)))
        if rule.explanation:
            facts.append(f"Matched: {markdown_code_line(rule.explanation)}")
        if info.false_positives:
            known = "; ".join(markdown_text(cut(text, 300)) for text in info.false_positives[:5])
            facts.append(f"Known false positives: {known}")
        facts += [
            f"See {markdown_code_line(cut(url, 300))}"
            for url in info.references[:_REFERENCES_SHOWN]
        ]
        self._line("\n".join(f"- {fact}" for fact in facts))
        self._sightings(rule)

    def _sightings(self, rule: RuleGroup) -> None:
        groups = rule.sorted_actors()
        rows = [
            (
                self._clock.time(example.time_ns),
                markdown_code(example.who),
                markdown_code(example.deed),
                markdown_code(example.src_ip),
                _circumstances(example),
                ", ".join(markdown_code(place) for place in example.places)
                + (f" and {example.more_places:,} more" if example.more_places else ""),
            )
            for group in groups[:_ACTORS_PER_RULE]
            for example in group.examples
        ]
        if rows:
            self._table(("Time (UTC)", "Who", "What", "From", "Notes", "Evidence"), rows)
        if (more := rule.count - len(rows)) > 0:
            self._line(f"And {plural(more, 'finding')} more of this rule.")

    def _others(self) -> None:
        if total := sum(self._summary.others.values()):
            self._line(
                f"Others: {plural(total, 'finding')} about more actors than this report "
                "keeps apart. `--format ndjson` lists every one."
            )

    def _table(self, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        self._stream.write(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}\n")
        for row in rows:
            self._stream.write(f"| {' | '.join(row)} |\n")
        self._stream.write("\n")

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n\n")


def _title(rule: RuleGroup) -> str:
    return ("◆ " if rule.window else "") + (
        markdown_text(rule.rule.title) or markdown_code(rule.rule.uid)
    )


def _circumstances(example: Sighting) -> str:
    parts = []
    if example.window:
        parts.append(markdown_code(example.reason) or plural(example.event_count, "event"))
        parts.append(markdown_code(example.group))
    if example.device:
        parts.append(f"on {markdown_code(example.device)}")
    parts.append(markdown_code(example.outcome))
    parts.append(markdown_code(example.message))
    return ", ".join(part for part in parts if part)


def _quoted(text: str, depth: int) -> str:
    """Lines at depth 0 are our own words; what stands below them quotes files and the log."""
    return markdown_code_line(text) if depth else markdown_text(text)


SINK = Sink(
    name="markdown",
    description="The report as a page for a ticket or a wiki",
    media_type="text/markdown; charset=utf-8; variant=GFM",
    writer=_MarkdownWriter,
)
