"""Records of which each gives one finding, and what shows that each was judged once."""

import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from serving import Serving

_RULES = """\
title: Somebody logged in
id: 0a6a7b1c-4a56-4f0e-8d8b-4e9a3f0d6b11
status: test
logsource: {product: linux, service: sshd}
detection:
  keywords: ['Accepted password for deploy']
  condition: keywords
level: informational
---
title: A secret was read
id: 5d1b2f4e-9c7a-4a5b-b0c4-7f5a1c2d3e22
status: test
logsource: {product: kubernetes, service: audit}
detection:
  selection: {objectRef.resource: widgets}
  condition: selection
level: informational
"""


def rules(folder: Path) -> str:
    """Return settings with rules that find each record."""
    (folder / "once.yml").write_text(_RULES)
    return f'rules = ["{folder / "once.yml"}"]\nbuiltin = false\n'


def records(count: int, start: int = 0) -> list[bytes]:
    """Return records: some that their senders gave ids to, some that only their place tells."""
    made = []
    for n in range(start, start + count):
        if n % 2:
            port = 1024 + n
            made.append(
                b"Nov 12 19:16:31 bastion sshd[811]: Accepted password for deploy "
                b"from 203.0.113.77 port %d ssh2" % port
            )
        else:
            event = {
                "kind": "Event",
                "apiVersion": "audit.k8s.io/v1",
                "level": "Metadata",
                "auditID": f"00000000-0000-4000-8000-{n:012d}",
                "stage": "ResponseComplete",
                "requestURI": f"/apis/x/v1/widgets/w{n}",
                "verb": "get",
                "user": {"username": "u"},
                "objectRef": {"resource": "widgets", "name": f"w{n}", "apiVersion": "v1"},
                "requestReceivedTimestamp": "2026-11-12T19:16:31.000000Z",
                "stageTimestamp": "2026-11-12T19:16:31.000000Z",
            }
            made.append(json.dumps(event).encode())
    return made


def count(serving: Serving) -> int:
    """Return how many findings there are."""
    files = (serving.folder / "state" / "findings").glob("*.ndjson")
    return sum(file.read_bytes().count(b"\n") for file in files)


def wait_found(serving: Serving, wanted: int, seconds: float = 300) -> None:
    """Wait until there are so many findings."""
    until = time.monotonic() + seconds
    while count(serving) < wanted:
        assert time.monotonic() < until, (count(serving), serving.log)
        time.sleep(0.1)


def found(serving: Serving) -> list[str]:
    """Return what findings tell of: of each record, what it said."""
    return [finding["uid"] for finding in serving.findings()]


def killed_again_and_again(
    serving: Serving, kills: int, feed: Callable[[], None], seed: int
) -> None:
    """Kill a server while it is fed."""
    chance = random.Random(seed)
    serving.start()
    for _ in range(kills):
        feed()
        time.sleep(0.5 + chance.random() * 1.5)
        serving.kill()
        serving.start()
    feed()


def wait_for(serving: Serving, wanted: int, seconds: float = 300) -> None:
    """Wait until there are so many findings, then end the server."""
    wait_found(serving, wanted, seconds)
    time.sleep(1)
    assert serving.stop() == 0, serving.log


def each_once(servings: Sequence[Serving], wanted: int) -> None:
    """Assert that so many records were found, each once."""
    everything = [uid for serving in servings for uid in found(serving)]
    assert len(everything) == len(set(everything)) == wanted
