"""Time and chance: microseconds since 1970, and one seeded source of ids."""

import random
from datetime import UTC, datetime

DAY = datetime(2026, 11, 12, tzinfo=UTC)
"""The evening, a Thursday. All hosts keep UTC."""

SECOND = 1_000_000
"""Microseconds."""
MINUTE = 60 * SECOND

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_POD = "bcdfghjklmnpqrstvwxz2456789"


def at(clock: str) -> int:
    """Return the moment `HH:MM[:SS[.fff]]` of the evening, in microseconds since 1970."""
    parts = [*clock.split(":"), "0"][:3]
    seconds = int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2])
    return int(DAY.timestamp()) * SECOND + round(seconds * SECOND)


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // SECOND, UTC).replace(microsecond=time_us % SECOND)


def iso_micro(time_us: int) -> str:
    """RFC 3339 with six digits and `Z`, as Kubernetes writes `MicroTime`."""
    return _moment(time_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def iso_second(time_us: int) -> str:
    """RFC 3339 with whole seconds and `Z`, as CloudTrail writes `eventTime`."""
    return _moment(time_us).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_offset(time_us: int) -> str:
    """The stamp of rsyslog's `RSYSLOG_FileFormat`: six digits and a numeric offset."""
    return _moment(time_us).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


def rfc3164(time_us: int) -> str:
    """`Nov 12 19:00:01`: no year, no zone (RFC 3164 section 4.1.2)."""
    moment = _moment(time_us)
    return f"{moment:%b} {moment.day:>2} {moment:%H:%M:%S}"


def us_words(time_us: int) -> str:
    """`Nov 12, 2026, 8:36:02 PM`: how IAM and STS responses show dates in CloudTrail."""
    moment = _moment(time_us)
    hour = moment.hour % 12 or 12
    return f"{moment:%b} {moment.day}, {moment.year}, {hour}:{moment:%M:%S} {moment:%p}"


class Dice(random.Random):
    """A seeded source of ids that look like the real ones."""

    def hexes(self, count: int) -> str:
        """Return `count` lower-case hex digits."""
        return f"{self.getrandbits(count * 4):0{count}x}"

    def uuid(self) -> str:
        """Return a version 4 UUID."""
        text = self.hexes(32)
        variant = "89ab"[int(text[16], 16) % 4]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def aws_id(self, prefix: str) -> str:
        """Return an AWS id such as `ASIA…EXAMPLE`: 20 characters for keys, 21 for principals."""
        length = 9 if prefix in ("AKIA", "ASIA") else 10
        return prefix + "".join(self.choices(_BASE32, k=length)) + "EXAMPLE"

    def alnum(self, count: int) -> str:
        """Return `count` letters and digits."""
        return "".join(self.choices(_ALNUM, k=count))

    def pod_suffix(self) -> str:
        """Return five characters of the alphabet that Kubernetes names generated pods with."""
        return "".join(self.choices(_POD, k=5))

    def between(self, low_us: int, high_us: int) -> int:
        """Return a moment or a span between the two, in microseconds."""
        return self.randint(low_us, high_us)

    def every(self, start_us: int, end_us: int, step_us: int, jitter_us: int) -> list[int]:
        """Return moments from start to end, one each step, each late by up to the jitter."""
        return [t + self.randint(0, jitter_us) for t in range(start_us, end_us, step_us)]
