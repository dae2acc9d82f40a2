"""A file of an ElastAlert rule to a rule book."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from trailhound.dialects.contract import Placeholders, RuleFile
from trailhound.dialects.elastalert import keys
from trailhound.dialects.elastalert.imports import BadImport, merged
from trailhound.dialects.elastalert.leaves import NOT_ASKED, Unsupported, Where
from trailhound.dialects.elastalert.logs import BY_NAME, Index, index_of
from trailhound.dialects.elastalert.lower import Lowering
from trailhound.dialects.elastalert.options import Options, Place, Rejected
from trailhound.dialects.elastalert.types import TYPES, Context, Made, Run, make
from trailhound.dialects.yaml_text import Document, YamlError, decoded, read_documents
from trailhound.model.findings import RuleInfo
from trailhound.model.levels import Level
from trailhound.rules.book import RuleBook
from trailhound.rules.ir import (
    Gathered,
    Note,
    Realert,
    Rule,
    RuleError,
    Window,
)
from trailhound.rules.schedule import BadSchedule, schedule_of

_MINUTE_NS = 60_000_000_000
_RUN = Run(every_ns=_MINUTE_NS, buffer_ns=15 * _MINUTE_NS)
"""As in ElastAlert 2's `config.yaml.example`."""
_LEVELS = (Level.CRITICAL, Level.HIGH, Level.MEDIUM, Level.LOW, Level.INFORMATIONAL)
_INNER = ("matches", "alerts")
"""What windows are called that have others over them."""
_OF_NO_EVENT = ("metric_aggregation", "spike_aggregation", "percentage_match")
"""Types whose alerts hold numbers, and nothing of an event."""
_PREFIX = "elastalert."
"""In front of names in the user's file of placeholders that are meant for this dialect."""


def read_file(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    """Read a rule file. Total: what cannot be used becomes an error."""
    text = ""
    try:
        text = decoded(file.data)
        documents, broken = read_documents(text)
    except YamlError as error:
        documents, broken = [], [error]
    rules: list[Rule] = []
    errors = [RuleError(file.path, e.line, e.reason, e.column) for e in broken]
    for document in documents:
        content = document.content
        if content is None:
            continue
        title = str(content.get("name", "")) if isinstance(content, dict) else ""
        try:
            if not isinstance(content, dict):
                raise Rejected("a rule must be a mapping", *document.place)
            reader = _Reader(file, text, document, placeholders)
            rules.extend(map(_typed, reader.rules()))
        except Rejected as rejected:
            errors.append(
                RuleError(file.path, rejected.line, rejected.reason, rejected.column, title)
            )
        except (RecursionError, ValueError, TypeError) as error:
            reason = f"{type(error).__name__}: {str(error)[:300]}"
            line, column = document.place
            errors.append(RuleError(file.path, line, reason, column, title))
    return RuleBook(file.path, tuple(rules), (), tuple(errors))


def _typed(rule: Rule) -> Rule:
    """Hold a rule against the types it has: YAML may put anything there."""
    made = msgspec.json.decode(msgspec.json.encode(rule), type=Rule)
    if made != rule:
        raise ValueError("it cannot be written back")
    return rule


class _Reader:
    """Reads one rule."""

    def __init__(
        self, file: RuleFile, text: str, document: Document, placeholders: Placeholders
    ) -> None:
        self._file = file
        self._document = document
        self._place = Place(text, document)
        self._placeholders = placeholders
        self._notes: list[Note] = []
        try:
            content, self._origins = merged(document.content, file)
        except BadImport as error:
            raise Rejected(str(error), *self._place.of("import")) from None
        self._options = Options({str(k): v for k, v in content.items()}, self._place)

    def rules(self) -> list[Rule]:
        """Return the rule, and before it the hidden ones that feed it."""
        options = self._options
        for path, twice in self._document.duplicates:
            raise Rejected(f"key {path!r} stands twice", *twice)
        kind = options.text("type")
        if "." in kind:
            raise options.reject(f"type {kind}: modules of Python are not run", "type")
        if kind not in TYPES:
            raise options.reject(f"type must be one of {', '.join(TYPES)}", "type")
        index = self._index()
        uid = hashlib.sha256(f"elastalert\0{self._title()}".encode()).hexdigest()[:32]
        time_field = options.text("timestamp_field", "@timestamp")
        lowering = Lowering(index, time_field)
        made = self._made(kind, lowering, uid)
        if lowering.log is not None and len(index.logs) > 1:
            # A filter says which log it is: then names of fields are those of that log.
            index = index.narrowed(lowering.log)
            self._notes = []
            lowering = Lowering(index, time_field)
            made = self._made(kind, lowering, uid)
        if index.pattern.startswith("elastalert"):
            self._note(
                f"index {index.pattern!r} holds the alerts of ElastAlert itself, which no log "
                "here has: the rule has nothing to read",
                "index",
                ignored=True,
            )
        elif not index.known:
            self._note(
                f"index {index.pattern!r} does not say which log it holds: the rule reads every "
                "log, by the field names of each",
                "index",
            )
        self._tell_keys(kind)
        gathered = self._gathered(kind, lowering)
        for text, place in lowering.notes.items():
            self._note(text, *place, ignored=text.endswith(NOT_ASKED))
        logsource = index.logsource
        column = self._document.place[1]
        info = self._info(uid, kind)
        notes = tuple(dict.fromkeys(self._notes))
        enabled = options.content.get("is_enabled") is not False
        if made.window is None:
            return [
                Rule(
                    info=info,
                    column=column,
                    enabled=enabled,
                    logsource=logsource,
                    predicate=made.predicates[0],
                    notes=notes,
                )
            ]
        hidden = [
            Rule(
                info=msgspec.structs.replace(
                    info, uid=f"{uid}.{number}", title=f"{info.title} ({name})"
                ),
                column=column,
                logsource=logsource,
                predicate=predicate,
                silent=True,
                enabled=enabled,
            )
            for number, (name, predicate) in enumerate(
                zip(("events", "other events"), made.predicates, strict=False)
            )
        ]
        if len(made.predicates) > 1:
            hidden[0] = msgspec.structs.replace(
                hidden[0],
                info=msgspec.structs.replace(hidden[0].info, title=f"{info.title} (in the bucket)"),
            )
        rules = hidden
        windows = [w for w in (made.window, made.over, gathered) if w is not None]
        for name, window in zip(_INNER, windows[:-1], strict=False):
            named = msgspec.structs.replace(
                info, uid=f"{uid}.{name}", title=f"{info.title} ({name})"
            )
            rules.append(
                Rule(
                    info=named,
                    column=column,
                    window=_over(rules[-1], window),
                    silent=True,
                    enabled=enabled,
                )
            )
        outermost = _over(rules[-1], windows[-1])
        return [
            *rules,
            Rule(info=info, column=column, window=outermost, enabled=enabled, notes=notes),
        ]

    def _made(self, kind: str, lowering: Lowering, uid: str) -> Made:
        options = self._options
        listed = options.content.get("filter")
        if listed is not None and not isinstance(listed, list):
            raise options.reject("filter must be a list", "filter")
        try:
            context = Context(
                options=options,
                lowering=lowering,
                where=lowering.filters(listed or [], Where(("filter",))),
                realert=self._realert(),
                gathered="aggregation" in options,
                run=self._run(),
                lists=self._lines,
                note=self._note,
                uids=(f"{uid}.0", f"{uid}.1"),
            )
            return make(kind, context)
        except Unsupported as error:
            if error.text:
                place = self._place.inside(error.text, error.at, *error.keys)
            else:
                place = self._place.of(*error.keys)
            raise Rejected(error.reason, *place) from None

    def _index(self) -> Index:
        options = self._options
        options.need("index")
        pattern = options.text("index")
        if options.flag("use_strftime_index") or "%" in pattern:
            pattern = _without_dates(pattern)
        head = f"{_PREFIX}index:"
        overrides = {
            name.removeprefix(head): values[0]
            for name, values in self._placeholders.items()
            if name.startswith(head) and values
        }
        named = overrides.get(pattern) or overrides.get(options.text("index"))
        if named is not None and named not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise options.reject(
                f"index {pattern!r} is said to hold {named!r}, which is none of {known}", "index"
            )
        return index_of(pattern, {pattern: named} if named is not None else {})

    def _title(self) -> str:
        stem = self._file.path.rsplit("/", 1)[-1].rpartition(".")[0]
        return self._options.text("name").strip() or stem or self._file.path

    def _info(self, uid: str, kind: str) -> RuleInfo:
        options = self._options
        priority = options.whole("priority")
        level = Level.MEDIUM
        if priority is not None:
            level = _LEVELS[min(priority, len(_LEVELS) - 1)]
            self._note(f"priority {priority} is read as level {level.label}", "priority")
        said = options.text("description").strip()
        for key in ("alert_subject", "alert_text"):
            text = self._template(key)
            if text and text not in said:
                said = f"{said}\n{text}" if said else text
        return RuleInfo(
            uid=uid,
            title=self._title(),
            level=level,
            dialect="elastalert",
            path=self._file.path,
            line=self._document.place[0],
            description=said,
            author=options.text("owner"),
            status=f"type {kind}",
        )

    def _template(self, key: str) -> str:
        """Return the words of an alert, with the names of fields where their values belong."""
        text = self._options.text(key).strip()
        for name in self._options.texts(f"{key}_args") if f"{key}_args" in self._options else ():
            text = text.replace("{}", f"⟨{name}⟩", 1)
        for number, name in enumerate(self._options.texts(f"{key}_args")):
            text = text.replace(f"{{{number}}}", f"⟨{name}⟩")
        named = self._options.content.get(f"{key}_kw")
        for name, word in named.items() if isinstance(named, dict) else ():
            text = text.replace(f"{{{word}}}", f"⟨{name}⟩")
        return text

    def _realert(self) -> Realert:
        options = self._options
        held_ns = options.span_ns("realert")
        if held_ns is None:
            # `load_options`: a minute, or nothing where alerts are gathered.
            held_ns = 0 if "aggregation" in options else _MINUTE_NS
        return Realert(held_ns, options.span_ns("exponential_realert") or 0)

    def _gathered(self, kind: str, lowering: Lowering) -> Gathered | None:
        options = self._options
        value = options.content.get("aggregation")
        if value is None:
            return None
        schedule = value.get("schedule") if isinstance(value, dict) else None
        within_ns = 0
        if schedule is not None:
            try:
                schedule_of(str(schedule))
            except BadSchedule as error:
                reason = f"aggregation at {schedule!r}: {error}"
                raise options.reject(reason, "aggregation") from None
        else:
            within_ns = options.span_ns("aggregation") or 0
            if not within_ns:
                return None
        keys_of = options.texts("aggregation_key")
        if kind in _OF_NO_EVENT:
            known = options.texts("query_key")
            for name in [name for name in keys_of if name not in known]:
                self._note(
                    f"aggregation_key {name}: an alert of type {kind} is of no event and has "
                    "only its query_key; so it is in ElastAlert",
                    "aggregation_key",
                )
            keys_of = tuple(name for name in keys_of if name in known)
        return Gathered(
            rules=(),
            group_by=tuple(lowering.field(name) for name in keys_of),
            within_ns=within_ns,
            schedule=str(schedule or ""),
        )

    def _run(self) -> Run:
        every = self._options.span_ns("run_every") or self._config_ns("run_every")
        buffer = self._options.span_ns("buffer_time") or self._config_ns("buffer_time")
        return Run(every_ns=every or _RUN.every_ns, buffer_ns=buffer or _RUN.buffer_ns)

    def _config_ns(self, name: str) -> int:
        """Return a span that the user gave in seconds, in place of `config.yaml`."""
        values = self._placeholders.get(f"{_PREFIX}{name}", ())
        if not values:
            return 0
        try:
            seconds = float(values[0])
        except ValueError:
            seconds = 0
        if not 0 < seconds < 1e9:
            raise Rejected(f"{_PREFIX}{name} must be a number of seconds", *self._document.place)
        return int(seconds * 1_000_000_000)

    def _lines(self, name: str) -> list[str] | None:
        data = self._file.siblings.get(name)
        if data is None:
            return None
        return [line.rstrip() for line in data.decode("utf-8-sig", "replace").splitlines()]

    def _note(self, text: str, *place: str, ignored: bool = False) -> None:
        origin = self._origins.get(place[0]) if place else None
        line, column = self._place.of(*(("import",) if origin else place))
        shown = f"{text} (from {origin})" if origin else text
        self._notes.append(Note(shown, line, column, ignored=ignored))

    def _tell_keys(self, kind: str) -> None:
        """Say what becomes of every key that does not decide."""
        groups: dict[str, list[str]] = {}
        for key in self._options.content:
            if key in keys.COMMON or key in keys.BY_TYPE[kind]:
                continue
            if (changes := keys.CHANGING.get(key)) is not None:
                groups.setdefault(changes, []).append(key)
            elif key in keys.QUERYING:
                groups.setdefault(_UNASKED, []).append(key)
            elif key in keys.ENRICHING:
                groups.setdefault(_ENRICHED, []).append(key)
            elif keys.is_delivery(key):
                groups.setdefault(_DELIVERED, []).append(key)
            elif any(key in known for known in keys.BY_TYPE.values()):
                groups.setdefault(f"has no effect in a rule of type {kind}", []).append(key)
            else:
                groups.setdefault("is no key of ElastAlert, and has no effect", []).append(key)
        if "alert" in self._options:
            outlets = _outlets(self._options.content["alert"])
            groups.setdefault(_DELIVERED, []).insert(0, f"alert ({', '.join(outlets)})")
        for text, found in groups.items():
            place = found[0].partition(" ")[0]
            ignored = text not in (_DELIVERED, _UNASKED, _ENRICHED)
            self._note(f"{', '.join(found)}: {text}", place, ignored=ignored)


def _over(below: Rule, window: Window) -> Window:
    """Put a window over a rule, if that is a window itself."""
    if below.window is None:
        return window
    return msgspec.structs.replace(window, rules=(below.info.uid,))


_UNASKED = "not needed, there is no Elasticsearch to ask"
_ENRICHED = "not needed, a finding carries its events as they are"
_DELIVERED = "not run here, delivery belongs to the outlets of Trailhound"


def _outlets(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [
        str(next(iter(each), "")) if isinstance(each, Mapping) else str(each) for each in listed
    ]


def _without_dates(pattern: str) -> str:
    """Return an index pattern with a wildcard for its date (`ElastAlerter.get_index`)."""
    start, end = pattern.find("%"), pattern.rfind("%") + 2
    return f"{pattern[:start]}*{pattern[end:]}" if start >= 0 else pattern
