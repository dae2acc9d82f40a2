"""Heads, tiles and proofs, read by an implementation that is not ours: Go's `sumdb` packages."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from test_ledger import SIGNER, new_ledger
from trailhound.ledger.audit import newest_head
from trailhound.ledger.log import fetch_from
from trailhound.ledger.merkle import prove_consistency, prove_inclusion
from trailhound.ledger.notes import Verifier, open_note
from trailhound.ledger.tiles import TileReader

PROGRAM = Path(__file__).parent / "go_ledger"


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 256, 700, 66_000])
def test_go_reads_our_ledger_and_we_read_its_notes(tmp_path: Path, size: int) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go, and its module proxy once")
    folder = new_ledger(tmp_path / "l", size)
    old = size // 2 + 1
    indexes = sorted({0, size // 3, size - 1})
    done = subprocess.run(
        [go, "run", ".", str(folder), str(SIGNER.verifier), str(old), *map(str, indexes)],
        cwd=PROGRAM,
        capture_output=True,
        timeout=600,
        check=False,
    )
    if b"dial tcp" in done.stderr or b"proxy" in done.stderr:
        pytest.skip("needs the Go module proxy once: golang.org/x/mod is not here")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    head, note = newest_head(folder, SIGNER.verifier)
    assert found["size"] == head.size == size
    assert base64.b64decode(found["root"]) == head.root
    reader = TileReader(fetch_from(folder), size)
    for text, path in found["records"].items():
        ours = prove_inclusion(int(text), size, reader.hash_of)
        assert list(map(base64.b64decode, path or ())) == ours
    ours = prove_consistency(old, size, reader.hash_of)
    assert list(map(base64.b64decode, found["tree"] or ())) == ours
    text = open_note(base64.b64decode(found["note"]), Verifier.parse(found["key"]))
    assert text == open_note(note, SIGNER.verifier)
