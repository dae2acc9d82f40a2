"""Rule books: what dialects make of rule files, and how the books come together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from trailhound.model.logsource import LogSource
from trailhound.rules.ir import (
    And,
    Correlation,
    Exists,
    Field,
    Not,
    Note,
    Or,
    Predicate,
    Rule,
    RuleError,
)
from trailhound.rules.python import (
    DataModel,
    InlineTest,
    PythonModule,
    PythonProgram,
    TestedOnly,
)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that is added to other rules (Sigma Filters Specification 2.1.0)."""

    title: str
    path: str
    line: int
    column: int = 1
    logsource: LogSource
    rules: tuple[str, ...] | None
    """Ids or names of the rules it narrows; None: every rule of the log source."""
    predicate: Predicate


class RuleBook(msgspec.Struct, frozen=True):
    """What came out of one rule file, before it is linked with the others."""

    path: str
    rules: tuple[Rule, ...] = ()
    filters: tuple[Filter, ...] = ()
    errors: tuple[RuleError, ...] = ()
    programs: tuple[PythonProgram, ...] = ()
    """Without the modules and models, which may stand in other files."""
    modules: tuple[PythonModule, ...] = ()
    models: tuple[DataModel, ...] = ()
    tests: tuple[InlineTest, ...] = ()
    tested: tuple[TestedOnly, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a run, linked: filters applied, references resolved to uids."""

    rules: tuple[Rule, ...]
    errors: tuple[RuleError, ...]
    programs: Mapping[str, PythonProgram] = field(default_factory=dict)
    """Id → program, for `PythonCall`; with every module and model of the run."""
    tests: tuple[InlineTest, ...] = ()
    tested: tuple[TestedOnly, ...] = ()
    """What is no rule of the run, and has tests."""


_BOOKS = msgspec.json.Decoder(list[RuleBook])


def dump_books(books: Sequence[RuleBook]) -> bytes:
    """Return the JSON form of rule books; `load_books` is its inverse."""
    return msgspec.json.encode(books)


def load_books(data: bytes) -> list[RuleBook]:
    """Read what `dump_books` wrote; `msgspec.MsgspecError` where it is something else."""
    return _BOOKS.decode(data)


def link(books: Iterable[RuleBook]) -> RuleSet:
    """Bring books together.

    Drops rules whose uid came before (said as an error), applies filters, resolves what
    windows refer to by id or name, and silences rules that only feed windows (Sigma
    Correlation Rules Specification 2.1.0, "Generate"). A window with a reference to nothing
    is an error, and so is one that reaches itself.
    """
    errors: list[RuleError] = []
    rules: dict[str, Rule] = {}
    filters: list[Filter] = []
    books = list(books)
    for book in books:
        errors.extend(book.errors)
        filters.extend(book.filters)
        for rule in book.rules:
            first = rules.setdefault(rule.info.uid, rule)
            if first is not rule:
                errors.append(
                    _error(rule, f"same id as {first.info.path}:{first.info.line}, which is used")
                )
    by_name = _Names(rules.values())
    errors.extend(by_name.problems)
    for narrowing in filters:
        errors.extend(_apply(narrowing, rules, by_name))
    _drop_dangling(rules, by_name.uid, errors)
    _resolve(rules, by_name)
    _drop_cycles(rules, errors)
    _drop_dangling(rules, lambda uid, _: uid, errors)
    _silence(rules)
    programs = _programs(books, errors)
    tests = tuple(test for book in books for test in book.tests)
    tested = _tested(books, rules, programs, errors)
    return RuleSet(tuple(rules.values()), tuple(errors), programs, tests, tested)


def _programs(books: Sequence[RuleBook], errors: list[RuleError]) -> dict[str, PythonProgram]:
    """Give every program the modules and models of all books."""
    modules: dict[str, PythonModule] = {}
    models: dict[str, DataModel] = {}
    for book in books:
        for module in book.modules:
            first = modules.setdefault(module.name, module)
            if first.source != module.source:
                reason = f"same name {module.name!r} as {first.path}, which is used"
                errors.append(RuleError(book.path, 1, reason, rule=module.name))
        for model in book.models:
            for log_type in model.log_types:
                other = models.setdefault(log_type, model)
                if other != model:
                    reason = f"log type {log_type} has a data model in {other.path}, which is used"
                    errors.append(RuleError(book.path, 1, reason, rule=model.model_id))
    helpers = _helpers(books)
    by_id = {model.model_id: model for model in models.values()}
    found: dict[str, PythonProgram] = {}
    for program in (program for book in books for program in book.programs):
        whole = msgspec.structs.replace(program, helpers=helpers, models=tuple(by_id.values()))
        found.setdefault(program.rule_id, whole)
    return found


def _helpers(books: Sequence[RuleBook]) -> tuple[tuple[str, str], ...]:
    """Return name and source of every module; of several of one name the first."""
    found: dict[str, str] = {}
    for module in (module for book in books for module in book.modules):
        found.setdefault(module.name, module.source)
    return tuple(found.items())


def _tested(
    books: Sequence[RuleBook],
    rules: Mapping[str, Rule],
    programs: Mapping[str, PythonProgram],
    errors: list[RuleError],
) -> tuple[TestedOnly, ...]:
    """Give what is only tested the modules of all books; an id that is taken is an error."""
    helpers = _helpers(books)
    found: dict[str, TestedOnly] = {}
    for each in (each for book in books for each in book.tested):
        info, program = each.info, msgspec.structs.replace(each.program, helpers=helpers)
        # A scheduled rule that is switched off is listed as a rule, too: then they are one.
        listed = rules.get(info.uid)
        other = listed is not None and listed.info != info
        if other or info.uid in programs or info.uid in found:
            reason = f"same id {info.uid!r} as another, which is used"
            errors.append(RuleError(info.path, info.line, reason, rule=info.uid))
        else:
            found[info.uid] = msgspec.structs.replace(each, program=program)
    return tuple(found.values())


class _Names:
    """What the names in references mean: first a rule of the same file, then any other."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._anywhere: dict[str, Rule] = {}
        self._in_file: dict[tuple[str, str], str] = {}
        self.problems: list[RuleError] = []
        for rule in rules:
            if not rule.name:
                continue
            self._in_file.setdefault((rule.info.path, rule.name), rule.info.uid)
            first = self._anywhere.setdefault(rule.name, rule)
            if first is not rule:
                place = f"{first.info.path}:{first.info.line}"
                self.problems.append(
                    _error(rule, f"same name {rule.name!r} as {place}, which other files mean")
                )

    def uid(self, reference: str, path: str) -> str:
        """Return the uid a reference in a file stands for; itself, where it names none."""
        own = self._in_file.get((path, reference))
        if own is not None:
            return own
        named = self._anywhere.get(reference)
        return named.info.uid if named is not None else reference


def _apply(narrowing: Filter, rules: dict[str, Rule], by_name: _Names) -> list[RuleError]:
    problems = []
    if narrowing.rules is None:
        uids = list(rules)
    else:
        uids = []
        for reference in narrowing.rules:
            uid = by_name.uid(reference, narrowing.path)
            if uid in rules:
                uids.append(uid)
            else:
                problems.append(
                    RuleError(
                        narrowing.path,
                        narrowing.line,
                        f"filter names rule {reference!r}, which is not loaded",
                        narrowing.column,
                        narrowing.title,
                    )
                )
    for uid in uids:
        rule = rules[uid]
        if rule.predicate is None or not _covers(narrowing.logsource, rule.logsource):
            continue
        note = Note(f"narrowed by filter {narrowing.title!r} ({narrowing.path}:{narrowing.line})")
        rules[uid] = msgspec.structs.replace(
            rule,
            predicate=And((rule.predicate, narrowing.predicate)),
            notes=(*rule.notes, note),
        )
    return problems


def _covers(wide: LogSource, narrow: LogSource) -> bool:
    return all(
        wanted is None or wanted == have
        for wanted, have in (
            (wide.product, narrow.product),
            (wide.category, narrow.category),
            (wide.service, narrow.service),
        )
    )


def _drop_dangling(
    rules: dict[str, Rule], uid_of: Callable[[str, str], str], errors: list[RuleError]
) -> None:
    # A window over a window that turned out unusable is unusable too, hence the repetition.
    changed = True
    while changed:
        changed = False
        for uid, rule in list(rules.items()):
            window = rule.window
            if window is None:
                continue
            missing = [r for r in window.rules if uid_of(r, rule.info.path) not in rules]
            if missing:
                del rules[uid]
                changed = True
                names = ", ".join(repr(reference) for reference in missing)
                errors.append(_error(rule, f"refers to {names}, which is not loaded"))


def _resolve(rules: dict[str, Rule], by_name: _Names) -> None:
    for uid, rule in rules.items():
        window = rule.window
        if window is None:
            continue
        path = rule.info.path
        aliases = tuple(
            msgspec.structs.replace(
                alias,
                fields=tuple((by_name.uid(r, path), field) for r, field in alias.fields),
            )
            for alias in window.aliases
        )
        resolved = tuple(by_name.uid(reference, path) for reference in window.rules)
        named = msgspec.structs.replace(window, rules=resolved, aliases=aliases)
        if isinstance(named, Correlation) and named.expression is not None:
            expression = _renamed(named.expression, by_name, path)
            named = msgspec.structs.replace(named, expression=expression)
        rules[uid] = msgspec.structs.replace(rule, window=named)


def _renamed(node: Predicate, by_name: _Names, path: str) -> Predicate:
    match node:
        case And():
            return And(tuple(_renamed(item, by_name, path) for item in node.items), node.label)
        case Or():
            return Or(tuple(_renamed(item, by_name, path) for item in node.items), node.label)
        case Not():
            return Not(_renamed(node.item, by_name, path))
        case Exists():
            uid = by_name.uid(node.field.name, path)
            return Exists(Field(uid, ((uid,),)))
        case _:
            return node


def _drop_cycles(rules: dict[str, Rule], errors: list[RuleError]) -> None:
    inner = {uid: rule.window.rules for uid, rule in rules.items() if rule.window is not None}
    for uid, below in inner.items():
        reached: set[str] = set()
        ahead = list(below)
        while ahead:
            step = ahead.pop()
            if step not in reached:
                reached.add(step)
                ahead.extend(inner.get(step, ()))
        if uid in reached:
            errors.append(_error(rules[uid], "its rules lead back to itself"))
            del rules[uid]


def _silence(rules: dict[str, Rule]) -> None:
    generated: dict[str, bool] = {}
    for rule in rules.values():
        if rule.window is not None:
            for uid in rule.window.rules:
                generated[uid] = generated.get(uid, False) or rule.window.generate
    for uid, generate in generated.items():
        if not generate and uid in rules:
            rules[uid] = msgspec.structs.replace(rules[uid], silent=True)


def _error(rule: Rule, reason: str) -> RuleError:
    return RuleError(rule.info.path, rule.info.line, reason, rule.column, rule.info.title)
