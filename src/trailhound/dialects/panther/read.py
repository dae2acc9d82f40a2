"""Panther's files to rule books."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, field

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.panther import keys, python_files
from trailhound.dialects.panther.correlation import window_of
from trailhound.dialects.panther.detections import (
    Hits,
    detection_of,
    field_of,
    hits_of,
    info_of,
    tested_only,
    tests_of,
)
from trailhound.dialects.panther.items import Item, Rejected
from trailhound.dialects.panther.keypath import key_path
from trailhound.dialects.panther.syntax import Modules
from trailhound.dialects.yaml_text import YamlError, decoded, read_documents
from trailhound.rules.book import RuleBook
from trailhound.rules.ir import Field, Note, Or, Rule, RuleError
from trailhound.rules.python import (
    DataModel,
    InlineTest,
    ModelField,
    PythonModule,
    PythonProgram,
    TestedOnly,
)


def read_files(files: Sequence[RuleFile]) -> list[RuleBook]:
    """Read the files of a run, in their order. Total: one book for each file."""
    return _Reader(files).books()


class _Book(Struct):
    """What comes of one file."""

    path: str
    rules: list[Rule] = field(default_factory=list)
    errors: list[RuleError] = field(default_factory=list)
    programs: list[PythonProgram] = field(default_factory=list)
    modules: list[PythonModule] = field(default_factory=list)
    models: list[DataModel] = field(default_factory=list)
    tests: list[InlineTest] = field(default_factory=list)
    tested: list[TestedOnly] = field(default_factory=list)

    def finished(self) -> RuleBook:
        """Return the book; what it has is held against its types, YAML may put anything there."""
        made = RuleBook(
            self.path,
            tuple(self.rules),
            (),
            tuple(self.errors),
            tuple(self.programs),
            tuple(self.modules),
            tuple(self.models),
            tuple(self.tests),
            tuple(self.tested),
        )
        return msgspec.json.decode(msgspec.json.encode(made), type=RuleBook)


class _Reader:
    """Reads files that build on each other."""

    def __init__(self, files: Sequence[RuleFile]) -> None:
        self._books = [_Book(file.path) for file in files]
        self._modules = Modules()
        self._items = [
            (book, item)
            for file, book in zip(files, self._books, strict=True)
            for item in _items(file, book)
        ]
        self._rules: dict[str, Item] = {}
        """Id → rule that has matches of its own."""
        for _, item in self._items:
            if item.kind in keys.RULES and isinstance(item.content.get("RuleID"), str):
                self._rules.setdefault(item.content["RuleID"], item)
        self._hits: dict[str, tuple[Item, Hits]] = {}
        """Uid of a rule over events → what it is a part of; filled by `_fed_by`."""

    def books(self) -> list[RuleBook]:
        """Return a book for each file."""
        # Rules in Python may call globals and ask data models, so those are read first.
        for first in (True, False):
            for book, item in self._items:
                if (item.kind in ("global", "datamodel")) is first:
                    self._read(book, item)
        return [book.finished() for book in self._books]

    def _read(self, book: _Book, item: Item) -> None:
        try:
            for path, (line, column) in item.document.duplicates:
                reason = f"key {path!r} stands twice"
                book.errors.append(RuleError(book.path, line, reason, column, item.title))
                return
            self._take(book, item)
        except Rejected as rejected:
            line, column = item.place(*rejected.where)
            book.errors.append(RuleError(book.path, line, rejected.reason, column, item.title))
        except (RecursionError, ValueError, TypeError) as error:
            reason = f"{type(error).__name__}: {str(error)[:300]}"
            line, column = item.place()
            book.errors.append(RuleError(book.path, line, reason, column, item.title))

    def _take(self, book: _Book, item: Item) -> None:
        match item.kind:
            case "global":
                book.modules.append(self._global(item))
            case "datamodel":
                model = _model(item)
                if item.flag("Enabled", default=True):
                    book.models.append(model)
                    self._modules.add_model(model)
            case "rule":
                found = detection_of(self._whole(item), self._modules)
                book.rules.extend(found.rules)
                book.tests.extend(found.tests)
                if found.program is not None:
                    book.programs.append(found.program)
            case "correlation_rule":
                book.rules.append(self._correlation(item))
                book.tests.extend(tests_of(item))
            case "pack":
                pass  # it says which files are installed together, and these are here
            case "scheduled_rule" | "policy":
                self._tests(book, item)
                if item.flag("Enabled", default=True):
                    raise Rejected(keys.NOT_RUN[item.kind], "AnalysisType")
                if item.kind == "scheduled_rule":
                    book.rules.append(_switched_off(item))
            case kind if kind in keys.NOT_RUN and item.content.get("Enabled") is False:
                pass  # it would not run there either
            case _:
                reason = keys.NOT_RUN.get(item.kind, f"{item.kind!r} is no AnalysisType")
                raise Rejected(reason, "AnalysisType")

    def _tests(self, book: _Book, item: Item) -> None:
        """Take what the tests of an item that does not run here need; in YAML it has none."""
        if "Filename" in item.content:
            tested, tests = tested_only(item), tests_of(item)
            book.tested.append(tested)
            book.tests.extend(tests)

    def _global(self, item: Item) -> PythonModule:
        name = item.need("GlobalID")
        if not name.isidentifier():
            raise Rejected(f"{name!r} is no name of a Python module", "GlobalID", name)
        source = python_files.source_of(item)
        self._modules.add(name, python_files.parsed(item, source))
        return PythonModule(name, python_files.path_of(item), source)

    def _whole(self, item: Item) -> Item:
        """Return a derived rule with what it takes over from its base."""
        base_id = item.text("BaseDetection")
        if not base_id:
            return item
        base = self._rules.get(base_id)
        if base is None or "BaseDetection" in base.content:
            raise Rejected(f"there is no rule {base_id!r} to derive from", "BaseDetection")
        own = {key: value for key, value in item.content.items() if key != "BaseDetection"}
        if "Detection" in own or "Filename" in own:
            raise Rejected("a derived rule has the logic of its base", "BaseDetection")
        # With its tests, unless it has some of its own.
        file = RuleFile(item.file.path, item.file.data, base.file.siblings)
        return Item(file, item.document, {**base.content, **own}, base.folder)

    def _correlation(self, item: Item) -> Rule:
        notes = keys.notes_of(item, keys.CORRELATION)

        def note(text: str, *, ignored: bool = False) -> None:
            notes.append(Note(text, *item.place("Detection"), ignored=ignored))

        window = window_of(item, self._fed_by, self._field_of, note)
        return Rule(
            info=info_of(item),
            window=window,
            silent=not item.flag("CreateAlert", default=True),
            enabled=item.flag("Enabled", default=True),
            notes=tuple(notes),
        )

    def _fed_by(self, rule_id: str) -> tuple[str, ...]:
        item = self._rules.get(rule_id)
        if item is None or item.kind != "rule":
            return (rule_id,)  # a correlation rule, or none: then the link says so
        whole = self._whole(item)
        found = {hits.uid: (whole, hits) for hits in hits_of(whole)}
        self._hits.update(found)
        return tuple(found)

    def _field_of(self, uid: str, path: str) -> Field:
        if uid in self._hits:
            return field_of(*self._hits[uid], path)
        return Field(path, (key_path(path).path,))


def _switched_off(item: Item) -> Rule:
    """Return a rule that is listed only: here it could not run, and its file does not want it."""
    note = Note(keys.NOT_RUN[item.kind], item.line("AnalysisType"))
    return Rule(info=info_of(item), predicate=Or(()), enabled=False, notes=(note,))


def _items(file: RuleFile, book: _Book) -> list[Item]:
    """Return the items of a file; what cannot be read is an error in its book."""
    try:
        documents, broken = read_documents(decoded(file.data), yes_is_text=True)
    except YamlError as error:
        documents, broken = [], [error]
    book.errors.extend(RuleError(file.path, e.line, e.reason, e.column) for e in broken)
    items = []
    for document in documents:
        content = document.content
        if content is None:
            continue
        if not isinstance(content, Mapping) or "AnalysisType" not in content:
            reason = "an item of Panther must be a mapping with an AnalysisType"
            line, column = document.place
            book.errors.append(RuleError(file.path, line, reason, column))
            continue
        items.append(Item(file, document, {str(key): value for key, value in content.items()}))
    return items


def _model(item: Item) -> DataModel:
    fields: list[ModelField] = []
    for entry in item.listed("Mappings"):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("Name"), str):
            raise Rejected("a mapping needs a Name", "Mappings")
        path, method = entry.get("Path"), entry.get("Method")
        if (path is None) is (method is None) or not isinstance(path or method, str):
            raise Rejected("a mapping needs a Path or a Method", "Mappings", entry["Name"])
        fields.append(ModelField(entry["Name"], path or "", method or ""))
    methods = {mapped.method for mapped in fields if mapped.method}
    source = python_files.source_of(item) if "Filename" in item.content else ""
    missing = methods - python_files.functions_of(python_files.parsed(item, source))
    if missing:
        raise Rejected(f"there is no function {min(missing)}", "Mappings", min(missing))
    return DataModel(
        model_id=item.need("DataModelID"),
        path=python_files.path_of(item) if source else item.file.path,
        log_types=tuple(item.texts("LogTypes")),
        mappings=tuple(fields),
        source=source,
    )
