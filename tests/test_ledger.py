"""The ledger on disk: durable, recovered after crashes, and any tampering is found and named."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.cli.main import main
from trailhound.ledger.audit import audit, last_signed
from trailhound.ledger.checkpoints import Head, open_head, sign_head
from trailhound.ledger.differences import Change, first_difference
from trailhound.ledger.leaf import (
    Sealed,
    context_text,
    leaf_entry,
    parse_leaf,
    read_context,
    seal,
)
from trailhound.ledger.log import Ledger, create, fetch_from, head_path, pack_records
from trailhound.ledger.merkle import leaf_hash
from trailhound.ledger.notes import Signer
from trailhound.ledger.redaction import Redacted, Redactor
from trailhound.ledger.tiles import Frontier, Tile, join_bundle, split_bundle
from trailhound.model.errors import TrailhoundError

SIGNER = Signer("example.com/audit", bytes(range(32)))
REDACTOR = Redactor(b"k" * 32)


def sealed(index: int) -> Sealed:
    record = f'{{"event":{index}}}'.encode()
    entry = leaf_entry(
        Redacted(record), source="audit.log", place=str(index + 1), received_ns=index
    )
    return Sealed(entry, record)


def batch(start: int, end: int) -> list[Sealed]:
    return [sealed(index) for index in range(start, end)]


def new_ledger(folder: Path, *sizes: int, keep_records: bool = True) -> Path:
    """A ledger with a signed head at each of the sizes."""
    create(folder, SIGNER, keep_records=keep_records)
    with Ledger(folder, SIGNER) as ledger:
        for size in sizes:
            ledger.append(batch(ledger.size, size))
            ledger.sign_head(1_795_000_000_000_000_000 + size)
    return folder


def root_of(count: int) -> bytes:
    frontier = Frontier()
    for index in range(count):
        frontier.add([leaf_hash(sealed(index).entry)])
    return frontier.root()


@pytest.mark.parametrize("keep_records", [True, False])
def test_what_is_appended_is_there(tmp_path: Path, keep_records: bool) -> None:
    folder = new_ledger(tmp_path / "l", 1, 255, 256, 300, 1100, keep_records=keep_records)
    found = audit(folder, SIGNER.verifier)
    assert not found.problems
    assert [head.size for head in found.heads] == [1, 255, 256, 300, 1100]
    assert found.heads[-1].root == root_of(1100)
    assert found.records_checked == (1100 if keep_records else 0)
    # Partial tiles go when the full one is there.
    left = {p.relative_to(folder).as_posix() for p in folder.rglob("*.p/*")}
    assert left == {
        *(f"{kind}/004.p/76" for kind in ("tile/entries", "tile/0", *(["records"] * keep_records))),
        "tile/1/000.p/4",
    } | {name for name in left if name.startswith("tile/1/")}


def test_heads_of_a_quiet_ledger_do_not_pile_up(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l", 300)
    times = [1_795_000_000_000_000_000 + step * 60 * 10**9 for step in range(1, 40)]
    for part in (times[:20], times[20:]):
        with Ledger(folder, SIGNER) as ledger:
            for now_ns in part:
                assert ledger.sign_head(now_ns) == Head(
                    SIGNER.verifier.name, 300, root_of(300), now_ns
                )
    first, newest = sorted((folder / "heads").glob("*/*"))
    assert open_head(first.read_bytes(), SIGNER.verifier).signed_ns == 1_795_000_000_000_000_300
    assert open_head(newest.read_bytes(), SIGNER.verifier).signed_ns == times[-1]
    found = audit(folder, SIGNER.verifier)
    assert not found.problems
    assert [head.signed_ns for head in found.heads] == [times[-1]]
    assert last_signed(folder, SIGNER.verifier) == found.head
    with Ledger(folder, SIGNER) as ledger:
        ledger.sign_head(times[-1] + 86_400 * 10**9)  # another day: both of the day before stay
        ledger.append(batch(300, 310))
        ledger.sign_head(times[-1] + 86_460 * 10**9)
    assert len(list((folder / "heads").glob("*/*"))) == 4
    assert not audit(folder, SIGNER.verifier).problems


def test_a_ledger_without_records_has_heads(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l")
    with Ledger(folder, SIGNER) as ledger:
        ledger.sign_head(5)
    found = audit(folder, SIGNER.verifier)
    assert (found.size, found.problems, found.heads[0].signed_ns) == (0, (), 5)
    with Ledger(folder, SIGNER) as ledger:
        ledger.append(batch(0, 3))
        ledger.sign_head(6)
    assert not audit(folder, SIGNER.verifier).problems


@pytest.mark.parametrize(
    ("age_s", "limit", "code"),
    [
        (0, "1m", 0),
        (50, "1m", 0),
        (70, "1m", 1),
        (-70, "1m", 1),
        (7000, "2h", 0),
        (90_000, "1d", 1),
    ],
)
def test_an_old_head_is_told(tmp_path: Path, capsys, age_s: int, limit: str, code: int) -> None:
    folder = new_ledger(tmp_path / "l")
    with Ledger(folder, SIGNER) as ledger:
        ledger.append(batch(0, 3))
        ledger.sign_head(time.time_ns() - age_s * 10**9)
    command = ["verify", "head", str(folder), "--key", str(SIGNER.verifier), "--max-age", limit]
    assert main(command) == code
    assert ("NOT VERIFIED" in capsys.readouterr().out) == bool(code)
    assert main([*command, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] == (code == 0)
    assert abs(document["age_s"] - age_s) < 60


def test_a_clock_that_was_ahead_hides_no_later_head(tmp_path: Path, capsys) -> None:
    folder = new_ledger(tmp_path / "l", 3)
    command = ["verify", "head", str(folder), "--key", str(SIGNER.verifier)]
    with Ledger(folder, SIGNER) as ledger:
        ahead = ledger.sign_head(time.time_ns() + 400 * 86_400 * 10**9)
        assert last_signed(folder, SIGNER.verifier, time.time_ns()) != ahead
        assert main(command) == 1
        ledger.sign_head(time.time_ns())
    assert main(command) == 0
    assert "\nverified" in capsys.readouterr().out
    assert last_signed(folder, SIGNER.verifier, 0) == ahead


def test_a_head_that_is_none_is_not_taken_for_the_newest(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l", 3)
    honest = last_signed(folder, SIGNER.verifier)
    forged = Head(SIGNER.verifier.name, 3, root_of(3), time.time_ns())
    path = folder / head_path(forged)
    path.parent.mkdir(parents=True)
    path.write_bytes(sign_head(forged, Signer(SIGNER.verifier.name, b"o" * 32)))
    assert last_signed(folder, SIGNER.verifier) == honest


def test_batches_do_not_matter(tmp_path: Path) -> None:
    one = new_ledger(tmp_path / "one", 700)
    two = new_ledger(tmp_path / "two", 3, 256, 500, 700)
    for path in ("tile/0/001", "tile/0/002.p/188", "tile/entries/000", "records/001"):
        assert fetch_from(one)(path) == fetch_from(two)(path)


def test_opened_again_it_goes_on(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l", 300)
    with Ledger(folder, SIGNER) as ledger:
        ledger.append(batch(300, 310))  # not signed
    with Ledger(folder, SIGNER) as ledger:
        assert (ledger.head.size, ledger.size, ledger.torn_bytes) == (300, 310, 0)
        assert ledger.append(batch(310, 600)) == 310
        assert ledger.sign_head(7).root == root_of(600)
    assert not audit(folder, SIGNER.verifier).problems


def test_a_torn_end_is_cut_off(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l", 5)
    with Ledger(folder, SIGNER) as ledger:
        ledger.append(batch(5, 9))
    journal = folder / "journal"
    whole = journal.read_bytes()
    for cut in range(len(whole) - 1, 41, -7):
        journal.write_bytes(whole[:cut])
        with Ledger(folder, SIGNER) as ledger:
            kept = ledger.size
            assert 5 <= kept <= 9
            assert journal.stat().st_size + ledger.torn_bytes == cut
    journal.write_bytes(whole[:-3] + b"xyz")
    with Ledger(folder, SIGNER) as ledger:
        assert ledger.size == 8
        assert ledger.torn_bytes
        ledger.append(batch(8, 20))
        assert ledger.sign_head(1).root == root_of(20)


@given(st.binary(max_size=200), st.integers(0, 500))
@settings(max_examples=25)
def test_no_journal_raises_anything_else(tmp_path_factory, noise: bytes, at: int) -> None:
    folder = new_ledger(tmp_path_factory.mktemp("l") / "l", 2)
    with Ledger(folder, SIGNER) as ledger:
        ledger.append(batch(2, 4))
    journal = folder / "journal"
    data = journal.read_bytes()
    journal.write_bytes(data[:at] + noise + data[at + len(noise) :])
    try:
        with Ledger(folder, SIGNER) as ledger:
            assert 2 <= ledger.size <= 4 or noise
    except TrailhoundError:
        pass


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l", 1)
    with Ledger(folder, SIGNER), pytest.raises(TrailhoundError, match="in use"):
        Ledger(folder, SIGNER)
    with pytest.raises(TrailhoundError, match=r"the key is of other\.example"):
        Ledger(folder, Signer("other.example", bytes(32)))
    with pytest.raises(TrailhoundError, match="not signed by"):
        Ledger(folder, Signer("example.com/audit", bytes(32)))


def test_a_damaged_ledger_is_not_continued(tmp_path: Path) -> None:
    folder = new_ledger(tmp_path / "l", 300)
    (folder / "tile/0/001.p/44").write_bytes(bytes(44 * 32))
    with pytest.raises(TrailhoundError, match="damaged"):
        Ledger(folder, SIGNER)


def test_after_a_failed_write_it_must_be_opened_anew(tmp_path: Path, monkeypatch) -> None:
    folder = new_ledger(tmp_path / "l", 10)
    ledger = Ledger(folder, SIGNER)
    real = os.fsync

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrailhoundError, match="No space left"):
        ledger.append(batch(10, 20))
    monkeypatch.setattr(os, "fsync", real)
    with pytest.raises(TrailhoundError, match="open it anew"):
        ledger.append(batch(10, 20))
    ledger.close()
    with Ledger(folder, SIGNER) as ledger:
        assert ledger.size == 10
        ledger.append(batch(10, 20))
        assert ledger.sign_head(1).root == root_of(20)


WRITER = """
from pathlib import Path
from trailhound.ledger.leaf import Sealed, leaf_entry
from trailhound.ledger.log import Ledger
from trailhound.ledger.notes import Signer
from trailhound.ledger.redaction import Redacted
def sealed(index):
    record = f'{{{{"event":{{index}}}}}}'.encode()
    place = str(index + 1)
    entry = leaf_entry(Redacted(record), source="audit.log", place=place, received_ns=index)
    return Sealed(entry, record)
def batch(start, end):
    return [sealed(index) for index in range(start, end)]
with Ledger(Path({folder!r}), Signer("example.com/audit", bytes(range(32)))) as ledger:
    print("open", ledger.size, flush=True)
    while True:
        step = 1 + ledger.size % 97
        ledger.append(batch(ledger.size, ledger.size + step))
        print(ledger.size, flush=True)
        if ledger.size % 5 == 0:
            ledger.sign_head(ledger.size)
"""


def kill_at_random_points(folder: Path, times: int) -> None:
    """Whatever was acknowledged before a kill -9 is there after it, once, in order."""
    dice = random.Random(7)  # reproducible
    program = WRITER.format(folder=str(folder))
    acknowledged = 0
    for _ in range(times):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout
            start = process.stdout.readline().split()
            assert int(start[1]) >= acknowledged, start
            time.sleep(dice.random() * 0.15)
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().split(b"\n")[:-1]
            acknowledged = max([acknowledged, *(int(line) for line in lines)])
    with Ledger(folder, SIGNER) as ledger:
        assert ledger.size >= acknowledged > 0
        assert ledger.sign_head(1).root == root_of(ledger.size)
    assert not audit(folder, SIGNER.verifier).problems


def test_killed_it_loses_nothing(tmp_path: Path) -> None:
    create(tmp_path / "l", SIGNER, keep_records=True)
    kill_at_random_points(tmp_path / "l", 6)


@pytest.mark.slow
def test_killed_a_hundred_times_it_loses_nothing(tmp_path: Path) -> None:
    create(tmp_path / "l", SIGNER, keep_records=True)
    kill_at_random_points(tmp_path / "l", 100)


# --- tampering ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    return new_ledger(tmp_path_factory.mktemp("honest") / "l", 100, 300, 700)


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "copy"))


def forge_entries(folder: Path, entries: list[bytes], *, tiles: bool) -> None:
    """Write other entries under the heads that are there; with tiles that fit them."""
    frontier = Frontier()
    for index in range(0, len(entries), 256):
        part = entries[index : index + 256]
        (folder / Tile("tile/entries", index // 256, len(part)).path).write_bytes(join_bundle(part))
    if not tiles:
        return
    for number, entry in enumerate(entries):
        for level, tile in frontier.add([leaf_hash(entry)]):
            (folder / Tile(f"tile/{level}", number >> (8 * (level + 1))).path).write_bytes(tile)
    for level, hashes in enumerate(frontier.levels):
        if hashes:
            tile = Tile(f"tile/{level}", len(entries) >> (8 * (level + 1)), len(hashes) // 32)
            (folder / tile.path).write_bytes(bytes(hashes))


def entries_of(folder: Path) -> list[bytes]:
    found = []
    for path in ("000", "001", "002.p/188"):
        found += split_bundle((folder / "tile/entries" / path).read_bytes()) or []
    return found


@pytest.mark.parametrize("index", [0, 99, 255, 256, 699])
@pytest.mark.parametrize("tiles", [False, True], ids=["entries", "entries and tiles"])
def test_an_altered_entry_is_named(copy: Path, index: int, tiles: bool) -> None:
    entries = entries_of(copy)
    entries[index] = entries[index].replace(b"received ", b"received 9")
    forge_entries(copy, entries, tiles=tiles)
    problems = audit(copy, SIGNER.verifier).problems
    assert problems
    first = next(one for one in problems if one.what == "altered" and one.index is not None)
    if tiles:  # then only the heads know: it is between two of them
        before = max(size for size in (0, 100, 300, 700) if size <= index)
        assert first.index == before
    else:
        assert (first.index, first.where) == (index, f"entry {index}")


@pytest.mark.parametrize(
    "forge",
    [
        lambda e: [*e[:50], *e[51:], e[0]],
        lambda e: [*e[:50], e[7], *e[50:-1]],
        lambda e: [*e[:50], e[51], e[50], *e[52:]],
    ],
    ids=["deleted", "inserted", "reordered"],
)
def test_entries_that_moved_are_found(copy: Path, forge) -> None:
    forge_entries(copy, forge(entries_of(copy)), tiles=True)
    problem = audit(copy, SIGNER.verifier).problems[0]
    assert problem.index == 0
    assert "one of 0 to 99" in problem.detail


@given(st.data())
@settings(max_examples=40)
def test_no_changed_byte_goes_unseen(honest: Path, tmp_path_factory, data) -> None:
    """Any byte of any file that an audit rests on."""
    folder = Path(shutil.copytree(honest, tmp_path_factory.mktemp("t") / "l"))
    files = sorted(
        path
        for kind in ("tile", "records", "heads", "checkpoint")
        for path in ([folder / kind] if (folder / kind).is_file() else (folder / kind).rglob("*"))
        if path.is_file()
    )
    needed = [p for p in files if p.parent.name != "000.p" or p.name == "2"]
    path = data.draw(st.sampled_from(needed))
    content = bytearray(path.read_bytes())
    action = data.draw(st.sampled_from(["flip", "cut", "remove"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if action == "flip":
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
    elif action == "cut":
        path.write_bytes(content[:at])
    elif "heads" in path.parts or path.name == "checkpoint":
        return  # that a head was there, only another copy or a forwarded one can tell
    else:
        path.unlink()
    assert audit(folder, SIGNER.verifier).problems, path


@pytest.mark.parametrize(
    ("forge", "change", "index"),
    [
        (lambda r: [*r[:9], b"{}", *r[10:]], "altered", 9),
        (lambda r: [*r[:9], *r[10:]], "deleted", 9),
        (lambda r: [*r[:9], b"{}", *r[9:]], "inserted", 9),
        (lambda r: [*r[:9], r[10], r[9], *r[11:]], "reordered", 9),
    ],
)
def test_kept_records_that_changed_are_named(copy: Path, forge, change: str, index: int) -> None:
    records = [sealed(number).record for number in range(256)]
    (copy / "records/000").write_bytes(pack_records(forge(records)))
    (problem,) = audit(copy, SIGNER.verifier).problems
    assert (problem.what, problem.index) == (change, index)
    assert "audit.log:10" in problem.where


def test_two_histories_are_told(copy: Path) -> None:
    forged = Head(SIGNER.verifier.name, 300, hashlib.sha256(b"x").digest(), 5)
    path = copy / head_path(forged)
    path.parent.mkdir(parents=True)
    path.write_bytes(sign_head(forged, SIGNER))
    assert "forked" in {one.what for one in audit(copy, SIGNER.verifier).problems}


def test_a_head_of_another_key_is_told(copy: Path) -> None:
    other = Signer("example.com/audit", bytes(32))
    head = open_head((copy / "checkpoint").read_bytes(), SIGNER.verifier)
    (copy / "checkpoint").write_bytes(sign_head(head, other))
    (problem,) = audit(copy, SIGNER.verifier).problems
    assert (problem.what, problem.where) == ("unsigned", "checkpoint")


def test_no_head_at_all(tmp_path: Path) -> None:
    with pytest.raises(TrailhoundError, match="no signed head"):
        audit(tmp_path, SIGNER.verifier)


ITEMS = st.lists(st.integers(0, 6).map(lambda n: b"%d" % n), max_size=12)


@given(ITEMS, ITEMS)
def test_the_first_difference_is_the_first(old: list[bytes], new: list[bytes]) -> None:
    found = first_difference(old, new)
    if found is None:
        assert new[: len(old)] == old
        return
    at = found.index
    assert old[:at] == new[:at]
    assert old[at : at + 1] != new[at : at + 1]


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=3, max_size=20, unique=True), st.data())
def test_each_change_has_its_name(items: list[bytes], data) -> None:
    at = data.draw(st.integers(0, len(items) - 2))
    altered = first_difference(items, [*items[:at], b"other", *items[at + 1 :]])
    assert altered is not None
    assert (altered.change, altered.index) == (Change.ALTERED, at)
    deleted = first_difference(items, [*items[:at], *items[at + 1 :]])
    assert deleted is not None
    assert (deleted.change, deleted.index, deleted.count) == (Change.DELETED, at, 1)
    inserted = first_difference(items, [*items[:at], b"other", *items[at:]])
    assert inserted is not None
    assert (inserted.change, inserted.index) == (Change.INSERTED, at)
    swapped = first_difference(items, [*items[:at], items[at + 1], items[at], *items[at + 2 :]])
    assert swapped is not None
    assert (swapped.change, swapped.index) == (Change.REORDERED, at)


def test_sealing_commits_to_what_is_stored() -> None:
    one = seal(b'{"password":"x"}', source="a", place="1", received_ns=1, redactor=REDACTOR)
    assert hashlib.sha256(one.record).hexdigest().encode() in one.entry
    assert b"path password\n" in one.entry
    assert b'"x"' not in one.record


CONTEXT = st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5)


@given(st.binary(max_size=60), CONTEXT, st.text(max_size=20))
def test_what_came_beside_a_record_is_sealed_with_it(data: bytes, context, source: str) -> None:
    safe = REDACTOR.redact(data)
    beside = context_text(context) if context else b""
    entry = leaf_entry(safe, source=source, place="1", received_ns=1, context=beside)
    leaf = parse_leaf(entry)
    assert leaf.sha256 == hashlib.sha256(safe.data).hexdigest()
    assert leaf.split(safe.data + beside) == (safe.data, beside)
    assert leaf.kept_sha256 == hashlib.sha256(safe.data + beside).hexdigest()
    assert read_context(beside) == context
    assert entry.startswith(b"trailhound-leaf/2\n" if context else b"trailhound-leaf/1\n")


def test_an_altered_context_is_named(tmp_path: Path) -> None:
    create(tmp_path / "l", SIGNER, keep_records=True)
    beside = [context_text({"hostname": f"host-{index}"}) for index in range(300)]
    records = [b"record %d" % index for index in range(300)]
    with Ledger(tmp_path / "l", SIGNER) as ledger:
        ledger.append(
            [
                Sealed(
                    leaf_entry(
                        Redacted(record), source="a", place=str(at), received_ns=at, context=context
                    ),
                    record + context,
                )
                for at, (record, context) in enumerate(zip(records, beside, strict=True))
            ]
        )
        ledger.sign_head(1)
    kept = [record + context for record, context in zip(records, beside, strict=True)]
    path = tmp_path / "l/records/000"
    for forged, what, said in (
        (kept[7].replace(b"host-7", b"host-8"), "altered", "what came beside the record"),
        (kept[7].replace(b"record 7", b"record 8"), "altered", "by the hash in its entry"),
        (kept[7].removesuffix(beside[7]), "altered", "by the hash in its entry"),
        (None, "deleted", "by the hash in its entry"),
    ):
        path.write_bytes(pack_records([*kept[:7], *([forged] if forged else []), *kept[8:256]]))
        (problem,) = audit(tmp_path / "l", SIGNER.verifier).problems
        assert (problem.what, problem.index) == (what, 7)
        assert said in problem.detail
    path.write_bytes(pack_records(kept[:256]))
    assert not audit(tmp_path / "l", SIGNER.verifier).problems
