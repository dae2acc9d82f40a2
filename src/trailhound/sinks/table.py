"""`--format table`: the report for a person at a terminal."""

from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trailhound.model.findings import Finding
from trailhound.model.levels import Level
from trailhound.model.totals import Totals
from trailhound.sinks.clock import Clock
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.escape import cut, prose, visible
from trailhound.sinks.summary import ActorGroup, ActorSummary, Moment, RuleGroup, Sighting, Summary
from trailhound.sinks.totals_text import totals_lines
from trailhound.sinks.wording import check_first, plural

_ACTORS_SHOWN = 15
_RULES_PER_ACTOR = 6
_ACTORS_PER_RULE = 5
_DESCRIPTION_LIMIT = 1_200
_NARROW = 110
"""Below this many columns, the timeline leaves out what was done."""

_WINDOW_MARK = "◆ "
_STYLES = {
    Level.CRITICAL: "bold red",
    Level.HIGH: "red",
    Level.MEDIUM: "yellow",
    Level.LOW: "cyan",
    Level.INFORMATIONAL: "",
}
# In capitals what must be seen without colour as well.
_WORDS = {
    Level.CRITICAL: "CRITICAL",
    Level.HIGH: "HIGH",
    Level.MEDIUM: "medium",
    Level.LOW: "low",
    Level.INFORMATIONAL: "info",
}
_QUIET, _STRONG = "dim", "bold"


class _TableWriter:
    """Collects a summary, and prints the report when the input has ended."""

    def __init__(self, stream: TextIO, options: SinkOptions) -> None:
        self._stream = stream
        self._console = Console(
            file=stream,
            width=options.width,
            color_system=None if options.colour is False else "auto",
            force_terminal=True if options.colour else None,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
        )
        self._summary = Summary()

    def write(self, finding: Finding) -> None:
        """Count the finding; keep it only where it is one of the few to be shown."""
        self._summary.add(finding)

    def close(self, totals: Totals) -> None:
        """Print the report."""
        with self._console.capture() as captured:
            _Report(self._console, self._summary).print(totals)
        # Rich fills cells up to the edge; a saved report should not end its lines in spaces.
        lines = (line.rstrip(" ") for line in captured.get().split("\n"))
        self._stream.write(_encodable("\n".join(lines), self._stream))


class _Report:
    """Everything hangs on one gutter, which holds times and levels; the rest stands beside it."""

    def __init__(self, console: Console, summary: Summary) -> None:
        self._console = console
        self._summary = summary
        self._clock = Clock(summary.span.first_ns, summary.span.last_ns)
        self._gutter = max(len("critical"), self._clock.width) + 2

    def print(self, totals: Totals) -> None:
        if self._summary.count:
            self._headline()
            self._actors(self._summary.actors())
            self._heading("Findings by rule", "◆ several events that belong together")
            for rule in self._summary.rules():
                self._rule(rule)
            self._others()
            self._timeline(self._summary.timeline())
        else:
            self._row("", _styled("No findings.", _STRONG), gutter=0)
        for heading, lines in totals_lines(totals):
            self._heading(heading)
            for depth, line in lines:
                self._row("", Text(visible(line)), gutter=2 * depth)

    # --- the first ten seconds -----------------------------------------------------------

    def _headline(self) -> None:
        head = _styled(plural(self._summary.count, "finding"), _STRONG)
        for level in reversed(Level):
            if count := self._summary.levels[level]:
                head.append("  ")
                head.append(f"{count:,} {level.label}", style=_STYLES[level])
        self._row("", head, gutter=0)
        self._row("", Text(self._clock.heading()), gutter=0)
        if worst := self._summary.worst():
            start = Text("Start with ")
            start.append(_title(worst.rule), style=_STYLES[worst.rule.rule.level])
            start.append(f" at {self._clock.time(worst.first.time_ns)}")
            if worst.first.places:
                start.append(f", {visible(worst.first.places[0])}")
            self._row("", start, gutter=0)

    def _actors(self, actors: list[ActorSummary]) -> None:
        self._heading("Who")
        for actor in actors[:_ACTORS_SHOWN]:
            self._row(_level(actor.level), _styled(visible(actor.actor) or "unknown", _STRONG))
            facts = [
                plural(actor.count, "finding"),
                self._clock.span(actor.span.first_ns, actor.span.last_ns),
            ]
            if addresses := _addresses(actor):
                facts.append(f"from {addresses}")
            self._row("", Text(", ".join(facts)))
            rules = Text()
            for index, (rule, group) in enumerate(actor.rules[:_RULES_PER_ACTOR]):
                rules.append(", " if index else "")
                rules.append(_times(_title(rule), group.count), style=_STYLES[rule.rule.level])
            if (more := len(actor.rules) - _RULES_PER_ACTOR) > 0:
                rules.append(f", and {plural(more, 'more rule')}")
            self._row("", rules)
        if (more := len(actors) - _ACTORS_SHOWN) > 0:
            rest = sum(actor.count for actor in actors[_ACTORS_SHOWN:])
            text = f"and {plural(more, 'more actor')} with {plural(rest, 'finding')}"
            self._row("", _styled(text, _QUIET))

    # --- findings by rule ----------------------------------------------------------------

    def _rule(self, rule: RuleGroup) -> None:
        info = rule.rule
        self._console.print()
        style = _STYLES[info.level]
        title = _styled(_title(rule), f"{style} bold")
        if rule.techniques:
            title.append(f"  {' '.join(rule.techniques)}", style=_QUIET)
        self._row(_level(info.level), title)
        facts = [plural(rule.count, "finding")]
        if rule.other_count or len(rule.actors) > 1:
            facts[0] += f" about {len(rule.actors):,}{'+' if rule.other_count else ''} actors"
        facts.append(self._clock.span(rule.span.first_ns, rule.span.last_ns))
        facts.append(f"{visible(info.path)}:{info.line}")
        self._row("", _styled(", ".join(facts), _QUIET))
        said, check = check_first(cut(info.description, _DESCRIPTION_LIMIT))
        self._row("", Text(prose(said)))
        self._row("", _styled(prose(check), _STRONG))
        if rule.explanation:
            self._row("", Text(f"Matched: {visible(rule.explanation)}"))
        groups = rule.sorted_actors()
        for group in groups[:_ACTORS_PER_RULE]:
            self._actor_group(group)
        rest = sum(group.count for group in groups[_ACTORS_PER_RULE:]) + rule.other_count
        if rest:
            self._row("", _styled(f"and {plural(rest, 'finding')} about other actors", _QUIET))

    def _actor_group(self, group: ActorGroup) -> None:
        for example in group.examples:
            self._row(self._clock.time(example.time_ns), _sighting(example))
        if (more := group.count - len(group.examples)) > 0:
            name = visible(group.actor) or "unknown"
            text = f"and {more:,} more about {name}, until {self._clock.time(group.span.last_ns)}"
            self._row("", _styled(text, _QUIET))

    def _others(self) -> None:
        others = self._summary.others
        if not others:
            return
        counts = ", ".join(
            f"{others[level]:,} {level.label}" for level in reversed(Level) if others[level]
        )
        self._console.print()
        text = (
            f"Others: {plural(sum(others.values()), 'finding')} ({counts}) about more actors than "
            "this report keeps apart. --format ndjson lists every one."
        )
        self._row("", _styled(text, _STRONG), gutter=0)

    # --- the story -----------------------------------------------------------------------

    def _timeline(self, moments: list[Moment]) -> None:
        left_out = self._summary.group_count - len(moments)
        self._heading("Timeline", f"the {len(moments)} most important" if left_out else "")
        room = self._console.width - 2 * self._gutter - 2
        wide = self._console.width >= _NARROW
        widths = _shares(room - 2 * wide, (5, 4, 5) if wide else (5, 3))
        for moment in moments:
            level = moment.rule.rule.level
            title = _times(_title(moment.rule), moment.group.count)
            line = Text()
            line.append(self._clock.time(moment.first.time_ns).ljust(self._gutter))
            line.append(_WORDS[level].ljust(self._gutter), style=_STYLES[level])
            line.append(_head(title, widths[0]), style=_STYLES[level])
            line.append(f"  {_tail(visible(moment.who), widths[1])}")
            if wide:
                line.append(f"  {_head(visible(moment.first.deed), widths[2])}", style=_QUIET)
            self._console.print(line, no_wrap=True, overflow="crop")

    # --- lines ---------------------------------------------------------------------------

    def _heading(self, text: str, note: str = "") -> None:
        self._console.print()
        heading = _styled(text.upper(), _STRONG)
        if note:
            heading.append(f"  {note}", style=_QUIET)
        self._row("", heading, gutter=0)

    def _row(self, label: str | Text, text: Text, gutter: int | None = None) -> None:
        """Print text beside the gutter, folded where it is too long. Empty text: no line."""
        if not text:
            return
        grid = Table.grid(expand=True)
        columns = self._gutter if gutter is None else gutter
        text.overflow = "fold"
        if columns == 0:
            self._console.print(text)
            return
        grid.add_column(width=columns, no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        grid.add_row(label, text)
        self._console.print(grid)


def _sighting(example: Sighting) -> Text:
    text = Text()
    if example.window:
        reason = visible(example.reason) or plural(example.event_count, "event")
        text.append(_WINDOW_MARK + reason, style=_STRONG)
        text.append(f" · {visible(example.group)}\n" if example.group else "\n")
    parts = [visible(example.who), visible(example.deed)]
    if example.src_ip:
        parts.append(f"from {visible(example.src_ip)}")
    if example.device:
        parts.append(f"on {visible(example.device)}")
    parts.append(visible(example.outcome))
    text.append(" · ".join(part for part in parts if part))
    if example.message:
        text.append(f"\n{visible(example.message)}")
    evidence = ", ".join(visible(place) for place in example.places)
    if example.more_places:
        evidence += f" and {example.more_places:,} more"
    if evidence:
        text.append(f"\n{evidence}", style=_QUIET)
    return text


def _level(level: Level) -> Text:
    return _styled(_WORDS[level], _STYLES[level])


def _styled(text: str, style: str) -> Text:
    """Text in a style that ends with it: a style of the whole would colour the padding too."""
    return Text.assemble((text, style))


def _title(rule: RuleGroup) -> str:
    title = prose(rule.rule.title) or visible(rule.rule.uid)
    return _WINDOW_MARK + title if rule.window else title


def _times(title: str, count: int) -> str:
    return f"{title} ×{count:,}" if count > 1 else title


def _addresses(actor: ActorSummary) -> str:
    examples = (example for _, group in actor.rules for example in group.examples)
    found = list(dict.fromkeys(example.src_ip for example in examples if example.src_ip))
    shown = ", ".join(visible(address) for address in found[:2])
    return f"{shown} and others" if len(found) > 2 else shown


def _shares(room: int, ratios: tuple[int, ...]) -> list[int]:
    return [max(8, room * ratio // sum(ratios)) for ratio in ratios]


def _head(text: str, width: int) -> str:
    """The beginning of text in exactly `width` columns."""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    while cell_len(text) >= width:
        text = text[:-1]
    return f"{text}…" + " " * (width - cell_len(text) - 1)


def _tail(text: str, width: int) -> str:
    """The end of text, where the name of a service account or a role stands."""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    while cell_len(text) >= width:
        text = text[1:]
    return f"…{text}" + " " * (width - cell_len(text) - 1)


def _encodable(text: str, stream: TextIO) -> str:
    """Text that a terminal of another encoding than UTF-8 can show."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


SINK = Sink(
    name="table",
    description="A report for people: who, what, when, how bad, and where it stands",
    media_type="text/plain; charset=utf-8",
    writer=_TableWriter,
)
