"""The fast path: blocks of JSON lines to the few lines that a rule may match.

Every line is parsed and checked as JSON, but only the fields that gates ask for become
Python objects. What is not a plain line of the expected format, or is odd in any way (broken,
not UTF-8, a key that stands twice), is left to the exact path, so that both come to the same
verdict.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import msgspec
import re2
from msgspec import UNSET

from trailhound.engine.gates import Candidate, Gate
from trailhound.engine.plan import ViewPlan
from trailhound.intake.blocks import Block
from trailhound.sources.contract import Path, Source

Alive = tuple[Candidate, ...]


class _AcceptsAny(type):
    # msgspec asks isinstance of what a decoding hook returns; any class is true, in C.
    __instancecheck__ = staticmethod(type)  # type: ignore[assignment]


class _Counted(metaclass=_AcceptsAny):
    """A field of which every occurrence in the text is counted."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """What the sieve says of one block."""

    plain: int
    """Lines that are plain records of the source."""
    candidates: list[tuple[int, Alive]]
    """(index of the line, the rules that may match it), in order."""
    strangers: list[int]
    """Indices of the lines that the exact path has to read."""


class Sieve:
    """Sifts the blocks of one source."""

    def __init__(self, source: Source, view: ViewPlan | None) -> None:
        """Make a sieve for a source that has a gate, and the rules of its gated view."""
        gate = source.gate
        assert gate is not None  # noqa: S101 - the caller asks only for gated sources
        self._accepts = gate.accepts
        # A field that one gate reads whole and another reads into cannot be both in a type.
        entered = {path[0] for path in gate.signature if len(path) > 1}
        for rule_gate in view.gates if view else ():
            entered.update(path[0] for path in rule_gate.paths if len(path) > 1)
        free: dict[int, Candidate] = {rule.index: rule for rule in view.free} if view else {}
        gates: list[Gate] = []
        for rule_gate in view.gates if view else ():
            if any(len(path) == 1 and path[0] in entered for path in rule_gate.paths):
                free.update({rule.index: rule for rule in rule_gate.rules})
            else:
                gates.append(rule_gate)
        self._free: Alive = tuple(free[index] for index in sorted(free))
        counted = frozenset(path for rule_gate in gates for path in rule_gate.paths)
        layout = _Layout((*dict.fromkeys((*gate.signature, *sorted(counted))),), counted)
        self._occurrences = 0
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            layout.record(), dec_hook=self._count
        )
        self._signature = len(gate.signature)
        joint = [g for g in gates if g.paths == gate.discriminators] or [Gate((), ())]
        single = [g for g in gates if g.paths != gate.discriminators]
        self._head_of = layout.values((*gate.signature, *joint[0].paths))
        self._joint = joint[0]
        self._heads: dict[Any, tuple[int, Alive] | None] = {}
        self._columns: list[_Column] = []
        claimed = set(joint[0].paths)
        for rule_gate in single:
            (path,) = rule_gate.paths
            # Each field is held against its occurrences once, whichever gates read it.
            column = _Column(rule_gate, layout.values(rule_gate.paths), own=path not in claimed)
            claimed.add(path)
            self._columns.append(column)

    def sift(self, block: Block) -> Sifted:
        """Sift a block of whole lines."""
        records = self._decode(block.data)
        alive: dict[int, Alive] | None = None
        if records is not None and len(records) == len(block.ends):
            try:
                alive = self._sift_fast(records)
            except TypeError:  # a list or an object where gates expect something simple
                alive = None
        if alive is None:
            return self._sift_slowly(block)
        return Sifted(len(block.ends), [(index, alive[index]) for index in sorted(alive)], [])

    def _count(self, _type: type, value: Any) -> Any:
        self._occurrences += 1
        return value

    def _decode(self, data: bytes) -> list[Any] | None:
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                return None
        self._occurrences = 0
        try:
            records: list[Any] = self._decoder.decode_lines(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        return records

    def _sift_fast(self, records: list[Any]) -> dict[int, Alive] | None:
        alive: dict[int, Alive] = {}
        if self._free:
            alive = dict.fromkeys(range(len(records)), self._free)
        present = 0
        heads = list(map(self._head_of, records))
        wanted: dict[Any, Alive] = {}
        for key, count in Counter(heads).items():
            verdict = self._heads.get(key) or self._head(key)
            if verdict is None:
                return None
            present += verdict[0] * count
            if verdict[1]:
                wanted[key] = verdict[1]
        _mark(alive, heads, wanted)
        for column in self._columns:
            values, wanted = column.verdicts(records)
            present += values
            _mark(alive, map(column.read, records), wanted)
        return alive if present == self._occurrences else None

    def _head(self, key: tuple[Any, ...]) -> tuple[int, Alive] | None:
        """Judge signature and joint gate; None where it is no plain record of the source."""
        if not self._accepts(key[: self._signature]):
            return None
        values = key[self._signature :]
        present = sum(value is not UNSET for value in values)
        verdict = (present, self._joint.alive(tuple(map(_as_values, values))))
        if len(self._heads) >= Gate.MEMORY:
            self._heads.clear()
        self._heads[key] = verdict
        return verdict

    def _sift_slowly(self, block: Block) -> Sifted:
        candidates: list[tuple[int, Alive]] = []
        strangers: list[int] = []
        plain = 0
        for index in range(len(block.ends)):
            line = block.text(index)
            if not line.strip():
                continue
            alive = self._judge(line)
            if alive is None:
                strangers.append(index)
                continue
            plain += 1
            if alive:
                candidates.append((index, alive))
        return Sifted(plain, candidates, strangers)

    def _judge(self, line: bytes) -> Alive | None:
        """Return the rules for one line; None where the exact path has to read it."""
        records = self._decode(line)
        if records is None or len(records) != 1:
            return None
        try:
            head = self._head(self._head_of(records[0]))
        except TypeError:
            return None
        if head is None:
            return None
        present, alive = head
        for column in self._columns:
            values, rules = column.verdict(column.read(records[0]))
            present += values
            alive = _union(alive, rules)
        return _union(self._free, alive) if present == self._occurrences else None


def _mark(alive: dict[int, Alive], keys: Iterable[Any], wanted: dict[Any, Alive]) -> None:
    if wanted:
        for index, key in enumerate(keys):
            if key in wanted:
                alive[index] = _union(alive.get(index, ()), wanted[key])


class _Column:
    """The field that one gate reads of the records, and its verdicts by the values read."""

    def __init__(self, gate: Gate, read: Callable[[Any], Any], *, own: bool) -> None:
        self.read = read
        self._gate = gate
        self._own = own
        self._memory: dict[Any, tuple[int, Alive]] = {}
        self._literals = None
        if gate.literals is not None:
            self._literals = re2.compile("|".join(map(re2.escape, sorted(gate.literals))))

    def verdicts(self, records: list[Any]) -> tuple[int, dict[Any, Alive]]:
        """Judge the records of a block.

        Returns:
            How many values of the gate's own field are present in all, and the keys with
            rules still alive. Raises `TypeError` where a key cannot be one.
        """
        if self._literals is not None:
            # One search over all values of a block is much cheaper than one for each.
            try:
                text = "\n".join(map(self.read, records))
            except TypeError:
                pass  # absent in some, or no text: judged one by one
            else:
                if self._literals.search(text.lower()) is None:
                    return len(records) * self._own, {}
        present = 0
        wanted: dict[Any, Alive] = {}
        for key, count in Counter(map(self.read, records)).items():
            values, rules = self.verdict(key)
            present += values * count
            if rules:
                wanted[key] = rules
        return present, wanted

    def verdict(self, key: Any) -> tuple[int, Alive]:
        """Return how many values of the gate's own field these are, and the rules alive."""
        try:
            known = self._memory.get(key)
        except TypeError:
            return self._decide(key)
        if known is None:
            known = self._decide(key)
            if len(self._memory) >= Gate.MEMORY:
                self._memory.clear()
            self._memory[key] = known
        return known

    def _decide(self, key: Any) -> tuple[int, Alive]:
        return int(self._own and key is not UNSET), self._gate.alive((_as_values(key),))


class _Layout:
    """The fields of interest as a msgspec type, and ways to read them from its instances."""

    def __init__(self, paths: Sequence[Path], counted: frozenset[Path]) -> None:
        self._counted = counted
        self._outer: dict[str, list[str]] = {}
        for path in paths:
            inner = self._outer.setdefault(path[0], [])
            if len(path) > 1:
                inner.append(path[1])
        self._names = list(self._outer)

    def record(self) -> type:
        """Return the type of a record."""
        fields: list[tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        for number, (name, inner) in enumerate(self._outer.items()):
            rename[f"f{number}"] = name
            if not inner:
                fields.append((f"f{number}", self._type((name,)), UNSET))
                continue
            below = msgspec.defstruct(
                "Inner",
                [(f"g{n}", self._type((name, key)), UNSET) for n, key in enumerate(inner)],
                rename={f"g{n}": key for n, key in enumerate(inner)},
                frozen=True,
                gc=False,
            )
            fields.append((f"f{number}", below, below()))
            for key in inner:
                # The field written as one dotted key: rules would find it, this type would not.
                odd = f"d{len(rename)}"
                rename[odd] = f"{name}.{key}"
                fields.append((odd, Literal["\0"], UNSET))
        return msgspec.defstruct("Record", fields, rename=rename, gc=False)

    def values(self, paths: Sequence[Path]) -> Callable[[Any], Any]:
        """Return a function from a record to a tuple of values; of one field, the value."""
        return attrgetter(*(self._attribute(path) for path in paths))

    def _type(self, path: Path) -> Any:
        return _Counted if path in self._counted else Any

    def _attribute(self, path: Path) -> str:
        first = f"f{self._names.index(path[0])}"
        return first if len(path) == 1 else f"{first}.g{self._outer[path[0]].index(path[1])}"


def _as_values(value: Any) -> tuple[Any, ...]:
    """Return what a field getter would: the values of a field that was read from a line."""
    if value is UNSET:
        return ()
    if not isinstance(value, list):
        return (value,)
    flat: list[Any] = []
    for item in value:
        flat.extend(_as_values(item))
    return tuple(flat)


def _union(first: Alive, second: Alive) -> Alive:
    if not first or not second:
        return first or second
    merged = {rule.index: rule for rule in (*first, *second)}
    return tuple(merged[index] for index in sorted(merged))
