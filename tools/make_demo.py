"""Write `examples/demo`: one invented evening of logs, the same every time.

Run it as `python tools/make_demo.py [FOLDER]`. What it tells is in `examples/demo/README.md`;
who and what takes part is in `tools/demo/cast.py`.
"""

import gzip
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from demo import account_attack, account_background, cluster_attack, cluster_background
from demo.account import log_key
from demo.bastion import build_bastion
from demo.cast import ACCOUNT, CLUSTER, LOG_BUCKET, REGION
from demo.clock import MINUTE, SECOND, Dice, at, iso_micro, iso_offset, iso_second, rfc3164
from demo.linux_host import LinuxHost
from demo.node import build_node
from demo.runtime_alerts import alerts

Json = dict[str, Any]

SEED = 20261112
AUDIT_ROTATED = at("19:00")
"""auditd on the bastion began a new file here."""
PLAIN_FROM, WRAPPED_FROM = at("19:30"), at("19:50")
"""Of the cluster's log, the first part is packed, the second plain, the third as CloudWatch
delivered it."""
TRAIL_FILE = 20 * MINUTE
"""How much time one CloudTrail file covers."""
BATCH = 60
"""Events in one CloudWatch message."""


def main(folder: Path) -> None:
    """Write everything into the folder, and say how much."""
    for old in ("bastion", "node-2", "kubernetes", "aws", "falco"):
        shutil.rmtree(folder / old, ignore_errors=True)
    write_bastion(folder / "bastion", build_bastion(Dice(SEED)))
    write_node(folder / "node-2", build_node(Dice(SEED + 1)))
    write_cluster(folder / "kubernetes", Dice(SEED + 2))
    write_account(folder / "aws", Dice(SEED + 3))
    write(folder / "falco" / "events.jsonl", map(compact, alerts(Dice(SEED + 4))))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sys.stdout.write(f"{path.stat().st_size:>9}  {path.relative_to(folder)}\n")


def write_bastion(folder: Path, host: LinuxHost) -> None:
    """Syslog with ISO stamps in two facilities, and raw audit records."""
    lines = sorted(host.syslog)
    for name, facility in (("auth.log", "auth"), ("syslog", "daemon")):
        chosen = [line for line in lines if line[1] == facility]
        write(folder / name, (f"{iso_offset(t)} {host.name} {text}" for t, _, text in chosen))
    records = host.audit_lines()
    cut = next(n for n, line in enumerate(records) if audit_seconds(line) * SECOND >= AUDIT_ROTATED)
    write(folder / "audit.log.1.gz", records[:cut])
    write(folder / "audit.log", records[cut:])


def write_node(folder: Path, host: LinuxHost) -> None:
    """Syslog as RFC 3164 has it, and enriched audit records."""
    lines = sorted(host.syslog)
    write(folder / "syslog", (f"{rfc3164(t)} {host.name} {text}" for t, _, text in lines))
    write(folder / "audit.log", host.audit_lines())


def write_cluster(folder: Path, dice: Dice) -> None:
    """One cluster in three parts: packed lines, plain lines, and CloudWatch messages."""
    events = [*cluster_background.Background(dice).build(), *cluster_attack.attack(dice)]
    events.sort(key=lambda event: str(event["stageTimestamp"]))
    plain, wrapped = iso_micro(PLAIN_FROM), iso_micro(WRAPPED_FROM)
    write(
        folder / "audit-20261112T1930Z.log.gz",
        (compact(event) for event in events if event["stageTimestamp"] < plain),
    )
    write(
        folder / "audit.log",
        (compact(event) for event in events if plain <= event["stageTimestamp"] < wrapped),
    )
    rest = [event for event in events if event["stageTimestamp"] >= wrapped]
    write(folder / "eks-cloudwatch.json.gz", map(compact, cloudwatch(rest, dice)))


def cloudwatch(events: Sequence[Json], dice: Dice) -> Iterable[Json]:
    """Wrap events as a CloudWatch Logs subscription does (`DATA_MESSAGE`)."""
    stream = f"kube-apiserver-audit-{dice.hexes(32)}"
    for start in range(0, len(events), BATCH):
        yield {
            "messageType": "DATA_MESSAGE",
            "owner": ACCOUNT,
            "logGroup": f"/aws/eks/{CLUSTER}/cluster",
            "logStream": stream,
            "subscriptionFilters": ["eks-audit-to-firehose"],
            "logEvents": [
                {
                    "id": f"{39 * 10**54 + start + number:056d}",
                    "timestamp": epoch_ms(str(event["stageTimestamp"])),
                    "message": compact(event),
                }
                for number, event in enumerate(events[start : start + BATCH])
            ],
        }


def write_account(folder: Path, dice: Dice) -> None:
    """An organisation's trail as it lies in its bucket: `Records` files, and a digest."""
    records = [*account_background.Background(dice).build(), *account_attack.attack(dice)]
    records.sort(key=lambda record: str(record["eventTime"]))
    listed = []
    for region, minutes in ((REGION, TRAIL_FILE), ("us-east-1", 3 * TRAIL_FILE)):
        for start in range(at("17:00"), at("22:20"), minutes):
            since, until = iso_second(start), iso_second(start + minutes)
            mine = [
                r for r in records if r["awsRegion"] == region and since <= r["eventTime"] < until
            ]
            if not mine:
                continue
            clock = until[11:16].replace(":", "")
            key = log_key("CloudTrail", region, clock, dice.alnum(16))
            text = compact({"Records": mine})
            write(folder / key, [text], end="")
            if region == REGION and at("20:00") <= start < at("21:00"):
                listed.append(_digest_entry(key, text, mine))
    digest = _digest(listed, dice)
    write(folder / digest["digestS3Object"], [compact(digest)], end="")


def _digest_entry(key: str, text: str, records: Sequence[Json]) -> Json:
    return {
        "s3Bucket": LOG_BUCKET,
        "s3Object": key,
        "hashValue": hashlib.sha256(text.encode()).hexdigest(),
        "hashAlgorithm": "SHA-256",
        "newestEventTime": records[-1]["eventTime"],
        "oldestEventTime": records[0]["eventTime"],
    }


def _digest(entries: Sequence[Json], dice: Dice) -> Json:
    """Return a digest file (CloudTrail user guide, "CloudTrail digest file structure").

    The signatures and the fingerprint are random: there is no key behind them.
    """
    keys = [
        log_key("CloudTrail-Digest", REGION, clock, "org-trail") for clock in ("200814", "210814")
    ]
    return {
        "awsAccountId": ACCOUNT,
        "digestStartTime": "2026-11-12T20:08:14Z",
        "digestEndTime": "2026-11-12T21:08:14Z",
        "digestS3Bucket": LOG_BUCKET,
        "digestS3Object": keys[1],
        "digestPublicKeyFingerprint": dice.hexes(32),
        "digestSignatureAlgorithm": "SHA256withRSA",
        "newestEventTime": entries[-1]["newestEventTime"],
        "oldestEventTime": entries[0]["oldestEventTime"],
        "previousDigestS3Bucket": LOG_BUCKET,
        "previousDigestS3Object": keys[0],
        "previousDigestHashValue": dice.hexes(64),
        "previousDigestHashAlgorithm": "SHA-256",
        "previousDigestSignature": dice.hexes(512),
        "logFiles": list(entries),
    }


def audit_seconds(line: str) -> int:
    """Return the seconds since 1970 of an audit record."""
    return int(line.split("audit(", 1)[1].split(".", 1)[0])


def epoch_ms(stamp: str) -> int:
    """Return milliseconds since 1970 of an RFC 3339 time of the evening."""
    return at(stamp[11:-1]) // 1000


def compact(document: Json) -> str:
    """Return JSON without spaces, members in the order they were put."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def write(path: Path, lines: Iterable[str], *, end: str = "\n") -> None:
    """Write lines; a name that ends in `.gz` is packed, without a time inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(line + end for line in lines).encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "examples" / "demo"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
