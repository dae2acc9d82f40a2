"""The rule types against elastalert2 itself: the same rules and events, the same matches.

elastalert2 and what it needs (60 packages, some pinned years back) stand in an environment of
their own, `build/elastalert`, which the first run makes.
"""

import json
import random
import subprocess
import venv
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.elastalert import DIALECT, keys
from trailhound.engine.match import matcher
from trailhound.engine.texts import text_of
from trailhound.engine.values import getter
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.elastalert.counting import FlatlineFold
from trailhound.engine.windows.folds import FOLDS
from trailhound.engine.windows.paged import Shelf
from trailhound.rules.ir import Rule
from trailhound.rules.schedule import schedule_of

VERSION = "2.19.0"
ROOT = Path(__file__).parent.parent
SECOND = 1_000_000_000
EVERY = 60
HOURS = 3

pytestmark = pytest.mark.slow

COMMON = {"index": "app-*", "alert": "debug", "filter": [], "realert": {"minutes": 0}}
FRAME = {"minutes": 10}
RULES: dict[str, dict[str, Any]] = {
    "any": {"type": "any"},
    "blacklist": {"type": "blacklist", "compare_key": "word", "blacklist": ["a", "b"]},
    "whitelist": {
        "type": "whitelist",
        "compare_key": "word",
        "whitelist": ["a", "b"],
        "ignore_null": True,
    },
    "whitelist, null counts": {
        "type": "whitelist",
        "compare_key": "word",
        "whitelist": ["a"],
        "ignore_null": False,
    },
    "change": {"type": "change", "compare_key": "word", "query_key": "user", "ignore_null": True},
    "change of several, within": {
        "type": "change",
        "compare_key": ["word", "place"],
        "query_key": "user",
        "ignore_null": False,
        "timeframe": {"minutes": 7},
    },
    "frequency": {"type": "frequency", "num_events": 4, "timeframe": FRAME},
    "frequency by user": {
        "type": "frequency",
        "num_events": 3,
        "timeframe": FRAME,
        "query_key": "user",
    },
    "frequency by two": {
        "type": "frequency",
        "num_events": 2,
        "timeframe": FRAME,
        "query_key": ["user", "place"],
    },
    "flatline": {"type": "flatline", "threshold": 3, "timeframe": FRAME},
    "flatline by user": {
        "type": "flatline",
        "threshold": 1,
        "timeframe": FRAME,
        "query_key": "user",
    },
    "flatline, forgotten": {
        "type": "flatline",
        "threshold": 1,
        "timeframe": FRAME,
        "query_key": "user",
        "forget_keys": True,
    },
    "new term": {"type": "new_term", "fields": ["word"], "terms_window_size": {"seconds": 1800}},
    "new terms": {
        "type": "new_term",
        "fields": ["word", ["user", "place"]],
        "terms_window_size": {"seconds": 1800},
        "alert_on_missing_field": True,
    },
    "cardinality, many": {
        "type": "cardinality",
        "cardinality_field": "word",
        "max_cardinality": 3,
        "timeframe": FRAME,
        "query_key": "user",
    },
    "cardinality, few": {
        "type": "cardinality",
        "cardinality_field": "word",
        "min_cardinality": 3,
        "timeframe": FRAME,
    },
    "percentage": {
        "type": "percentage_match",
        "match_bucket_filter": [{"term": {"word": "a"}}],
        "min_percentage": 20,
        "max_percentage": 60,
        "min_denominator": 3,
        "buffer_time": {"minutes": 5},
    },
    **{
        f"metric {kind}": {
            "type": "metric_aggregation",
            "metric_agg_key": "size",
            "metric_agg_type": kind,
            "min_threshold": low,
            "max_threshold": high,
            "buffer_time": {"minutes": 5},
            "query_key": "user",
        }
        for kind, low, high in (
            ("min", 2, 9),
            ("max", 5, 18),
            ("avg", 6, 13),
            ("sum", 10, 60),
            ("cardinality", 2, 4),
            ("value_count", 2, 6),
        )
    },
    **{
        f"spike {way}{by}": {
            "type": "spike",
            "spike_type": way,
            "spike_height": 2,
            "timeframe": FRAME,
            **more,
        }
        for way in ("up", "down", "both")
        for by, more in (
            ("", {"threshold_ref": 3}),
            (" by user", {"query_key": "user", "threshold_cur": 2}),
            (", no thresholds", {}),
            (" by user, no thresholds", {"query_key": "user"}),
            (" of a field", {"field_value": "size"}),
        )
    },
    "spike, odd timeframe": {
        "type": "spike",
        "spike_type": "both",
        "spike_height": 2,
        "timeframe": {"seconds": 450},
        "threshold_ref": 2,
    },
    **{
        f"spike of metric {kind}": {
            "type": "spike_aggregation",
            "spike_type": "both",
            "spike_height": 1.5,
            "timeframe": FRAME,
            "metric_agg_key": "size",
            "metric_agg_type": kind,
            "buffer_time": {"minutes": 5},
        }
        for kind in ("avg", "sum", "max")
    },
}


def stream(seed: int) -> list[dict[str, Any]]:
    """Make events with busy and quiet times."""
    pick = random.Random(seed)
    events: list[dict[str, Any]] = []
    now = 0.0
    while True:
        now += pick.choice((3, 20, 60, 120, 240)) * pick.random() + pick.choice((0, 0, 0, 0, 900))
        for _ in range(pick.choice((1, 1, 2, 5))):
            now += pick.random() * 5
            event: dict[str, Any] = {
                "t": round(now),
                "user": pick.choice("xyz"),
                "size": pick.randint(1, 20),
            }
            for name in ("word", "place"):
                if pick.random() < 0.9:
                    event[name] = pick.choice("abcdefgh"[: 3 + int(now // 1500)])
            events.append(event)
        if now > HOURS * 3600:
            return [event for event in events if 0 < event["t"] <= HOURS * 3600]


STREAMS = [stream(seed) for seed in range(12)]
# Without a group, elastalert2 watches from its own start: then let there be an event as well.
BEGUN = [[{"t": 1, "user": "x", "size": 1}, *events] for events in STREAMS]
UNTIL = HOURS * 3600 + 1800


def streams_of(rule: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return BEGUN if rule["type"] == "flatline" else STREAMS


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """The Python of an environment with elastalert2."""
    folder = ROOT / "build" / "elastalert"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    have = subprocess.run([str(python), "-c", "import elastalert.ruletypes"], check=False)
    # It does not name all that it imports.
    command = [str(python), "-m", "pip", "install", "-q", f"elastalert2=={VERSION}", "pytz"]
    if have.returncode and subprocess.run(command, check=False).returncode:
        pytest.skip(f"elastalert2 {VERSION} cannot be installed here")
    return python


def test_every_key_of_the_schema_is_known(interpreter: Path) -> None:
    (path,) = interpreter.parents[1].glob("lib/*/site-packages/elastalert/schema.yaml")
    schema = yaml.safe_load(path.read_text())
    asked = {
        *schema["properties"],
        *(name for one in schema["oneOf"] for name in one["properties"]),
    }
    known = {*keys.COMMON, *keys.QUERYING, *keys.ENRICHING, *keys.CHANGING}
    known.update(*keys.BY_TYPE.values())
    assert not {key for key in asked - known if not keys.is_delivery(key)}


SCHEDULES = (
    "*/7 * * * *", "5,10-20/3 3 * * *", "0 9 * * mon-fri", "0 0 29 2 *", "30 4 1,15 * 5",
    "0 1 */9 * 7", "0 0 * jan,dec 0", "@weekly", "40/10 * * * *",
)  # fmt: skip


def test_schedules_come_when_theirs_do(interpreter: Path) -> None:
    script = (
        "import json, sys, datetime, croniter\n"
        "for text in json.load(sys.stdin):\n"
        "    now = datetime.datetime(2026, 5, 1, 13, 40, 59, tzinfo=datetime.timezone.utc)\n"
        "    at = croniter.croniter(text, now)\n"
        "    print(*(int(at.get_next()) for _ in range(50)))\n"
    )
    done = subprocess.run(
        [str(interpreter), "-c", script],
        check=True,
        input=json.dumps(SCHEDULES),
        capture_output=True,
        text=True,
    )
    for text, line in zip(SCHEDULES, done.stdout.splitlines(), strict=True):
        schedule, at_ns, found = schedule_of(text), 1_777_642_859 * SECOND, []
        for _ in range(50):
            at_ns = schedule.after(at_ns)
            found.append(at_ns // SECOND)
        assert found == [int(number) for number in line.split()], text


@pytest.fixture(scope="module")
def theirs(interpreter: Path) -> dict[str, list[list[tuple[int, str | None]]]]:
    """Rule → for each stream the matches of elastalert2: (end of the run, group)."""
    script = Path(__file__).parent / "elastalert" / "reference.py"
    cases = [
        {"rule": {**COMMON, **rule}, "events": events, "until": UNTIL}
        for rule in RULES.values()
        for events in streams_of(rule)
    ]
    done = subprocess.run(
        [str(interpreter), str(script)],
        check=False,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = iter(json.loads(done.stdout))
    return {name: [[(end, key) for end, key in next(found)] for _ in STREAMS] for name in RULES}


def read(rule: dict[str, Any]) -> list[Rule]:
    text = yaml.safe_dump({**COMMON, "name": "r", **rule})
    book = DIALECT.read(RuleFile("r.yaml", text.encode()), {})
    assert book.errors == ()
    return list(book.rules)


def ours(
    rule: dict[str, Any], events: list[dict[str, Any]], until: int
) -> Iterator[tuple[int, str | None]]:
    rules = read(rule)
    ordered = sorted(enumerate(events), key=lambda item: item[1]["t"])
    window = next((rule.window for rule in rules if rule.window is not None), None)
    if window is None:
        matches = matcher(rules[0].predicate)  # type: ignore[arg-type]
        for _, event in ordered:
            if matches(event):
                yield run_of(event["t"] * SECOND), None
        return
    groups: dict[tuple[str | None, ...], list[Feed]] = {}
    for position, hidden in enumerate(rule for rule in rules if rule.window is None):
        matches = matcher(hidden.predicate)  # type: ignore[arg-type]
        for number, event in ordered:
            if not matches(event):
                continue
            key = tuple(
                next(iter(text_of(v) for v in getter(field)(event)), None)
                for field in window.group_by
            )
            values = tuple(
                tuple(t for v in getter(field)(event) if (t := text_of(v)) is not None)
                for field in window.value_fields
            )
            feed = Feed(event["t"] * SECOND, f"{number:06}", position, 0, key, values, at=number)
            groups.setdefault(key, []).append(feed)
    fold: Any = FOLDS[type(window)](window, ())
    for key, feeds in groups.items():
        state, shelf = fold.fresh(), Shelf()
        shown = ", ".join(map(str, key)) or None
        for feed in sorted(feeds):
            yield from ((run, shown) for run in runs(fold, state, feed.time_ns, shelf))
            yield from ((run_of(feed.time_ns), shown) for _ in fold.seen(state, feed, shelf))
        yield from ((run, shown) for run in runs(fold, state, until * SECOND + 1, shelf))


def runs(fold: Any, state: Any, until_ns: int, shelf: Shelf) -> Iterator[int]:
    if not hasattr(fold, "next_run"):
        return
    while (now_ns := fold.next_run(state, shelf)) <= until_ns:
        for match in fold.ran(state, now_ns, shelf):
            # A silence that goes on has no events of its own.
            if match.size or not isinstance(fold, FlatlineFold):
                yield run_of(match.time_ns)


def run_of(time_ns: int) -> int:
    return -(-time_ns // (EVERY * SECOND)) * EVERY


def begun(found: list[tuple[int, str | None]]) -> list[tuple[int, str | None]]:
    """Of matches at run after run, the first."""
    begins = []
    for _, group in groupby(sorted(found, key=lambda m: (str(m[1]), m[0])), key=lambda m: m[1]):
        last = -EVERY
        for run, key in sorted(set(group)):
            if run != last + EVERY:
                begins.append((run, key))
            last = run
    return begins


@pytest.mark.parametrize("name", RULES)
def test_same_matches(name: str, theirs: dict[str, list[list[tuple[int, str | None]]]]) -> None:
    rule = RULES[name]
    total = 0
    for events, matches in zip(streams_of(rule), theirs[name], strict=True):
        expected, found = matches, list(ours(rule, events, UNTIL))
        if rule["type"] in ("blacklist", "whitelist", "any") or "query_key" not in rule:
            expected = [(run, None) for run, _ in expected]
        if rule["type"] == "flatline" and not rule.get("forget_keys"):
            expected = begun(expected)
        total += len(expected)
        assert sorted(found, key=str) == sorted(expected, key=str)
    assert total, "the streams make no match of this rule"
