"""The engines Trailhound is raced against, each in an environment of its own."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets import DATA

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Peer:
    """One engine from a package registry."""

    name: str
    title: str
    packages: tuple[str, ...]
    version_of: str
    """The distribution whose version is shown."""
    command: Callable[[Path, Path, Path], tuple[str, ...]]
    """(environment, log, rules) → command that prints one JSON line a match."""
    shares: str = ""
    """Name of the peer in whose environment it runs; empty: one of its own."""


def _tenzir(env: Path, log: Path, rules: Path) -> tuple[str, ...]:
    # `merge` and `raw` make its reader fastest; matches are the same without them.
    pipeline = (
        f'from_file "{log}" {{ read_ndjson merge=true, raw=true }} '
        f'| sigma path="{rules}" | write_ndjson'
    )
    return (str(env / "bin" / "tenzir"), pipeline)


def _script(name: str, *options: str) -> Callable[[Path, Path, Path], tuple[str, ...]]:
    def command(env: Path, log: Path, rules: Path) -> tuple[str, ...]:
        return (str(env / "bin" / "python"), str(_HERE / name), str(log), str(rules), *options)

    return command


PEERS = (
    Peer("tenzir", "Tenzir `sigma`", ("tenzir>=6.20",), "tenzir", _tenzir),
    Peer(
        "duckdb",
        "pySigma → DuckDB, only the fields that rules name",
        ("pysigma-backend-duckdb", "duckdb", "orjson"),
        "pySigma-backend-duckdb",
        _script("duckdb_scan.py"),
    ),
    Peer(
        "duckdb-auto",
        "pySigma → DuckDB, columns as `read_ndjson_auto` finds them",
        ("pysigma-backend-duckdb", "duckdb", "orjson"),
        "pySigma-backend-duckdb",
        _script("duckdb_scan.py", "--auto"),
        "duckdb",
    ),
    Peer(
        "sqlite",
        "pySigma → SQLite, only the fields that rules name",
        ("pysigma-backend-sqlite>=1.1", "orjson"),
        "pySigma-backend-sqlite",
        _script("sqlite_scan.py"),
    ),
)


def environment(peer: Peer, say: Callable[[str], None]) -> Path | None:
    """The peer's virtual environment, made on first use; None where it cannot be installed."""
    env = DATA / "venv" / (peer.shares or peer.name)
    done = env / "installed"
    if done.exists():
        return env
    say(f"installing {', '.join(peer.packages)} into {env}")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(env)], check=True)
        subprocess.run(
            [str(env / "bin" / "python"), "-m", "pip", "install", "--quiet", *peer.packages],
            check=True,
            timeout=900,
        )
    except (OSError, subprocess.SubprocessError) as error:
        say(f"skipped {peer.name}: it cannot be installed here ({error})")
        return None
    done.touch()
    return env


def version(peer: Peer, env: Path) -> str:
    """Version of the peer's main distribution."""
    script = f"import importlib.metadata as m; print(m.version({peer.version_of!r}))"
    told = subprocess.run(
        [str(env / "bin" / "python"), "-c", script], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()
