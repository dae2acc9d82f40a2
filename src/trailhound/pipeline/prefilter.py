"""The coarse search before the sieve: blocks of JSON lines to the few that are worth decoding.

It searches the bytes of a whole block for the needles of all rules at once, and proves with the
cheapest parser there is that every line is one plain record of the source. What it sends on is
read whole and judged as if nothing had come before; what it holds back cannot match.
"""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, islice, takewhile
from time import thread_time
from typing import TYPE_CHECKING, NamedTuple

from trailhound.engine.gates import Candidate, Gate, is_short
from trailhound.engine.needles import (
    ODD,
    Need,
    Pattern,
    beginning_of,
    choices,
    example_of,
    is_text,
    need_of,
    patterns_of,
    text_of_pattern,
    together,
)
from trailhound.engine.plan import ViewPlan
from trailhound.intake.blocks import Block
from trailhound.pipeline.telling import Row, Telling, are_single, asked_of, telling
from trailhound.sources.contract import Source

if TYPE_CHECKING:
    import hyperscan

SAMPLE_BYTES = 512 * 1024
"""What is read of a log before the needles are chosen; shorter logs do without."""
_SAMPLES_APART_BYTES = 16 * 1024 * 1024
"""How far behind one sample that promised nothing the next is taken; further each time."""
_SHARE_LIMIT = 0.4
"""Where more lines than this have to be decoded all the same, the search is not worth it."""
_LINES_JUDGED = 4096
"""After so many lines, it is seen whether the needles are still rare."""
_PATTERNS_LIMIT = 20_000
_PARTS_LIMIT = 4
_BESIDES_LIMIT = 2
"""So many needles are looked for only to make sure of what the sample does not show."""
_LOUD_SHARE = 0.05
"""Where the needles of one rule let through more, fields may tell more of it."""
_COST_OF_SUSPECT = 50
"""What reading a line costs, in matches of a needle."""
_TAIL_BYTES = 8
"""Of a text, Hyperscan looks at so many of its last bytes first."""
_TAILS_ALIKE = 3
_TAIL_SHARE = 0.1
"""So many needles end alike, and so often that stands in a line, where it is cut off."""
_FREQUENT_SHARE = 0.01
"""Needles that together are in fewer lines are not looked for as pairs."""
_PAIRS_OF_PARTS_LIMIT = 10
"""Of so many needles in two parts of a clause pairs are made; of more, pairs take longer."""
_PAIRS_LIMIT = 200
"""So many patterns with pairs are compiled; each takes a millisecond."""
_PAIRED_AFTER_BYTES = 64 * 1024 * 1024
"""Pairs spare a sixth of the search, and take as long to compile as 200 MB to be searched."""
_UNPROVEN_LIMIT = 8
"""After so many blocks in a row that cannot be proven plain, the search rests."""
_LARGEST_BYTES = 512 * 1024
"""Of a line of several MB that repeats keys, the exact path does not read every value by itself."""
_SHORTEST_BYTES = 100
"""Lines that are shorter on average are no records of a format that is searched."""
_STRAIN_S = 0.1
"""What the parser may take for blocks of late, in processor time; it needs a tenth of that. It
begins anew behind each document that it leaves to `json` (`1e999`, half a character), so a block
of nothing else takes it a thousand times as long. A block that takes a few milliseconds may be the
machine's fault, when its core is lent to others."""
_STRAINS = 4
"""More blocks than this have to take too long: one may have met Python collecting garbage."""
_LATE_BLOCKS = 64
"""How many blocks are of late: what they took fades by this part with each that follows."""
_NAN: Pattern = rb"[:\[, \t\r]-?(?:nan|inf|infinity)[ \t\r,}\]]"
"""What the parser takes for a number, in any spelling; of JSON it is none."""
_UNEVEN: tuple[Pattern, ...] = (rb"[^}]\n", rb"\n[^{]", rb"[} \t\r]\{")
"""Line ends that may stand elsewhere than between two objects, and objects that may follow on one
another in a line. Where nothing of it stands, there is one line end between any two documents."""
Alive = tuple[Candidate, ...]
_OPEN, _CLOSE = b"{}"


class Found(NamedTuple):
    """What the search found in a block of plain records; all other lines match no rule."""

    candidates: list[tuple[int, Alive]]
    """(index of the line, the rules that may match it), in order."""
    odd: list[int]
    """Indices of lines that may hide what they say, in order."""
    doubtful: frozenset[int] = frozenset()
    """Indices of lines in which fields may have more values than the proof reads."""


class Prefilter:
    """Searches the blocks of one source; learns from them what to search for."""

    def __init__(self, source: Source, view: ViewPlan | None) -> None:
        """Make a search for a source that has a gate, and the rules of its gated view."""
        rules = view.rules if view else ()
        self._needs = [(rule, need_of(rule.predicate)) for rule in rules]
        self._off = False
        self._source = source
        self._proof: _Proof | None = None
        self._search: _Search | None = None
        self._telling = Telling()
        self._unpaired: _Chosen | None = None
        self._unpaired_bytes = 0
        self._haystacks: list[_Haystack] = []
        self._sample: list[Block] = []
        self._sampled_bytes = 0
        self._apart_bytes = _SAMPLES_APART_BYTES
        self._skip_bytes = 0
        self._lines = 0
        self._suspects = 0
        self._unproven = 0

    def find(self, block: Block) -> Found | None:
        """Search a block; None where it cannot be told what its lines are."""
        if self._off:
            return None
        if self._search is None or self._proof is None:
            self._learn(block)
            return None
        rows = self._proof.read(block)
        found = self._search.find(block, len(rows.rows)) if rows is not None else None
        if found is None or rows is None:
            self._unproven += 1
            if self._unproven > _UNPROVEN_LIMIT or self._proof.strained:
                self._rest()
            return None
        self._unproven = 0
        if self._telling.fields:
            found = _told_of(block, found, rows, self._telling)
        self._lines += block.lines
        self._suspects += len(found.candidates) + len(found.odd)
        if self._lines >= _LINES_JUDGED:
            if self._suspects > self._lines * _SHARE_LIMIT:
                self._rest()
            self._lines = self._suspects = 0
        if self._unpaired is not None:
            self._pair(self._unpaired, len(block.data))
        return found

    def _pair(self, chosen: "_Chosen", size_bytes: int) -> None:
        """Search for pairs of needles from now on, if the log is long enough to be worth it."""
        self._unpaired_bytes -= size_bytes
        if self._unpaired_bytes > 0:
            return
        self._unpaired = None
        clauses = chosen.paired()
        if 0 < len(_patterns_in(clauses) - _patterns_in(chosen.clauses)) <= _PAIRS_LIMIT:
            with contextlib.suppress(ValueError):  # beyond Hyperscan: it goes on as before
                self._search = _Search(clauses, chosen.telling.doubtful)

    def _learn(self, block: Block) -> None:
        if self._skip_bytes > 0:
            self._skip_bytes -= len(block.data)
            return
        self._sample.append(block)
        self._sampled_bytes += len(block.data)
        if self._sampled_bytes < SAMPLE_BYTES:
            return
        sample, self._sample, self._sampled_bytes = self._sample, [], 0
        try:
            # Compiled once, however many samples it takes.
            self._haystacks = self._haystacks or _haystacks(_all_patterns(self._needs))
            chosen = _chosen(self._source, self._needs, self._haystacks, sample)
            if chosen is None:
                self._rest()
                return
            self._telling = chosen.telling
            self._proof = _Proof(self._source, self._telling)
            self._search = _Search(chosen.clauses, self._telling.doubtful)
        except (ImportError, ValueError):  # nothing for this machine, or patterns beyond it
            self._off = True
            return
        self._unpaired = chosen
        self._unpaired_bytes = _PAIRED_AFTER_BYTES

    def _rest(self) -> None:
        """Leave the log to the sieve for a while, longer each time."""
        self._search = self._unpaired = None
        self._unproven = 0
        self._skip_bytes = self._apart_bytes
        self._apart_bytes *= 2


Clause = tuple[frozenset[Pattern], ...]
"""A rule may match a line only if one pattern of each part is found in it."""
Clauses = list[tuple[Candidate, Clause]]
Needs = Sequence[tuple[Candidate, Need | None]]
"""Rules, and what lines must hold for each; None: nothing is known."""


class _Chosen(NamedTuple):
    """What tells of the rules."""

    clauses: Clauses
    telling: Telling
    where: Mapping[Pattern, int]
    """A bit for each line of the sample that a pattern is in."""
    lines: int
    """Of the sample."""

    def paired(self) -> Clauses:
        """Return the clauses, with pairs of needles in one pattern where that is faster."""
        return [(rule, _paired(clause, self.where, self.lines)) for rule, clause in self.clauses]


def _told_of(block: Block, found: Found, rows: "_Rows", telling: Telling) -> Found:
    """Add the lines of which fields tell, and drop the rules that fields rule out."""
    alive: dict[int, Alive] = {}
    told = dict(rows.alive())
    unknown = {line for line in found.doubtful if not are_single(block.text(line), telling.fields)}
    for line, searched in found.candidates:
        values = rows.values(line)
        may = [rule for rule in searched if line in unknown or telling.may(rule, values)]
        if may:
            alive[line] = tuple(may)
    told |= dict.fromkeys(unknown, telling.rules)
    for line in told.keys() - found.odd:
        alive[line] = union(alive.get(line, ()), told[line])
    return Found([(line, alive[line]) for line in sorted(alive)], found.odd)


def union(first: Alive, second: Alive) -> Alive:
    """Return the rules of both, in the order of the plan."""
    if not first or not second:
        return first or second
    merged = {rule.index: rule for rule in (*first, *second)}
    return tuple(merged[index] for index in sorted(merged))


def _patterns_in(clauses: Clauses) -> set[Pattern]:
    return {pattern for _, clause in clauses for part in clause for pattern in part}


def _all_patterns(needs: Needs) -> list[Pattern]:
    known = (need for _, need in needs if need is not None)
    patterns = list(dict.fromkeys(p for need in known for p in patterns_of(need)))
    if len(patterns) > _PATTERNS_LIMIT:
        raise ValueError("too many patterns")
    return patterns


def _chosen(
    source: Source, needs: Needs, haystacks: Sequence["_Haystack"], sample: Sequence[Block]
) -> _Chosen | None:
    """Choose for each rule the needles that are rarest in the sample, or fields that tell more.

    None where so many lines are to be read all the same that the search is not worth it.

    Args:
        source: of the log.
        needs: what lines must hold.
        haystacks: all patterns of these.
        sample: the beginning of a log.
    """
    lines = sum(block.lines for block in sample)
    where = _where(haystacks, sample)
    clauses: Clauses = []
    loud: dict[Candidate, tuple[Clause, int]] = {}
    cost = {pattern: found.bit_count() for pattern, found in where.items()}
    options: dict[Candidate, list[frozenset[Pattern]]] = {}
    suspects = 0
    for rule, need in needs:
        clause: Clause = ()
        found = (1 << lines) - 1
        if need is not None:
            options[rule] = choices(need, cost.__getitem__)
            clause, found = rarest(options[rule], where)
        if found.bit_count() > lines * _LOUD_SHARE:
            loud[rule] = clause, found
        else:
            clauses.append((rule, clause))
            suspects |= found
    told = _told(source, {rule: found.bit_count() for rule, (_, found) in loud.items()}, sample)
    for rule in loud.keys() - set(told.rules):
        clause, found = loud[rule]
        if not clause:
            return None
        clauses.append((rule, clause))
        suspects |= found
    if suspects.bit_count() > lines * _SHARE_LIMIT:
        return None
    clauses.sort(key=lambda item: item[0].index)
    asked = _patterns_in(clauses)
    clauses = [
        (rule, (*clause, *_besides(clause, options[rule], where, asked)))
        for rule, clause in clauses
    ]
    cut = _cut(_patterns_in(clauses), sample[0])
    clauses = [
        (rule, tuple(frozenset(cut.get(p, p) for p in part) for part in clause))
        for rule, clause in clauses
    ]
    return _Chosen(clauses, told, where | {cut[p]: where[p] for p in cut}, lines)


def _cut(patterns: Iterable[Pattern], block: Block) -> dict[Pattern, Pattern]:
    """Cut off what several needles end in and a block is full of, such as `.amazonaws.com"`.

    Hyperscan looks at the last bytes of a text first, and at the others wherever these stand.
    """
    ending: defaultdict[bytes, list[Pattern]] = defaultdict(list)
    for pattern in filter(is_text, patterns):
        ending[text_of_pattern(pattern)[-_TAIL_BYTES:].lower()].append(pattern)
    several = {tail: alike for tail, alike in ending.items() if len(alike) >= _TAILS_ALIKE}
    text = block.data.lower()
    found: dict[Pattern, Pattern] = {}
    for tail, alike in several.items():
        if text.count(tail) <= block.lines * _TAIL_SHARE:
            continue
        turned = [text_of_pattern(pattern)[::-1].lower() for pattern in alike]
        shared = list(takewhile(lambda column: len(set(column)) == 1, zip(*turned, strict=False)))
        surplus = len(shared) - _TAIL_BYTES // 2
        for pattern, backwards in zip(alike, turned, strict=True):
            if len(backwards) - surplus >= _TAIL_BYTES:
                found[pattern] = beginning_of(pattern, len(backwards) - surplus)
    return found


def _differ(one: frozenset[Pattern], other: frozenset[Pattern]) -> bool:
    """Whether no pattern says of a line what one of the others does."""
    pairs = ((a.strip(b'"'), b.strip(b'"')) for a in one for b in other)
    return not any(a in b or b in a for a, b in pairs)


def _besides(
    clause: Clause,
    options: Iterable[frozenset[Pattern]],
    where: Mapping[Pattern, int],
    asked: AbstractSet[Pattern],
) -> Clause:
    """Return one more part for a clause that is in no line of the sample, of few new patterns.

    What is not in a sample may be frequent in the log; two such things together seldom are.
    """
    if len(clause) > 1 or _union_of(where, clause[0]):
        return ()
    others = (
        option
        for option in options
        if len(option - asked) <= _BESIDES_LIMIT
        and not _union_of(where, option)
        and _differ(option, clause[0])
    )
    return tuple(islice(others, 1))


def _told(source: Source, loud: Mapping[Candidate, int], sample: Sequence[Block]) -> Telling:
    """Choose the fields that tell of rules that needles let too many lines through for."""
    fields = asked_of(loud)
    rows = _Proof(source, Telling(fields=fields)).rows(sample) if fields else []
    return telling(loud, fields, rows) if rows else Telling()


def _where(haystacks: Sequence["_Haystack"], sample: Sequence[Block]) -> dict[Pattern, int]:
    """Return for each pattern a bit for each line of the sample that it is in."""
    lines = 0
    where: dict[Pattern, int] = {}
    for haystack in haystacks:
        where |= dict.fromkeys(haystack.patterns, 0)
    for block in sample:
        for haystack in haystacks:
            for number, places in haystack.places(block.data).items():
                for line in block.indices(places):
                    where[haystack.patterns[number]] |= 1 << (lines + line)
        lines += block.lines
    return where


def rarest(
    options: Sequence[frozenset[Pattern]], where: Mapping[Pattern, int]
) -> tuple[Clause, int]:
    """Return the options that together are in fewest lines, and a bit for each such line.

    Args:
        options: sets of patterns, of each of which one is in any line that matters.
        where: pattern → a bit for each line it is in.
    """
    lines = {option: _union_of(where, option) for option in dict.fromkeys(options)}
    # Of those that are in no line of a sample, few and long texts are in fewer lines of the log.
    rarity = {
        option: (found.bit_count(), *((len(option), -min(map(len, option))) if not found else ()))
        for option, found in lines.items()
    }
    rest = sorted(lines, key=rarity.__getitem__)
    clause: Clause = (rest[0],)
    found = lines[rest[0]]
    while len(clause) < _PARTS_LIMIT:

        def gain(option: frozenset[Pattern], found: int = found) -> int:
            spared = found.bit_count() - (found & lines[option]).bit_count()
            return spared * _COST_OF_SUSPECT - lines[option].bit_count()

        best = max(rest, key=gain)
        if gain(best) <= 0:
            break
        clause = (*clause, best)
        found &= lines[best]
    return clause, found


def _paired(clause: Clause, where: Mapping[Pattern, int], lines: int) -> Clause:
    """Say a clause by pairs of needles where that finds no more lines of the sample.

    Hyperscan tells of a match in the time in which it sees for ten whether the other is there.
    """
    first, *others = clause
    paired: list[frozenset[Pattern]] = []
    single: list[frozenset[Pattern]] = []
    for other in others:
        # What is no text cannot be part of a pair, and may stand for both if it is rare.
        alone = {pattern for pattern in first | other if not is_text(pattern)}
        spared = _union_of(where, first).bit_count() + _union_of(where, other).bit_count()
        if (
            spared < lines * _FREQUENT_SHARE
            or len(first) * len(other) > _PAIRS_OF_PARTS_LIMIT
            or _union_of(where, alone)
        ):
            single.append(other)
        else:
            paired.append(together(first - alone, other - alone) | alone)
    return (*paired, *single) if paired else clause


def _union_of(where: Mapping[Pattern, int], part: Iterable[Pattern]) -> int:
    return functools.reduce(lambda a, b: a | b, (where[pattern] for pattern in part), 0)


class _Search:
    """Clauses that lines are searched for."""

    def __init__(self, clauses: Clauses, doubtful: Iterable[Pattern] = ()) -> None:
        patterns = sorted(_patterns_in(clauses).union(ODD, doubtful, (_NAN, *_UNEVEN)))
        self._haystack = _Haystack(patterns)
        numbers = {pattern: number for number, pattern in enumerate(patterns)}
        self._odd = frozenset(numbers[pattern] for pattern in (*ODD, _NAN))
        self._uneven = frozenset(numbers[pattern] for pattern in _UNEVEN)
        self._doubtful = frozenset(numbers[pattern] for pattern in doubtful)
        self._clauses = [
            (rule, tuple(frozenset(numbers[pattern] for pattern in part) for part in clause))
            for rule, clause in clauses
        ]
        self._clauses_of: list[list[int]] = [[] for _ in patterns]
        """Number of a pattern → clauses that begin with a part that has it."""
        for index, (_, clause) in enumerate(self._clauses):
            for number in clause[0]:
                self._clauses_of[number].append(index)

    def find(self, block: Block, documents: int) -> Found | None:
        """Return the lines that fulfil a clause, each with the rules whose clauses these are.

        None where not every line holds one document.

        Args:
            block: lines of valid JSON, of which each document is an object.
            documents: how many there are.
        """
        places = self._haystack.places(block.data)
        if documents != block.lines:
            return None
        if not self._uneven.isdisjoint(places) and not one_a_line(block):
            return None
        if not places:
            return Found([], [])
        known: dict[int, set[int]] = {}  # number of a pattern → lines with it

        def lines_with(part: frozenset[int]) -> set[int]:
            found: set[int] = set()
            for number in part.intersection(places):
                if number not in known:
                    known[number] = block.indices(places[number])
                found |= known[number]
            return found

        odd = lines_with(self._odd)
        alive: dict[int, list[Candidate]] = {}
        for index in sorted({c for number in places for c in self._clauses_of[number]}):
            rule, (first, *others) = self._clauses[index]
            found = lines_with(first) - odd
            for part in others:
                if not found:
                    break
                found &= lines_with(part)
            for line in found:
                alive.setdefault(line, []).append(rule)
        return Found(
            [(line, tuple(alive[line])) for line in sorted(alive)],
            sorted(odd),
            frozenset(lines_with(self._doubtful) - odd),
        )


def _haystacks(patterns: Sequence[Pattern]) -> list["_Haystack"]:
    """Compile patterns to be looked for once: those that are texts by themselves, sooner so."""
    texts = [pattern for pattern in patterns if is_text(pattern)]
    others = [pattern for pattern in patterns if not is_text(pattern)]
    return [_Haystack(texts, literal=True), _Haystack(others)]


def compiled(patterns: Sequence[Pattern], *, literal: bool) -> "hyperscan.Database | None":
    """Compile patterns to be looked for in one pass, without regard to case; None of none.

    `literal`: they are texts. `ImportError` or `ValueError` where that is not possible.
    """
    import hyperscan  # noqa: PLC0415 - small logs do without, and need not pay for it

    if not patterns:
        return None
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=patterns,
            ids=list(range(len(patterns))),
            elements=len(patterns),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(patterns),
            literal=literal,
        )
    except hyperscan.error as error:
        raise ValueError(str(error)) from None
    return database


class _Haystack:
    """Patterns that are looked for in one pass over a block."""

    def __init__(self, patterns: Sequence[Pattern], *, literal: bool = False) -> None:
        """Compile. `ImportError` or `ValueError` where that is not possible."""
        self.patterns = patterns
        texts = list(map(text_of_pattern, patterns)) if literal else patterns
        self._database = compiled(texts, literal=literal)
        if self._database is None:
            return
        self._try_out()

    def _try_out(self) -> None:
        """See that each pattern is found in what it matches.

        Hyperscan has been seen to miss some of several hundred patterns that were compiled
        together, which ones depending on their order.
        """
        examples = [example_of(pattern) for pattern in self.patterns]
        ends = accumulate(len(example) + 1 for example in examples)
        found = self.places(b"\n".join(examples) + b"\n")
        for number, end in enumerate(ends):
            if end - 2 not in found[number]:
                raise ValueError(f"{self.patterns[number]!r} is not found")

    def places(self, data: bytes) -> Mapping[int, list[int]]:
        """Return the last places of all matches, in order, by the number of the pattern."""
        found: defaultdict[int, list[int]] = defaultdict(list)

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found[number].append(end - 1)

        if self._database is not None:
            self._database.scan(data, match_event_handler=note)
        return found


class _Rows(NamedTuple):
    """What the proof has read of each line of a block."""

    rows: list[Row]
    verdicts: dict[Row, Alive]
    """Rules that may match, where these are told from fields: by what was read of a line."""
    signature: int
    """How many values come first that tell the source."""

    def alive(self) -> Iterable[tuple[int, Alive]]:
        """Yield lines with the rules that may match them."""
        if self.verdicts:
            for line, found in enumerate(map(self.verdicts.get, self.rows)):
                if found:
                    yield line, found

    def values(self, line: int) -> Row:
        """Return the values of fields that tell, of one line."""
        return self.rows[line][self.signature :]


class _Proof:
    """Shows of a block that it is valid JSON and all of its documents are of the source."""

    def __init__(self, source: Source, telling: Telling) -> None:
        """Make it. `ImportError` where there is no parser for this machine."""
        from fastsimdjson import loads_many  # noqa: PLC0415 - as Hyperscan

        gate = source.gate
        assert gate is not None  # noqa: S101 - the caller asks only for gated sources
        self._accepts = gate.accepts
        self._parse = loads_many
        self._signature = len(gate.signature)
        self._telling = telling
        paths = (*gate.signature, *telling.fields)
        self._pointers = ["".join(map(_pointer, path)) for path in paths]
        self._known: dict[Row, Alive] = {}
        self._spent_s = 0.0
        self.strained = False
        """Whether blocks take far too long, so that more of them had better not come."""

    def read(self, block: Block) -> "_Rows | None":
        """Return what was read of the documents, in order; None where it is not shown."""
        rows = self._parsed(block)
        if rows is None:
            return None
        try:
            verdicts = self._verdicts(set(rows))
        except TypeError:  # a list or an object
            return None
        return None if verdicts is None else _Rows(rows, verdicts, self._signature)

    def rows(self, sample: Sequence[Block]) -> list[Row]:
        """Return the values of the fields in the lines of a sample, of blocks that can be read.

        None stands for what is no text.
        """
        read = [self._parsed(block) or () for block in sample]
        found = (row[self._signature :] for rows in read for row in rows)
        return [tuple(v if type(v) is str else None for v in row) for row in found]

    def _parsed(self, block: Block) -> list[Row] | None:
        data = block.data
        self.strained = False
        if data[:1] != b"{" or len(data) > _LARGEST_BYTES:
            return None
        limit = len(data) // _SHORTEST_BYTES
        begun = thread_time()
        try:
            parsed = self._parse(data, fields=self._pointers, format="lines")
            rows = list(islice(parsed, limit + 1))
        except (ValueError, RecursionError):
            return None
        finally:
            taken_s = min(thread_time() - begun, _STRAIN_S / _STRAINS)
            self._spent_s += taken_s - self._spent_s / _LATE_BLOCKS
            self.strained = self._spent_s > _STRAIN_S
        return None if self.strained or len(rows) > limit else rows

    def _verdicts(self, rows: set[Row]) -> dict[Row, Alive] | None:
        """Return rows that leave rules alive, and these; None where one is not of the source."""
        verdicts: dict[Row, Alive] = {}
        for row in rows:
            alive = self._known.get(row)
            if alive is None:
                alive = self._judge(row)
            if alive is None:
                return None
            if alive:
                verdicts[row] = alive
        return verdicts

    def _judge(self, row: Row) -> Alive | None:
        # Numbers of other types may be equal, and accepted or not: only text is remembered.
        signature = row[: self._signature]
        if not all(type(value) is str for value in signature) or not self._accepts(signature):
            return None
        alive = self._telling.alive(row[self._signature :])
        if all(type(value) is str for value in row) and is_short(row):
            if len(self._known) >= Gate.MEMORY:
                self._known.clear()
            self._known[row] = alive
        return alive


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")


def is_utf8(data: bytes) -> bool:
    """Whether bytes are valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def one_a_line(block: Block) -> bool:
    """Whether every line end stands between two objects.

    In JSON an object is followed by another only where one document ends and the next begins.
    As many documents as lines are then one to a line.
    """
    data = block.data
    if data[:1] != b"{":
        return False
    for end in block.ends[:-1]:
        if data[end + 1] != _OPEN or (data[end - 1] != _CLOSE and data[end - 2 : end] != b"}\r"):
            return False
    return True
