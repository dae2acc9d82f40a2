"""CloudTrail's digest files: real RSA keys, real signatures, and tampering of every kind."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.cli.main import main
from trailhound.ledger.cloudtrail_digests import (
    DigestReport,
    read_public_keys,
    string_to_sign,
    verify_digests,
)
from trailhound.model.errors import TrailhoundError

PRIVATE = rsa.generate_private_key(65537, 2048)
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
FINGERPRINT = hashlib.md5(PUBLIC, usedforsecurity=False).hexdigest()
START = datetime(2026, 11, 12, 10, tzinfo=UTC)
BASE = "AWSLogs/111122223333"


def key(kind: str, moment: datetime, name: str) -> str:
    return f"{BASE}/{kind}/eu-west-1/{moment:%Y/%m/%d}/{name}"


def sign(digest: dict, data: bytes) -> str:
    return PRIVATE.sign(string_to_sign(digest, data), PKCS1v15(), SHA256()).hex()


def write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data))


def bucket(
    folder: Path, hours: int = 5, *, restart_at: int | None = None
) -> tuple[list[str], list[str]]:
    """A downloaded bucket of a trail: two logs an hour and the digests over them."""
    digests, logs = [], []
    previous: dict | None = None
    for hour in range(hours):
        start, end = START + timedelta(hours=hour), START + timedelta(hours=hour + 1)
        listed = []
        for minute in (10, 40):
            moment = start + timedelta(minutes=minute)
            name = key(
                "CloudTrail",
                moment,
                f"111122223333_CloudTrail_eu-west-1_{moment:%Y%m%dT%H%MZ}_aBc{minute}.json.gz",
            )
            data = json.dumps({"Records": [{"eventID": f"{hour}-{minute}"}]}).encode()
            write(folder, name, data)
            logs.append(name)
            listed.append(
                {
                    "s3Bucket": "b",
                    "s3Object": name,
                    "hashValue": hashlib.sha256(data).hexdigest(),
                    "hashAlgorithm": "SHA-256",
                }
            )
        name = key(
            "CloudTrail-Digest",
            end,
            f"111122223333_CloudTrail-Digest_eu-west-1_trail_eu-west-1_{end:%Y%m%dT%H%M%SZ}.json.gz",
        )
        chained = previous if hour != restart_at else None
        digest = {
            "awsAccountId": "111122223333",
            "digestStartTime": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "digestEndTime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "digestS3Bucket": "b",
            "digestS3Object": name,
            "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "previousDigestS3Bucket": "b" if chained else None,
            "previousDigestS3Object": chained["name"] if chained else None,
            "previousDigestHashValue": chained["hash"] if chained else None,
            "previousDigestHashAlgorithm": "SHA-256" if chained else None,
            "previousDigestSignature": chained["signature"] if chained else None,
            "logFiles": listed,
        }
        data = json.dumps(digest).encode()
        write(folder, name, data)
        previous = {
            "name": name,
            "hash": hashlib.sha256(data).hexdigest(),
            "signature": sign(digest, data),
        }
        if hour == hours - 1 or hour + 1 == restart_at:
            (folder / f"{name}.metadata.json").write_text(
                json.dumps(
                    {
                        "Metadata": {
                            "signature": previous["signature"],
                            "signature-algorithm": "SHA256withRSA",
                        }
                    }
                )
            )
        digests.append(name)
    return digests, logs


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    listed = {
        "Value": base64.b64encode(PUBLIC).decode(),
        "ValidityStartTime": "2026-11-01T00:00:00+00:00",
        "ValidityEndTime": 1796083200.0,
        "Fingerprint": FINGERPRINT,
    }
    path.write_text(json.dumps({"PublicKeyList": [listed]}))
    return path


def told(report: DigestReport) -> set[tuple[str, str]]:
    return {(problem.what, problem.where) for problem in report.problems}


def test_what_is_signed() -> None:
    """The example of the AWS documentation has this shape; `null` stands for no signature."""
    digest = {
        "digestEndTime": "2015-08-17T15:01:31Z",
        "digestS3Bucket": "amzn-s3-demo-bucket",
        "digestS3Object": "AWSLogs/x.json.gz",
        "previousDigestSignature": None,
    }
    assert string_to_sign(digest, b"{}").decode().split("\n") == [
        "2015-08-17T15:01:31Z",
        "amzn-s3-demo-bucket/AWSLogs/x.json.gz",
        hashlib.sha256(b"{}").hexdigest(),
        "null",
    ]


def test_an_untouched_bucket(tmp_path: Path, keys: Path) -> None:
    digests, logs = bucket(tmp_path)
    report = verify_digests(tmp_path, read_public_keys(keys))
    assert not report.problems
    assert (report.digests_valid, report.logs_valid) == (len(digests), len(logs))
    ((_, start, end),) = report.covered
    assert (start, end) == ("2026-11-12T10:00:00Z", "2026-11-12T15:00:00Z")


def test_without_metadata_the_newest_is_not_proven(tmp_path: Path, keys: Path) -> None:
    digests, _ = bucket(tmp_path)
    (tmp_path / f"{digests[-1]}.metadata.json").unlink()
    report = verify_digests(tmp_path, read_public_keys(keys))
    assert not report.problems
    assert report.digests_valid == len(digests) - 1
    assert any("not proven" in note for note in report.notes)


def change_log(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    write(folder, logs[3], b'{"Records":[]}')
    return {("altered", logs[3])}


def remove_log(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    (folder / logs[3]).unlink()
    return {("missing", logs[3])}


def move_log(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    (folder / logs[3]).rename(folder / Path(logs[3]).name)
    return {("moved", logs[3])}


def cut_log(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    path = folder / logs[3]
    path.write_bytes(path.read_bytes()[:-6])
    return {("altered", logs[3])}


def append_to_log(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    path = folder / logs[3]
    path.write_bytes(path.read_bytes() + gzip.compress(b'{"Records":[{"a":1}]}'))
    return {("altered", logs[3])}


def insert_log(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    name = logs[3].replace("aBc40", "xYz40")
    write(folder, name, b'{"Records":[]}')
    return {("inserted", name)}


def change_digest(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    """Take a log out, and out of its digest."""
    (folder / logs[3]).unlink()
    path = folder / digests[1]
    digest = json.loads(gzip.decompress(path.read_bytes()))
    del digest["logFiles"][1]
    write(folder, digests[1], json.dumps(digest).encode())
    return {("altered", digests[1])}


def remove_digest(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    (folder / digests[2]).unlink()
    return {
        ("missing", digests[2]),
        ("gap", "2026-11-12T12:00:00Z to 2026-11-12T13:00:00Z"),
        ("inserted", logs[4]),
        ("inserted", logs[5]),
    }


def sign_by_another_key(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    other = rsa.generate_private_key(65537, 2048)
    path = folder / digests[-1]
    data = gzip.decompress(path.read_bytes())
    signature = other.sign(string_to_sign(json.loads(data), data), PKCS1v15(), SHA256()).hex()
    path.with_name(f"{path.name}.metadata.json").write_text(
        json.dumps({"Metadata": {"signature": signature}})
    )
    return {("altered", digests[-1])}


def name_another_key(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    path = folder / digests[-1]
    data = gzip.decompress(path.read_bytes()).replace(FINGERPRINT.encode(), b"0" * 32)
    write(folder, digests[-1], data)
    return {("altered", digests[-1])}


def break_digest(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    (folder / digests[-1]).write_bytes(b"no gzip")
    return {("altered", digests[-1])}


def move_digest(folder: Path, digests: list[str], logs: list[str]) -> set[tuple[str, str]]:
    name = Path(digests[-1]).name
    (folder / digests[-1]).rename(folder / name)
    return {("altered", name)}


TAMPERING: list[Callable[[Path, list[str], list[str]], set[tuple[str, str]]]] = [
    *(change_log, remove_log, move_log, cut_log, append_to_log, insert_log, change_digest),
    *(remove_digest, sign_by_another_key, name_another_key, break_digest, move_digest),
]


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda one: one.__name__)
def test_tampering_is_named(tmp_path: Path, keys: Path, tamper) -> None:
    expected = tamper(tmp_path, *bucket(tmp_path))
    report = verify_digests(tmp_path, read_public_keys(keys))
    assert told(report) == expected


def test_switched_off_is_a_gap(tmp_path: Path, keys: Path) -> None:
    bucket(tmp_path, 6, restart_at=3)
    report = verify_digests(tmp_path, read_public_keys(keys))
    assert [(p.what, p.where) for p in report.problems] == [
        ("gap", "2026-11-12T13:00:00Z to 2026-11-12T13:00:00Z")
    ]
    assert len(report.covered) == 2


def test_a_key_out_of_use(tmp_path: Path) -> None:
    digests, _ = bucket(tmp_path / "b")
    listed = {
        "Value": base64.b64encode(PUBLIC).decode(),
        "Fingerprint": FINGERPRINT,
        "ValidityStartTime": "2026-12-01T00:00:00Z",
    }
    (tmp_path / "keys.json").write_text(json.dumps({"PublicKeyList": [listed]}))
    report = verify_digests(tmp_path / "b", read_public_keys(tmp_path / "keys.json"))
    assert told(report) == {("altered", name) for name in digests}
    assert "not in use" in report.problems[0].detail


def test_keys_in_pem(tmp_path: Path) -> None:
    bucket(tmp_path / "b")
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    assert not verify_digests(tmp_path / "b", read_public_keys(tmp_path / "key.pem")).problems


def test_on_the_command_line(tmp_path: Path, keys: Path, capsys) -> None:
    digests, logs = bucket(tmp_path)
    command = ["verify", "cloudtrail", str(tmp_path), "--public-keys", str(keys)]
    assert main(command) == 0
    assert "verified" in capsys.readouterr().out
    change_log(tmp_path, digests, logs)
    assert main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["problems"][0]["where"] == logs[3]
    assert main(["verify", "cloudtrail", str(keys.parent), "--public-keys", str(keys)]) == 2
    assert main(["verify", "cloudtrail", str(tmp_path), "--public-keys", str(tmp_path)]) == 2


@given(st.binary(max_size=200), st.integers(0, 900))
@settings(max_examples=40)
def test_no_digest_raises(tmp_path_factory, keys: Path, noise: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    digests, _ = bucket(folder, 1)
    data = gzip.decompress((folder / digests[0]).read_bytes())
    write(folder, digests[0], data[:at] + noise + data[at + len(noise) :])
    verify_digests(folder, read_public_keys(keys))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "logFiles",
                        "digestEndTime",
                        "digestStartTime",
                        "s3Object",
                        "digestS3Object",
                        "digestS3Bucket",
                        "previousDigestS3Object",
                    ]
                ),
                inner,
                max_size=7,
            )
        ),
    )
)
@settings(max_examples=60)
def test_no_types_raise(tmp_path_factory, keys: Path, value) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    name = "1_CloudTrail-Digest_x.json.gz"
    if isinstance(value, dict):
        moment = "2026-11-12T10:00:00Z"
        value = {
            "logFiles": [],
            "digestStartTime": moment,
            "digestEndTime": moment,
            "digestS3Object": name,
            "digestS3Bucket": "b",
        } | value
    write(folder, name, json.dumps(value).encode())
    verify_digests(folder, read_public_keys(keys))


@given(
    st.binary(max_size=100)
    | st.text(max_size=50).map(
        lambda text: json.dumps({"PublicKeyList": [{"Value": text}]}).encode()
    )
)
@settings(max_examples=40)
def test_no_key_file_raises(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "keys"
    path.write_bytes(data)
    with pytest.raises(TrailhoundError):
        read_public_keys(path)
