"""Rule files to a rule set: found, read by their dialect, cached, linked."""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

import trailhound
import trailhound.content
from trailhound.dialects import DIALECTS
from trailhound.dialects.contract import Dialect, Placeholders, RuleFile
from trailhound.dialects.sigma.places import placed
from trailhound.model.errors import TrailhoundError
from trailhound.rules.book import RuleBook, RuleSet, dump_books, link, load_books
from trailhound.rules.ir import Rule, RuleError

_SIZE_LIMIT = 8 * 1024 * 1024
_SIBLINGS_LIMIT = 64
"""Files that one rule file may name, those they name included."""
_CACHES_KEPT = 12
_ALIKE_SHOWN = 3
BUILTIN = Path(trailhound.content.__file__).parent
"""Folder of the rules that come with Trailhound."""


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """The rules of a run."""

    ruleset: RuleSet
    by_dialect: dict[str, int]
    """Dialect → rules it gave."""


def load_rules(
    paths: Sequence[str],
    *,
    builtin: bool,
    placeholders: Placeholders,
    cache: Path | None,
) -> LoadedRules:
    """Load rules.

    Args:
        paths: rule files and folders; of folders, every file whose suffix a dialect has.
        builtin: whether to add the rules that come with Trailhound.
        placeholders: values for `%name%` in rules.
        cache: folder in which compiled rules are kept between runs; None: nowhere.

    Raises:
        TrailhoundError: where a path does not exist or cannot be read.
    """
    found = [file for path in paths for file in _files(Path(path))]
    if builtin:
        found = [*_files(BUILTIN), *found]
    unique = {os.path.realpath(file.path): file for file in reversed(found)}
    files = [file for file in reversed(unique.values()) if isinstance(file, RuleFile)]
    unread = [file for file in reversed(unique.values()) if isinstance(file, RuleError)]
    books = [RuleBook(error.path, errors=(error,)) for error in unread]
    ruleset = placed(link([*books, *_cached(files, placeholders, cache)]))
    counts = Counter(rule.info.dialect for rule in ruleset.rules)
    return LoadedRules(ruleset, dict(counts))


def chosen(loaded: LoadedRules, names: Sequence[str], paths: Sequence[str] = ()) -> LoadedRules:
    """Return the rules of these titles or ids and of these files, with what they refer to.

    What is named by title or id makes findings; what it refers to comes along silent.

    Args:
        loaded: rules, those in `paths` among them.
        names: titles or ids, in any case.
        paths: files and folders.

    Raises:
        TrailhoundError: there is no rule of a name.
    """
    rules = loaded.ruleset.rules
    roots = [Path(path).resolve() for path in paths]
    kept = {
        rule.info.uid: rule
        for rule in rules
        if any(Path(rule.info.path).resolve().is_relative_to(root) for root in roots)
    }
    for name in names:
        found = [r for r in rules if name.lower() in (r.info.uid.lower(), r.info.title.lower())]
        if not found:
            raise TrailhoundError(
                f"there is no rule file, title or id {name!r}{_alike(name, rules)}"
            )
        kept |= {rule.info.uid: msgspec.structs.replace(rule, silent=False) for rule in found}
    by_uid = {rule.info.uid: rule for rule in rules}
    waiting = list(kept.values())
    while waiting:
        window = waiting.pop().window
        for uid in window.rules if window is not None else ():
            if uid not in kept:
                kept[uid] = msgspec.structs.replace(by_uid[uid], silent=True)
                waiting.append(kept[uid])
    ordered = tuple(kept[rule.info.uid] for rule in rules if rule.info.uid in kept)
    counts = Counter(rule.info.dialect for rule in ordered)
    return LoadedRules(replace(loaded.ruleset, rules=ordered), dict(counts))


def _alike(name: str, rules: Sequence[Rule]) -> str:
    """Return titles that hold a name, or are written like it, as the end of a message."""
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    titles = {rule.info.title.lower(): rule.info.title for rule in rules if not rule.silent}
    holding = [title for title in titles if name.lower() in title]
    found = dict.fromkeys((*holding, *get_close_matches(name.lower(), titles)))
    shown = [repr(titles[title]) for title in found][:_ALIKE_SHOWN]
    return f"; there is {', '.join(shown)}" if shown else ""


def cache_folder() -> Path:
    """Where compiled rules are kept: `$XDG_CACHE_HOME/trailhound`, `~/.cache/trailhound`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "trailhound")


def _files(path: Path) -> Iterable[RuleFile | RuleError]:
    if not path.exists():
        raise TrailhoundError(f"no such rule file or folder: {path}")
    if not path.is_dir():
        yield _file(path)
        return
    suffixes = {suffix for dialect in DIALECTS for suffix in dialect.suffixes}
    closed: list[OSError] = []
    links: list[Path] = []
    found: list[Path] = []
    root = path.resolve()
    for folder, folders, names in os.walk(path, onerror=closed.append):
        found += [Path(folder, name) for name in names]
        # What lies below as well is read there: Kubernetes mounts a ConfigMap like that.
        links += [
            link
            for name in folders
            if (link := Path(folder, name)).is_symlink() and not link.resolve().is_relative_to(root)
        ]
    for link in links:
        reason = "a link to a folder, which is not followed: name the folder itself"
        yield RuleError(_shown(link), 1, reason, 1)
    for error in closed:
        place = _shown(Path(os.fsdecode(error.filename)))
        yield RuleError(place, 1, f"cannot read {place}: {error.strerror}", 1)
    files = sorted(p for p in found if p.suffix in suffixes)
    if not files and not links and not closed:
        ends = ", ".join(sorted(suffixes))
        yield RuleError(_shown(path), 1, f"the folder holds no rule file ({ends})", 1)
    for file in files:
        if not file.is_file():
            reason = "no plain file" if file.exists() else "a link that leads nowhere"
            yield RuleError(_shown(file), 1, reason, 1)
            continue
        try:
            yield _file(file)
        except TrailhoundError as error:
            yield RuleError(_shown(file), 1, str(error), 1)


def _file(path: Path) -> RuleFile | RuleError:
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            return RuleError(_shown(path), 1, f"over {_SIZE_LIMIT:,} bytes: not a rule file", 1)
        file = RuleFile(_shown(path), path.read_bytes())
    except OSError as error:
        raise TrailhoundError(f"cannot read {path}: {error.strerror}") from None
    return _with_siblings(file, path.parent)


def _with_siblings(file: RuleFile, folder: Path) -> RuleFile:
    """Add the files that a rule file names, and that those name in turn."""
    dialect = dialect_of(file)
    asked: set[str] = set()
    while dialect is not None and len(asked) < _SIBLINGS_LIMIT:
        new = [name for name in dict.fromkeys(dialect.siblings(file)) if name not in asked]
        if not new:
            break
        asked.update(new)
        found = {name: data for name in new if (data := _sibling(folder / name)) is not None}
        file = replace(file, siblings={**file.siblings, **found})
    return file


def _sibling(path: Path) -> bytes | None:
    # Only plain files: a name in a rule must not make a run wait for a pipe or a device.
    try:
        if not path.is_file() or path.stat().st_size > _SIZE_LIMIT:
            return None
        return path.read_bytes()
    except (OSError, ValueError):  # ValueError: a name with a NUL in it
        return None


def _shown(path: Path) -> str:
    # A name need not be UTF-8, and what is told of rules must be.
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read(files: Sequence[RuleFile], placeholders: Placeholders) -> list[RuleBook]:
    books: dict[int, RuleBook] = {}
    together: dict[str, list[int]] = {}
    dialects = {dialect.name: dialect for dialect in DIALECTS}
    for index, file in enumerate(files):
        dialect = dialect_of(file)
        if dialect is None:
            books[index] = RuleBook(file.path, errors=(_unknown(file),))
        elif dialect.read_together is not None:
            together.setdefault(dialect.name, []).append(index)
        else:
            books[index] = dialect.read(file, placeholders)
    for name, indices in together.items():
        read_together = dialects[name].read_together
        if read_together is not None:
            read = read_together([files[index] for index in indices], placeholders)
            books.update(zip(indices, read, strict=True))
    return [books[index] for index in range(len(files))]


def _unknown(file: RuleFile) -> RuleError:
    """Say why a file is no rule of any dialect: that it cannot be read, or else what it lacks."""
    # A run whose compiled rules are in the cache needs no YAML.
    from trailhound.dialects.yaml_text import (  # noqa: PLC0415
        YamlError,
        decoded,
        read_documents,
    )

    try:
        documents, errors = read_documents(decoded(file.data))
    except YamlError as error:
        return RuleError(file.path, error.line, error.reason, error.column)
    if errors:
        return RuleError(file.path, errors[0].line, errors[0].reason, errors[0].column)
    if not documents:
        return RuleError(file.path, 1, "the file holds no rule", 1)
    names = ", ".join(dialect.name for dialect in DIALECTS)
    return RuleError(file.path, 1, f"not a rule of a known dialect ({names})", 1)


def dialect_of(file: RuleFile) -> Dialect | None:
    """Return the dialect that a rule file is written in."""
    return next((d for d in DIALECTS if d.recognises(file)), None)


def _cached(
    files: Sequence[RuleFile], placeholders: Placeholders, cache: Path | None
) -> list[RuleBook]:
    if cache is None:
        return _read(files, placeholders)
    place = cache / f"rules-{_key(files, placeholders)}.json"
    try:
        return load_books(place.read_bytes())
    except (OSError, msgspec.MsgspecError):
        books = _read(files, placeholders)
    _store(place, dump_books(books))
    return books


def _key(files: Sequence[RuleFile], placeholders: Placeholders) -> str:
    digest = hashlib.blake2b(digest_size=16)
    versions = [(dialect.name, dialect.version) for dialect in DIALECTS]
    digest.update(repr((trailhound.__version__, versions, sorted(placeholders.items()))).encode())
    for file in files:
        digest.update(f"\0{len(file.path)}\0{file.path}\0{len(file.data)}\0".encode())
        digest.update(file.data)
        for name, data in sorted(file.siblings.items()):
            digest.update(f"\0{len(name)}\0{name}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


def _store(place: Path, data: bytes) -> None:
    # A cache that cannot be written costs time and nothing else, so it is not an error.
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.replace(file.name, place)
            except OSError:  # a full disk: what is begun would lie there for good
                os.unlink(file.name)
                raise
        caches = sorted(place.parent.glob("rules-*.json"), key=lambda p: p.stat().st_mtime)
        for old in caches[:-_CACHES_KEPT]:
            old.unlink()
    except OSError:
        return
