"""Where the fields of a rule come from, and whether they can ever be there."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, structs

from trailhound.engine.match import matcher
from trailhound.engine.tests import GaveUp
from trailhound.engine.values import presence
from trailhound.intake.blocks import Block
from trailhound.intake.files import InputFile, read_blocks
from trailhound.model.events import Event
from trailhound.model.logsource import FieldInfo
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline.units import cut
from trailhound.rules.describe import fields_of
from trailhound.rules.ir import Field, Rule
from trailhound.sources import all_sources
from trailhound.sources.contract import Source
from trailhound.sources.decode import Decoder

_WHOLE = "(the whole record)"


class FieldCoverage(Struct, frozen=True):
    """One field of a rule, in one view that the rule reads."""

    name: str
    path: str
    """Where it is looked for: one of the field's paths."""
    known: bool
    """Whether the field catalogue of the source has it."""
    description: str = ""
    computed: tuple[str, ...] = ()
    """Steps that are taken from what stands there to what the rule compares."""
    present: int | None = None
    """Documents of the log in which it stood; None where no log was asked."""


class ViewCoverage(Struct, frozen=True):
    """One view that serves a rule."""

    source: str
    view: str
    logsource: str
    fields: tuple[FieldCoverage, ...]
    documents: int | None = None
    """Documents of this view in the log."""
    matches: int | None = None
    """Those the rule matches."""


def coverage(rule: Rule) -> list[ViewCoverage]:
    """Tell, for every view that serves a rule, which of its fields that view can have."""
    if rule.predicate is None:
        return []
    fields = fields_of(rule.predicate)
    found: dict[tuple[str, str], ViewCoverage] = {}
    for source in all_sources():
        for route in source.routes:
            if not route.serves(rule.logsource) or (source.name, route.view) in found:
                continue
            entries = tuple(
                _field(source, route.view, field, path) for field in fields for path in field.paths
            )
            found[source.name, route.view] = ViewCoverage(
                source.name, route.view, str(route.logsource), entries
            )
    return list(found.values())


def coverage_against(
    rules: Sequence[Rule],
    files: Sequence[InputFile],
    progress: Callable[[int], None] = lambda _: None,
) -> list[list[ViewCoverage]]:
    """The same for each rule, with counts of how often each field stands in the events of logs.

    The logs are read once, whatever the number of rules: standard input cannot be read again.
    """
    counts = [_Count(rule) for rule in rules]
    for event in _events(files, progress):
        for count in counts:
            count.take(event)
    return [count.views() for count in counts]


class _Count:
    """What the events of logs hold of the fields of one rule."""

    def __init__(self, rule: Rule) -> None:
        self._views = {(view.source, view.view): view for view in coverage(rule)}
        self._checks = {
            key: [
                presence(Field(entry.path, (tuple(entry.path.split(".")),)))
                if "[]" not in entry.path and entry.path != _WHOLE
                else None
                for entry in view.fields
            ]
            for key, view in self._views.items()
        }
        self._matches = matcher(rule.predicate) if rule.predicate is not None else lambda _: False
        self._documents: Counter[tuple[str, str]] = Counter()
        self._hits: Counter[tuple[str, str]] = Counter()
        self._present: Counter[tuple[str, str, int]] = Counter()

    def take(self, event: Event) -> None:
        """Count an event."""
        for view, held in event.views.items():
            key = (event.source, view)
            if key not in self._views:
                continue
            for document in held:
                self._documents[key] += 1
                for number, check in enumerate(self._checks[key]):
                    self._present[*key, number] += bool(check and check(document))
                try:
                    self._hits[key] += self._matches(document)
                except GaveUp:
                    continue

    def views(self) -> list[ViewCoverage]:
        """Return what was counted."""
        return [
            structs.replace(
                view,
                fields=tuple(
                    structs.replace(entry, present=self._present[*key, number])
                    if self._checks[key][number]
                    else entry
                    for number, entry in enumerate(view.fields)
                ),
                documents=self._documents[key],
                matches=self._hits[key],
            )
            for key, view in self._views.items()
        ]


def _events(files: Sequence[InputFile], progress: Callable[[int], None]) -> Iterator[Event]:
    # What cannot be read is left out here: counting that is the business of `scan`.
    for unit in cut(files):
        for group in unit.groups:
            decoder = Decoder(all_sources())
            for record in (r for file in group for r in _records(file, progress)):
                yield from (e for e in decoder.decode(record) if isinstance(e, Event))
            yield from (e for e in decoder.flush() if isinstance(e, Event))


def _records(file: InputFile, progress: Callable[[int], None]) -> Iterator[RawRecord]:
    for item in read_blocks(file, progress):
        if isinstance(item, Block):
            for index in range(len(item.ends)):
                origin = Origin(file.path, item.line + index)
                yield RawRecord(item.text(index), origin, file.modified_ns)
        elif isinstance(item, RawRecord):
            yield structs.replace(item, modified_ns=file.modified_ns)


def _field(source: Source, view: str, field: Field, path: tuple[str, ...]) -> FieldCoverage:
    dotted = ".".join(path)
    computed = tuple(step.name for step in field.via)
    if not path:
        return FieldCoverage(field.name, _WHOLE, known=True, computed=computed)
    info = next((i for i in source.fields if i.view in ("", view) and covers(i, dotted)), None)
    description = info.description if info else ""
    return FieldCoverage(field.name, dotted, info is not None, description, computed)


def covers(info: FieldInfo, path: str) -> bool:
    """Whether a dotted path is an entry of a field catalogue, or lies above or below it."""
    if info.name.endswith(".*"):
        stem = info.name[:-2]
        return path == stem or path.startswith(stem + ".")
    # A number in a path is a place in a list, which the catalogue does not name.
    plain = ".".join(step for step in path.replace("[]", "").split(".") if not step.isdigit())
    return plain == info.name or info.name.startswith(plain + ".")
