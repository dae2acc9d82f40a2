"""Times and envelopes, whatever a log writer puts there."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailhound.sources.mapping import EnvelopeMap, time_ns_of

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:01Z", SECOND),
        ("1970-01-01 00:00:01.5", SECOND * 3 // 2),
        ("1970-01-01T01:00:01+01:00", SECOND),
        ("1970-01-01T01:00:01+0100", SECOND),
        ("1970-01-01T00:00:00.0000000019Z", 1),
        ("1969-12-31T23:59:59.25Z", -SECOND * 3 // 4),
        ("1970-01-01", 0),
        ("2016-12-31T23:59:60.5Z", time_ns_of("2016-12-31T23:59:59.5Z")),
        ("2262-04-11T23:47:16.854775807Z", (1 << 63) - 1),
        ("2262-04-11T23:47:16.854775808Z", None),
        ("1677-09-21T00:12:43.145224192Z", -(1 << 63)),
        ("1677-09-21T00:12:43.145224191Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-01-01T00:00:61Z", None),
        ("2024-01-01T25:00:60Z", None),
        ("2024-01-01T00:00:00.Z", None),
        ("yesterday at ten", None),
        ("", None),
        (None, None),
        (1_700_000_000, None),
    ],
)
def test_times(text: object, time_ns: int | None) -> None:
    assert time_ns_of(text) == time_ns


@given(st.datetimes(timezones=st.timezones()), st.sampled_from([" ", "T"]))
def test_every_time_fits_64_bits(moment: datetime, between: str) -> None:
    text = moment.isoformat(between)
    if len(text) <= 64:
        time_ns = time_ns_of(text)
        assert time_ns is None or -(1 << 63) <= time_ns < 1 << 63


@given(st.integers() | st.floats() | st.text() | st.none())
def test_the_time_of_an_envelope_fits_64_bits(value: Any) -> None:
    envelope = EnvelopeMap({"time_ns": (lambda document: document["t"],)})({"t": value})
    assert -(1 << 63) <= envelope.time_ns < 1 << 63
