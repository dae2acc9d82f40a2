"""The fast path: blocks of JSON lines to the few lines that a rule may match.

Every line is parsed and checked as JSON, but only the fields that gates ask for become
Python objects. What is not a plain line of the expected format, or is odd in any way (broken,
not UTF-8, a key that stands twice), is left to the exact path, so that both come to the same
verdict.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from trailhound.engine.gates import Candidate, Gate
from trailhound.engine.plan import ViewPlan
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

    lines: list[bytes]
    """All lines of the block; empty where nothing in it is of interest."""
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
        entered = {path[0] for g in view.gates for path in g.paths if len(path) > 1} if view else set()
        entered.update(path[0] for path in gate.signature if len(path) > 1)
        free: dict[int, Candidate] = {rule.index: rule for rule in view.free} if view else {}
        gates: list[Gate] = []
        for rule_gate in view.gates if view else ():
            if any(len(path) == 1 and path[0] in entered for path in rule_gate.paths):
                free.update({rule.index: rule for rule in rule_gate.rules})
            else:
                gates.append(rule_gate)
        self._gates = tuple(gates)
        self._free: Alive = tuple(free[index] for index in sorted(free))
        paths = dict.fromkeys(gate.signature)
        for rule_gate in self._gates:
            paths.update(dict.fromkeys(rule_gate.paths))
        layout = _Layout(tuple(paths))
        self._occurrences = 0
        self._decoder = msgspec.json.Decoder(layout.record(), dec_hook=self._count)
        self._signature_of = layout.values(gate.signature)
        self._keys_of = tuple(layout.values(rule_gate.paths) for rule_gate in self._gates)
        # Occurrences are compared with values once for each field, whichever gates read it.
        self._counted = layout.values(tuple(paths))
        self._accepted: dict[tuple[Any, ...], bool] = {}
        self._memory: list[dict[tuple[Any, ...], Alive]] = [{} for _ in self._gates]

    def sift(self, data: bytes) -> Sifted:
        """Sift a block of whole lines."""
        records = self._decode_all(data)
        if records is None:
            return self._sift_slowly(data)
        try:
            alive = self._sift_fast(records)
        except TypeError:  # a value that cannot be a key: a list or an object
            return self._sift_slowly(data)
        if alive is None:
            return self._sift_slowly(data)
        if not alive:
            return Sifted([], len(records), [], [])
        lines = data.split(b"\n")
        candidates = [(index, alive[index]) for index in sorted(alive)]
        return Sifted(lines, len(records), candidates, [])

    def _count(self, _type: type, value: Any) -> Any:
        self._occurrences += 1
        return value

    def _decode_all(self, data: bytes) -> list[Any] | None:
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
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        return records if len(records) == lines else None

    def _sift_fast(self, records: list[Any]) -> dict[int, Alive] | None:
        signatures = Counter(map(self._signature_of, records))
        if not all(map(self._is_plain, signatures)):
            return None
        present = sum(
            count * sum(value is not UNSET for value in values)
            for values, count in Counter(map(self._counted, records)).items()
        )
        if present != self._occurrences:
            return None
        alive: dict[int, Alive] = {}
        if self._free:
            alive = dict.fromkeys(range(len(records)), self._free)
        for number, keys_of in enumerate(self._keys_of):
            keys = list(map(keys_of, records))
            wanted = {key: found for key in set(keys) if (found := self._alive(number, key))}
            if not wanted:
                continue
            for index, key in enumerate(keys):
                found = wanted.get(key)
                if found:
                    alive[index] = _union(alive[index], found) if index in alive else found
        return alive

    def _is_plain(self, signature: tuple[Any, ...]) -> bool:
        verdict = self._accepted.get(signature)
        if verdict is None:
            verdict = self._accepts(signature)
            if len(self._accepted) >= Gate.MEMORY:
                self._accepted.clear()
            self._accepted[signature] = verdict
        return verdict

    def _alive(self, number: int, key: tuple[Any, ...]) -> Alive:
        memory = self._memory[number]
        found = memory.get(key)
        if found is None:
            found = self._gates[number].alive(tuple(map(_as_values, key)))
            if len(memory) >= Gate.MEMORY:
                memory.clear()
            memory[key] = found
        return found

    def _sift_slowly(self, data: bytes) -> Sifted:
        lines = data.split(b"\n")
        candidates: list[tuple[int, Alive]] = []
        strangers: list[int] = []
        plain = 0
        for index, line in enumerate(lines):
            if not line.strip():
                continue
            verdict = self._judge(line)
            if verdict is None:
                strangers.append(index)
                continue
            plain += 1
            if verdict:
                candidates.append((index, verdict))
        return Sifted(lines, plain, candidates, strangers)

    def _judge(self, line: bytes) -> Alive | None:
        """Return the rules for one line; None where the exact path has to read it."""
        records = self._decode_all(line)
        if records is None or len(records) != 1:
            return None
        record = records[0]
        signature = self._signature_of(record)
        try:
            plain = self._is_plain(signature)
        except TypeError:
            return None
        occurring = sum(value is not UNSET for value in self._counted(record))
        if not plain or occurring != self._occurrences:
            return None
        alive = self._free
        for number, keys_of in enumerate(self._keys_of):
            key = keys_of(record)
            try:
                found = self._alive(number, key)
            except TypeError:
                found = self._gates[number].alive(tuple(map(_as_values, key)))
            alive = _union(alive, found)
        return alive


class _Layout:
    """The fields of interest as a msgspec type, and ways to read them from its instances."""

    def __init__(self, paths: Sequence[Path]) -> None:
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
                fields.append((f"f{number}", _Counted, UNSET))
                continue
            below = msgspec.defstruct(
                "Inner",
                [(f"g{n}", _Counted, UNSET) for n in range(len(inner))],
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

    def values(self, paths: Sequence[Path]) -> Callable[[Any], tuple[Any, ...]]:
        """Return a function from a record to the values of some fields, as a tuple."""
        read = attrgetter(*(self._attribute(path) for path in paths))
        if len(paths) > 1:
            return read
        return lambda record: (read(record),)

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
