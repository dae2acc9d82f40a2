"""JSON as log writers, and attackers, write it."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.sources.deep_json import DEEP_MARKER
from trailhound.sources.document import (
    READINGS_KEPT,
    JsonFailure,
    Reading,
    documents_in,
    read_json,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20
)


def reasons(reading: Reading) -> list[str]:
    return [anomaly.reason for anomaly in reading.anomalies]


@settings(deadline=None)
@given(VALUES)
def test_every_value_reads_back(value: Any) -> None:
    assert read_json(orjson.dumps(value)) == Reading((value,))


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_other_ways_to_write_it_change_nothing(
    value: Any, indent: int | str | None, ascii_only: bool
) -> None:
    written = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    reading = read_json(b"\xef\xbb\xbf  " + written + b" \r\n")
    assert reading == Reading((value,))
    assert repr(reading.readings[0]) == repr(value)


def test_go_escapes_are_taken_for_what_they_are() -> None:
    assert read_json(rb'{"a":"\u003cb\u003e\u0026c"}') == Reading(({"a": "<b>&c"},))
    assert read_json(rb'{"a":"\\u0026","b":"\\\u0026"}') == Reading(({"a": "\\u0026", "b": "\\&"},))


@pytest.mark.parametrize(
    "text",
    [
        rb'{"a":"\\u0026","a":"\u0026"}',
        rb'{"\u0026":1,"&":1}',
        rb'{"a":1e5,"verb":"x","verb":"x"}',
        rb'{"b":{"k":[{"a":1,"\u0061":1}]}}',
        b'{"a":1, "b":2,\t"a":1}',
        b'{"a":{},"a":{}}',
    ],
)
def test_no_way_of_writing_hides_a_repeated_key(text: bytes) -> None:
    assert reasons(read_json(text)) == ["duplicate key"]


def test_escaped_key_is_the_key() -> None:
    assert read_json(rb'{"v\u0065rb":"\u0065xec"}') == Reading(({"verb": "exec"},))


def test_repeated_key_gives_last_reading_then_first() -> None:
    reading = read_json(b'{"verb":"get","o":{"n":1,"n":2},"verb":"create"}')
    assert reading.readings == (
        {"verb": "create", "o": {"n": 2}},
        {"verb": "get", "o": {"n": 1}},
    )
    assert reading.anomalies[0].detail == "'n' stands 2 times in one object"


def test_repeated_key_whose_values_repeat_keys() -> None:
    reading = read_json(b'{"a":[{"b":1,"b":2},{"b":3}],"a":0}')
    assert reading.readings == ({"a": 0}, {"a": [{"b": 1}, {"b": 3}]})


def test_every_occurrence_of_a_repeated_key_is_in_some_reading() -> None:
    for count in (3, READINGS_KEPT, READINGS_KEPT + 1, 500):
        text = "{" + ",".join(f'"k":{n}' for n in range(count)) + "}"
        reading = read_json(text.encode())
        assert len(reading.readings) == min(count, READINGS_KEPT)
        assert reading.readings[:2] == ({"k": count - 1}, {"k": 0})
        seen: set[int] = set()
        for document in reading.readings:
            value = document["k"]
            seen.update(value if isinstance(value, list) else [value])
        assert seen == set(range(count))


def test_readings_of_a_huge_document_stay_few() -> None:
    text = b'{"a":[' + b",".join([b'{"k":1,"k":2,"k":3}'] * 500_000) + b"]}"
    reading = read_json(text)
    assert len(reading.readings) == 2
    assert reading.readings[1]["a"][7] == {"k": [1, 2, 3]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551616", 18446744073709551616),
        ("-9223372036854775809", -9223372036854775809),
        ("9" * 4300, int("9" * 4300)),
        ("9" * 4301, "9" * 4301),
        ("-" + "9" * 100_000, "-" + "9" * 100_000),
        ("1e999", "1e999"),
        ("-1E+999", "-1E+999"),
    ],
)
def test_big_numbers_stay_exact(text: str, value: Any) -> None:
    reading = read_json(f'{{"n":{text}}}'.encode())
    assert reading.readings == ({"n": value},)
    assert reasons(reading) == ["number beyond 64 bits"]


@pytest.mark.parametrize("text", ["9223372036854775807", "-9223372036854775808"])
def test_64_bit_numbers_are_nothing_odd(text: str) -> None:
    assert read_json(text.encode()) == Reading((int(text),))
    assert read_json(f"[{text} , 1e2]".encode()) == Reading(([int(text), 100.0],))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_tokens_that_are_no_json_stay_as_written(text: str) -> None:
    reading = read_json(f'{{"n":{text}}}'.encode())
    assert reading.readings == ({"n": text},)
    assert reasons(reading) == ["NaN or Infinity"]


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        (b'{"a":"x\0y"}', {"a": "x\0y"}, "control character"),
        (b'{"a":"x\ty"}', {"a": "x\ty"}, "control character"),
        (b'{"a\x1b[0m":1}', {"a\x1b[0m": 1}, "control character"),
        (b'\0\0{"a":1}\0', {"a": 1}, "control character"),
        (b'{"a":"\xff\xc3"}', {"a": "\ufffd\ufffd"}, "invalid UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', {"a": "\ufffd" * 3}, "invalid UTF-8"),
        (rb'{"a":"\ud800!"}', {"a": "\ufffd!"}, "lone surrogate"),
        (rb'{"\uDC00":"\ud83d\ude00\uD83D"}', {"\ufffd": "😀\ufffd"}, "lone surrogate"),
    ],
)
def test_odd_text_is_read_and_named(text: bytes, value: Any, reason: str) -> None:
    reading = read_json(text)
    assert reading.readings == (value,)
    assert reasons(reading) == [reason]


def test_escaped_backslash_is_no_surrogate() -> None:
    assert read_json(rb'{"a":"\\ud800"}') == Reading(({"a": "\\ud800"},))
    assert read_json(rb'{ "a":"\\ud800", "b":"\u0041" }') == Reading(({"a": "\\ud800", "b": "A"},))


def test_keys_that_become_equal_hide_nothing() -> None:
    reading = read_json(rb'{"\ud800":1,"\ud801":2}')
    assert reading.readings == ({"\ufffd": 2}, {"\ufffd": 1})
    assert reasons(reading) == ["lone surrogate", "duplicate key"]


def test_control_characters_and_repeated_keys_together() -> None:
    reading = read_json(b'{"a":"\x01","a":"\x02"}')
    assert reading.readings == ({"a": "\x02"}, {"a": "\x01"})
    assert reasons(reading) == ["control character", "duplicate key"]


@pytest.mark.parametrize("depth", [201, 300, 1_100, 10_000, 1_000_000])
@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"b":1,"a":', "}]")]
)
def test_deep_nesting_keeps_what_lies_above(depth: int, opening: str, closing: str) -> None:
    text = '{"verb":"create","x":' + opening * depth + "0" + closing * depth + ',"y":[1, "}"]}'
    started = time.perf_counter()
    reading = read_json(text.encode())
    assert time.perf_counter() - started < 20
    document = reading.readings[0]
    assert (document["verb"], document["y"]) == ("create", [1, "}"])
    deep = depth * opening.count("{") + depth * opening.count("[")
    if deep < 254 and not reading.anomalies:
        return  # not deep for the C parsers
    assert reasons(reading) == ["nesting beyond 200"]
    levels, here = 1, document["x"]
    while isinstance(here, dict | list):
        levels += 1
        here = here[0] if isinstance(here, list) else here["a"]
    assert levels == 200
    assert here == DEEP_MARKER


def test_deep_documents_are_read_as_strictly_as_others() -> None:
    deep = "[" * 300 + "]" * 300
    reading = read_json(f'{{"k":1,"n":1e999,"d":{deep},"k":"\x01"}}'.encode())
    assert [document["k"] for document in reading.readings] == ["\x01", 1]
    assert set(reasons(reading)) == {
        "nesting beyond 200",
        "duplicate key",
        "control character",
        "number beyond 64 bits",
    }
    assert read_json(f"[[], {{}},{deep} ,[ ] , {{ }}]".encode()).readings[0][3:] == [[], {}]
    for broken in (
        deep[:-1],
        deep + "x",
        deep + "]",
        f"[{deep},]",
        f'{{"a":{deep},}}',
        f'{{"a":{deep} "b":1}}',
        f'{{"a"{deep}}}',
        f"{{1:{deep}}}",
        f"[{deep}}}",
        "[" * 1_000_000,
        '{"a":' * 10_000 + '"',
    ):
        with pytest.raises(JsonFailure, match="invalid JSON: "):
            read_json(broken.encode())


@pytest.mark.parametrize(
    "text",
    [b"", b"  ", b"\0", b'{"a":1', b'{"a"', b'":1}', b"{'a':1}", b"nul", b"[1,]", b'"\\x"'],
)
def test_broken_json_is_a_failure_with_a_position(text: bytes) -> None:
    with pytest.raises(
        JsonFailure, match=r"^invalid JSON: .* after character \d+ of \d+$"
    ) as caught:
        read_json(text)
    assert not caught.value.has_more


def test_failure_says_that_more_follows() -> None:
    with pytest.raises(JsonFailure) as caught:
        read_json(b'{"a":1}{"b":2}')
    assert caught.value.has_more
    assert list(documents_in(b'{"a":"}{"}{"b":[{}]} {"c":1')) == [
        b'{"a":"}{"}',
        b'{"b":[{}]}',
        b'{"c":1',
    ]
    assert list(documents_in(b"{}[[]]}}}}")) == [b"{}", b"[[]]", b"}}}}"]
    assert list(documents_in(b'{}"\\')) == [b"{}", b'"\\']


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '"\\' * 10**6, '{"' * 10**6, "]" * 10**6, '\\"' * 10**6]
)
def test_hostile_text_costs_linear_time(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(JsonFailure):
        read_json(text.encode())
    assert len(list(documents_in(text.encode()))) == 1
    assert time.perf_counter() - started < 10


PIECES = st.sampled_from(
    [
        *(bytes([byte]) for byte in range(256)),
        b'"a":',
        b"1e999",
        b"NaN",
        rb"\u0026",
        rb"\ud800",
        rb"\udc00",
        rb"\\",
        b'{"a":',
        b"[" * 300,
        b"]" * 300,
        b"9" * 30,
        b"\xef\xbb\xbf",
    ]
)


@settings(deadline=None)
@given(st.binary() | st.lists(PIECES).map(b"".join))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        reading = read_json(data)
    except JsonFailure:
        return
    assert reading.readings
    assert b"".join(documents_in(data)).translate(None, b" \t\r\n") == data.translate(
        None, b" \t\r\n"
    )


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(TEXT, VALUES, min_size=1), st.data())
def test_no_mutation_raises_anything_else(value: Any, data: st.DataObject) -> None:
    text = bytearray(orjson.dumps(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        removed = data.draw(st.integers(0, 3))
        text[at : at + removed] = data.draw(PIECES)
    try:
        reading = read_json(bytes(text))
    except JsonFailure:
        return
    if reading.anomalies:
        return
    # Whatever is said to be clean, the strictest reader takes as well.
    assert json.loads(bytes(text), object_pairs_hook=once_each) == reading.readings[0]


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
