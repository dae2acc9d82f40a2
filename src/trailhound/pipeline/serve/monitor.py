"""How a running service does, for probes and for Prometheus."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from trailhound.intake.arrivals import Accept
from trailhound.intake.http.contract import HttpRoute
from trailhound.intake.pulling import Progress
from trailhound.pipeline.serve import talk
from trailhound.pipeline.serve.condition import Condition
from trailhound.pipeline.serve.receiving import Receiving
from trailhound.pipeline.serve.settings import Settings
from trailhound.sinks.wording import rfc3339

Sample = tuple[str, tuple[tuple[str, str], ...], float]
"""Name without prefix, labels, value."""

_DAY_NS = 86_400 * 10**9
_HELP = {
    "accepted_total": "Records acknowledged to senders.",
    "datagrams_lost_total": "Syslog datagrams that came while the queue was full.",
    "pull_connected": "Whether the server that records are fetched from answered last.",
    "pull_errors_total": "Failures to fetch, each tried again.",
    "pull_lag": "Messages or objects that wait at the server, by their place there.",
    "pull_lost_total": "Messages that the server dropped before they were fetched.",
    "pull_skipped_total": "Objects that are no logs (digests, folders), by kind.",
    "pull_waiting": "Whether nothing is fetched because the queue is full.",
    "refused_total": "How often senders were told to come again, for want of room.",
    "queue_bytes": "Disk that records take while they wait.",
    "queue_waiting": "Records acknowledged and not kept yet.",
    "detector_restarts_total": "How often the detector ended by itself and was started again.",
    "rules": "Rules that can be used.",
    "records_total": "Records read from the queue.",
    "events_total": "Events judged, without repeats.",
    "repeats_total": "Events left out because the same was there before.",
    "failures_total": "Records that could not be read, or were read with something amiss.",
    "findings_total": "Findings told.",
    "senders": "Senders that are watched.",
    "senders_silent": "Senders that should have been heard by now.",
    "senders_amiss": "Senders of which a finding of the watch is open.",
    "events_missing_total": "Numbers of numbered events that never came.",
    "requests_unended_total": "Requests to an API server of which no end came.",
    "watch_full_total": "Sightings of somebody for whom the watch had no room.",
    "records_repeated_total": "Records left out because the same was there before.",
    "redacted_values_total": "Secrets replaced by keyed hashes.",
    "sealed_total": "Records appended to the ledger.",
    "stored_total": "Events stored in the lake.",
    "ledger_records": "Records in the ledger.",
    "ledger_signed_records": "Records in the ledger that are under a signed head.",
    "forwarded_records": "Records that a place has, under a signed head.",
    "forward_failing": "Whether the last attempt to forward to a place failed.",
    "forward_failures_total": "Attempts to forward that failed; each is made again.",
    "received_files_total": "Files of ledgers of others, taken in.",
    "received_head_timestamp_seconds": "When the last head of a ledger of another came.",
    "received_refused_total": "Files of ledgers of others that would have replaced one.",
    "late_events_total": "Events that came too late for a rule; they are in the lake.",
    "windows_full_total": "How often the oldest events of a group could be joined no longer.",
    "windows_spilled_total": "Pages of rules over several events that memory had no room for.",
    "undecided_total": "Events on which a pattern of a rule took too long.",
    "python_asked_total": "Events that a rule in Python was asked about.",
    "python_failed_total": "Events on which a function of a rule in Python failed.",
    "python_cpu_seconds_total": "Processor time that a rule in Python took.",
    "queue_damage_total": "Stretches of the queue that the disk lost.",
}


def routes(
    condition: Condition,
    settings: Settings,
    receiving: Receiving,
    held_bytes: Callable[[], int],
    next_number: Callable[[], int],
) -> tuple[HttpRoute, ...]:
    """Return the routes that tell how a service does."""

    async def alive(_request: web.Request, _accept: Accept) -> web.Response:
        return web.json_response({"alive": True})

    async def ready(_request: web.Request, _accept: Accept) -> web.Response:
        status = 200 if condition.ready else 503
        return web.json_response({"ready": condition.ready}, status=status)

    async def metrics(_request: web.Request, _accept: Accept) -> web.Response:
        done = condition.done or next_number()
        samples: list[Sample] = [
            *(
                ("accepted_total", (("intake", intake),), count)
                for intake, count in sorted(condition.taken.items())
            ),
            ("datagrams_lost_total", (), condition.lost.messages),
            ("refused_total", (), condition.refused),
            *(sample for pull in condition.pulls for sample in _pulled(pull)),
            ("queue_bytes", (), held_bytes()),
            ("queue_waiting", (), max(0, next_number() - done)),
            ("detector_restarts_total", (), condition.restarts),
            ("rules", (), condition.rules),
            *_sealed(condition.report),
            ("received_files_total", (), receiving.files),
            ("received_refused_total", (), receiving.refused),
            *(
                ("received_head_timestamp_seconds", (("sender", sender),), round(when_s, 3))
                for sender, when_s in sorted(receiving.heads().items())
            ),
            *condition.stats.values,
        ]
        return web.Response(text=exposition(samples), content_type="text/plain", charset="utf-8")

    async def status(_request: web.Request, _accept: Accept) -> web.Response:
        report = condition.report
        return web.json_response(
            {
                "ready": condition.ready,
                "rules": condition.rules,
                "waiting": max(0, next_number() - (condition.done or next_number())),
                "queue_bytes": held_bytes(),
                "detector_restarts": condition.restarts,
                "ledger": {"records": report.records, "signed": report.signed},
                "forwarding": [
                    {
                        "place": place.place,
                        "records": place.records,
                        "failures": place.failures,
                        "failing": place.reason or None,
                    }
                    for place in report.places
                ],
                "fetching": [asdict(pull) for pull in condition.pulls],
                "late": [_late(one, settings.lake_folder) for one in report.late],
            }
        )

    return (
        HttpRoute("GET", "/status", status, "How it does, for people", role="read"),
        HttpRoute("GET", "/healthz", alive, "Whether the service runs", role=None),
        HttpRoute("GET", "/readyz", ready, "Whether rules are loaded and judged", role=None),
        HttpRoute("GET", "/metrics", metrics, "Counters for Prometheus", role="read"),
    )


def _pulled(pull: Progress) -> Iterator[Sample]:
    intake = ("intake", pull.intake)
    yield "pull_connected", (intake,), int(pull.connected)
    yield "pull_waiting", (intake,), int(pull.waiting)
    yield "pull_errors_total", (intake,), pull.errors
    for name, label, counts in (
        ("pull_lag", "place", pull.lag),
        ("pull_lost_total", "place", pull.lost),
        ("pull_skipped_total", "kind", pull.skipped),
    ):
        for value, count in sorted(counts.items()):
            yield name, (intake, (label, value)), count


def _sealed(report: talk.Report) -> Iterator[Sample]:
    yield "ledger_records", (), report.records
    yield "ledger_signed_records", (), report.signed
    for place in report.places:
        label = (("place", place.place),)
        yield "forwarded_records", label, place.records
        yield "forward_failing", label, bool(place.reason)
        yield "forward_failures_total", label, place.failures


def _late(late: talk.Late, lake: Path) -> dict[str, Any]:
    rule = late.path if Path(late.path).exists() else late.rule
    command = ["trailhound", "hunt", "--lake", str(lake), "--rule", rule]
    # What else the rule needs may lie before and behind.
    for option, time_ns in (
        ("--since", late.first_ns - _DAY_NS),
        ("--until", late.last_ns + _DAY_NS),
    ):
        if moment := rfc3339(time_ns):
            command += [option, moment]
    return {
        "rule": late.rule,
        "title": late.title,
        "events": late.events,
        "first": rfc3339(late.first_ns),
        "last": rfc3339(late.last_ns),
        "hunt": shlex.join(command),
    }


def exposition(samples: Iterable[Sample]) -> str:
    """Return samples in the Prometheus text format (exposition format 0.0.4)."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample[0], []).append(sample)
    lines = []
    for name, group in sorted(by_name.items()):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [
            f"# HELP trailhound_{name} {_HELP.get(name, name)}",
            f"# TYPE trailhound_{name} {kind}",
        ]
        for _, labels, value in group:
            inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
            lines.append(
                f"trailhound_{name}{{{inner}}} {value:.15g}"
                if inner
                else f"trailhound_{name} {value:.15g}"
            )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
