"""Rules of any dialect to Sigma files: the inverse of reading them.

What is written is read again, and compared with what was to be said: a rule that would come back
as another is not written.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.sigma.correlations import as_correlation, section_of
from trailhound.dialects.sigma.definitions import Definitions
from trailhound.dialects.sigma.detections import ALWAYS, detection_of
from trailhound.dialects.sigma.places import logsources_of, paths_of, placed
from trailhound.dialects.sigma.read import read_file
from trailhound.dialects.sigma.sayable import FALSE, TRUE, Saying, joined, unlabelled
from trailhound.dialects.sigma.spelling import Unsayable
from trailhound.dialects.sigma.taxonomy import Taxonomy
from trailhound.model.logsource import LogSource
from trailhound.rules.book import link
from trailhound.rules.ir import (
    And,
    Correlation,
    Exists,
    Field,
    Not,
    Or,
    Path,
    Predicate,
    Rule,
)

_STATUSES = ("stable", "test", "experimental", "deprecated", "unsupported")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAG = re.compile(r"[a-z0-9_-]+\.[a-z0-9._-]+")
_TECHNIQUE = re.compile(r"[tT]([0-9]{4}(?:\.[0-9]{3})?)")
_TACTIC = "mitre_"
_OWN_KEY = "trailhound"
"""Custom attribute: where a rule comes from, and what is not as it was."""


class Document(Struct, frozen=True):
    """One YAML document of a Sigma file."""

    uid: str
    """Of the rule in it, as it will be read."""
    content: dict[str, Any]


class Written(Struct, frozen=True):
    """A rule in Sigma."""

    documents: tuple[Document, ...]
    """The rules that it counts, and after them itself."""
    differs: tuple[str, ...]
    """What is told otherwise than by the rule it was; on which events it fires is the same."""


def write(rule: Rule, rules: Mapping[str, Rule]) -> Written:
    """Write a rule, with the rules that its window counts.

    Args:
        rule: any rule of a linked rule set.
        rules: all of the set, by uid.

    Raises:
        Unsayable: Sigma cannot say it; the reason why.
    """
    writer = _Writer(rules)
    writer.add(rule)
    return Written(tuple(writer.documents), tuple(dict.fromkeys(writer.differs)))


def text_of(documents: Iterable[Document]) -> str:
    """Return a Sigma file with these documents, each rule once."""
    by_uid = {document.uid: document.content for document in documents}
    text = _dumped(by_uid.values(), allow_unicode=True)
    if all(char.isprintable() or char == "\n" for char in text):
        return text
    # What would reorder or hide a line of a terminal stands there as an escape.
    return _dumped(by_uid.values(), allow_unicode=False)


def uid_in_sigma(uid: str) -> str:
    """Return the id of a rule in Sigma: its own, or one made of it (RFC 9562, version 5)."""
    try:
        if str(uuid.UUID(uid)) == uid:
            return uid
    except ValueError:
        pass
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"trailhound:rule:{uid}"))


class _Writer:
    """Writes one rule and what it counts."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self._read_as: dict[str, Rule] = {}
        self.documents: list[Document] = []
        self.differs: list[str] = []

    def add(self, rule: Rule) -> None:
        if not rule.enabled:
            raise Unsayable("it is switched off in its file, and Sigma rules always run")
        said, differs = as_correlation(rule, self._rules)
        if said.output is not None:
            differs = (*differs, "its own message (output) is not written to findings")
        self.differs.extend(differs)
        if said.predicate is not None:
            self._add_rule(said, said.predicate, differs)
        elif isinstance(said.window, Correlation):
            for uid in dict.fromkeys(said.window.rules):
                inner = self._rules[uid]
                try:
                    self.add(inner)
                except Unsayable as error:
                    if inner.info.title == rule.info.title or inner.silent:
                        raise
                    reason = f"it counts {inner.info.title!r}: {error.reason}"
                    raise Unsayable(reason, error.word) from None
            self._add_correlation(said, said.window, differs)

    def _add_rule(self, rule: Rule, predicate: Predicate, differs: tuple[str, ...]) -> None:
        if rule.logsource == LogSource():
            raise Unsayable("it reads every log, and a Sigma rule must say which")
        taxonomy = Taxonomy(rule.logsource)
        saying = Saying(taxonomy)
        said = saying.of(predicate)
        if said == FALSE:
            raise Unsayable("it never matches")
        differs = (*differs, *saying.differs)
        self.differs.extend(saying.differs)
        if said == TRUE:
            said = ALWAYS
        wanted = msgspec.structs.replace(rule, predicate=said)

        def joins(node: And) -> bool:
            return taxonomy.conjunction(node) == node

        section = detection_of(said, Definitions(saying.unrepaired), joins)
        self._add(wanted, {"logsource": _logsource(rule.logsource), "detection": section}, differs)

    def _add_correlation(self, rule: Rule, window: Correlation, differs: tuple[str, ...]) -> None:
        def name(uid: str) -> str:
            found = self._rules[uid].name
            if _NAME.fullmatch(found) is None:
                raise Unsayable("a condition on rules that have no name")
            return found

        def read_as(field: str, uids: Iterable[str]) -> tuple[Path, ...]:
            return paths_of(field, logsources_of(uids, self._rules))

        section = section_of(window, uid_in_sigma, name, read_as)
        self._add(rule, {"correlation": section}, differs)

    def _add(self, rule: Rule, sections: dict[str, Any], differs: tuple[str, ...]) -> None:
        uid = uid_in_sigma(rule.info.uid)
        content = {**_head(rule, uid), **sections, **_tail(rule, differs)}
        self.documents.append(Document(uid, content))
        file = RuleFile("written.yml", text_of(self.documents).encode())
        book = read_file(file, {})
        read = {found.info.uid: found for found in placed(link([book])).rules}.get(uid)
        if read is None:
            reasons = "; ".join(error.reason for error in book.errors)
            raise Unsayable(f"what it comes to is no Sigma rule: {reasons}")
        if _meaning(read, lambda uid: uid) != _meaning(rule, uid_in_sigma):
            raise Unsayable("read again it would be another rule")


def _head(rule: Rule, uid: str) -> dict[str, Any]:
    info = rule.info
    status = info.status if info.status in _STATUSES or info.dialect == "sigma" else ""
    head = {
        "title": info.title.strip(),
        "id": uid,
        "name": rule.name,
        "status": status,
        "description": info.description.strip(),
        "references": list(info.references),
        "author": info.author,
        "tags": _tags(rule),
    }
    return {key: value for key, value in head.items() if value}


def _tail(rule: Rule, differs: tuple[str, ...]) -> dict[str, Any]:
    tail: dict[str, Any] = {}
    if rule.info.false_positives:
        tail["falsepositives"] = list(rule.info.false_positives)
    tail["level"] = rule.info.level.label
    own: dict[str, Any] = {}
    if rule.info.dialect != "sigma":
        own["converted-from"] = rule.info.dialect
    if differs:
        own["differs"] = list(differs)
    return {**tail, _OWN_KEY: own} if own else tail


def _tags(rule: Rule) -> list[str]:
    """Return tags as Sigma has them, in a namespace (Sigma Tags Appendix 2.1.0)."""
    if rule.info.dialect == "sigma":
        return list(rule.info.tags)
    found: dict[str, None] = {}
    for tag in rule.info.tags:
        if (technique := _TECHNIQUE.fullmatch(tag)) is not None:
            found[f"attack.t{technique[1]}"] = None
        elif tag.lower().startswith(_TACTIC):
            found[f"attack.{_word(tag[len(_TACTIC) :])}"] = None
        elif _TAG.fullmatch(tag):
            found[tag] = None
        elif _word(tag):
            found[f"{rule.info.dialect}.{_word(tag)}"] = None
    return list(found)


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.")


def _logsource(logsource: LogSource) -> dict[str, str]:
    named = {
        "product": logsource.product,
        "category": logsource.category,
        "service": logsource.service,
    }
    return {key: value for key, value in named.items() if value is not None}


def _meaning(rule: Rule, uid_of: Callable[[str], str]) -> bytes:
    """Return everything that must come back as it was, as bytes: `1` and `true` are not equal."""
    info, window = rule.info, rule.window
    if isinstance(window, Correlation):
        window = msgspec.structs.replace(
            window,
            rules=tuple(map(uid_of, window.rules)),
            group_by=tuple(field.paths for field in window.group_by),
            aliases=tuple(
                (alias.name, tuple((uid_of(uid), field.paths) for uid, field in alias.fields))
                for alias in window.aliases
            ),
            field=window.field and window.field.paths,
            expression=window.expression and _uids_in(window.expression, uid_of),
        )
    predicate = rule.predicate
    return msgspec.json.encode(
        (
            uid_of(info.uid),
            (info.title.strip(), info.level, info.description.strip()),
            (info.references, info.author),
            info.false_positives,
            rule.name,
            rule.logsource if predicate is not None else None,
            unlabelled(predicate) if predicate is not None else None,
            window,
        )
    )


def _uids_in(node: Predicate, uid_of: Callable[[str], str]) -> Predicate:
    match node:
        case And() | Or():
            items = (_uids_in(item, uid_of) for item in node.items)
            return joined(type(node), items)
        case Not():
            return Not(_uids_in(node.item, uid_of))
        case Exists():
            uid = uid_of(node.field.name)
            return Exists(Field(uid, ((uid,),)))
        case _:
            return node


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, and nothing by reference."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and not text.startswith((" ", "\n")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def _dumped(contents: Iterable[dict[str, Any]], *, allow_unicode: bool) -> str:
    text: str = yaml.dump_all(
        contents,
        Dumper=_Dumper,
        allow_unicode=allow_unicode,
        sort_keys=False,
        width=100,
        indent=4,
    )
    return text
