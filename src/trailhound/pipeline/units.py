"""How the work of a scan is cut: into units that do not depend on each other."""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import PurePath

import msgspec
from msgspec import Struct

from trailhound.intake.files import STDIN, InputFile

_ROTATED = re.compile(
    r"(?P<stem>.+?)(?:[.-](?P<turn>\d{1,14}))?(?:\.(?:gz|zst|zstd|bz2|xz))?", re.DOTALL
)
_UNIT_BYTES = 32 * 1024 * 1024
PART_BYTES = 64 * 1024 * 1024
"""Size of the parts that large files are cut into."""


class Unit(Struct, frozen=True):
    """Files that one worker reads, in this order."""

    groups: tuple[tuple[InputFile, ...], ...]
    """Each group is one log: a file and its rotated predecessors, oldest first. Records that
    belong together (auditd) may lie on either side of a rotation."""


def cut(files: Iterable[InputFile]) -> list[Unit]:
    """Cut files into units, in order: whole logs, small ones together, parts by themselves."""
    logs: dict[tuple[str, str, int], list[InputFile]] = {}
    for file in files:
        path = PurePath(file.path)
        rotated = _ROTATED.fullmatch(path.name)
        stem = rotated["stem"] if rotated and file.path != STDIN else path.name
        logs.setdefault((str(path.parent), stem, file.end), []).append(file)
    units: list[Unit] = []
    held: list[tuple[InputFile, ...]] = []
    size = 0
    for log in logs.values():
        part = log[0].end > 0
        if part and held:
            units.append(Unit(tuple(held)))
            held, size = [], 0
        held.append(tuple(sorted(log, key=_age)))
        size += sum(file.size_bytes for file in log)
        if part or size >= _UNIT_BYTES:
            units.append(Unit(tuple(held)))
            held, size = [], 0
    if held:
        units.append(Unit(tuple(held)))
    return units


def parts_of(file: InputFile) -> list[InputFile]:
    """Cut a large file into parts that can be read apart."""
    edges = [*range(0, file.size_bytes, PART_BYTES), file.size_bytes]
    if len(edges) > 2 and edges[-1] - edges[-2] < PART_BYTES // 4:
        del edges[-2]
    return [
        msgspec.structs.replace(file, start=start, end=end, size_bytes=end - start)
        for start, end in pairwise(edges)
    ]


def _age(file: InputFile) -> tuple[int, int, str]:
    rotated = _ROTATED.fullmatch(PurePath(file.path).name)
    turn = rotated["turn"] if rotated else None
    if turn is None:
        return (2, 0, file.path)
    if len(turn) >= 6:  # a date: the larger, the newer
        return (1, int(turn), file.path)
    return (1, -int(turn), file.path)  # a count: the larger, the older
