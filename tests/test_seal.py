"""`seal`, `verify` and `ledger` as a user has them."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from trailhound.cli.main import main
from trailhound.ledger.notes import Verifier

DEMO = Path(__file__).parents[1] / "examples" / "demo"
LINES = [f'{{"kind":"Event","auditID":"{n}","verb":"get"}}' for n in range(40)]
SECRET_LINE = '{"requestParameters":{"password":"hunter2hunter2"},"eventID":"40"}'


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    """A folder with a log and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/audit.log").write_text("\n".join([*LINES, SECRET_LINE, ""]))
    assert main(["ledger", "init", "seals", "--name", "audit.example.com"]) == 0
    return tmp_path


def run(capsys, *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(arguments)
    return code, capsys.readouterr().out


def run_json(capsys, *arguments: str) -> tuple[int, dict]:
    code, out = run(capsys, *arguments, "--json")
    return code, json.loads(out)


def seal(capsys) -> dict:
    code, document = run_json(capsys, "seal", "logs", "--ledger", "seals")
    assert code == 0
    return document


VERIFY = ("verify", "ledger", "seals", "--key", "seals/key.pub")


def test_keys(place: Path, capsys) -> None:
    for name in ("seals.key", "seals.redaction-key"):
        assert (place / name).stat().st_mode & 0o777 == 0o600
    code, out = run(capsys, "ledger", "key", "seals")
    assert code == 0
    assert out == (place / "seals/key.pub").read_text()
    assert Verifier.parse(out).name == "audit.example.com"
    assert "PRIVATE" not in out
    assert main(["ledger", "init", "seals", "--name", "x"]) == 2
    (place / "seals.key").chmod(0o644)
    assert main(["seal", "logs", "--ledger", "seals"]) == 2
    assert "others may read" in capsys.readouterr().err


def test_seal_then_verify(place: Path, capsys) -> None:
    assert seal(capsys)["sealed"] == 41
    assert seal(capsys)["sealed"] == 0
    with (place / "logs/audit.log").open("a") as log:
        log.write('{"verb":"delete"}\n')
    document = seal(capsys)
    assert (document["sealed"], document["already_sealed"]) == (1, 41)
    code, document = run_json(capsys, *VERIFY, "--against", "logs")
    assert code == 0
    assert document["verified"]
    assert document["logs"]["compared"] == 42
    assert document["logs"]["compared_without_redacted_values"] == 1
    code, document = run_json(
        capsys, *VERIFY, "--against", "logs", "--redaction-key-file", "seals.redaction-key"
    )
    assert code == 0
    assert document["logs"]["compared_without_redacted_values"] == 0
    stored = b"".join(p.read_bytes() for p in (place / "seals").rglob("*") if p.is_file())
    assert b"hunter2" not in stored


CHANGES = {
    "altered": (lambda lines: [*lines[:6], lines[6].replace("get", "put"), *lines[7:]], "7", 6),
    "deleted": (lambda lines: [*lines[:6], *lines[8:]], "7", 6),
    "inserted": (lambda lines: [*lines[:6], '{"verb":"x"}', *lines[6:]], "7", None),
    "reordered": (lambda lines: [*lines[:6], lines[7], lines[6], *lines[8:]], "7", 6),
    "the end deleted": (lambda lines: lines[:-3], "40", 39),
    "the first deleted": (lambda lines: lines[1:], "1", 0),
    "emptied": (lambda lines: [], "1", 0),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_what_was_done_to_a_log_is_named(place: Path, capsys, name: str, zipped: bool) -> None:
    forge, line, index = CHANGES[name]
    seal(capsys)
    with (place / "logs/audit.log").open("a") as log:
        log.write('{"verb":"last"}\n')
    seal(capsys)
    log = place / "logs/audit.log"
    lines = forge(log.read_text().splitlines())
    log.write_text("".join(f"{line}\n" for line in lines))
    if zipped:
        (place / "logs/audit.log.gz").write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
        if not lines:
            return  # then nothing tells what it was
    code, document = run_json(capsys, *VERIFY, "--against", "logs")
    assert code == 1
    (difference,) = document["logs"]["differences"]
    assert (difference["place"], difference["index"]) == (line, index)
    assert difference["what"] in name or difference["what"] == "deleted"
    if name == "altered":
        assert '"put"' in difference["detail"]
    code, _ = run(capsys, "seal", "logs", "--ledger", "seals")
    assert code == (0 if not lines else 1)


def test_a_missing_log_is_named(place: Path, capsys) -> None:
    (place / "logs/other.log").write_text("Nov 12 19:30:01 h sshd[1]: hello\n")
    seal(capsys)
    (place / "logs/other.log").unlink()
    code, document = run_json(capsys, *VERIFY, "--against", "logs")
    assert code == 1
    assert document["logs"]["differences"][0]["path"].endswith("other.log")
    code, _ = run_json(capsys, *VERIFY, "--partial", "--against", "logs")
    assert code == 0


def test_rotation_is_no_tampering(place: Path, capsys) -> None:
    seal(capsys)
    os.replace(place / "logs/audit.log", place / "logs/audit.log.1")
    (place / "logs/audit.log").write_text('{"verb":"new"}\n')
    assert seal(capsys)["sealed"] == 1
    shutil.copytree(place / "logs", place / "elsewhere")
    (place / "elsewhere/audit.log.1.gz").write_bytes(
        gzip.compress((place / "elsewhere/audit.log.1").read_bytes())
    )
    (place / "elsewhere/audit.log.1").unlink()
    code, document = run_json(capsys, *VERIFY, "--against", "elsewhere")
    assert (code, document["logs"]["compared"]) == (0, 42)


def test_the_secret_itself_is_proven_with_the_key_only(place: Path, capsys) -> None:
    seal(capsys)
    log = place / "logs/audit.log"
    log.write_text(log.read_text().replace("hunter2hunter2", "hunter3hunter3"))
    assert run(capsys, *VERIFY, "--against", "logs")[0] == 0
    code, document = run_json(
        capsys, *VERIFY, "--against", "logs", "--redaction-key-file", "seals.redaction-key"
    )
    assert code == 1
    assert document["logs"]["differences"][0]["what"] == "altered"


def test_heads_and_proofs(place: Path, capsys) -> None:
    seal(capsys)
    shutil.copy(place / "seals/checkpoint", place / "old")
    with (place / "logs/audit.log").open("a") as log:
        log.write('{"verb":"delete"}\n')
    seal(capsys)
    code, document = run_json(capsys, *VERIFY, "--from", "old", "--record", "logs/audit.log:7")
    assert code == 0
    assert document["consistency"]["holds"]
    assert document["records"][0]["index"] == 6
    code, _ = run(capsys, "ledger", "prove", "seals", "--record", "6", "-o", "proofs")
    assert code == 0
    (place / "record").write_text(LINES[6] + "\n")
    proof = ("verify", "proof", "proofs/6.tlog-proof", "--key", "seals/key.pub")
    assert run(capsys, *proof, "--record", "record")[0] == 0
    (place / "record").write_text(LINES[7])
    assert run(capsys, *proof, "--record", "record")[0] == 1
    text = (place / "proofs/6.tlog-proof").read_text()
    (place / "proofs/6.tlog-proof").write_text(text.replace("index 6", "index 7"))
    code, document = run_json(capsys, *proof)
    assert code == 1
    assert not document["verified"]
    assert main([*VERIFY, "--record", "logs/audit.log:99"]) == 2
    assert main([*VERIFY, "--to", "old"]) == 2


def test_findings_carry_their_proofs(place: Path, capsys) -> None:
    shutil.copy(DEMO / "kubernetes/audit.log", place / "logs/k8s.log")
    trail = sorted((DEMO / "aws").rglob("*_CloudTrail_eu-west-1_*.json.gz"))[-2]
    shutil.copy(trail, place / "logs")
    seal(capsys)
    assert main(["scan", "logs", "--json", "-o", "findings.json", "--level", "high"]) == 0
    code, _ = run(capsys, "ledger", "prove", "seals", "--findings", "findings.json", "-o", "p")
    assert code == 0
    findings = json.loads((place / "findings.json").read_text())["findings"]
    folders = {path.name for path in (place / "p").iterdir()}
    assert folders == {finding["uid"] for finding in findings}
    proofs = sorted(map(str, (place / "p").rglob("*.tlog-proof")))
    code, document = run_json(capsys, "verify", "proof", *proofs, "--key", "seals/key.pub")
    assert code == 0
    assert len(document["proofs"]) == len(proofs) > 10


def test_mistakes_are_told(place: Path, capsys) -> None:
    assert main(["seal", "logs", "--ledger", "nothing"]) == 2
    assert "ledger init" in capsys.readouterr().err
    assert main(["seal", "-", "--ledger", "seals"]) == 2
    assert main(["verify", "ledger", "nothing", "--key", "seals/key.pub"]) == 2
    assert main(["verify", "ledger", "seals", "--key", "nonsense+key"]) == 2
    capsys.readouterr()
    assert main(["verify", "ledger", "seals", "--key", "seals/ledger.json"]) == 2
    assert "trailhound: seals/ledger.json: malformed public key" in capsys.readouterr().err
    assert main([*VERIFY]) == 2
    assert "no signed head" in capsys.readouterr().err
    assert main(["ledger", "forward", "seals", "--to", "nowhere"]) == 2
    assert main(["ledger", "prove", "seals", "-o", "x"]) == 2
