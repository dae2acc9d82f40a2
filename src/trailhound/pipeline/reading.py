"""One unit of work: bytes to hits."""

from collections.abc import Callable, Generator, Iterable, Iterator

import msgspec

from trailhound.engine.matching import Hit, Undecided, match_candidates, match_event, match_fields
from trailhound.engine.plan import Plan
from trailhound.intake.blocks import Block
from trailhound.intake.files import InputFile, pieces_of, read_blocks
from trailhound.model.events import Event
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.pipeline.prefilter import Alive
from trailhound.pipeline.sieve import Sieve
from trailhound.pipeline.tally import Tally
from trailhound.pipeline.text_search import TextSearch
from trailhound.sources.contract import Glimpse, Likely, Passed, Searched, Source
from trailhound.sources.decode import Decoder

_Places = Callable[[int], Origin]
"""From the index of a line in a block to where the record stands."""

_OPEN = ord("{")
_WORTH_UNWRAPPING = 32 * 1024
_HELD_BYTES = 4 * 1024 * 1024
_RECORD_BYTES = 256
"""What a line that is held takes besides its text: there are lines of one character."""
_BLOCKS_SEARCHED = 512
"""Blocks searched before what was found in them is read; less where that is many bytes."""
_PIECES, _PIECE_BYTES = 3, 64 * 1024
"""What a search of text learns from besides the beginning of a large log."""
_SIEVE_REST = 16
"""Blocks read line by line after one that the sieve could do nothing with."""


class UnitReader:
    """Reads logs and matches their events; counts what it meets."""

    def __init__(self, plan: Plan, sources: tuple[Source, ...]) -> None:
        self.plan = plan
        self._sources = sources
        self._sieves = {
            source.name: Sieve(source, plan.views.get((source.name, source.gate.view)))
            for source in sources
            if source.gate is not None
        }
        self._searches: dict[str, TextSearch] = {}
        self._last = ""
        self._held: list[tuple[RawRecord, Alive | None, Source]] = []
        """Lines of the last blocks that are to be read whole, with the rules that may match."""
        self._held_bytes = 0
        self.tally = Tally()

    def read(self, group: tuple[InputFile, ...], progress: Callable[[int], None]) -> Iterator[Hit]:
        """Read one log; yield its hits in the order of its records."""
        decoder = Decoder(self._sources)
        for file in group:
            self.tally.files += not file.start
            yield from self._read_file(file, decoder, progress)
        yield from self._match(decoder.flush())

    def _read_file(
        self, file: InputFile, decoder: Decoder, progress: Callable[[int], None]
    ) -> Iterator[Hit]:
        current: Source | None = None
        rest = 0
        searched = 0
        last_line = 0
        for item in read_blocks(file, progress):
            if isinstance(item, ParseFailure):
                yield from self._read_held(decoder)
                last_line = max(last_line, item.origin.line)
                self.tally.fail(item)
            elif isinstance(item, RawRecord):
                yield from self._read_held(decoder)
                self.tally.size_bytes += len(item.data)
                last_line = max(last_line, item.origin.line)
                known = msgspec.structs.replace(item, modified_ns=file.modified_ns)
                yield from self._decode(decoder, known)
            else:
                self.tally.size_bytes += len(item.data)
                last_line = item.line + item.lines - 1
                if current is None or rest:
                    rest = max(0, rest - 1)
                    current = yield from self._by_line(file, item, decoder)
                elif current.text is not None:
                    current = yield from self._by_search(file, item, decoder, current)
                else:
                    plain = self._by_sieve(file, item, current)
                    rest = 0 if plain else _SIEVE_REST
                    searched += 1
                    enough = self._held_bytes >= _HELD_BYTES or searched % _BLOCKS_SEARCHED == 0
                    # Where the input may come slowly, nobody is to wait for what is known.
                    if rest or enough or not file.size_bytes:
                        yield from self._read_held(decoder)
        yield from self._read_held(decoder)
        self.tally.lines += last_line

    def _by_line(
        self, file: InputFile, block: Block, decoder: Decoder
    ) -> Generator[Hit, None, Source | None]:
        """Read a block record by record; return the source of the last event, if it is fast."""
        for index in range(len(block.ends)):
            line = block.text(index)
            if not line:
                continue
            origin = Origin(file.path, block.line + index)
            unwrapped = self._unwrapped(line, origin)
            if unwrapped is None:
                yield from self._decode(decoder, RawRecord(line, origin, file.modified_ns))
            else:
                self.tally.records += 1
                self._sift(*unwrapped, file)
                yield from self._read_held(decoder)
        return self._fast()

    def _fast(self) -> Source | None:
        for source in self._sources:
            if source.name == self._last and (source.gate or source.text):
                return source
        return None

    def _by_search(
        self, file: InputFile, block: Block, decoder: Decoder, source: Source
    ) -> Generator[Hit, None, Source | None]:
        """Pass over the lines of a text format that match no rule; return as `_by_line` does."""
        search = self._searches.get(source.name)
        if search is None:
            ahead = pieces_of(file, _PIECES, _PIECE_BYTES)
            search = self._searches[source.name] = TextSearch(source, self.plan, ahead)
        seen = {view for (name, view), n in self.tally.views.items() if n and name == source.name}
        marks = search.find(block, seen)
        if marks is None:
            return (yield from self._by_line(file, block, decoder))
        context = {"modified_ns": file.modified_ns} if file.modified_ns else {}
        lines = Searched(
            block.data,
            block.ends,
            file.path,
            block.line,
            context,
            marks,
            search.wanted,
            search.possible,
        )
        for item in decoder.skim(source, lines):
            if isinstance(item, Glimpse):
                yield from self._glimpsed(source.name, item, search.rules(item.marks))
            elif isinstance(item, Passed):
                self.tally.records += item.records
                self.tally.events[source.name] += item.events
                for view, count in item.views.items():
                    self.tally.views[source.name, view] += count
                if item.events:
                    self._last = source.name
            elif isinstance(item, Likely):
                yield from self._match((item.event,), search.rules(item.marks))
            elif isinstance(item, ParseFailure):
                self.tally.fail(item)
            elif line := block.text(item):
                origin = Origin(file.path, block.line + item)
                yield from self._decode(decoder, RawRecord(line, origin, file.modified_ns))
        return self._fast()

    def _glimpsed(self, source: str, item: Glimpse, among: frozenset[int] | None) -> Iterable[Hit]:
        matching = None
        if among is not None:
            matching = match_fields(self.plan, source, *item[:3], among)
        if matching is None:
            return self._verdicts(match_event(self.plan, item.make(), among))
        if not matching:
            return ()
        event = item.make()
        (document,) = event.views[item.views[0]]
        return [Hit(rule.index, event, document) for rule in matching]

    def _unwrapped(self, line: bytes, origin: Origin) -> tuple[Source, Block, _Places] | None:
        """Take a list of plain records out of a line such as `{"Records":[…]}`, to be sifted."""
        for source in self._sources:
            gate = source.gate
            if gate is None or not gate.list_key or len(line) < _WORTH_UNWRAPPING:
                continue
            head = b'{"%s":[' % gate.list_key.encode()
            if line.startswith(head) and (elements := _elements(line, gate.list_key)) is not None:
                block = Block(b"\n".join(elements) + b"\n", 1)
                return source, block, lambda at: Origin(origin.path, origin.line, at + 1)
        return None

    def _by_sieve(self, file: InputFile, block: Block, source: Source) -> int:
        """Sift a block; return how many of its lines were plain records of the source."""
        plain = self._sift(source, block, lambda at: Origin(file.path, block.line + at), file)
        self.tally.records += plain
        return plain

    def _sift(self, source: Source, block: Block, place: _Places, file: InputFile) -> int:
        """Sift a block; hold the lines that are to be read, and return how many are plain."""
        sifted = self._sieves[source.name].sift(block)
        gate = source.gate
        assert gate is not None  # noqa: S101 - sieves are made for gated sources
        self._last = source.name
        self.tally.events[source.name] += sifted.plain
        self.tally.views[source.name, gate.view] += sifted.plain
        alive: list[tuple[int, Alive | None]] = [
            *sifted.candidates,
            *((index, None) for index in sifted.strangers),
        ]
        if sifted.strangers:
            alive.sort(key=lambda item: item[0])
        for index, rules in alive:
            record = RawRecord(block.text(index), place(index), file.modified_ns)
            self._held.append((record, rules, source))
            self._held_bytes += len(record.data) + _RECORD_BYTES
        return sifted.plain

    def _read_held(self, decoder: Decoder) -> Iterator[Hit]:
        """Read the lines held, in their order.

        Many at once: to search a block and to read a few of its lines each push what the other
        needs out of the caches of the processor.
        """
        held, self._held, self._held_bytes = self._held, [], 0
        for record, rules, source in held:
            if rules is None:
                yield from self._decode(decoder, record)
                continue
            assert source.gate is not None  # noqa: S101 - as above
            view_plan = self.plan.views[source.name, source.gate.view]
            for event in decoder.decode(record):
                if isinstance(event, ParseFailure):
                    self.tally.fail(event)
                elif event.source == source.name:
                    yield from self._verdicts(match_candidates(view_plan, rules, event))
                else:
                    yield from self._verdicts(match_event(self.plan, event))

    def _decode(self, decoder: Decoder, record: RawRecord) -> Iterator[Hit]:
        self.tally.records += 1
        yield from self._match(decoder.decode(record))

    def _match(
        self, items: Iterable[Event | ParseFailure], among: frozenset[int] | None = None
    ) -> Iterator[Hit]:
        tally = self.tally
        for item in items:
            if isinstance(item, ParseFailure):
                self.tally.fail(item)
                continue
            self._last = item.source
            tally.events[item.source] += 1
            for view in item.views:
                tally.views[item.source, view] += 1
            yield from self._verdicts(match_event(self.plan, item, among))

    def _verdicts(self, verdicts: list[Hit | Undecided]) -> Iterator[Hit]:
        for verdict in verdicts:
            if isinstance(verdict, Hit):
                yield verdict
            else:
                self.tally.give_up(verdict)


def _elements(line: bytes, key: str) -> list[memoryview] | None:
    """Return the elements of the list in `{"key":[…]}`; None where it holds anything else."""
    try:
        (listed,) = msgspec.json.decode(line, type=dict[str, list[msgspec.Raw]]).values()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    elements = [memoryview(element) for element in listed]
    # Texts and lists may hold records of their own, which only the exact path looks for.
    if any(element[0] != _OPEN for element in elements):
        return None
    # Blanks, a second list under the same key, a key written with escapes: each would need
    # bytes that the elements and their commas do not account for.
    compact = len(key) + len('{"":[') + sum(map(len, elements)) + len(elements) - 1 + len("]}")
    if compact != len(line.rstrip()) or any(b"\n" in bytes(element) for element in elements):
        return None
    return elements
