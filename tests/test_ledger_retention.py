"""Records that are let go: the tree stays, and what retention did not order is a deletion."""

import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_ledger import SIGNER
from trailhound.cli.main import main
from trailhound.ledger import retention
from trailhound.ledger.audit import audit, leaves
from trailhound.ledger.forward import forward
from trailhound.ledger.leaf import Sealed, leaf_entry
from trailhound.ledger.log import Ledger, create, kept_record
from trailhound.ledger.redaction import Redacted
from trailhound.ledger.release import DAY_NS, RANGES_LIMIT, Release, days_of
from trailhound.ledger.retention import (
    Hold,
    Retained,
    finish,
    lift_hold,
    place_hold,
    released,
    retain,
)
from trailhound.ledger.targets.folder import FolderTarget
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.sealing import Numbered, Sealer

NOW_NS = 1_800_000_000_000_000_000
HOUR_NS = 3600 * 10**9
EVERYTHING = {"*": 10}


def record(number: int, source: str, received_ns: int) -> Sealed:
    data = f"record {number}".encode()
    entry = leaf_entry(Redacted(data), source=source, place=str(number), received_ns=received_ns)
    return Sealed(entry, data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """1,300 records, one an hour, the last of now; the second 256 are of another source."""
    create(tmp_path / "l", SIGNER, keep_records=True)
    with Ledger(tmp_path / "l", SIGNER) as ledger:
        ledger.append(
            [
                record(
                    number + 1,
                    "webhook/b" if 256 <= number < 512 else "forward/a",
                    NOW_NS - (1300 - number) * HOUR_NS,
                )
                for number in range(1300)
            ]
        )
        ledger.sign_head(NOW_NS)
    return tmp_path / "l"


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "records").iterdir() if p.is_file())


def let_go(folder: Path, keep: dict[str, int], now_ns: int = NOW_NS) -> Retained:
    with Ledger(folder, SIGNER) as ledger:
        return retain(ledger, keep, now_ns)


def test_records_go_and_the_tree_stays(folder: Path, capsys) -> None:
    before = dict(leaves(folder, 1300))
    # 10 days are 240 hours: records before 1060 are due, so bundles 0 to 3 but not 4.
    assert let_go(folder, EVERYTHING).records == 1024
    assert files(folder) == ["004"]
    found = audit(folder, SIGNER.verifier)
    assert not found.problems
    assert (found.size, found.records_checked) == (1301, 1301 - 1024)
    assert [one.ranges for one in found.released] == [((0, 1023),)]
    assert {i: leaf for i, leaf in leaves(folder, 1301) if i < 1300} == before
    assert kept_record(folder, 1301, 17) is None
    assert kept_record(folder, 1301, 1030) == b"record 1031"
    assert main(["verify", "ledger", str(folder), "--key", str(SIGNER.verifier)]) == 0
    out = capsys.readouterr().out
    assert "let go by retention 2027-01-15T08:00:00Z: records of entries 0 to 1,023" in out
    assert main(["verify", "ledger", str(folder), "--key", str(SIGNER.verifier), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["let_go"] == [
        {
            "time": "2027-01-15T08:00:00Z",
            "keep_days": {"*": 10},
            "entries": [{"first": 0, "last": 1023}],
        }
    ]
    # Again there is nothing to do, and later there is more.
    assert let_go(folder, EVERYTHING).records == 0
    assert let_go(folder, EVERYTHING, NOW_NS + 100 * DAY_NS).records == 256
    found = audit(folder, SIGNER.verifier)
    assert (found.problems, len(found.released)) == ((), 2)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ({"forward/*": 10}, ["001", "004"]),
        ({"webhook/b": 10}, ["000", "002", "003", "004"]),
        ({"*": 10, "forward/a": 20}, ["003", "004"]),
        ({"*": 10, "webhook/*": 1000}, ["001", "004"]),
        ({"*": 1000}, ["000", "001", "002", "003", "004"]),
        ({}, ["000", "001", "002", "003", "004"]),
    ],
)
def test_each_source_is_kept_as_long_as_is_said(
    folder: Path, keep: dict[str, int], left: list[str]
) -> None:
    let_go(folder, keep)
    assert files(folder) == left
    assert not audit(folder, SIGNER.verifier).problems


@pytest.mark.parametrize(
    ("hold", "left"),
    [
        (Hold("h", "", None, None, "", 0), ["000", "001", "002", "003", "004"]),
        (Hold("h", "webhook/*", None, None, "", 0), ["001", "004"]),
        (Hold("h", "", NOW_NS - 1300 * HOUR_NS, NOW_NS - 1300 * HOUR_NS, "", 0), ["000", "004"]),
        (Hold("h", "nobody", None, None, "", 0), ["004"]),
    ],
)
def test_what_is_held_stays(folder: Path, hold: Hold, left: list[str]) -> None:
    place_hold(folder, hold)
    done = let_go(folder, EVERYTHING)
    assert files(folder) == left
    assert done.held == 256 * (len(left) - 1)
    with pytest.raises(TrailhoundError, match="already"):
        place_hold(folder, hold)
    lift_hold(folder, "h")
    with pytest.raises(TrailhoundError, match="no hold named 'h'"):
        lift_hold(folder, "h")
    let_go(folder, EVERYTHING)
    assert files(folder) == ["004"]
    assert not audit(folder, SIGNER.verifier).problems


def test_holds_that_cannot_be_read_let_nothing_go(folder: Path) -> None:
    (folder / "holds.json").write_text("{")
    with pytest.raises(TrailhoundError, match=r"holds\.json cannot be used"):
        let_go(folder, EVERYTHING)
    assert len(files(folder)) == 5


def test_a_deletion_that_retention_did_not_order_is_named(folder: Path) -> None:
    let_go(folder, {"forward/*": 10})
    (folder / "records/001").unlink()
    (problem,) = audit(folder, SIGNER.verifier).problems
    assert (problem.what, problem.index) == ("missing", 256)


def test_that_all_records_are_gone_is_named(folder: Path) -> None:
    let_go(folder, EVERYTHING)
    shutil.rmtree(folder / "records")
    problems = audit(folder, SIGNER.verifier).problems
    assert [(one.what, one.index) for one in problems] == [("missing", 1024), ("missing", 1280)]


def test_records_that_were_let_go_before_they_were_due_are_named(folder: Path) -> None:
    # Whoever has the key may say what he likes; not that it was so.
    entry = Release("1300", NOW_NS, {"*": 10}, ((0, 1279),)).encode()
    with Ledger(folder, SIGNER) as ledger:
        ledger.append([Sealed(entry, b"")])
        ledger.sign_head(NOW_NS)
    for name in files(folder):
        (folder / "records" / name).unlink()
    (problem,) = audit(folder, SIGNER.verifier).problems
    assert (problem.what, problem.index) == ("deleted", 1060)
    assert "entry 1300 let records 1024 to 1279 go" in problem.detail


def test_an_altered_release_is_found(folder: Path) -> None:
    let_go(folder, EVERYTHING)
    path = folder / "tile/entries/005.p/21"
    path.write_bytes(path.read_bytes().replace(b"keep 10 *", b"keep 11 *"))
    assert audit(folder, SIGNER.verifier).problems


@pytest.mark.parametrize("step", ["append", "sign_head", "unlink", "save", "last save"])
def test_cut_off_at_any_step_it_is_made_up_for(folder: Path, monkeypatch, step: str) -> None:
    saves = 0

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def save(path: Path, state: retention.State) -> None:
        nonlocal saves
        saves += 1
        if saves == (1 if step == "save" else 2):
            raise KeyboardInterrupt
        saving(path, state)

    saving = retention._save
    with monkeypatch.context() as patch, Ledger(folder, SIGNER) as ledger:
        if step in ("append", "sign_head"):
            patch.setattr(ledger, step, fail)
        elif step == "unlink":
            patch.setattr(Path, "unlink", fail)
        else:
            patch.setattr(retention, "_save", save)
        with pytest.raises(KeyboardInterrupt):
            retain(ledger, EVERYTHING, NOW_NS)
    assert not audit(folder, SIGNER.verifier).problems  # at this moment already
    let_go(folder, EVERYTHING)
    assert files(folder) == ["004"]
    found = audit(folder, SIGNER.verifier)
    assert (found.problems, found.size, len(found.released)) == ((), 1301, 1)
    assert released(folder) == retention.State(1, [(0, 3)])


def test_a_hold_that_is_placed_after_a_crash_holds(folder: Path, monkeypatch) -> None:
    def fail(path: Path, **_: object) -> None:
        if path.name == "001":
            raise KeyboardInterrupt
        unlink(path)

    unlink = Path.unlink
    with monkeypatch.context() as patch, Ledger(folder, SIGNER) as ledger:
        patch.setattr(Path, "unlink", fail)
        with pytest.raises(KeyboardInterrupt):
            retain(ledger, EVERYTHING, NOW_NS)
    place_hold(folder, Hold("h", "webhook/*", None, None, "", 0))
    with Ledger(folder, SIGNER) as ledger:
        finish(ledger, NOW_NS)
    assert files(folder) == ["001", "004"]
    assert not audit(folder, SIGNER.verifier).problems
    assert released(folder) == retention.State(1, [(0, 0), (2, 3)])
    let_go(folder, EVERYTHING)
    assert files(folder) == ["001", "004"]
    lift_hold(folder, "h")
    let_go(folder, EVERYTHING)
    assert files(folder) == ["004"]
    assert not audit(folder, SIGNER.verifier).problems


@pytest.mark.parametrize(
    "keep",
    [
        {"": 10, "*": 10},
        {"x" * 299 + "*": 5, "*": 10},
        {"x" * 300: 5, "x" * 301: 6, "*": 10},
        {"\ud800": 5, "*": 10},
    ],
)
def test_names_that_no_entry_can_say_are_refused(folder: Path, keep: dict[str, int]) -> None:
    with pytest.raises(TrailhoundError, match="a source in keep_days is empty, too long"):
        let_go(folder, keep)
    assert len(files(folder)) == 5
    found = audit(folder, SIGNER.verifier)
    assert (found.problems, found.size) == ((), 1300)
    let_go(folder, EVERYTHING)
    assert files(folder) == ["004"]


def test_places_follow_and_keep_what_they_have(folder: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for place in (before, after):
        place.mkdir()
    forward(folder, FolderTarget(str(before)))
    let_go(folder, EVERYTHING)
    for place, checked in ((before, 1301), (after, 1301 - 1024)):
        forward(folder, FolderTarget(str(place)))
        found = audit(place, SIGNER.verifier)
        assert (found.problems, found.records_checked) == ((), checked)
    shutil.rmtree(before / "records")  # whoever keeps it may let go of them too
    (before / "records").mkdir()
    assert {one.what for one in audit(before, SIGNER.verifier).problems} == {"missing"}
    assert len(audit(before, SIGNER.verifier).problems) == 2


def test_a_large_ledger_is_looked_at_in_parts(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(retention, "_LOOKED_AT", 2)
    with Ledger(folder, SIGNER) as ledger:
        first = retain(ledger, EVERYTHING, NOW_NS)
        assert (first.records, first.cursor) == (512, 2)
        second = retain(ledger, EVERYTHING, NOW_NS, cursor=first.cursor)
        assert (second.records, second.cursor) == (512, 4)
        assert retain(ledger, EVERYTHING, NOW_NS, cursor=second.cursor) == Retained()
    assert not audit(folder, SIGNER.verifier).problems


def test_a_ledger_of_a_queue_finds_its_records_behind_what_lets_go(tmp_path: Path) -> None:
    create(tmp_path / "l", SIGNER, keep_records=True)
    sealer = Sealer(Ledger(tmp_path / "l", SIGNER), 60)
    number = 0
    for step in range(4):
        fresh = []
        for _ in range(300):
            number += 1 + (number % 7 == 0)  # some were left out
            received_ns = NOW_NS + step * 20 * DAY_NS
            fresh.append(Numbered(number, "forward/a", received_ns, Redacted(b"%d" % number)))
        assert sealer.seal(fresh) == 300
        sealer.sign(NOW_NS)
        sealer.retain_if_due(EVERYTHING, step * 1e4, NOW_NS + step * 20 * DAY_NS)
    for again in range(2):
        reader = sealer._ledger.reader()
        there = {int(leaf.place): index for index, leaf in leaves(tmp_path / "l", sealer.signed)}
        assert len(there) == 1200
        assert sealer.size == 1203
        assert {n: sealer.index_of(reader, n) for n in range(1, number + 1)} == {
            n: there.get(n) for n in range(1, number + 1)
        }
        sealer.close()
        if not again:
            sealer = Sealer(Ledger(tmp_path / "l", SIGNER), 60)
    assert not audit(tmp_path / "l", SIGNER.verifier).problems


def test_from_the_command_line(tmp_path: Path, capsys) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(600)))
    ledger = str(tmp_path / "seals")
    assert main(["ledger", "init", ledger, "--name", "x"]) == 0
    key = capsys.readouterr().out.strip()
    assert main(["seal", str(log), "--ledger", ledger]) == 0
    assert main(["ledger", "retain", ledger, "--keep", "*=1"]) == 0
    assert "0 records let go" in capsys.readouterr().out
    tomorrow_ns = time.time_ns() + 2 * DAY_NS
    for number in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: tomorrow_ns)
            hold = ["ledger", "hold", "case-17", ledger, "--source", f"{tmp_path}/*"]
            assert main([*hold, *(["--release"] if number else [])]) == 0
            assert main(["ledger", "retain", ledger, "--keep", f"{log}=1"]) == 0
        said = capsys.readouterr().out
        expected = "512 records let go, 0" if number else "0 records let go, 512"
        assert expected in said
    assert main(["verify", "ledger", ledger, "--key", key, "--against", str(log)]) == 0
    assert "600 records of logs compared" in capsys.readouterr().out
    for wrong in ("x", "*=0", "=3", "*=x", "*=ever"):
        assert main(["ledger", "retain", ledger, "--keep", wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@given(st.binary(max_size=200))
def test_no_bytes_are_a_release_by_chance(noise: bytes) -> None:
    assert Release.parse(b"trailhound-release/1\n" + noise) is None


INDEX = st.integers(0, 10**18)


@given(
    st.text(max_size=40),
    st.integers(0, 2**63),
    st.dictionaries(st.text(min_size=1, max_size=300), st.integers(1, 36500), min_size=1),
    st.lists(st.tuples(INDEX, INDEX), min_size=1, max_size=RANGES_LIMIT),
)
def test_what_is_written_is_read(place, released_ns, keep, ranges) -> None:
    try:
        release = Release(place, released_ns, keep, tuple(ranges))
        entry = release.encode()
    except TrailhoundError:
        return
    assert len(entry) < 65_536
    read = Release.parse(entry)
    assert read is not None
    assert (read.released_ns, read.keep_days) == (released_ns, keep)
    assert read.ranges == tuple(ranges)


def test_the_nearest_name_counts() -> None:
    keep = {"*": 1, "forward/*": 2, "forward/10.*": 3, "forward/10.0.0.1": 4}
    assert [days_of(keep, s) for s in ("x", "forward/x", "forward/10.2", "forward/10.0.0.1")] == [
        1, 2, 3, 4,
    ]  # fmt: skip
    assert days_of({"forward/*": 2}, "webhook") is None
