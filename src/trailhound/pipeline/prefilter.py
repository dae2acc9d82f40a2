"""The coarse search before the sieve: blocks of JSON lines to the few that are worth decoding.

It searches the bytes of a whole block for the needles of all rules at once, and proves with the
cheapest decoding there is that every line is one plain record of the source. What it sends on is
judged by the sieve as if nothing had come before; what it holds back cannot match.
"""

import functools
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import msgspec

from trailhound.engine.gates import Candidate
from trailhound.engine.needles import ODD, Need, Pattern, choices, need_of, patterns_of
from trailhound.engine.plan import ViewPlan
from trailhound.intake.blocks import Block
from trailhound.sources.contract import Source

SAMPLE_BYTES = 512 * 1024
"""What is read of a log before the needles are chosen; shorter logs do without."""
_SAMPLES_APART_BYTES = 16 * 1024 * 1024
"""How far behind one sample that promised nothing the next is taken; further each time."""
_SHARE_LIMIT = 0.4
"""Where more lines than this have to be decoded all the same, the search is not worth it."""
_LINES_JUDGED = 4096
"""After so many lines, it is seen whether the needles are still rare."""
_PATTERNS_LIMIT = 20_000
_VERDICTS_LIMIT = 10_000
_PARTS_LIMIT = 4
_COST_OF_SUSPECT = 50
"""What reading a line costs, in matches of a needle."""
_VALUES_LIMIT = 1000
_COMBINATIONS_LIMIT = 10_000
_UNPROVEN_LIMIT = 8
"""After so many blocks in a row that cannot be proven plain, the search rests."""
_VALUE_LENGTH = 100
Alive = tuple[Candidate, ...]
_OPEN, _CLOSE = b"{}"


class Found(NamedTuple):
    """What the search found in a block of plain records; all other lines match no rule."""

    candidates: list[tuple[int, Alive]]
    """(index of the line, the rules that may match it), in order."""
    odd: list[int]
    """Indices of lines that may hide what they say, in order."""


class Prefilter:
    """Searches the blocks of one source; learns from them what to search for."""

    def __init__(self, source: Source, view: ViewPlan | None) -> None:
        """Make a search for a source that has a gate, and the rules of its gated view."""
        rules = view.rules if view else ()
        self._needs = [
            (rule, need) for rule in rules if (need := need_of(rule.predicate)) is not None
        ]
        # A rule that nothing is known of has to see every line.
        self._proof = _Proof(source)
        self._off = len(self._needs) < len(rules) or not self._proof.possible
        self._search: _Search | None = None
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
        if self._search is None:
            self._learn(block)
            return None
        if not self._proof.holds(block):
            self._unproven += 1
            if self._unproven > _UNPROVEN_LIMIT:
                self._rest()
            return None
        self._unproven = 0
        found = self._search.find(block)
        self._lines += len(block.ends)
        self._suspects += len(found.candidates) + len(found.odd)
        if self._lines >= _LINES_JUDGED:
            if self._suspects > self._lines * _SHARE_LIMIT:
                self._rest()
            self._lines = self._suspects = 0
        return found

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
            self._search = _search_for(self._needs, sample)
        except (ImportError, ValueError):  # no Hyperscan for this machine, or patterns beyond it
            self._off = True
            return
        if self._search is None:
            self._rest()

    def _rest(self) -> None:
        """Leave the log to the sieve for a while, longer each time."""
        self._search = None
        self._unproven = 0
        self._skip_bytes = self._apart_bytes
        self._apart_bytes *= 2


Clause = tuple[frozenset[Pattern], ...]
"""A rule may match a line only if one pattern of each part is found in it."""


def _search_for(
    needs: Sequence[tuple[Candidate, Need]], sample: Sequence[Block]
) -> "_Search | None":
    """Choose for each rule the needles that are rarest in the sample; None if they are not rare."""
    patterns = list(dict.fromkeys(p for _, need in needs for p in patterns_of(need)))
    if len(patterns) > _PATTERNS_LIMIT:
        raise ValueError("too many patterns")
    every = _Haystack(patterns)
    lines = 0
    seen = [0] * len(patterns)  # a bit for each line of the sample
    for block in sample:
        for number, line in every.places(block):
            seen[number] |= 1 << (lines + line)
        lines += len(block.ends)
    where = dict(zip(patterns, seen, strict=True))
    clauses: list[tuple[Candidate, Clause]] = []
    suspects = 0
    for rule, need in needs:
        clause, found = _rarest(choices(need, lambda p: where[p].bit_count()), where)
        clauses.append((rule, clause))
        suspects |= found
    if suspects.bit_count() > lines * _SHARE_LIMIT:
        return None
    return _Search(clauses)


def _rarest(
    options: Sequence[frozenset[Pattern]], where: Mapping[Pattern, int]
) -> tuple[Clause, int]:
    """Return the options that together are in fewest lines, and a bit for each such line.

    Args:
        options: sets of patterns, of each of which one is in any line that matters.
        where: pattern → a bit for each line it is in.
    """
    lines = {option: _union_of(where, option) for option in dict.fromkeys(options)}
    rest = sorted(lines, key=lambda option: lines[option].bit_count())
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


def _union_of(where: Mapping[Pattern, int], part: Iterable[Pattern]) -> int:
    return functools.reduce(lambda a, b: a | b, (where[pattern] for pattern in part))


class _Search:
    """Clauses that lines are searched for."""

    def __init__(self, clauses: Sequence[tuple[Candidate, Clause]]) -> None:
        asked = {pattern for _, clause in clauses for part in clause for pattern in part}
        patterns = sorted(asked.union(ODD))
        self._haystack = _Haystack(patterns)
        self._bits = [1 << number for number in range(len(patterns))]
        bits = dict(zip(patterns, self._bits, strict=True))
        self._odd = sum(bits[pattern] for pattern in ODD)
        self._clauses = [
            (rule, tuple(sum(bits[pattern] for pattern in part) for part in clause))
            for rule, clause in clauses
        ]
        self._verdicts: dict[int, Alive] = {}

    def find(self, block: Block) -> Found:
        """Return the lines that fulfil a clause, each with the rules whose clauses these are."""
        held: dict[int, int] = {}
        bits = self._bits
        for number, line in self._haystack.places(block):
            held[line] = held.get(line, 0) | bits[number]
        candidates: list[tuple[int, Alive]] = []
        odd: list[int] = []
        for line in sorted(held):
            key = held[line]
            if key & self._odd:
                odd.append(line)
                continue
            alive = self._verdicts.get(key)
            if alive is None:
                alive = self._verdict(key)
            if alive:
                candidates.append((line, alive))
        return Found(candidates, odd)

    def _verdict(self, key: int) -> Alive:
        alive = tuple(rule for rule, clause in self._clauses if all(key & part for part in clause))
        if len(self._verdicts) < _VERDICTS_LIMIT:
            self._verdicts[key] = alive
        return alive


class _Haystack:
    """Patterns that are looked for in one pass over a block."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        """Compile. `ImportError` or `ValueError` where that is not possible."""
        import hyperscan  # noqa: PLC0415 - small logs do without, and need not pay for it

        self._database = hyperscan.Database() if patterns else None
        if self._database is None:
            return
        try:
            self._database.compile(
                expressions=list(patterns),
                ids=list(range(len(patterns))),
                elements=len(patterns),
                flags=[hyperscan.HS_FLAG_CASELESS] * len(patterns),
            )
        except hyperscan.error as error:
            raise ValueError(str(error)) from None

    def places(self, block: Block) -> list[tuple[int, int]]:
        """Return (number of a pattern, index of a line in which it is found) of every match."""
        found: list[tuple[int, int]] = []
        ends = block.ends

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((number, bisect_left(ends, end - 1)))

        if self._database is not None:
            self._database.scan(block.data, match_event_handler=note)
        return found


class _Proof:
    """Shows of a block that each of its lines is valid JSON and a plain record of the source."""

    def __init__(self, source: Source) -> None:
        gate = source.gate
        assert gate is not None  # noqa: S101 - the caller asks only for gated sources
        self._names = [path[0] for path in gate.signature if len(path) == 1]
        self.possible = len(self._names) == len(gate.signature)
        """Whether the signature is of a kind that can be looked at so."""
        self._accepts = gate.accepts
        self._values: list[dict[str, None]] = [{} for _ in self._names]
        fields = [(f"f{number}", str) for number in range(len(self._names))]
        self._rename = {f"f{number}": name for number, name in enumerate(self._names)}
        self._any: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            msgspec.defstruct("Signature", fields, rename=self._rename, gc=False)
        )
        self._known: msgspec.json.Decoder[Any] | None = None

    def holds(self, block: Block) -> bool:
        """Whether every line of a block is one plain record of the source."""
        data = block.data
        if not one_a_line(block) or not is_utf8(data):
            return False
        try:
            if self._known is not None:
                return len(self._known.decode_lines(data)) == len(block.ends)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
        return self._learn(data) and self._known is not None and self.holds(block)

    def _learn(self, data: bytes) -> bool:
        """Take up the values of the signature in a block; whether there were new ones."""
        try:
            records = self._any.decode_lines(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return False
        grown = [dict(values) for values in self._values]
        for record in records:
            for number, values in enumerate(grown):
                values[getattr(record, f"f{number}")] = None
        if grown == self._values or any(len(values) > _VALUES_LIMIT for values in grown):
            return False
        if math.prod(map(len, grown)) > _COMBINATIONS_LIMIT:
            return False
        # Each with each: where a key stands twice, any of its values may be the one that counts.
        if not all(len(value) <= _VALUE_LENGTH for values in grown for value in values) or not all(
            map(self._accepts, product(*grown))
        ):
            return False
        self._values = grown
        fields = [
            (f"f{number}", Literal.__getitem__(tuple(values)))
            for number, values in enumerate(grown)
        ]
        self._known = msgspec.json.Decoder(
            msgspec.defstruct("Known", fields, rename=self._rename, gc=False)
        )
        return True


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
