"""A disk that is full: nothing acknowledged is lost, and all goes on when there is room."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Serving
from test_serve import BUSY, DEMO, batches, check_kept, told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = 24 * 1024 * 1024
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Fill a disk up to some bytes."""
    stuffing = disk / "stuffing"
    with stuffing.open("wb") as file:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        file.write(bytes(max(0, free - left)))
    return stuffing


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 30_000, 150_000, 400_000, 900_000])
def test_a_full_disk_loses_nothing(tmp_path: Path, small_disk: Path, left: int) -> None:
    rule = tmp_path / "busy.yml"
    rule.write_text(BUSY)
    lines = DEMO.read_bytes().splitlines()
    plain = Serving(tmp_path / "plain", f'builtin = false\nrules = ["{rule}"]').start()
    plain.wait()
    for body in batches(100, lines):
        plain.send_until_taken("/kubernetes/audit", body)
    assert plain.stop() == 0

    serving = Serving(small_disk / "s", f'builtin = false\nrules = ["{rule}"]')
    # The log of the process must not fall victim to the disk itself.
    (small_disk / "s/log").symlink_to(tmp_path / "log")
    serving.start()
    serving.wait()
    bodies = batches(10, lines)
    for body in bodies[:15]:
        serving.send_until_taken("/kubernetes/audit", body)
    stuffing = fill(small_disk, left)
    refused = 0
    for body in bodies[15:30]:
        answer = serving.post("/kubernetes/audit", body)
        assert answer.status in (200, 429)
        refused += answer.status == 429
        time.sleep(0.2)
    assert left > 100_000 or refused
    time.sleep(4)
    assert serving.get("/healthz")
    stuffing.unlink()
    for body in bodies[15:]:
        serving.send_until_taken("/kubernetes/audit", body)
    serving.wait_kept(120)
    assert serving.stop() == 0
    assert told(serving) == told(plain)
    check_kept(serving, lines)
    assert "Traceback" not in serving.log
