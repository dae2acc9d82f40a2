"""The coarse search for text formats: blocks of lines to those that a rule may match.

The counterpart of `prefilter` for auditd and syslog. What is found marks lines; the reader of
the source passes over events without a mark that counts, and makes events of the others.
"""

import contextlib
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from itertools import accumulate

from trailhound.engine.gates import Maybe, is_short, possible
from trailhound.engine.needles import Each, Enough, Need, OneOf, choices, patterns_of
from trailhound.engine.plan import Plan
from trailhound.engine.text_needles import need_in_text
from trailhound.intake.blocks import Block
from trailhound.pipeline.prefilter import Clause, compiled, is_utf8, rarest
from trailhound.rules.ir import Or, Predicate
from trailhound.sources.contract import Source, TextGate

SAMPLE_BYTES = 256 * 1024
"""What is read of a log before the needles are chosen; shorter logs do without."""
_LARGEST_BYTES = 512 * 1024
"""A larger block is one long line, in which a needle may stand millions of times."""
_PATTERNS_LIMIT = 20_000
_VERDICTS_LIMIT = 10_000


class TextSearch:
    """Searches the blocks of one source; learns from the first ones what to search for."""

    def __init__(self, source: Source, plan: Plan, ahead: Sequence[Block] = ()) -> None:
        """Make a search for a source that has a text gate, and its rules.

        Args:
            source: the source.
            plan: the rules.
            ahead: what else to learn from, besides the first blocks: what comes later.
        """
        gate = source.text
        assert gate is not None  # noqa: S101 - the caller asks only for such sources
        self._gate = gate
        views = {
            view: held.predicates
            for (name, view), held in plan.views.items()
            if name == source.name
        }
        needs = _needs(gate, views)
        self._needs = [(index, need) for index, need in needs if need is not None]
        self._foresight = _Foresight(views)
        # A rule that nothing is known of has to see every event.
        self._off = len(self._needs) < len(needs)
        self._unseen = dict.fromkeys(views)
        # From them only follows how fast the search is.
        self._sample = [block for block in ahead if is_utf8(block.data)]
        self._sampled_bytes = 0
        self._search: _Search | None = None

    def find(self, block: Block, seen: Collection[str]) -> Mapping[int, int] | None:
        """Search a block of lines; None where every one has to be read.

        Args:
            block: whole lines.
            seen: views of which there was an event.

        Returns:
            Index of a line → marks for `wanted`.
        """
        if self._off or len(block.data) > _LARGEST_BYTES:
            return None
        if b"\0" in block.data or not is_utf8(block.data):
            return None
        for view in [view for view in self._unseen if view in seen]:
            del self._unseen[view]
            if self._search is not None:
                self._search.forget(view)
        if self._search is None:
            self._learn(block)
            return None
        if any(view not in self._gate.shows for view in self._unseen):
            return None
        return self._search.find(block)

    def wanted(self, marks: int) -> bool:
        """Whether an event with these marks may match a rule, or shows that a view is served."""
        if self._search is None:
            return True
        return marks != 0 and self._search.wanted(marks)

    def rules(self, marks: int) -> frozenset[int] | None:
        """Return the positions of the rules that an event may match; None where any may be."""
        return None if self._search is None else self._search.rules(marks)

    def possible(self, marks: int, known: Mapping[str, Mapping[str, str] | None]) -> bool:
        """Whether an event may match a rule, or shows a view; see `Searched.possible`."""
        search = self._search
        if search is None or search.shown(marks):
            return True
        rules = search.rules(marks)
        return rules is None or self._foresight.possible(rules, known)

    def _learn(self, block: Block) -> None:
        self._sample.append(block)
        self._sampled_bytes += len(block.data)
        if self._sampled_bytes < SAMPLE_BYTES:
            return
        sample, self._sample = self._sample, []
        # No Hyperscan for this machine, or patterns beyond it.
        with contextlib.suppress(ImportError, ValueError):
            self._search = _search_for(self._needs, self._gate, list(self._unseen), sample)
        self._off = self._search is None


class _Foresight:
    """What rules say of events of which some fields are known; remembered by their values."""

    def __init__(self, views: Mapping[str, Sequence[tuple[int, Predicate]]]) -> None:
        self._views = {view: dict(rules) for view, rules in views.items()}
        self._asked: dict[tuple[int, str, tuple[str, ...]], Maybe] = {}
        self._verdicts: dict[Hashable, bool] = {}

    def possible(
        self, rules: frozenset[int], known: Mapping[str, Mapping[str, str] | None]
    ) -> bool:
        """Whether any of some rules may match; `known` as in `Searched.possible`."""
        parts = [(view, tuple(fields.items()) if fields else ()) for view, fields in known.items()]
        key = rules, tuple(parts)
        found = self._verdicts.get(key)
        if found is None:
            found = any(self._may_match(index, *part) for part in parts for index in rules)
            if len(self._verdicts) >= _VERDICTS_LIMIT:
                self._verdicts.clear()
            if is_short([text for _, fields in parts for field in fields for text in field]):
                self._verdicts[key] = found
        return found

    def _may_match(self, index: int, view: str, fields: tuple[tuple[str, str], ...]) -> bool:
        predicate = self._views.get(view, {}).get(index)
        if predicate is None:
            return False
        names = tuple(name for name, _ in fields)
        asked = self._asked.get((index, view, names))
        if asked is None:
            asked = possible(predicate, frozenset((name,) for name in names))
            self._asked[index, view, names] = asked
        return asked({(name,): [text] if text else [] for name, text in fields})


def _needs(
    gate: TextGate, views: Mapping[str, Sequence[tuple[int, Predicate]]]
) -> list[tuple[int, Need | None]]:
    """Return what an event must hold for each rule, in whichever view the rule reads it."""
    ways: dict[int, dict[Need | None, list[str]]] = {}
    known_needs: dict[tuple[int, object], Need | None] = {}
    for view, rules in views.items():
        spell = gate.spelling(view)
        for index, predicate in rules:
            if isinstance(predicate, Or) and not predicate.items:
                continue
            if (index, spell) not in known_needs:
                known_needs[index, spell] = need_in_text(predicate, spell)
            ways.setdefault(index, {}).setdefault(known_needs[index, spell], []).append(view)
    needs: list[tuple[int, Need | None]] = []
    for index, found in ways.items():
        each = [_shown(gate, need, where) for need, where in found.items()]
        known = tuple(need for need in each if need is not None)
        whole = known[0] if len(known) == 1 else Enough(known)
        needs.append((index, whole if len(known) == len(each) else None))
    return needs


def _shown(gate: TextGate, need: Need | None, views: Sequence[str]) -> Need | None:
    if not all(view in gate.shows for view in views):
        return need
    shown = OneOf(frozenset(pattern for view in views for pattern in gate.shows[view]))
    return shown if need is None else Each((need, shown))


def _search_for(
    needs: Sequence[tuple[int, Need]],
    gate: TextGate,
    unseen: Sequence[str],
    sample: Sequence[Block],
) -> "_Search":
    """Choose for each rule the needles that are rarest in the sample.

    Where many events hold one all the same, these are read, and the search costs little.
    """
    patterns = list(dict.fromkeys(p for _, need in needs for p in patterns_of(need)))
    if len(patterns) > _PATTERNS_LIMIT:
        raise ValueError("too many patterns")
    every = _Lines(patterns, gate)
    count = 0
    seen = [0] * len(patterns)  # a bit for each event of the sample
    for block in sample:
        numbers = _events_of(block, gate)
        for number, line in every.places(block):
            seen[number] |= 1 << (count + numbers[line])
        count += max(numbers) + 1
    where = dict(zip(patterns, seen, strict=True))
    clauses = [
        (index, rarest(choices(need, lambda p: where[p].bit_count()), where)[0])
        for index, need in needs
    ]
    shows = {view: gate.shows[view] for view in unseen if view in gate.shows}
    return _Search(clauses, gate, shows)


def _events_of(block: Block, gate: TextGate) -> list[int]:
    """Number the events of a block; return the number of each line's event."""
    count = len(block.ends)
    if gate.event_of is None:
        return list(range(count))
    names = gate.event_of.findall(block.data)
    if len(names) != count:
        return list(range(count))
    numbers: dict[bytes, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]


class _Lines:
    """Texts that are looked for in lines, and in what of them is coded, all in one pass."""

    def __init__(self, texts: Sequence[bytes], gate: TextGate) -> None:
        """Compile. `ImportError` or `ValueError` where that is not possible."""
        self._coded = len(texts)
        self._decoded = gate.decoded
        # As texts, not as patterns: of hundreds of patterns together some matches were
        # missed, which ones depending on their order.
        self._database = compiled([*texts, *gate.coded], literal=True)

    def places(self, block: Block) -> Iterator[tuple[int, int]]:
        """Yield (number of a text, index of a line) for every match, some perhaps twice."""
        coded: dict[int, None] = {}
        for number, line in self._scan(block.data, block.ends):
            if number < self._coded:
                yield number, line
            else:
                coded[line] = None
        if not coded:
            return
        rows = [self._decoded(block.text(line)) for line in coded]
        ends = [size - 1 for size in accumulate(len(row) + 1 for row in rows)]
        lines = list(coded)
        for number, row in self._scan(b"\n".join(rows), ends):
            if number < self._coded:
                yield number, lines[row]

    def _scan(self, data: bytes, ends: Sequence[int]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((number, bisect_left(ends, end - 1)))

        if self._database is not None:
            self._database.scan(data, match_event_handler=note)
        return found


class _Search:
    """Clauses that events are searched for."""

    def __init__(
        self,
        clauses: Sequence[tuple[int, Clause]],
        gate: TextGate,
        shows: Mapping[str, Sequence[bytes]],
    ) -> None:
        shown = {pattern for held in shows.values() for pattern in held}
        asked = {pattern for _, clause in clauses for part in clause for pattern in part}
        patterns = sorted(asked | shown | set(gate.odd))
        self._lines = _Lines(patterns, gate)
        self._bits = [1 << number for number in range(len(patterns))]
        bits = dict(zip(patterns, self._bits, strict=True))
        self._odd = sum(bits[pattern] for pattern in gate.odd)
        self._shows = {view: sum(bits[p] for p in set(held)) for view, held in shows.items()}
        self._clauses = [
            (index, tuple(sum(bits[pattern] for pattern in part) for part in clause))
            for index, clause in clauses
        ]
        self._verdicts: dict[int, frozenset[int] | None] = {}

    def forget(self, view: str) -> None:
        """Look for events of a view no more."""
        self._shows.pop(view, None)

    def find(self, block: Block) -> Mapping[int, int]:
        """Return index of a line → bits of the patterns found in it."""
        held: dict[int, int] = {}
        bits = self._bits
        for number, line in self._lines.places(block):
            held[line] = held.get(line, 0) | bits[number]
        return held

    def wanted(self, marks: int) -> bool:
        """Whether marks are odd, fulfil a clause or show a view."""
        rules = self.rules(marks)
        return self.shown(marks) or rules is None or bool(rules)

    def shown(self, marks: int) -> bool:
        """Whether marks show a view of which there was no event yet."""
        return any(marks & view for view in self._shows.values())

    def rules(self, marks: int) -> frozenset[int] | None:
        """Return the rules whose clauses marks fulfil; None where marks are odd."""
        try:
            return self._verdicts[marks]
        except KeyError:
            pass
        rules = None
        if not marks & self._odd:
            rules = frozenset(
                index for index, clause in self._clauses if all(marks & part for part in clause)
            )
        if len(self._verdicts) < _VERDICTS_LIMIT:
            self._verdicts[marks] = rules
        return rules
