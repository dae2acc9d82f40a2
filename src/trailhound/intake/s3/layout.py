"""How AWS lays logs out in buckets, so far as it matters for reading them.

`[PREFIX/]AWSLogs/[ORGANISATION/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_….json.gz`
and beside it `CloudTrail-Digest`
(https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html).
Other services write `…/SERVICE/REGION/YYYY/MM/DD/` as well.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

_DAY = re.compile(r"(?P<place>.*?/|)(?P<day>\d{4}/\d{2}/\d{2})/", re.ASCII | re.DOTALL)
_LATE_DAYS = 2
"""How far back a short listing looks behind the newest day of a place."""


def is_digest(key: str) -> bool:
    """Whether an object is a digest file of CloudTrail: it proves logs and holds none."""
    return "/CloudTrail-Digest/" in f"/{key}"


def day_of(key: str) -> tuple[str, str] | None:
    """Return the place before the folders of a day, and the day (`2026/11/12`); None without."""
    found = _DAY.match(key)
    return (found["place"], found["day"]) if found else None


def starts(newest: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield where short listings begin: prefix, and the text behind which keys are wanted.

    Args:
        newest: the newest day that was seen at each place.
    """
    for place, day in newest.items():
        try:
            first = date.fromisoformat(day.replace("/", "-")) - timedelta(days=_LATE_DAYS)
        except (ValueError, OverflowError):  # no day of any year
            yield place, place
        else:
            yield place, f"{place}{first:%Y/%m/%d}"
