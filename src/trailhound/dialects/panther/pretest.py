"""What must be so of an event for a rule in Python to match: a test that is cheap, and no more.

Read from the syntax of `rule(event)`, which is not run. Each expression is asked what must be
so where it is true, and where it is false; whatever is not understood may be so or not. Only
conditions that ask for a value are kept (`eventName is 'X'`), never that one is missing: a field
has more values here than in Python (lists are entered), so that a test may let too much
through, and never holds back what could match.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trailhound.dialects.panther.logs import OWN, path_here, spelled
from trailhound.rules.ir import (
    And,
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    Like,
    Number,
    Or,
    Path,
    Predicate,
    Text,
)
from trailhound.rules.python import DataModel

_TRUE: Predicate = And(())
_FALSE: Predicate = Or(())
_DEPTH_LIMIT = 12
_STEPS_LIMIT = 4_000
_SIZE_LIMIT = 400
"""Nodes of a test; a larger one is not cheap."""
_MEMBERS_LIMIT = 2_000
_PLAIN_PATH = re.compile(r"(?:\$\.)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_PLAIN_TEXT = re.compile(r"[\w .:/@-]+", re.ASCII)
"""Texts that JSON writes as they are."""
_CHANGING = frozenset(
    (
        *("append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault"),
        *("add", "discard", "popitem", "sort", "reverse", "difference_update"),
        *("intersection_update", "symmetric_difference_update", "__setitem__", "__delitem__"),
    )
)
_REBINDING = frozenset(("exec", "eval", "globals", "locals", "vars", "setattr", "delattr"))
_ORDER: Mapping[type[ast.cmpop], Any] = {
    ast.Lt: ("lt", "gte"),
    ast.LtE: ("lte", "gt"),
    ast.Gt: ("gt", "lte"),
    ast.GtE: ("gte", "lt"),
}


class Modules:
    """The modules that rules may import, as syntax, and the data models they may ask."""

    def __init__(self) -> None:
        self._known: dict[str, Module] = {}
        self._mapped: dict[str, dict[str, str]] = {}

    def add(self, name: str, tree: ast.Module) -> None:
        """Add a module; the first of a name counts."""
        self._known.setdefault(name, Module(tree))

    def add_model(self, model: DataModel) -> None:
        """Add a data model; the first of a log type counts."""
        for log_type in model.log_types:
            # Of a name that is mapped twice the last counts.
            paths = {mapped.name: mapped.path for mapped in model.mappings}
            self._mapped.setdefault(log_type, paths)

    def path_of(self, log_type: str, name: str) -> Path | None:
        """Return the path that a name has in the data model of a log type, if it is a plain one."""
        text = self._mapped.get(log_type, {}).get(name, "")
        return tuple(text.removeprefix("$.").split(".")) if _PLAIN_PATH.fullmatch(text) else None

    def get(self, name: str) -> "Module | None":
        """Return the module of a name."""
        return self._known.get(name)


class Module:
    """What the names at the top of a module surely mean."""

    def __init__(self, tree: ast.Module) -> None:
        self.functions: dict[str, ast.FunctionDef] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        """Name → (module, its name there)."""
        self.constants: dict[str, ast.expr] = {}
        self.names_inside = any(isinstance(node, ast.NamedExpr) for node in ast.walk(tree))
        """Whether expressions bind names."""
        bound: dict[str, int] = {}
        for node in ast.walk(tree):
            for name in _bound_by(node):
                bound[name] = bound.get(name, 0) + 1
        for node in tree.body:
            match node:
                case ast.FunctionDef() if not node.decorator_list:
                    self.functions[node.name] = node
                case ast.ImportFrom(module=str(module), level=0):
                    for alias in node.names:
                        self.imports[alias.asname or alias.name] = (module, alias.name)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.constants[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.constants[name] = value
        changed = _changed(tree)
        sure = not bound.keys() & {"*"} and not any(
            isinstance(node, ast.Name) and node.id in _REBINDING for node in ast.walk(tree)
        )
        for known in (self.functions, self.imports, self.constants):
            for name in [*known]:
                if not sure or bound.get(name) != 1 or name in changed:
                    del known[name]


def _bound_by(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.alias():
            yield node.asname or node.name
        case ast.arg():
            yield node.arg
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.Global() | ast.Nonlocal():
            for name in node.names:
                yield from (name, name)


def _changed(tree: ast.Module) -> set[str]:
    """Return names whose values may be changed in place, or handed to who may change them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if attr in _CHANGING:
                found.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.AugAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Call(func=func, args=args, keywords=keywords):
                harmless = isinstance(func, ast.Name) and func.id in _HARMLESS
                if not harmless and not _asks_text(func):
                    handed = [*args, *(keyword.value for keyword in keywords)]
                    found.update(arg.id for arg in handed if isinstance(arg, ast.Name))
    return found


_HARMLESS = frozenset(
    ("any", "all", "len", "sorted", "set", "frozenset", "tuple", "list", "str", "bool", "sum")
)


def _asks_text(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute) and func.attr in (
        *("startswith", "endswith", "get", "deep_get", "join", "format"),
    )


# --- values -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant:
    """A value that is known."""

    value: Any


@dataclass(frozen=True)
class Read:
    """A value of the event."""

    path: Path
    """Empty: the event itself."""
    default: Any = None
    """What it is where the field is absent, or null, or what is on the way to it is none."""
    folded: bool = False
    """Whether it was made lower case."""


Value = Constant | Read | None
"""None: not known."""


@dataclass
class _Frame:
    """A function that is looked at: its module, and what its names are."""

    module: Module
    names: dict[str, Value] = field(default_factory=dict)
    """Names of parameters and variables; one that is not here is a name of the module."""
    local: frozenset[str] = frozenset()
    """Names that are variables of the function."""
    depth: int = 0


class _TooMuch(Exception):
    """The rule is too long to be understood cheaply."""


def pretest(tree: ast.Module, modules: Modules, log_type: str) -> list[Predicate]:
    """Return what must be so of an event of a log type for `rule` to be true: one test or none."""
    module = Module(tree)
    rule = module.functions.get("rule")
    if rule is None:
        return []
    try:
        found = _Reading(modules, log_type).call(rule, module, [Read(())], 0)
    except (_TooMuch, RecursionError):
        return []
    return [] if found == _TRUE or _size(found) > _SIZE_LIMIT else [found]


class _Reading:
    """Reads the functions of one rule."""

    def __init__(self, modules: Modules, log_type: str) -> None:
        self._modules = modules
        self._log_type = log_type
        self._steps = 0

    def call(
        self, function: ast.FunctionDef, module: Module, arguments: list[Value], depth: int
    ) -> Predicate:
        """Return what must be so for a function to return something true."""
        parameters = function.args
        if (
            depth > _DEPTH_LIMIT
            or parameters.vararg
            or parameters.kwarg
            or parameters.kwonlyargs
            or parameters.posonlyargs
            or len(parameters.args) != len(arguments)
            or any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function))
        ):
            return _TRUE
        names: dict[str, Value] = {
            parameter.arg: value
            for parameter, value in zip(parameters.args, arguments, strict=True)
        }
        bound = [name for node in ast.walk(function) for name in _bound_by(node)]
        frame = _Frame(module, names, frozenset(bound) - {function.name}, depth)
        return self._block(function.body, frame)

    # --- statements ---------------------------------------------------------------------------

    def _block(self, body: list[ast.stmt], frame: _Frame) -> Predicate:
        """Return what must be so for a block, run to its end, to return something true."""
        self._step()
        for at, statement in enumerate(body):
            self._forget_named(statement, frame)
            match statement:
                case ast.Return(value=None):
                    return _FALSE
                case ast.Return(value=ast.expr() as value):
                    return self._holds(value, frame)
                case ast.Raise():
                    return _FALSE
                case ast.If():
                    rest = body[at + 1 :]
                    yes = self._holds(statement.test, frame)
                    no = self._fails(statement.test, frame)
                    return _either(
                        _both(yes, self._block([*statement.body, *rest], _copy(frame))),
                        _both(no, self._block([*statement.orelse, *rest], _copy(frame))),
                    )
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    frame.names[name] = self._value(value, frame)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    frame.names[name] = self._value(value, frame)
                case ast.Expr() | ast.Pass() | ast.Import() | ast.ImportFrom() | ast.Assert():
                    self._forget(statement, frame)
                case _:
                    # Loops and the like: they may return, unless it is seen that they do not.
                    if any(map(_may_return, ast.walk(statement))):
                        return _TRUE
                    self._forget(statement, frame)
        return _FALSE

    def _forget(self, statement: ast.stmt, frame: _Frame) -> None:
        """Know no longer what a statement may have given other values."""
        for node in ast.walk(statement):
            for name in _bound_by(node):
                frame.names[name] = None

    def _forget_named(self, statement: ast.stmt, frame: _Frame) -> None:
        """The same for names that are bound in the middle of expressions."""
        if not frame.module.names_inside:
            return
        for node in ast.walk(statement):
            if isinstance(node, ast.NamedExpr):
                frame.names[node.target.id] = None

    # --- conditions ---------------------------------------------------------------------------

    def _holds(self, node: ast.expr, frame: _Frame) -> Predicate:
        """Return what must be so where an expression is true."""
        self._step()
        match node:
            case ast.BoolOp(op=ast.And()):
                return _both(*[self._holds(value, frame) for value in node.values])
            case ast.BoolOp(op=ast.Or()):
                return _either(*[self._holds(value, frame) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return self._fails(node.operand, frame)
            case ast.IfExp():
                return _either(
                    _both(self._holds(node.test, frame), self._holds(node.body, frame)),
                    _both(self._fails(node.test, frame), self._holds(node.orelse, frame)),
                )
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(left, op, right, frame, negated=False)
            case ast.Call():
                found = self._called(node, frame)
                if found is not None:
                    return found
        return self._true(self._value(node, frame))

    def _fails(self, node: ast.expr, frame: _Frame) -> Predicate:
        """Return what must be so where an expression is false."""
        self._step()
        match node:
            case ast.BoolOp(op=ast.And()):
                return _either(*[self._fails(value, frame) for value in node.values])
            case ast.BoolOp(op=ast.Or()):
                return _both(*[self._fails(value, frame) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return self._holds(node.operand, frame)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(left, op, right, frame, negated=True)
        value = self._value(node, frame)
        return _FALSE if isinstance(value, Constant) and value.value else _TRUE

    def _compared(
        self, left: ast.expr, op: ast.cmpop, right: ast.expr, frame: _Frame, *, negated: bool
    ) -> Predicate:
        a, b = self._value(left, frame), self._value(right, frame)
        if isinstance(a, Constant) and isinstance(b, Read) and isinstance(op, ast.Eq | ast.NotEq):
            a, b = b, a
        same = ast.NotEq if negated else ast.Eq
        among = ast.NotIn if negated else ast.In
        if isinstance(op, ast.In) and not negated and isinstance(a, Constant):
            return self._holding(b, a.value) if isinstance(b, Read) else _TRUE
        if isinstance(op, ast.NotIn) and negated and isinstance(a, Constant):
            return self._holding(b, a.value) if isinstance(b, Read) else _TRUE
        if not isinstance(a, Read) or not isinstance(b, Constant):
            return _TRUE
        if isinstance(op, same):
            return self._is_one_of(a, [b.value])
        if isinstance(op, among):
            members = _members(b.value)
            return self._is_one_of(a, members) if members is not None else _TRUE
        if type(op) in _ORDER:
            return self._ordered(a, _ORDER[type(op)][negated], b.value)
        if isinstance(op, ast.IsNot if not negated else ast.Is) and b.value is None:
            return self._there(a) if a.default is None else _TRUE
        return _TRUE

    def _called(self, node: ast.Call, frame: _Frame) -> Predicate | None:
        """Return what must be so where a call is true; None where it is like any value."""
        match node:
            case ast.Call(func=ast.Attribute(value=subject, attr="startswith" | "endswith" as how)):
                read = self._value(subject, frame)
                wanted = self._value(node.args[0], frame) if len(node.args) == 1 else None
                if isinstance(read, Read) and isinstance(wanted, Constant):
                    return self._affixed(read, wanted.value, how)
                return _TRUE
            case ast.Call(func=ast.Name(id="bool"), args=[one], keywords=[]) if self._builtin(
                "bool", frame
            ):
                return self._holds(one, frame)
            case ast.Call(func=ast.Name(id="any" | "all" as how), args=[one], keywords=[]) if (
                self._builtin(how, frame)
            ):
                return self._quantified(how, one, frame)
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name not in frame.local:
                return self._inner(name, node.args, frame)
        return None

    def _quantified(self, how: str, node: ast.expr, frame: _Frame) -> Predicate:
        join = _either if how == "any" else _both
        match node:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                if any(isinstance(part, ast.Starred) for part in parts):
                    return _TRUE
                return join(*[self._holds(part, frame) for part in parts])
            case (
                ast.GeneratorExp(elt=part, generators=[over])
                | ast.ListComp(elt=part, generators=[over])
            ):
                listed = self._value(over.iter, frame)
                members = _members(listed.value) if isinstance(listed, Constant) else None
                if members is None or not isinstance(over.target, ast.Name) or over.ifs:
                    return _TRUE
                found = []
                for member in members:
                    inner = _copy(frame)
                    inner.names[over.target.id] = Constant(member)
                    found.append(self._holds(part, inner))
                return join(*found)
        return _TRUE

    def _inner(self, name: str, arguments: list[ast.expr], frame: _Frame) -> Predicate | None:
        if any(isinstance(argument, ast.Starred) for argument in arguments):
            return _TRUE
        module: Module | None = frame.module
        for _ in range(_DEPTH_LIMIT):
            assert module is not None  # noqa: S101 - left below
            if name in module.functions:
                values = [self._value(argument, frame) for argument in arguments]
                return self.call(module.functions[name], module, values, frame.depth + 1)
            if name not in module.imports:
                return None
            where, name = module.imports[name]
            module = self._modules.get(where)
            if module is None:
                return None
        return _TRUE

    def _builtin(self, name: str, frame: _Frame) -> bool:
        module = frame.module
        known = (module.functions, module.imports, module.constants, frame.names, frame.local)
        return not any(name in names for names in known)

    # --- values -------------------------------------------------------------------------------

    def _value(self, node: ast.expr, frame: _Frame) -> Value:
        self._step()
        match node:
            case ast.Constant():
                return Constant(node.value)
            case ast.Name(id=name):
                return self._named(name, frame)
            case ast.List() | ast.Tuple() | ast.Set():
                parts = [self._value(part, frame) for part in node.elts]
                known = [part.value for part in parts if isinstance(part, Constant)]
                return Constant(tuple(known)) if len(known) == len(parts) else None
            case ast.Dict(keys=[]):
                return Constant(())
            case ast.Dict():
                keys = [self._value(key, frame) if key is not None else None for key in node.keys]
                known = [key.value for key in keys if isinstance(key, Constant)]
                return Constant(tuple(known)) if len(known) == len(keys) else None
            case ast.BoolOp(op=ast.Or(), values=[first, second]):
                # `event.get("a") or {}`: the second stands for what is not there.
                read, other = self._value(first, frame), self._value(second, frame)
                if isinstance(read, Read) and isinstance(other, Constant) and not read.default:
                    return Read(read.path, other.value, read.folded)
                return None
            case ast.Subscript(value=subject, slice=key) if isinstance(node.ctx, ast.Load):
                return self._below(self._value(subject, frame), [self._value(key, frame)], None)
            case ast.Call():
                return self._call_value(node, frame)
        return None

    def _named(self, name: str, frame: _Frame) -> Value:
        if name in frame.names:
            return frame.names[name]
        if name in frame.local:
            return None
        module: Module | None = frame.module
        for _ in range(_DEPTH_LIMIT):
            if module is None:
                return None
            if name in module.constants:
                inner = _Frame(module, depth=frame.depth + 1)
                if inner.depth > _DEPTH_LIMIT:
                    return None
                return self._value(module.constants[name], inner)
            if name not in module.imports:
                return None
            where, name = module.imports[name]
            module = self._modules.get(where)
        return None

    def _call_value(self, node: ast.Call, frame: _Frame) -> Value:
        arguments = node.args
        if any(isinstance(argument, ast.Starred) for argument in arguments):
            return None
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        match node.func:
            case ast.Attribute(value=subject, attr="get") if 0 < len(arguments) <= 2:
                if set(keywords) - {"default"}:
                    return None
                default = arguments[1] if len(arguments) == 2 else keywords.get("default")
                return self._got(subject, arguments[:1], default, frame)
            case ast.Attribute(value=subject, attr="deep_get") if arguments:
                if set(keywords) - {"default"}:
                    return None
                return self._got(subject, arguments, keywords.get("default"), frame)
            case ast.Attribute(value=subject, attr="udm") if len(arguments) == 1:
                if set(keywords) - {"default"} or self._value(subject, frame) != Read(()):
                    return None
                return self._modelled(arguments[0], keywords.get("default"), frame)
            case ast.Attribute(value=subject, attr="lower"):
                read = self._value(subject, frame)
                if isinstance(read, Read) and not arguments and not keywords:
                    otherwise = read.default.lower() if isinstance(read.default, str) else None
                    return Read(read.path, otherwise, folded=True)
            case ast.Name(id="deep_get") if len(arguments) > 1:
                if set(keywords) <= {"default"} and self._is_deep_get(frame):
                    return self._got(arguments[0], arguments[1:], keywords.get("default"), frame)
            case ast.Name(id="set" | "frozenset" | "tuple" | "list" as name) if (
                len(arguments) == 1 and not keywords and self._builtin(name, frame)
            ):
                value = self._value(arguments[0], frame)
                return value if isinstance(value, Constant) else None
        return None

    def _got(
        self, subject: ast.expr, keys: list[ast.expr], default: ast.expr | None, frame: _Frame
    ) -> Value:
        otherwise = self._value(default, frame) if default is not None else Constant(None)
        if not isinstance(otherwise, Constant):
            return None
        values = [self._value(key, frame) for key in keys]
        return self._below(self._value(subject, frame), values, otherwise.value)

    def _modelled(self, key: ast.expr, default: ast.expr | None, frame: _Frame) -> Value:
        """Return what a data model has for a name: it alone answers for names that it maps."""
        name = self._value(key, frame)
        otherwise = self._value(default, frame) if default is not None else Constant(None)
        if not isinstance(name, Constant) or not isinstance(otherwise, Constant):
            return None
        path = self._modules.path_of(self._log_type, str(name.value))
        return Read(path, otherwise.value) if path is not None else None

    def _below(self, subject: Value, keys: list[Value], default: Any) -> Value:
        if not isinstance(subject, Read) or subject.folded or subject.default:
            return None
        path = [*subject.path]
        for key in keys:
            if not isinstance(key, Constant) or not isinstance(key.value, str | int):
                return None
            if isinstance(key.value, bool) or (not path and str(key.value).startswith(OWN)):
                return None  # what Panther adds is not in the document
            path.append(str(key.value))
        if any(step.lstrip("-").isdigit() for step in path):
            return None  # places in lists are entered otherwise here
        return Read(tuple(path), default)

    def _is_deep_get(self, frame: _Frame) -> bool:
        """Whether `deep_get` is what panther-analysis calls so: keys, taken one after the other."""
        where, name = frame.module.imports.get("deep_get", ("", ""))
        if "deep_get" in frame.local or name != "deep_get":
            return False
        module = self._modules.get(where)
        function = module.functions.get(name) if module is not None else None
        if function is None:
            return where.startswith("panther_core.")
        reduces = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "reduce"
        ]
        return len(reduces) == 1 and function.args.vararg is not None

    # --- tests --------------------------------------------------------------------------------

    def _field(self, read: Read) -> Field | None:
        """Return the field; None where it is not known how the log spells it."""
        path = spelled(self._log_type, read.path)
        if path is None:
            return None
        return Field(".".join(read.path), (path_here(self._log_type, path),))

    def _there(self, read: Read) -> Predicate:
        field_ = self._field(read)
        return Exists(field_) if field_ is not None else _TRUE

    def _true(self, value: Value) -> Predicate:
        if isinstance(value, Constant):
            return _TRUE if value.value else _FALSE
        if isinstance(value, Read) and not value.default:
            return self._there(value)
        return _TRUE

    def _is_one_of(self, read: Read, values: list[Any]) -> Predicate:
        field_ = self._field(read)
        if field_ is None or any(_alike(read.default, value) for value in values):
            return _TRUE
        found: list[Predicate] = []
        for value in values:
            if isinstance(value, str):
                found.append(Compare(field_, Equals(value, cased=not read.folded)))
            elif isinstance(value, bool | int | float):
                # In Python 1 is True, and so may be what the event has.
                alike: list[Any] = [value, *(other for other in (True, False) if other == value)]
                alike += [int(value)] if value in (0, 1) else []
                found.extend(Compare(field_, Equals(other)) for other in alike)
            else:
                return _TRUE
        return _either(*found)

    def _affixed(self, read: Read, wanted: Any, how: str) -> Predicate:
        texts = wanted if isinstance(wanted, tuple) else (wanted,)
        field_ = self._field(read)
        if field_ is None or not all(isinstance(text, str) and text for text in texts):
            return _TRUE
        default = read.default
        if isinstance(default, str) and any(
            getattr(default.lower(), how)(t.lower()) for t in texts
        ):
            return _TRUE
        found: list[Predicate] = []
        for text in texts:
            parts = (Text(text), AnyRun()) if how == "startswith" else (AnyRun(), Text(text))
            found.append(Compare(field_, Like(parts, cased=not read.folded)))
        return _either(*found)

    def _holding(self, read: Read, wanted: Any) -> Predicate:
        """Return what must be so where something is in a value: a part of a text, or of a list."""
        if not isinstance(wanted, str) or not wanted:
            return _TRUE
        default = read.default
        known = default is None or default == ()
        if not known and (not isinstance(default, str) or wanted.lower() in default.lower()):
            return _TRUE
        field_ = self._field(read)
        if field_ is None or not _PLAIN_TEXT.fullmatch(wanted):
            return self._there(read)
        # Of a list it may be an element, of an object a key: both stand in their text as well.
        parts = (AnyRun(), Text(wanted), AnyRun())
        return Compare(field_, Like(parts, cased=not read.folded))

    def _ordered(self, read: Read, op: str, value: Any) -> Predicate:
        field_ = self._field(read)
        if field_ is None or isinstance(value, bool) or not isinstance(value, int | float):
            return _TRUE
        if isinstance(read.default, int | float):
            return _TRUE
        # True and False are numbers in Python, and none here.
        number = Compare(field_, Number(op, value))  # type: ignore[arg-type]
        return Or((number, Compare(field_, Equals(True)), Compare(field_, Equals(False))))  # noqa: FBT003

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _STEPS_LIMIT:
            raise _TooMuch


def _may_return(node: ast.AST) -> bool:
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return True
    return isinstance(node, ast.Return) and not (
        node.value is None or (isinstance(node.value, ast.Constant) and not node.value.value)
    )


def _copy(frame: _Frame) -> _Frame:
    return _Frame(frame.module, dict(frame.names), frame.local, frame.depth)


# --- tests --------------------------------------------------------------------------------


def _members(value: Any) -> list[Any] | None:
    if isinstance(value, tuple) and len(value) <= _MEMBERS_LIMIT:
        return list(value)
    return None


def _alike(default: Any, value: Any) -> bool:
    if isinstance(default, str) and isinstance(value, str):
        return default.lower() == value.lower()
    return bool(default == value)


def _both(*parts: Predicate) -> Predicate:
    if _FALSE in parts:
        return _FALSE
    items = _distinct(item for p in parts for item in (p.items if isinstance(p, And) else (p,)))
    return items[0] if len(items) == 1 else And(items)


def _either(*parts: Predicate) -> Predicate:
    if _TRUE in parts:
        return _TRUE
    items = _distinct(item for p in parts for item in (p.items if isinstance(p, Or) else (p,)))
    return items[0] if len(items) == 1 else Or(items)


def _distinct(items: Iterable[Predicate]) -> tuple[Predicate, ...]:
    # By how they are written: to Python, 0 and False are the same.
    return tuple({repr(item): item for item in items}.values())


def _size(node: Predicate) -> int:
    if isinstance(node, And | Or):
        return 1 + sum(map(_size, node.items))
    return 1
