"""What a message or an object holds: whatever it is, records and failures, in bounded memory."""

import gzip
import io
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from trailhound.intake.contents import records_in, records_of
from trailhound.model.records import ParseFailure, RawRecord


class Bomb(io.RawIOBase):
    """Lines that compress a thousandfold, without end."""

    def __init__(self) -> None:
        super().__init__()
        self._held = gzip.compress((b'{"a":"%s"}\n' % (b"x" * 1000)) * 10_000, 9)

    def read(self, _size: int = -1) -> bytes:
        return self._held  # members may follow on each other


def test_a_bomb_ends_at_its_limit_and_takes_no_memory() -> None:
    tracemalloc.start()
    count = 0
    last: RawRecord | ParseFailure | None = None
    for item in records_in("s3/b/k", Bomb(), 100_000_000):  # type: ignore[arg-type]
        last = item
        count += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(last, ParseFailure)
    assert last.reason == "too large"
    # A line is 1,009 bytes; what of the last block, of 256 kB, is within the limit may be left out.
    assert 98_800 < count < 99_200
    assert peak < 20_000_000


@given(st.binary(max_size=400) | st.binary(max_size=400).map(gzip.compress))
def test_any_message_gives_the_same_each_time_and_raises_nothing(data: bytes) -> None:
    first = list(records_of("p", data))
    assert first == list(records_of("p", data))
    assert all(isinstance(item, ParseFailure) or item.data for item in first)


@given(st.lists(st.sampled_from([b'{"a":1}', b"text", b"", b"  ", b'{"b":[', b"]}", b"\xff"])))
def test_a_message_reads_as_the_same_message_compressed(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    assert list(records_of("p", data)) == list(records_of("p", gzip.compress(data)))
