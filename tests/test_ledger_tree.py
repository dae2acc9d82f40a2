# ruff: noqa: E501 - a signature on one line
"""Trees, tiles, notes, heads and proofs, by their standards."""

import hashlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.ledger.checkpoints import (
    Head,
    Proof,
    open_head,
    parse_head,
    parse_proof,
    sign_head,
)
from trailhound.ledger.leaf import EntryError, Leaf, parse_leaf
from trailhound.ledger.log import pack_records, unpack_records
from trailhound.ledger.merkle import (
    EMPTY_ROOT,
    consistency_holds,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    range_hash,
    root_from_inclusion,
)
from trailhound.ledger.notes import NoteError, Signer, Verifier, open_note
from trailhound.ledger.tiles import (
    Frontier,
    Missing,
    Tile,
    TileReader,
    join_bundle,
    split_bundle,
    tiles_of,
)
from trailhound.model.errors import TrailhoundError

SEED = bytes(range(32))
SIGNER = Signer("example.com/audit", SEED)

# The test vectors of RFC 6962 implementations (certificate-transparency, merkletree tests).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def root_by_definition(hashes: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(root_by_definition(hashes[:split]), root_by_definition(hashes[split:]))


def hashes_from(leaves: list[bytes]):
    return lambda start, end: root_by_definition(leaves[start:end])


def tiled(count: int) -> tuple[list[bytes], dict[str, bytes]]:
    """Leaf hashes, and every tile of a tree of that size."""
    leaves = [leaf_hash(b"%d" % index) for index in range(count)]
    files: dict[str, bytes] = {}
    row = leaves
    level = 0
    while row:
        for index in range(0, len(row), 256):
            part = row[index : index + 256]
            files[Tile(f"tile/{level}", index // 256, len(part)).path] = b"".join(part)
        full = len(row) // 256
        row = [root_by_definition(row[at * 256 : (at + 1) * 256]) for at in range(full)]
        level += 1
    return leaves, files


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    frontier = Frontier()
    for one in hashes:
        frontier.add([one])
    assert range_hash(0, size, hashes_from(hashes)).hex() == ROOTS[size]
    assert frontier.root().hex() == ROOTS[size]


def test_known_proofs() -> None:
    """The audit paths that the tests of certificate-transparency give for these leaves."""
    hashes = hashes_from([leaf_hash(leaf) for leaf in LEAVES])
    assert [one.hex() for one in prove_inclusion(0, 8, hashes)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [one.hex() for one in prove_consistency(6, 8, hashes)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_every_leaf_and_every_pair_of_sizes_is_proven() -> None:
    leaves = [leaf_hash(b"%d" % index) for index in range(34)]
    roots = [root_by_definition(leaves[:size]) for size in range(35)]
    hashes = hashes_from(leaves)
    for size in range(1, 35):
        for index in range(size):
            path = prove_inclusion(index, size, hashes)
            assert root_from_inclusion(index, size, leaves[index], path) == roots[size]
            if path:
                wrong = root_from_inclusion(index, size, leaves[index], path[:-1])
                assert wrong != roots[size]
            assert root_from_inclusion(index, size, leaves[index], [*path, EMPTY_ROOT]) is None
    for new in range(35):
        for old in range(new + 1):
            path = prove_consistency(old, new, hashes)
            assert consistency_holds(old, new, roots[old], roots[new], path)
            if 0 < old < new:
                assert not consistency_holds(old, new, roots[old], EMPTY_ROOT, path)
                assert not consistency_holds(old, new, EMPTY_ROOT, roots[new], path)
                assert not consistency_holds(old, new, roots[old], roots[new], path[:-1])
                assert not consistency_holds(old, new, roots[old], roots[new], [*path, path[0]])


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 65536 + 300])
def test_tiles_give_every_proof(size: int) -> None:
    leaves, files = tiled(size)
    reader = TileReader(files.get, size)
    root = range_hash(0, size, reader.hash_of)
    frontier = Frontier()
    written = {}
    for number, leaf in enumerate(leaves):
        for level, tile in frontier.add([leaf]):
            written[Tile(f"tile/{level}", number >> (8 * (level + 1))).path] = tile
    assert frontier.root() == root
    assert written == {path: data for path, data in files.items() if ".p/" not in path}
    names = {tile.path for tile in tiles_of(size) if tile.kind != "tile/entries"}
    assert names == set(files)
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        path = prove_inclusion(index, size, reader.hash_of)
        assert root_from_inclusion(index, size, leaves[index], path) == root
    for old in {1, 2, 255, 256, 257, size // 2, size - 1, size} & set(range(1, size + 1)):
        old_root = range_hash(0, old, reader.hash_of)
        path = prove_consistency(old, size, reader.hash_of)
        assert consistency_holds(old, size, old_root, root, path)


def test_sizes_of_the_standard() -> None:
    """The examples of c2sp.org/tlog-tiles."""
    assert Tile("tile/0", 1234067).path == "tile/0/x001/x234/067"
    names = [tile.path for tile in tiles_of(70_000)]
    assert sum(name.startswith("tile/0/") and ".p/" not in name for name in names) == 273
    rest = {name for name in names if name.startswith("tile/") and "entries" not in name}
    assert {n for n in rest if ".p/" in n} == {
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    }
    assert [tile.path for tile in tiles_of(256)] == [
        "tile/entries/000",
        "tile/0/000",
        "tile/1/000.p/1",
    ]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=5).map(sorted))
def test_what_is_new_adds_up_to_the_whole(sizes: list[int]) -> None:
    sizes = [0, *sizes]
    steps = [{tile.path for tile in tiles_of(new, old)} for old, new in pairwise(sizes)]
    assert {tile.path for tile in tiles_of(sizes[-1])} <= set().union(*steps)


def test_a_tile_that_is_not_there_is_named() -> None:
    reader = TileReader({}.get, 300)
    with pytest.raises(Missing, match=r"tile/0/001\.p/44: is missing"):
        reader.hash_of(299, 300)


# --- notes -------------------------------------------------------------------------------


def test_a_note_of_another_implementation() -> None:
    """The example in the documentation of golang.org/x/mod/sumdb/note."""
    key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    note = f"{text}\n— PeterNeumann {signature}\n".encode()
    assert open_note(note, Verifier.parse(key)) == text
    with pytest.raises(NoteError, match="is wrong"):
        open_note(note.replace(b"your problem is", b"my problem is"), Verifier.parse(key))


def test_keys_survive_being_written() -> None:
    assert Signer.parse(SIGNER.secret_text()).verifier.public == SIGNER.verifier.public
    assert str(Verifier.parse(str(SIGNER.verifier))) == str(SIGNER.verifier)
    assert SIGNER.secret_text() not in repr(SIGNER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        str(SIGNER.verifier).replace("example", "exemple"),
        str(SIGNER.verifier)[:-4] + "AAA=",
        SIGNER.secret_text(),
    ],
)
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(text)


def test_only_the_trusted_key_counts() -> None:
    other = Signer("example.com/audit", bytes(32))
    note = sign_head(Head("example.com/audit", 1, bytes(32), 7), SIGNER)
    with pytest.raises(NoteError, match="not signed by"):
        open_head(note, other.verifier)
    both = note + sign_head(Head("example.com/audit", 1, bytes(32), 7), other).split(b"\n\n")[1]
    assert open_head(both, other.verifier) == open_head(both, SIGNER.verifier)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_changed_head_passes(noise: bytes, at: int) -> None:
    note = sign_head(Head("example.com/audit", 12, bytes(32), 1_795_000_000_000_000_000), SIGNER)
    changed = note[:at] + noise + note[at + len(noise) :]
    try:
        head = open_head(changed, SIGNER.verifier)
    except TrailhoundError:
        return
    # Lines of signatures that nobody knows may stand beside ours.
    assert head == open_head(note, SIGNER.verifier)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for read in (
        lambda: open_head(data, SIGNER.verifier),
        lambda: parse_head(data.decode("latin-1")),
        lambda: parse_proof(data),
        lambda: parse_proof(b"c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n" + data),
        lambda: parse_leaf(data),
        lambda: parse_leaf(b"trailhound-leaf/1\nsource " + data),
        lambda: Verifier.parse(data.decode("latin-1")),
        lambda: Signer.parse("PRIVATE+KEY+" + data.decode("latin-1")),
    ):
        with suppress(TrailhoundError):
            read()
    assert split_bundle(data) is None or join_bundle(split_bundle(data) or []) == data
    unpack_records(data)


# --- proofs, leaves, bundles -------------------------------------------------------------


def test_a_proof_stands_for_itself() -> None:
    entries = [f"entry {index}".encode() for index in range(300)]
    hashes = hashes_from([leaf_hash(entry) for entry in entries])
    head = Head("example.com/audit", 300, range_hash(0, 300, hashes), 5)
    note = sign_head(head, SIGNER)
    proof = Proof(17, tuple(prove_inclusion(17, 300, hashes)), note, entries[17])
    read = parse_proof(proof.text().encode())
    assert read == proof
    assert read.check(SIGNER.verifier) == head
    for wrong in (
        Proof(18, proof.path, note, entries[17]),
        Proof(17, proof.path[1:], note, entries[17]),
        Proof(17, proof.path, note, entries[18]),
        Proof(17, proof.path, sign_head(Head("x", 300, head.root), Signer("x", SEED)), entries[17]),
    ):
        with pytest.raises(TrailhoundError):
            wrong.check(SIGNER.verifier)


TEXT = st.text(max_size=600)


@given(
    TEXT,
    TEXT,
    st.integers(0, 2**63),
    st.binary(min_size=32, max_size=32),
    st.lists(TEXT, max_size=80),
)
@settings(max_examples=50)
def test_leaves_survive_being_written(
    source: str, place: str, received: int, digest: bytes, paths: list[str]
) -> None:
    leaf = Leaf(
        source=source,
        place=place,
        received_ns=received,
        sha256=digest.hex(),
        redacted=len(paths),
        tables=1 if paths else 0,
        masked_sha256=digest.hex() if paths else "",
        paths=tuple(paths[:32]),
    )
    entry = leaf.encode()
    assert len(entry) < 0xFFFF
    assert entry.isascii()
    read = parse_leaf(entry)
    assert read.encode() == entry
    assert read.source == source[:256]


def test_the_longest_leaf_fits_a_bundle() -> None:
    long = "\U0001f512" * 5000
    leaf = Leaf(
        source=long,
        place=long,
        received_ns=2**63,
        sha256="0" * 64,
        redacted=10**6,
        tables=1,
        masked_sha256="0" * 64,
        paths=(long,) * 5000,
    )
    entry = leaf.encode()
    assert len(entry) < 0xFFFF
    assert parse_leaf(entry).encode() == entry
    odd = Leaf(source="a\udc80\ud800", place="", received_ns=0, sha256="0" * 64)
    assert parse_leaf(odd.encode()).encode() == odd.encode()


def test_a_leaf_as_the_documentation_shows_it() -> None:
    leaf = Leaf(source="audit.log", place="3", received_ns=12, sha256="0" * 64)
    text = b"trailhound-leaf/1\nsource audit.log\nplace 3\nreceived 12\nsha256 " + b"0" * 64 + b"\n"
    assert leaf.encode() == text
    with pytest.raises(EntryError):
        parse_leaf(text.replace(b"12", b"012"))


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_bundles_survive_being_written(items: list[bytes]) -> None:
    assert split_bundle(join_bundle(items)) == items
    assert unpack_records(pack_records(items)) == items
