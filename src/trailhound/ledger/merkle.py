"""Merkle tree hashes and proofs of RFC 9162, section 2.1 (the same tree as RFC 6962).

Everything here is computed over *ranges*: `hash_of(start, end)` gives the hash of the leaves
`start` to `end` for a range that is a perfect subtree (its size a power of two, its start a
multiple of that), which tiles can answer without touching the leaves.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""Root of the tree without leaves (RFC 9162, section 2.1.1)."""

Hashes = Callable[[int, int], bytes]
"""From a perfect subtree, as (first leaf, leaf after the last), to its hash."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut the leaves from `start` to `end` into the largest perfect subtrees, left to right."""
    while start < end:
        size = 1 << ((end - start).bit_length() - 1)
        if start:
            size = min(size, start & -start)
        yield start, start + size
        start += size


def range_hash(start: int, end: int, hash_of: Hashes) -> bytes:
    """Return the Merkle tree hash of the leaves from `start` to `end`.

    Raises `ValueError` where `start` is not where a subtree of that size begins.
    """
    if start == end:
        return EMPTY_ROOT
    if start and end - start > start & -start:
        raise ValueError(f"no subtree covers the leaves {start} to {end}")
    return fold(hash_of(*part) for part in perfect_subtrees(start, end))


def fold(hashes: Iterable[bytes]) -> bytes:
    """Join subtrees that stand beside each other, sizes falling, into one hash."""
    found: bytes | None = None
    for one in reversed(list(hashes)):
        found = one if found is None else node_hash(one, found)
    return EMPTY_ROOT if found is None else found


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def prove_inclusion(index: int, size: int, hash_of: Hashes) -> list[bytes]:
    """Return the audit path of a leaf, from its sibling upwards (RFC 9162, 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(middle, end, hash_of))
            end = middle
        else:
            path.append(range_hash(start, middle, hash_of))
            start = middle
    return path[::-1]


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a leaf and its audit path lead to; None where the path does not fit.

    Args:
        index: of the leaf, from 0.
        size: leaves in the tree.
        leaf: its leaf hash.
        path: as `prove_inclusion` gives it.

    RFC 9162, section 2.1.3.2; the caller compares the root with a signed one.
    """
    if not 0 <= index < size or any(len(one) != HASH_BYTES for one in path):
        return None
    node, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        node >>= 1
        last >>= 1
    return found if last == 0 else None


def prove_consistency(old: int, new: int, hash_of: Hashes) -> list[bytes]:
    """Return the proof that a tree of `new` leaves extends that of `old` (RFC 9162, 2.1.4.1)."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves cannot extend one of {old}")
    if old in (0, new):
        return []
    path = []
    start, end = 0, new
    whole = True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(middle, end, hash_of))
            end = middle
        else:
            path.append(range_hash(start, middle, hash_of))
            start = middle
            whole = False
    if not whole:
        path.append(range_hash(start, end, hash_of))
    return path[::-1]


def consistency_holds(
    old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether a proof shows that the new tree extends the old one (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new or any(len(one) != HASH_BYTES for one in path):
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    rest = list(path)
    if old & (old - 1) == 0:
        rest.insert(0, old_root)
    if not rest:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    from_old = from_new = rest[0]
    for sibling in rest[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            from_old = node_hash(sibling, from_old)
            from_new = node_hash(sibling, from_new)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            from_new = node_hash(from_new, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and from_old == old_root and from_new == new_root
