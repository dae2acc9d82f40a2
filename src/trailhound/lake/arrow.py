"""Columns of Python values as Arrow arrays, which DuckDB reads in place.

Handed over as parameters, twenty thousand rows of forty columns cost more than their Parquet; as
buffers (Arrow Columnar Format 1.5, "Variable-size Binary Layout", "Validity bitmaps") a quarter.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import nanoarrow

from trailhound.lake.quoting import identifier, texts

_INTEGERS = {"INTEGER": "i", "BIGINT": "q", "TIMESTAMP_NS": "q", "BOOLEAN": "b"}


class Columns:
    """Some columns of one length."""

    def __init__(self, columns: Sequence[tuple[str, str, Sequence[Any]]]) -> None:
        """Make arrays of columns that are not empty.

        Args:
            columns: name, SQL type, and values of each: `str` or UTF-8 `bytes` for VARCHAR, `str`
                for UUID, `bytes` for BLOB, `int` for integers and times, lists of `str` for
                VARCHAR[]; None is NULL but for lists.
        """
        self._fields: list[tuple[str, str]] = []
        held: dict[str, Any] = {}
        for number, (name, kind, values) in enumerate(columns):
            if (same := _same(kind, values)) is not None:
                self._fields.append((name, same))
                continue
            place = f"c{number}"
            held[place] = _array(kind, values)
            if kind == "TIMESTAMP_NS":
                place = f"make_timestamp_ns({place})"
            elif kind in ("UUID", "BOOLEAN"):
                place = f"{place}::{kind}"
            self._fields.append((name, place))
        schema = nanoarrow.struct({name: nanoarrow.c_schema(a.schema) for name, a in held.items()})
        self.array: Any = nanoarrow.Array(
            nanoarrow.c_array_from_buffers(
                schema, len(columns[0][2]), [None], children=list(held.values())
            )
        )
        """What DuckDB can register as a relation."""

    @property
    def selected(self) -> str:
        """What to select of the relation: the columns, by their names."""
        return ", ".join(f"{place} AS {identifier(name)}" for name, place in self._fields)


def _same(kind: str, values: Sequence[Any]) -> str | None:
    """Return the one value of a column as SQL; None where it has several, or none so simple."""
    first = values[0]
    if kind in ("TIMESTAMP_NS", "UUID", "BLOB") and first is not None:
        return None
    if first is None:
        written = "NULL"
    elif isinstance(first, int):
        written = str(int(first))
    elif isinstance(first, list) and all(map(str.isalnum, first)) and "".join(first).isascii():
        written = texts(first)
    elif first == "":
        written = "''"
    else:
        return None
    if values[-1] != first or list(values).count(first) != len(values):
        return None
    return f"{written}::{kind}"


def _array(kind: str, values: Sequence[Any]) -> Any:
    if kind == "VARCHAR[]":
        offsets = array("i", accumulate(map(len, values), initial=0))
        flat = _array("VARCHAR", [item for listed in values for item in listed])
        listed_texts = nanoarrow.list_(nanoarrow.string())
        return nanoarrow.c_array_from_buffers(
            listed_texts, len(values), [None, offsets], children=[flat]
        )
    valid = None
    if None in values:
        valid = _bitmap(values)
        nothing: Any = 0 if kind in _INTEGERS else b"" if kind == "BLOB" else ""
        values = [nothing if value is None else value for value in values]
    if kind in _INTEGERS:
        code = _INTEGERS[kind]
        schema = {"i": nanoarrow.int32, "q": nanoarrow.int64, "b": nanoarrow.int8}[code]()
        return nanoarrow.c_array_from_buffers(schema, len(values), [valid, array(code, values)])
    schema = nanoarrow.binary() if kind == "BLOB" else nanoarrow.string()
    lengths, data = _joined(values)
    offsets = array("i", accumulate(lengths, initial=0))
    return nanoarrow.c_array_from_buffers(schema, len(values), [valid, offsets, data])


def _joined(values: Sequence[Any]) -> tuple[Sequence[int], bytes]:
    """Return the length in bytes of each text, and all of them one behind the other."""
    if values and isinstance(values[0], str):
        text = "".join(values)
        if text.isascii():
            return list(map(len, values)), text.encode()
        values = [value.encode() for value in values]
    return list(map(len, values)), b"".join(values)


def _bitmap(values: Sequence[Any]) -> bytes:
    """Return a bit for each value, the first in the lowest: whether it is not None."""
    bits = "".join(["0" if value is None else "1" for value in reversed(values)])
    return int(bits, 2).to_bytes((len(values) + 7) // 8, "little")
