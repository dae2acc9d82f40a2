"""Made-up logs, written once and kept in `benchmarks/.data/` until the generator changes."""

import hashlib
from pathlib import Path

from benchmarks import generate

DATA = Path(__file__).resolve().parent / ".data"
SEED = 1


def _fingerprint() -> str:
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted((Path(__file__).parent / "shapes").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def path_of(kind: str, *, events: int = 0, size_bytes: int = 0) -> Path:
    """Where a log of so many events or bytes is kept."""
    amount = f"{events}" if events else f"{size_bytes // 10**6}mb"
    return DATA / f"{kind}-{amount}-{_fingerprint()}.log"


def log(kind: str, *, events: int = 0, size_bytes: int = 0) -> Path:
    """Path of a log of so many events or bytes; written first if it is not there."""
    path = path_of(kind, events=events, size_bytes=size_bytes)
    if not path.exists():
        for stale in DATA.glob(f"{path.name.rpartition('-')[0]}-*.log"):
            stale.unlink()
        generate.write(kind, path, seed=SEED, events=events, size_bytes=size_bytes)
    return path
