"""Bytes as they lie on disk, to lines and records: whole, in order, in flat memory."""

import bz2
import gzip
import io
import json
import lzma
import os
import socket
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.intake import blocks as intake_blocks
from trailhound.intake.blocks import BINARY, LINE_LIMIT, Block, blocks
from trailhound.intake.compression import Damaged, plain_chunks
from trailhound.intake.documents import DocumentSplitter, NotSplit
from trailhound.intake.files import InputFile, find_inputs, read_blocks
from trailhound.model.errors import TrailhoundError
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.pipeline.units import cut, parts_of

MB = 1024 * 1024
Item = Block | RawRecord | ParseFailure


def read(path: Path | str) -> list[Item]:
    (file,) = find_inputs([str(path)])
    return list(read_blocks(file))


def lines_of(items: list[Item]) -> list[tuple[int, bytes]]:
    """(number, text) of every line in blocks."""
    return [
        (item.line + index, item.text(index))
        for item in items
        if isinstance(item, Block)
        for index in range(len(item.ends))
    ]


def texts(items: list[Item]) -> list[bytes]:
    return [text for _, text in lines_of(items)]


def failures(items: list[Item]) -> list[tuple[int, str]]:
    return [(i.origin.line, i.reason) for i in items if isinstance(i, ParseFailure)]


def records(items: list[Item]) -> list[tuple[int, Any]]:
    return [(i.origin.line, json.loads(i.data)) for i in items if isinstance(i, RawRecord)]


def chunked(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)] if sizes else len(data)
        yield data[at : at + size]
        at += size
        turn += 1


def peak_of(run: Callable[[], Any]) -> int:
    """Bytes that Python allocates at most while `run` runs, above what it held before."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- compression -------------------------------------------------------------------------

TEXT = b"".join(b"line %d of a log that is long enough\n" % n for n in range(9000))
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, as pipes do."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._step) if size >= 0 else self._step)


def plain(data: bytes, step: int = 1 << 20) -> tuple[bytes, str]:
    """What comes out of a stream, and the damage that is told."""
    parts = []
    try:
        parts.extend(plain_chunks(Trickle(data, step)))  # type: ignore[arg-type]
    except Damaged as error:
        return b"".join(parts), str(error)
    return b"".join(parts), ""


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_compressed(name: str, step: int) -> None:
    data = COMPRESSED[name](TEXT)
    assert plain(data, step) == (TEXT, "")


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("step", [1, 13, 1 << 20])
def test_compressed_in_several_pieces(name: str, step: int) -> None:
    half = len(TEXT) // 2
    data = COMPRESSED[name](TEXT[:half]) + COMPRESSED[name](TEXT[half:]) + COMPRESSED[name](b"")
    assert plain(data, step) == (TEXT, "")


@pytest.mark.parametrize("name", COMPRESSED)
def test_cut_off_gives_what_is_there(name: str) -> None:
    # Random digits, so that half of the bytes hold about half of the text.
    text = b"".join(b"%d\n" % (zlib.crc32(b"%d" % n)) for n in range(60_000))
    data = COMPRESSED[name](text)
    found, damage = plain(data[: len(data) * 2 // 3])
    assert "cut off" in damage
    assert name in damage
    assert text.startswith(found)
    if name in ("gzip", "zstd"):  # the blocks of the others hold as much as this text
        assert len(found) > len(text) // 4


@pytest.mark.parametrize("name", COMPRESSED)
def test_broken_in_the_middle(name: str) -> None:
    text = b"".join(b"%d\n" % (zlib.crc32(b"%d" % n)) for n in range(60_000))
    data = bytearray(COMPRESSED[name](text))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    found, damage = plain(bytes(data))
    assert name in damage
    assert "broken" in damage or "cut off" in damage
    assert text.startswith(found[: len(text) // 8])


@pytest.mark.parametrize("name", COMPRESSED)
def test_something_else_after_the_end(name: str) -> None:
    found, damage = plain(COMPRESSED[name](TEXT) + b"this is no compressed data")
    assert found == TEXT
    assert damage


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_zeros_after_the_end_are_padding(name: str) -> None:
    assert plain(COMPRESSED[name](TEXT) + bytes(512)) == (TEXT, "")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_mark_of_the_next_gzip_member_may_come_in_two_reads(step: int) -> None:
    data = gzip.compress(b"a\n") + gzip.compress(b"b\n")
    assert plain(data, step) == (b"a\nb\n", "")


@pytest.mark.parametrize("name", COMPRESSED)
def test_bombs_stay_flat(name: str, tmp_path: Path) -> None:
    line = b"x" * 1023 + b"\n"
    path = tmp_path / "bomb"
    make: dict[str, Callable[[BinaryIO], Any]] = {
        "gzip": lambda file: gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6),
        "zstd": lambda file: zstandard.ZstdCompressor(level=3).stream_writer(file),
        "bzip2": lambda file: bz2.BZ2File(file, "wb"),
        "xz": lambda file: lzma.LZMAFile(file, "wb", preset=1),  # noqa: SIM115
    }
    megabytes = 48 if name in ("bzip2", "xz") else 160
    with open(path, "wb") as file, make[name](file) as stream:
        for _ in range(megabytes):
            stream.write(line * 1024)
    assert path.stat().st_size < megabytes * MB / 300

    def run() -> None:
        (file,) = find_inputs([str(path)])
        lines = sum(len(i.ends) for i in read_blocks(file) if isinstance(i, Block))
        assert lines == megabytes * 1024

    assert peak_of(run) < 48 * MB


def test_a_bomb_without_line_ends_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(120):
            stream.write(bytes(MB))
        stream.write(b"\nthe next line\n")

    def run() -> None:
        items = read(path)
        assert texts(items) == [b"the next line"]
        assert failures(items) == [(1, "line too long")]

    assert peak_of(run) < 120 * MB


def test_xz_that_asks_for_gigabytes_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(b"x\n", filters=filters))
    # The block header: dictionary size is the byte after filter id 0x21 and its length 1.
    at = data.index(b"\x21\x01") + 2
    data[at] = 40  # 4 GiB - 1
    header_end = 12 + (data[12] + 1) * 4
    data[header_end - 4 : header_end] = zlib.crc32(data[12 : header_end - 4]).to_bytes(4, "little")
    found, damage = plain(bytes(data))
    assert found == b""
    assert "xz data is broken" in damage


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_other_encodings(encoding: str, step: int, tmp_path: Path) -> None:
    text = '{"a": "first line"}\r\n{"a": "zweite – 😀"}\r\n' * 50
    data = text.encode(encoding)
    path = tmp_path / "log"
    path.write_bytes(data)
    assert texts(read(path)) == text.encode().split(b"\n")[:-1]
    found, damage = plain(data, step)
    assert (found.removeprefix(b"\xef\xbb\xbf"), damage) == (text.encode(), "")


def test_half_a_letter_of_utf_16_is_told() -> None:
    found, _ = plain("ab\n".encode("utf-16") + b"\x00")
    assert found == "ab\n\ufffd".encode()


# --- lines -------------------------------------------------------------------------------

awkward = st.lists(
    st.sampled_from(
        (b"\n", b"\r\n", b"\r", b"a", b"{", b"}", b"[", b",", b'"', b" ", b"\0", b"\xff", b"log 1")
    ),
    max_size=60,
).map(b"".join)


@settings(max_examples=300)
@given(data=awkward | st.binary(max_size=300), sizes=st.lists(st.integers(1, 40), max_size=4))
def test_lines_are_those_of_the_input(data: bytes, sizes: list[int]) -> None:
    """Whatever the bytes and the chunks. `x` keeps it from being one JSON document."""
    data = b"x" + data
    items = [i for i in blocks("f", chunked(data, sizes)) if not is_about_binary(i)]
    assert all(isinstance(item, Block) for item in items)
    expected = data.split(b"\n")
    if data.endswith(b"\n"):
        expected.pop()
    assert lines_of(items) == list(enumerate(expected, 1))
    assert b"".join(i.data for i in items if isinstance(i, Block)) == data


@settings(max_examples=300)
@given(data=awkward, sizes=st.lists(st.integers(1, 40), max_size=4))
def test_nothing_is_lost_in_silence(data: bytes, sizes: list[int]) -> None:
    """Every letter of the input is in a line or a record, or in lines that a failure names."""
    data = data.replace(b"log 1", b"\nlog-1\n")
    items = list(blocks("f", chunked(data, sizes)))
    again = list(blocks("f", [data] if data else []))
    assert [repr_of(i) for i in merged(items)] == [repr_of(i) for i in merged(again)]
    kept = sum(t.count(b"log-1") for t in texts(items))
    kept += sum(i.data.count(b"log-1") for i in items if isinstance(i, RawRecord))
    assert kept == data.count(b"log-1") or failures(items)


def is_about_binary(item: Item) -> bool:
    return isinstance(item, ParseFailure) and item.reason == BINARY


def merged(items: list[Item]) -> list[Item | tuple[int, bytes]]:
    """Items with blocks as their lines, which chunks may arrange otherwise."""
    flat: list[Any] = []
    for item in items:
        flat.extend(lines_of([item]) if isinstance(item, Block) else [item])
    return flat


def repr_of(item: Any) -> str:
    return repr(item)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"\xef\xbb\xbfa\n", [b"a"]),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_ends_of_lines(data: bytes, expected: list[bytes]) -> None:
    for sizes in ([], [1], [2], [3]):
        assert texts(list(blocks("f", chunked(data, sizes)))) == expected


def test_a_long_line_of_text_is_one_failure(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"y" * MB)
        file.write(b"\nlast\n")

    def run() -> None:
        items = read(path)
        assert lines_of(items) == [(1, b"first"), (3, b"last")]
        assert failures(items) == [(2, "line too long")]
        (failure,) = (i for i in items if isinstance(i, ParseFailure))
        assert "104,857,600 bytes" in failure.detail

    assert peak_of(run) < 4 * LINE_LIMIT


@pytest.mark.parametrize(
    ("opening", "count"),
    [
        (b"[", 300),
        pytest.param(b"[", 1000, marks=pytest.mark.slow),
        (b'{"Records":[', 1000),
    ],
)
def test_a_long_line_of_json_is_split_at_its_elements(
    opening: bytes, count: int, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    element = b'{"eventName":"x","pad":"%s","n":%d}'
    pad = b'\\"}{,[ ' * 16_000
    with open(path, "wb") as file:
        file.write(b'{"first":1}\n' + opening)
        for n in range(count):
            file.write((b"," if n else b"") + element % (pad, n))
        file.write(b"]" if opening == b"[" else b"]}")
        file.write(b'\r\n{"last":1}\n')
    assert path.stat().st_size > count * MB // 10

    def run() -> None:
        (file,) = find_inputs([str(path)])
        seen = 0
        for item in read_blocks(file):
            if not isinstance(item, RawRecord):
                assert isinstance(item, Block)
                assert item.line == (3 if seen else 1)
                assert texts([item]) == ([b'{"last":1}'] if seen else [b'{"first":1}'])
                continue
            document = json.loads(item.data)
            (found,) = document if opening == b"[" else document["Records"]
            assert found["n"] == seen
            seen += 1
            assert item.origin == Origin(str(path), 2, seen)
        assert seen == count

    assert peak_of(run) < 4 * LINE_LIMIT


def test_a_long_line_that_cannot_be_split_is_one_failure(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.write(b'{"a":"')
        for _ in range(100):
            file.write(b'\\"' * (MB // 2))
        file.write(b'"}\nnext\n')

    def run() -> None:
        items = read(path)
        assert lines_of(items) == [(2, b"next")]
        assert failures(items) == [(1, "record too long")]

    assert peak_of(run) < 6 * LINE_LIMIT


def test_a_long_document_that_is_one_record_comes_whole() -> None:
    data = b'{"a":"' + b"z" * (20 * MB) + b'"}'
    items = list(blocks("f", chunked(data + b"\n{}\n", [MB])))
    (record,) = (item for item in items if isinstance(item, RawRecord))
    assert record.data == data
    assert record.origin == Origin("f", 1)
    assert lines_of(items) == [(2, b"{}")]


def test_a_long_line_that_breaks_off(tmp_path: Path) -> None:
    data = b'{"Records":[' + b'{"a":"%s"},' % (b"z" * MB) * 20 + b'{"a":"z'
    for ending in (b"", b"\n", b"\nnext\n"):
        items = list(blocks("f", chunked(data + ending, [MB])))
        assert len(records(items)) == 20
        assert failures(items) == [(1, "invalid JSON")]
        assert texts(items) == ([b"next"] if b"next" in ending else [])


def test_after_a_long_line_blocks_go_on_as_blocks() -> None:
    data = b"y" * (LINE_LIMIT + 2 * MB) + b"\n" + b"short line\n" * 50_000
    items = list(blocks("f", chunked(data, [MB])))
    lines = lines_of(items)
    assert lines[0] == (2, b"short line")
    assert lines[-1] == (50_001, b"short line")
    assert len(lines) == 50_000


# --- documents over many lines -----------------------------------------------------------

EVENTS = [{"kind": "Event", "n": n, "deep": {"list": [1, {"a": "}{\\"}]}} for n in range(4)]
LAYOUTS = {
    "indented Records": json.dumps({"Records": EVENTS}, indent=2),
    "indented with tabs": json.dumps({"Records": EVENTS}, indent="\t"),
    "no indentation": json.dumps({"Records": EVENTS}, indent=0),
    "an array": json.dumps(EVENTS, indent=4),
    "documents": "\n".join(json.dumps(event, indent=2) for event in EVENTS),
    "documents without line ends between": "".join(json.dumps(e, indent=2) for e in EVENTS),
    "documents with commas": ",\n".join(json.dumps(event, indent=1) for event in EVENTS),
    "carriage returns": json.dumps({"items": EVENTS}, indent=2).replace("\n", "\r\n"),
    "blank lines first": "\n \n" + json.dumps(EVENTS, indent=2) + "\n\n",
    "one record to a line": '{"Records":[\n' + ",\n".join(map(json.dumps, EVENTS)) + "\n]}\n",
    "array, one record to a line": "[" + ",\n".join(map(json.dumps, EVENTS)) + "]",
    "indented, then single lines": json.dumps(EVENTS[0], indent=2)
    + "\n"
    + "\n".join(map(json.dumps, EVENTS[1:])),
    "a key beside the list": json.dumps({"owner": "x", "events": EVENTS, "next": [1]}, indent=2),
}


def events_in(items: list[Item]) -> list[Any]:
    """The events of documents, whatever wraps them."""
    found: list[Any] = []

    def look(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                look(item)
        elif isinstance(value, dict):
            if "kind" in value:
                found.append(value)
            else:
                for item in value.values():
                    look(item)

    for item in items:
        if isinstance(item, RawRecord):
            look(json.loads(item.data))
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", [[], [1], [3], [17], [64], [5, 100]])
def test_layouts(layout: str, sizes: list[int]) -> None:
    data = LAYOUTS[layout].encode()
    items = list(blocks("f", chunked(data, sizes)))
    assert not failures(items)
    assert not texts(items)
    assert events_in(items) == EVENTS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_records_know_their_lines(layout: str) -> None:
    data = LAYOUTS[layout].encode()
    for item in blocks("f", [data]):
        assert isinstance(item, RawRecord)
        (event,) = events_in([item]) or [None]
        if event is not None:
            line = data.split(b"\n")[item.origin.line - 1]
            after = b"\n".join(data.split(b"\n")[item.origin.line - 1 :])
            assert b"{" in line
            assert b'"n": %d' % event["n"] in after
            assert after.count(b'"n": ') >= len(EVENTS) - event["n"]


BROKEN = {
    "a document that breaks off": '{\n  "kind": "half",\n  "list": [\n    1,\n',
    "one that breaks off in a string": '{\n  "kind": "half\n',
    "too many brackets": '{\n  "kind": "half"\n}}]\n',
    "brackets that do not fit": '{\n  "kind": ["half"\n  }\n}\n',
    "half a line that ends in a comma": '{"kind":"half","b":[1,\n',
    "half a line that ends in a bracket": '{"kind":"half","b":[\n',
    "text": '{\n "kind": "half"\n}\nJan  5 10:00:00 host sshd[1]: text\n',
    "text with a quote": '{\n "kind": "half"\n}\nJan  5 10:00:00 host app: "text\n',
    "only an opening bracket": "{\n",
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("layout", ["documents", "single lines", "array", "one document"])
@pytest.mark.parametrize("sizes", [[], [1], [50]])
def test_sense_begins_again_after(broken: str, layout: str, sizes: list[int]) -> None:
    good = {
        "documents": "\n".join(json.dumps(event, indent=2) for event in EVENTS),
        "single lines": "\n".join(map(json.dumps, EVENTS)),
        "array": json.dumps(EVENTS, indent=2),
        "one document": json.dumps(EVENTS[0], indent=2),
    }[layout]
    data = (BROKEN[broken] + good).encode()
    items = list(blocks("f", chunked(data, sizes)))
    found = [e["n"] for e in events_in(items) if e["kind"] == "Event"]
    singles = [json.loads(t) for t in texts(items) if t.startswith(b'{"kind": "Event"')]
    found += [e["n"] for e in singles]
    if broken.startswith("text") and layout != "single lines":
        # Among lines of text, each line is taken for itself.
        assert good.encode() in b"\n".join(texts(items))
        return
    assert found == [e["n"] for e in (EVENTS[:1] if layout == "one document" else EVENTS)]
    if broken not in ("text", "text with a quote"):
        assert failures(items) or any(b"half" in text for text in texts(items))


def test_a_broken_element_does_not_hide_the_next_ones() -> None:
    text = json.dumps({"Records": EVENTS}, indent=2)
    broken = text.replace('"n": 1,', '"n": 1 ]]', 1)
    items = list(blocks("f", [broken.encode()]))
    assert [e["n"] for e in events_in(items)] == [0, 2, 3]
    assert [reason for _, reason in failures(items)] == ["invalid JSON"]


def test_many_broken_documents_cost_no_more_than_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read again behind broken ones is bounded, so that the whole is not quadratic."""
    monkeypatch.setattr(intake_blocks, "_READ_AGAIN_BYTES", MB)
    for unit in (b"{\n", b"[1,\n", b'{"a":\n', b'{"\n', b"[\n[\n{\n"):
        data = unit * (MB // len(unit))
        items = blocks("f", chunked(data, [128 * 1024]))
        found = list(items)
        assert len(failures(found)) < 300
        # What is not named by a failure is there as lines.
        assert sum(len(text) + 1 for text in texts(found)) > MB // 2 or len(failures(found)) < 20


def test_elements_that_are_no_objects_come_out_as_well() -> None:
    data = b'[\n 1,\n "two",\n {"kind": 3},\n null,\n [4],\n "five"\n]\n'
    for sizes in ([], [1], [4]):
        items = list(blocks("f", chunked(data, sizes)))
        found: list[Any] = []
        for _, document in records(items):
            found.extend(document)
        assert found == [1, "two", {"kind": 3}, None, [4], "five"]


def test_a_list_of_texts_stays_flat() -> None:
    line = b' "Jan  5 10:00:00 host sshd[1]: Failed password, for {root",\n'
    count = 100_000
    data = b"[\n" + line * count + b' "end"\n]\n'

    def run() -> None:
        found = 0
        for item in blocks("f", chunked(data, [128 * 1024])):
            assert isinstance(item, RawRecord)
            found += len(json.loads(item.data))
        assert found == count + 1

    assert peak_of(run) < 3 * MB


def test_what_stands_beside_the_list_is_not_forgotten() -> None:
    data = b'{\n "items": [\n {"kind": 1}\n ],\n "kind": "Event",\n "verb": "create"\n}\n'
    items = list(blocks("f", [data]))
    assert [document for _, document in records(items)] == [
        {"items": [{"kind": 1}]},
        {"items": [], "kind": "Event", "verb": "create"},
    ]


def test_documents_stay_flat() -> None:
    event = json.dumps({"kind": "Event", "pad": "x" * 900, "n": [1, 2, {"a": 1}]}, indent=2)
    indented = ("  " + event.replace("\n", "\n  ") + ",\n").encode()
    count = 8_000

    def stream() -> Iterator[bytes]:
        yield b'{\n "Records": [\n'
        for _ in range(count):
            yield indented
        yield b'  {"kind": "last"}\n ]\n}\n'

    def run() -> None:
        assert sum(1 for _ in blocks("f", stream())) == count + 1

    assert peak_of(run) < 4 * MB


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 10**20) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("Records", "items", "a", "ä", '"', "\\")), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def expected_records(document: Any) -> list[Any]:
    """What a document is split to, by the parsed document itself."""
    if isinstance(document, list):
        return [[element] for element in document]
    return [document]


@settings(max_examples=400)
@given(
    documents=st.lists(
        st.lists(json_values, max_size=4) | st.dictionaries(st.text(max_size=3), json_values),
        max_size=3,
    ),
    indent=st.sampled_from((None, 0, 1, "\t")),
    ascii_only=st.booleans(),
    between=st.sampled_from(("\n", "", " \r\n", ",\n")),
    sizes=st.lists(st.integers(1, 30), max_size=4),
)
def test_the_splitter_agrees_with_json(
    documents: list[Any], indent: int | str | None, ascii_only: bool, between: str, sizes: list[int]
) -> None:
    text = between.join(json.dumps(d, indent=indent, ensure_ascii=ascii_only) for d in documents)
    data = text.encode("utf-8", "surrogatepass")
    splitter = DocumentSplitter("f", 1)
    found: list[Any] = []
    for chunk in chunked(data, sizes):
        found.extend(json.loads(record.data) for record in splitter.feed(chunk))
    found.extend(json.loads(record.data) for record in splitter.close())
    expected = [part for document in documents for part in expected_records(document)]
    assert [p for r in found for p in pieces(r)] == [p for r in expected for p in pieces(r)]


def pieces(record: Any) -> list[Any]:
    """A record with its wrapping list, as the elements of that list and what is beside it."""
    if isinstance(record, list):
        return [("element", element) for element in record]
    for key in record:
        if key == "Records" or key == "items":
            listed = record[key]
            if isinstance(listed, list):
                rest = [(k, v) for k, v in record.items() if k != key]
                parts: list[Any] = [(key, element) for element in listed]
                return [*parts, *([("rest", rest)] if rest and not listed else [])]
    return [record]


@settings(max_examples=300)
@given(data=awkward, sizes=st.lists(st.integers(1, 20), max_size=3))
def test_the_splitter_never_raises_anything_else(data: bytes, sizes: list[int]) -> None:
    splitter = DocumentSplitter("f", 1)
    try:
        for chunk in chunked(data, sizes):
            list(splitter.feed(chunk))
        list(splitter.close())
    except NotSplit as error:
        line, held = splitter.rest()
        assert data.endswith(held) or held in data
        assert 1 <= line <= data.count(b"\n") + 1
        assert 1 <= error.line <= data.count(b"\n") + 1  # noqa: PT017


# --- files -------------------------------------------------------------------------------


def test_folders_are_read_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.log", "a.log", "sub/c.log", "sub/a.log", "empty"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"x\n")
    found = [os.path.relpath(file.path, tmp_path) for file in find_inputs([str(tmp_path)])]
    assert found == ["a.log", "b.log", "empty", "sub/a.log", "sub/c.log"]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.log", "b.log", "c.txt", "x[1].log", "d/e.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x\n")
    monkeypatch.chdir(tmp_path)
    assert [f.path for f in find_inputs(["*.log"])] == ["a.log", "b.log", "x[1].log"]
    assert [f.path for f in find_inputs(["**/*.log"])] == ["a.log", "b.log", "d/e.log", "x[1].log"]
    # A file of that very name is that file.
    assert [f.path for f in find_inputs(["x[1].log"])] == ["x[1].log"]
    with pytest.raises(TrailhoundError, match=r"nothing fits the pattern '\*\.json'"):
        find_inputs(["*.json"])


def test_a_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x\n")
    (tmp_path / "b.log").symlink_to(tmp_path / "a.log")
    named = [str(tmp_path / "b.log"), str(tmp_path), str(tmp_path / "a.log")]
    assert [file.path for file in find_inputs(named)] == [str(tmp_path / "b.log")]


def test_what_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrailhoundError, match="no such file or folder"):
        find_inputs([str(tmp_path / "none")])
    with pytest.raises(TrailhoundError, match="cannot read"):
        find_inputs([str(tmp_path / ("n" * 300))])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(TrailhoundError, match="cannot read"):
        find_inputs([str(tmp_path / "loop")])


def test_links_that_lead_nowhere_are_told_when_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "z.log").write_bytes(b"x\n")
    found = find_inputs([str(tmp_path)])
    assert [os.path.basename(file.path) for file in found] == ["dangling", "loop", "z.log"]
    reasons = [[i for i in read_blocks(file) if isinstance(i, ParseFailure)] for file in found]
    assert [f.detail for (f,) in reasons[:2]] == [
        "No such file or directory",
        "Too many levels of symbolic links",
    ]
    assert reasons[0][0].reason == "unreadable file"
    assert reasons[2] == []


def test_links_to_folders_are_told_unless_what_they_lead_to_is_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "away" / "deep").mkdir(parents=True)
    (tmp_path / "away" / "deep" / "a.log").write_bytes(b"x\n")
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "away" / "deep")
    (file,) = find_inputs([str(tmp_path / "logs")])
    (failure,) = (i for i in read_blocks(file) if isinstance(i, ParseFailure))
    assert failure.origin.path == str(tmp_path / "logs" / "link")
    assert failure.reason == "unreadable file"
    assert failure.detail.startswith("a link to a folder, which is not followed")
    (file,) = find_inputs([str(tmp_path / "logs"), str(tmp_path / "away")])
    assert os.path.basename(file.path) == "a.log"


def test_a_file_that_went_away_or_turned_into_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x\n")
    (file,) = find_inputs([str(path)])
    path.unlink()
    assert failures(list(read_blocks(file))) == [(0, "unreadable file")]
    path.mkdir()
    assert failures(list(read_blocks(file))) == [(0, "unreadable file")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission(tmp_path: Path) -> None:
    (tmp_path / "closed.log").write_bytes(b"x\n")
    (tmp_path / "closed.log").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    found = find_inputs([str(tmp_path)])
    assert [os.path.basename(file.path) for file in found] == ["closed.log", "closed"]
    for file in found:
        (failure,) = (i for i in read_blocks(file) if isinstance(i, ParseFailure))
        assert (failure.reason, failure.detail) == ("unreadable file", "Permission denied")


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (file,) = find_inputs([str(tmp_path)])
    monkeypatch.undo()
    assert file.path == str(tmp_path / "closed")
    assert failures(list(read_blocks(file))) == [(0, "unreadable file")]


def test_what_is_no_file_in_a_folder_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"text\n")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tmp_path, os.O_DIRECTORY)  # its path may be longer than a socket's can be
        try:
            listening.bind(f"/proc/self/fd/{here}/c")
        finally:
            os.close(here)
        items = [item for file in find_inputs([str(tmp_path)]) for item in read_blocks(file)]
    told = {Path(i.origin.path).name: i.detail for i in items if isinstance(i, ParseFailure)}
    assert told == {
        "a": "a pipe in a folder is not read: name the pipe itself",
        "c": "a socket holds no log",
    }
    assert texts(items) == [b"text"]


@pytest.mark.parametrize("compress", [None, gzip.compress])
def test_a_pipe_that_gives_little_at_a_time(
    compress: Callable[[bytes], bytes] | None, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = compress(TEXT[:2000]) if compress else TEXT[:2000]

    def write() -> None:
        with open(pipe, "wb", buffering=0) as file:
            for at in range(0, len(data), 3):
                file.write(data[at : at + 3])

    writer = threading.Thread(target=write)
    writer.start()
    items = read(pipe)
    writer.join()
    assert b"\n".join(texts(items)) == TEXT[:2000].rstrip(b"\n")
    assert not failures(items)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(b"a\nb\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    (file,) = find_inputs(["-", "-"])
    assert (file.path, file.size_bytes) == ("-", 0)
    assert texts(list(read_blocks(file))) == [b"a", b"b"]
    monkeypatch.setattr(sys, "stdin", None)
    (failure,) = read_blocks(file)
    assert isinstance(failure, ParseFailure)
    assert (failure.reason, failure.detail) == ("unreadable file", "standard input is closed")


def test_progress_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(TEXT))
    done: list[int] = []
    list(read_blocks(find_inputs([str(path)])[0], done.append))
    assert sum(done) == path.stat().st_size


def test_damage_is_told_with_its_line(tmp_path: Path) -> None:
    text = b"".join(b"%d\n" % (zlib.crc32(b"%d" % n)) for n in range(60_000))
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(text)[:-100_000])
    items = read(path)
    (failure,) = (item for item in items if isinstance(item, ParseFailure))
    assert failure.reason == "damaged compression"
    assert failure.origin == Origin(str(path), lines_of(items)[-1][0])
    assert len(texts(items)) > 1000


BINARIES = {
    "wtmp": (b"\x07\0\0\0\x01\x02\0\0pts/0" + bytes(27) + b"ts/0root" + bytes(300)) * 20,
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(range(256)) * 20,
    "journal": b"LPKSHHRH\0\0\0\0\x0c\0\0\0\x01\n\x02\x03" + bytes(range(255, 0, -1)) * 20,
    "sqlite": b"SQLite format 3\0\x10\0\x01\x01\0@  " + bytes(5000),
    "zeros first": bytes(6000) + b"\x07\0\0\0pts/1" + bytes(100),
}
TEXTS_WITH_ZEROS = {
    "zeros before the log": bytes(20_000) + b"Jan  5 10:00:00 host sshd[1]: text\n" * 3,
    "zeros in a line": b"Jan  5 10:00:00 host sshd[1]: te\0xt\nJan  5 10:00:00 host sshd[1]: x\n",
    "zeros between lines": b"Jan  5 10:00:00 host sshd[1]: x\n" + bytes(3000) + b"\n",
    "JSON with a zero": b'{"a": "\0"}\n{"b": 1}\n',
    "JSON on one long line": b'{"a": "' + b"x" * 5000 + b'\0"}\n',
    "enriched audit records": b"type=SYSCALL msg=audit(1.1:1): a=1\x1dSYSCALL=execve\n\0\0\n",
    "nothing": b"",
    "zeros alone": bytes(5000),
}


@pytest.mark.parametrize("name", BINARIES)
def test_binary_files_are_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BINARIES[name])
    assert (1, BINARY) in failures(read(path))


def test_of_a_journal_it_is_told_how_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "system.journal"
    path.write_bytes(BINARIES["journal"])
    first = next(item for item in read(path) if isinstance(item, ParseFailure))
    assert "journalctl -o json" in first.detail


@pytest.mark.parametrize("name", TEXTS_WITH_ZEROS)
def test_zeros_alone_do_not_make_a_log_binary(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXTS_WITH_ZEROS[name])
    items = read(path)
    assert not failures(items)
    assert b"\n".join(texts(items)) == TEXTS_WITH_ZEROS[name].removesuffix(b"\n")


# --- units of work -----------------------------------------------------------------------


def groups_of(names: list[str], sizes: dict[str, int] | None = None) -> list[list[str]]:
    files = [InputFile(name, (sizes or {}).get(name, 1)) for name in names]
    return [[file.path for file in group] for unit in cut(files) for group in unit.groups]


def test_rotated_files_are_one_log_oldest_first() -> None:
    assert groups_of(["audit.log", "audit.log.1", "audit.log.10", "audit.log.2.gz"]) == [
        ["audit.log.10", "audit.log.2.gz", "audit.log.1", "audit.log"]
    ]
    assert groups_of(["auth.log", "auth.log-20260101", "auth.log-20251225.gz"]) == [
        ["auth.log-20251225.gz", "auth.log-20260101", "auth.log"]
    ]
    assert groups_of(["secure-20260104", "secure-20260111.xz", "secure.zst"]) == [
        ["secure-20260104", "secure-20260111.xz", "secure.zst"]
    ]
    assert groups_of(["m.1700000000.bz2", "m.1700000001"]) == [["m.1700000000.bz2", "m.1700000001"]]


def test_other_files_are_logs_of_their_own() -> None:
    names = ["a/audit.log", "b/audit.log.1", "a/auth.log", "-", "x.json.gz", "y.json.gz"]
    assert groups_of(names) == [[name] for name in names]
    trail = "111122223333_CloudTrail_us-east-1_20260101T0000Z_abcdefgh.json.gz"
    assert groups_of([trail, trail.replace("abc", "xyz")]) == [
        [trail],
        [trail.replace("abc", "xyz")],
    ]


@given(st.permutations(["s", "s.1", "s.2.gz", "s.3.zst", "t-20260101", "t-20260102", "t"]))
def test_the_order_within_a_log_does_not_depend_on_the_order_of_names(names: list[str]) -> None:
    assert sorted(groups_of(names)) == [
        ["s.3.zst", "s.2.gz", "s.1", "s"],
        ["t-20260101", "t-20260102", "t"],
    ]


def test_small_logs_share_a_unit_and_large_ones_do_not() -> None:
    files = [InputFile(f"{n}.log", 1000) for n in range(100)]
    assert len(cut(files)) == 1
    files.insert(50, InputFile("large", 100 * MB))
    units = cut(files)
    assert len(units) == 2
    assert sum(len(group) for unit in units for group in unit.groups) == 101


@settings(max_examples=60)
@given(
    lines=st.lists(st.integers(0, 400), min_size=1, max_size=60),
    part=st.integers(100, 2000),
    ends=st.booleans(),
)
def test_parts_of_a_file_are_the_file(lines: list[int], part: int, ends: bool) -> None:
    data = b"\n".join(b"x" * length for length in lines) + (b"\n" if ends else b"")
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    path = folder / f"trailhound-parts-{os.getpid()}"
    path.write_bytes(data)
    try:
        edges = [*range(0, len(data), part), len(data)]
        parts = [InputFile(str(path), 0, start=start, end=end) for start, end in pairwise(edges)]
        found = [i.data for p in parts for i in read_blocks(p) if isinstance(i, Block)]
        assert b"".join(found) == data
        assert all(d.endswith(b"\n") for d in found[:-1])
    finally:
        path.unlink()


def test_large_files_are_cut_in_parts_of_equal_size() -> None:
    for size in (130 * MB, 200 * MB, 256 * MB, 257 * MB):
        parts = parts_of(InputFile("f", size))
        assert parts[0].start == 0
        assert parts[-1].end == size
        assert all(a.end == b.start for a, b in pairwise(parts))
        assert max(p.size_bytes for p in parts) < 81 * MB


def test_a_part_that_ends_in_a_long_line_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"y" * MB)
        file.write(b"\nlast\n")
    size = path.stat().st_size
    parts = [InputFile(str(path), 0, start=a, end=b) for a, b in ((0, MB), (MB, size))]

    def run() -> None:
        items = [item for part in parts for item in read_blocks(part)]
        assert texts(items) == [b"first", b"last"]
        assert [reason for _, reason in failures(items)] == ["line too long"]

    assert peak_of(run) < 4 * LINE_LIMIT
    assert intake_blocks.SPLIT_BYTES < LINE_LIMIT
