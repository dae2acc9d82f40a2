"""Places to forward to: nothing is overwritten, and what arrived is verified like a ledger."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
from moto.server import ThreadedMotoServer

from test_ledger import SIGNER, batch, new_ledger
from trailhound.cli.main import main
from trailhound.ledger.audit import audit, last_signed
from trailhound.ledger.forward import TargetError, forward
from trailhound.ledger.log import Ledger
from trailhound.ledger.targets import open_target
from trailhound.ledger.targets.folder import FolderTarget
from trailhound.ledger.targets.git import GitTarget
from trailhound.ledger.targets.s3 import S3Target
from trailhound.model.errors import TrailhoundError


def grow(folder: Path, size: int, now_ns: int) -> None:
    with Ledger(folder, SIGNER) as ledger:
        ledger.append(batch(ledger.size, size))
        ledger.sign_head(1_796_000_000_000_000_000 + now_ns)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return new_ledger(tmp_path / "l", 10, 300)


# --- a folder ----------------------------------------------------------------------------


def test_a_folder_follows(ledger: Path, tmp_path: Path) -> None:
    worm = tmp_path / "worm"
    worm.mkdir()
    assert forward(ledger, FolderTarget(str(worm))) > 5
    assert forward(ledger, FolderTarget(str(worm))) == 0
    before = {p: p.read_bytes() for p in worm.rglob("*") if p.is_file()}
    for size, now_ns in ((301, 1), (301, 2), (1000, 3)):
        grow(ledger, size, now_ns)
        assert forward(ledger, FolderTarget(str(worm)))
    assert {p: p.read_bytes() for p in before} == before
    found = audit(worm, SIGNER.verifier)
    assert not found.problems
    assert found.size == found.records_checked == 1000
    assert [head.size for head in found.heads] == [10, 300, 301, 1000]


def test_a_clock_that_goes_back_holds_no_head_back(ledger: Path, tmp_path: Path) -> None:
    worm = tmp_path / "worm"
    worm.mkdir()
    for size, now_ns in ((310, 0), (320, -(10**17)), (330, 10**17), (340, -5)):
        grow(ledger, size, now_ns)
        assert forward(ledger, FolderTarget(str(worm)))
        assert audit(worm, SIGNER.verifier).size == size
    assert forward(ledger, FolderTarget(str(worm))) == 0
    assert [head.size for head in audit(worm, SIGNER.verifier).heads][2:] == [310, 320, 330, 340]


def test_heads_of_a_quiet_ledger_follow(ledger: Path, tmp_path: Path) -> None:
    worm = tmp_path / "worm"
    worm.mkdir()
    forward(ledger, FolderTarget(str(worm)))
    # The fourth has a clock that was set back; the place has it all the same.
    for now_ns in (10, 20, 30, -(10**16), 40):
        grow(ledger, 300, now_ns)
        assert forward(ledger, FolderTarget(str(worm)))
    assert forward(ledger, FolderTarget(str(worm))) == 0
    assert len(list((worm / "heads").glob("*/*-300"))) == 6
    assert not audit(worm, SIGNER.verifier).problems
    assert last_signed(worm, SIGNER.verifier).signed_ns == 1_796_000_000_000_000_040


def test_a_stopped_transfer_goes_on(ledger: Path, tmp_path: Path) -> None:
    worm = tmp_path / "worm"
    worm.mkdir()

    class Stops(FolderTarget):
        left = 4

        def put(self, path: str, data: bytes) -> None:
            if not self.left:
                raise TargetError("the line is down")
            self.left -= 1
            super().put(path, data)

    with pytest.raises(TargetError):
        forward(ledger, Stops(str(worm)))
    some = worm / "records/000"
    some.chmod(0o644)
    some.write_bytes(some.read_bytes()[:100])  # and the last file was cut short
    forward(ledger, FolderTarget(str(worm)))
    assert not audit(worm, SIGNER.verifier).problems


def test_a_changed_place_is_told(ledger: Path, tmp_path: Path) -> None:
    worm = tmp_path / "worm"
    worm.mkdir()
    forward(ledger, FolderTarget(str(worm)))
    shutil.rmtree(ledger / "forwarding")
    file = worm / "tile/entries/000"
    file.chmod(0o644)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(TargetError, match="other content"):
        forward(ledger, FolderTarget(str(worm)))
    assert audit(worm, SIGNER.verifier).problems[0].index == 0


def test_a_rewritten_ledger_does_not_spread(tmp_path: Path) -> None:
    """Whoever has the key and the machine can make another history, but not over the first."""
    worm = tmp_path / "worm"
    worm.mkdir()
    forward(new_ledger(tmp_path / "one", 300), FolderTarget(str(worm)))
    other = new_ledger(tmp_path / "two")
    with Ledger(other, SIGNER) as ledger:
        ledger.append(batch(1, 302))
        ledger.sign_head(1_796_000_000_000_000_009)
    with pytest.raises(TargetError, match="other content"):
        forward(other, FolderTarget(str(worm)))


def test_places_that_are_none(ledger: Path, tmp_path: Path) -> None:
    for place in ("ftp://host/x", "HTTPS://host", "s3:/bucket", "https://token@host"):
        with pytest.raises(TargetError, match=r"no place to forward to|a token stands in a file"):
            open_target(place)
    with pytest.raises(TargetError, match="no such folder"):
        open_target(str(tmp_path / "nothing"))
    with pytest.raises(TargetError, match="no Git remote"):
        open_target("git:--upload-pack=touch x")
    with pytest.raises(TargetError, match="no bucket"):
        open_target("s3://")
    fresh = new_ledger(tmp_path / "fresh")
    with pytest.raises(TrailhoundError, match="no signed head"):
        forward(fresh, FolderTarget(str(tmp_path)))


# --- Git ---------------------------------------------------------------------------------


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("filters", ["true", "false"])
def test_a_git_remote_follows(ledger: Path, tmp_path: Path, filters: str) -> None:
    remote = tmp_path / "remote.git"
    git("init", "--quiet", "--bare", str(remote))
    git("-C", str(remote), "config", "receive.denyNonFastForwards", "true")
    git("-C", str(remote), "config", "uploadpack.allowFilter", filters)
    assert forward(ledger, GitTarget(str(remote))) > 5
    assert forward(ledger, GitTarget(str(remote))) == 0
    grow(ledger, 700, 1)
    # From another machine, or after the state was lost: everything again, nothing changes.
    shutil.rmtree(ledger / "forwarding")
    assert main(["ledger", "forward", str(ledger), "--to", f"git:{remote}"]) == 0
    log = git("-C", str(remote), "log", "--format=%an %s", "ledger").splitlines()
    assert log == ["trailhound Sealed"] * 2
    git("clone", "--quiet", "--branch", "ledger", str(remote), str(tmp_path / "clone"))
    found = audit(tmp_path / "clone", SIGNER.verifier)
    assert not found.problems
    assert found.size == 700


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_git_remote_that_fails_is_told(ledger: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="git ls-remote failed"):
        GitTarget(str(tmp_path / "nothing.git"))


# --- S3 ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(s3: str, monkeypatch):
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", s3),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    return boto3.client("s3")


def download(client, bucket: str, prefix: str, folder: Path) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    for key in keys:
        path = folder / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    return keys


def test_s3_follows_under_object_lock(client, ledger: Path, tmp_path: Path) -> None:
    client.create_bucket(Bucket="seals", ObjectLockEnabledForBucket=True)
    place = "s3://seals/host-1"
    assert main(["ledger", "forward", str(ledger), "--to", place, "--retain-days", "30"]) == 0
    grow(ledger, 700, 1)
    assert forward(ledger, open_target(place)) > 3
    keys = download(client, "seals", "host-1/", tmp_path / "down")
    assert not audit(tmp_path / "down", SIGNER.verifier).problems
    for key in keys:
        head = client.head_object(Bucket="seals", Key=key)
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
    version = client.head_object(Bucket="seals", Key=keys[0])["VersionId"]
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket="seals", Key=keys[0], VersionId=version)


def test_s3_is_never_overwritten(client, ledger: Path) -> None:
    client.create_bucket(Bucket="once", ObjectLockEnabledForBucket=True)
    target = S3Target("once", "", retain_days=1)
    target.put("a", b"first")
    target.put("a", b"second")
    versions = client.list_object_versions(Bucket="once", Prefix="a")["Versions"]
    assert len(versions) == 1
    assert client.get_object(Bucket="once", Key="a")["Body"].read() == b"first"


def test_s3_that_fails_is_told(client, ledger: Path) -> None:
    with pytest.raises(TargetError, match="NoSuchBucket"):
        forward(ledger, S3Target("nowhere", "", retain_days=1))
    assert not (ledger / "forwarding").exists() or not os.listdir(ledger / "forwarding")
