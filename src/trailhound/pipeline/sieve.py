"""The fast path: blocks of JSON lines to the few lines that a rule may match.

Every line is parsed and checked as JSON, but only the fields that gates ask for become
Python objects. What is not a plain line of the expected format, or is odd in any way (broken,
not UTF-8, a key that stands twice), is left to the exact path, so that both come to the same
verdict.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import re2
from msgspec import UNSET

from trailhound.engine.gates import Gate, Gates, TextGate, is_short, is_text
from trailhound.engine.plan import ViewPlan
from trailhound.intake.blocks import Block
from trailhound.pipeline.prefilter import Alive, Prefilter, is_utf8, one_a_line, union
from trailhound.sources.contract import Path, Source


class _AcceptsAny(type):
    """Type of a field whose every occurrence in the text is noted, and kept as it is."""

    # msgspec asks isinstance of what a decoding hook returns; any class is true, in C.
    __instancecheck__ = staticmethod(type)  # type: ignore[assignment]


def _note(field: Any, value: Any) -> Any:
    field.note(value)
    return value


class _Never(metaclass=_AcceptsAny):
    """Type of a field that must not be there."""

    @staticmethod
    def note(_value: Any) -> None:
        raise ValueError("a key with a dot in it")


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
        self._prefilter = Prefilter(source, view)
        # A field that one gate reads whole and another reads into cannot be both in a type.
        entered = {path[0] for path in gate.signature if len(path) > 1}
        held = view.gates if view else Gates((), TextGate(()), ())
        for rule_gate in held.by_fields:
            entered.update(path[0] for path in rule_gate.paths if len(path) > 1)
        # What looks for words anywhere cannot be told from a line that is not parsed whole.
        free = {rule.index: rule for rule in (*held.free, *held.by_text.rules)}
        gates: list[Gate] = []
        for rule_gate in held.by_fields:
            if any(len(path) == 1 and path[0] in entered for path in rule_gate.paths):
                free.update({rule.index: rule for rule in rule_gate.rules})
            else:
                gates.append(rule_gate)
        self._free: Alive = tuple(free[index] for index in sorted(free))
        # Of what tells the source, the decoder shows the last value, and others read the first.
        self._seen: dict[Path, list[Any]] = {
            path: []
            for path in (*gate.signature, *(p for rule_gate in gates for p in rule_gate.paths))
        }
        layout = _Layout(tuple(dict.fromkeys((*gate.signature, *self._seen))), self._seen)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            layout.record(), dec_hook=_note
        )
        joint = next((g for g in gates if g.paths == gate.discriminators), Gate((), ()))
        self._joint = joint
        self._head_seen = [self._seen[path] for path in (*gate.signature, *joint.paths)]
        self._signature = len(gate.signature)
        self._head_of = layout.values((*gate.signature, *joint.paths))
        self._heads: dict[Any, tuple[int, Alive]] = {}
        self._columns = [
            _Column(g, layout.values(g.paths), self._seen[g.paths[0]])
            for g in gates
            if g is not joint
        ]

    def sift(self, block: Block) -> Sifted:
        """Sift a block of whole lines."""
        found = self._prefilter.find(block)
        if found is None:
            return self._sift(block)
        return Sifted(block.lines - len(found.odd), found.candidates, found.odd)

    def _sift(self, block: Block) -> Sifted:
        alive: dict[int, Alive] | None = None
        records = self._decode(block.data) if one_a_line(block) else None
        if records is not None and len(records) == len(block.ends):
            try:
                alive = self._sift_fast(records)
            except TypeError:  # a list or an object where gates expect something simple
                alive = None
        if alive is None:
            return self._sift_slowly(block)
        return Sifted(len(block.ends), [(index, alive[index]) for index in sorted(alive)], [])

    def _decode(self, data: bytes) -> list[Any] | None:
        if not is_utf8(data):
            return None
        for seen in self._seen.values():
            seen.clear()
        try:
            records: list[Any] = self._decoder.decode_lines(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        return records

    def _sift_fast(self, records: list[Any]) -> dict[int, Alive] | None:
        """Return the rules still alive by index of the record; None where a line is odd."""
        alive: dict[int, Alive] = {}
        if self._free:
            alive = dict.fromkeys(range(len(records)), self._free)
        heads = list(map(self._head_of, records))
        present = 0
        wanted: dict[Any, Alive] = {}
        for key, count in Counter(heads).items():
            verdict = self._heads.get(key) or self._head(key)
            if verdict is None:
                return None
            present += verdict[0] * count
            if verdict[1]:
                wanted[key] = verdict[1]
        if present != sum(map(len, self._head_seen)):
            return None
        _mark(alive, heads, wanted)
        for column in self._columns:
            if column.idle():
                continue
            keys = list(map(column.read, records))
            found = column.verdicts(keys)
            if found is None:
                return None
            _mark(alive, keys, found)
        return alive

    def _head(self, key: tuple[Any, ...]) -> tuple[int, Alive] | None:
        """Judge signature and joint gate; None where it is no plain record of the source."""
        if not self._accepts(key[: self._signature]):
            return None
        values = key[self._signature :]
        if not all(map(is_text, values)):
            raise TypeError("not a text in a field of the joint gate")
        present = sum(value is not UNSET for value in key)
        verdict = (present, self._joint.alive(tuple(map(_as_values, values))))
        if is_short(key):
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
            if head is None or head[0] != sum(map(len, self._head_seen)):
                return None
            alive = union(self._free, head[1])
            for column in self._columns:
                key = column.read(records[0])
                if len(column.seen) != (key is not UNSET):
                    return None
                alive = union(alive, column.verdict(key))
        except TypeError:  # a list or an object as a value: not in the memory of verdicts
            return None
        return alive


def _mixed(keys: list[Any]) -> bool:
    """Whether numbers among values may be equal for Python and not for a rule."""
    kinds = {type(key) for key in keys if isinstance(key, int | float)}
    return len(kinds) > 1 or float in kinds


def _mark(alive: dict[int, Alive], keys: Iterable[Any], wanted: dict[Any, Alive]) -> None:
    if wanted:
        for index, key in enumerate(keys):
            if key in wanted:
                alive[index] = union(alive.get(index, ()), wanted[key])


class _Column:
    """The field that one gate reads of the records, and its verdicts by the values read."""

    def __init__(self, gate: Gate, read: Callable[[Any], Any], seen: list[Any]) -> None:
        self.read = read
        self.seen = seen
        """Every value of the field in the text of the block, also what a later one hides."""
        self._gate = gate
        self._memory: dict[Any, Alive] = {}
        self._literals = None
        if gate.literals is not None:
            self._literals = re2.compile("|".join(map(re2.escape, sorted(gate.literals))))

    def idle(self) -> bool:
        """Whether no value in the block can keep any rule alive.

        One search over all values is much cheaper than a verdict on each.
        """
        if self._literals is None:
            return False
        try:
            text = "\n".join(self.seen)
        except TypeError:  # something else than text among them
            return False
        return self._literals.search(text.lower()) is None

    def verdicts(self, keys: list[Any]) -> dict[Any, Alive] | None:
        """Judge the values of a block; return those with rules still alive.

        None where a line gives the field twice. Raises `TypeError` for a value that is a
        list or an object.
        """
        present = 0
        numbers = False
        wanted: dict[Any, Alive] = {}
        for key, count in Counter(keys).items():
            present += count * (key is not UNSET)
            numbers = numbers or isinstance(key, int | float)
            rules = self.verdict(key)
            if rules:
                wanted[key] = rules
        if numbers and _mixed(keys):
            raise TypeError("numbers that Python counts as equal and rules do not")
        return wanted if present == len(self.seen) else None

    def verdict(self, key: Any) -> Alive:
        """Return the rules that a value leaves alive."""
        # 1, 1.0 and True are one key of a dictionary, and three values to a rule.
        name = (type(key), repr(key)) if isinstance(key, int | float) else key
        known = self._memory.get(name)
        if known is None:
            known = self._gate.alive((_as_values(key),))
            if is_short((key,)):
                if len(self._memory) >= Gate.MEMORY:
                    self._memory.clear()
                self._memory[name] = known
        return known


class _Layout:
    """The fields of interest as a msgspec type, and ways to read them from its instances."""

    def __init__(self, paths: Sequence[Path], seen: Mapping[Path, list[Any]]) -> None:
        self._seen = seen
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
                fields.append((odd, _Never, UNSET))
        return msgspec.defstruct("Record", fields, rename=rename, gc=False)

    def values(self, paths: Sequence[Path]) -> Callable[[Any], Any]:
        """Return a function from a record to a tuple of values; of one field, the value."""
        return attrgetter(*(self._attribute(path) for path in paths))

    def _type(self, path: Path) -> Any:
        if path not in self._seen:
            return Any
        return _AcceptsAny("Noted", (), {"note": self._seen[path].append})

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
