"""What must be so of an event for a rule in Python to match: a test that is cheap, and no more.

Read from the syntax of `rule(event)`, which is not run. Each expression is asked what must be
so where it is true, and where it is false; whatever is not understood may be so or not. Only
conditions that ask for a value are kept (`eventName is 'X'`), never that one is missing: a field
has more values here than in Python (lists are entered), so that a test may let too much
through, and never holds back what could match.
"""

import ast
from dataclasses import dataclass, field
from typing import Any

from trailhound.dialects.panther.conditions import (
    FALSE,
    ORDER,
    TRUE,
    Conditions,
    Constant,
    Read,
    Value,
    both,
    either,
)
from trailhound.dialects.panther.logs import OWN
from trailhound.dialects.panther.syntax import Module, Modules, bound_by
from trailhound.rules.ir import And, Or, Predicate

_DEPTH_LIMIT = 12
_STEPS_LIMIT = 4_000
_SIZE_LIMIT = 400
"""Nodes of a test; a larger one is not cheap."""
_MEMBERS_LIMIT = 2_000


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
    return [] if found == TRUE or _size(found) > _SIZE_LIMIT else [found]


class _Reading:
    """Reads the functions of one rule."""

    def __init__(self, modules: Modules, log_type: str) -> None:
        self._modules = modules
        self._log_type = log_type
        self._tests = Conditions(log_type)
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
            return TRUE
        names: dict[str, Value] = {
            parameter.arg: value
            for parameter, value in zip(parameters.args, arguments, strict=True)
        }
        bound = [name for node in ast.walk(function) for name in bound_by(node)]
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
                    return FALSE
                case ast.Return(value=ast.expr() as value):
                    return self._holds(value, frame)
                case ast.Raise():
                    return FALSE
                case ast.If():
                    rest = body[at + 1 :]
                    yes = self._holds(statement.test, frame)
                    no = self._fails(statement.test, frame)
                    return either(
                        both(yes, self._block([*statement.body, *rest], _copy(frame))),
                        both(no, self._block([*statement.orelse, *rest], _copy(frame))),
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
                        return TRUE
                    self._forget(statement, frame)
        return FALSE

    def _forget(self, statement: ast.stmt, frame: _Frame) -> None:
        """Know no longer what a statement may have given other values."""
        for node in ast.walk(statement):
            for name in bound_by(node):
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
                return both(*[self._holds(value, frame) for value in node.values])
            case ast.BoolOp(op=ast.Or()):
                return either(*[self._holds(value, frame) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return self._fails(node.operand, frame)
            case ast.IfExp():
                return either(
                    both(self._holds(node.test, frame), self._holds(node.body, frame)),
                    both(self._fails(node.test, frame), self._holds(node.orelse, frame)),
                )
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(left, op, right, frame, negated=False)
            case ast.Call():
                found = self._called(node, frame)
                if found is not None:
                    return found
        return self._tests.true(self._value(node, frame))

    def _fails(self, node: ast.expr, frame: _Frame) -> Predicate:
        """Return what must be so where an expression is false."""
        self._step()
        match node:
            case ast.BoolOp(op=ast.And()):
                return either(*[self._fails(value, frame) for value in node.values])
            case ast.BoolOp(op=ast.Or()):
                return both(*[self._fails(value, frame) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return self._holds(node.operand, frame)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(left, op, right, frame, negated=True)
        value = self._value(node, frame)
        return FALSE if isinstance(value, Constant) and value.value else TRUE

    def _compared(
        self, left: ast.expr, op: ast.cmpop, right: ast.expr, frame: _Frame, *, negated: bool
    ) -> Predicate:
        a, b = self._value(left, frame), self._value(right, frame)
        if isinstance(a, Constant) and isinstance(b, Read) and isinstance(op, ast.Eq | ast.NotEq):
            a, b = b, a
        same = ast.NotEq if negated else ast.Eq
        among = ast.NotIn if negated else ast.In
        if isinstance(op, ast.In) and not negated and isinstance(a, Constant):
            return self._tests.holding(b, a.value) if isinstance(b, Read) else TRUE
        if isinstance(op, ast.NotIn) and negated and isinstance(a, Constant):
            return self._tests.holding(b, a.value) if isinstance(b, Read) else TRUE
        if not isinstance(a, Read) or not isinstance(b, Constant):
            return TRUE
        if isinstance(op, same):
            return self._tests.is_one_of(a, [b.value])
        if isinstance(op, among):
            members = _members(b.value)
            return self._tests.is_one_of(a, members) if members is not None else TRUE
        if type(op) in ORDER:
            return self._tests.ordered(a, ORDER[type(op)][negated], b.value)
        if isinstance(op, ast.IsNot if not negated else ast.Is) and b.value is None:
            return self._tests.there(a) if a.default is None else TRUE
        return TRUE

    def _called(self, node: ast.Call, frame: _Frame) -> Predicate | None:
        """Return what must be so where a call is true; None where it is like any value."""
        match node:
            case ast.Call(func=ast.Attribute(value=subject, attr="startswith" | "endswith" as how)):
                read = self._value(subject, frame)
                wanted = self._value(node.args[0], frame) if len(node.args) == 1 else None
                if isinstance(read, Read) and isinstance(wanted, Constant):
                    return self._tests.affixed(read, wanted.value, how)
                return TRUE
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
        join = either if how == "any" else both
        match node:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                if any(isinstance(part, ast.Starred) for part in parts):
                    return TRUE
                return join(*[self._holds(part, frame) for part in parts])
            case (
                ast.GeneratorExp(elt=part, generators=[over])
                | ast.ListComp(elt=part, generators=[over])
            ):
                listed = self._value(over.iter, frame)
                members = _members(listed.value) if isinstance(listed, Constant) else None
                if members is None or not isinstance(over.target, ast.Name) or over.ifs:
                    return TRUE
                found = []
                for member in members:
                    inner = _copy(frame)
                    inner.names[over.target.id] = Constant(member)
                    found.append(self._holds(part, inner))
                return join(*found)
        return TRUE

    def _inner(self, name: str, arguments: list[ast.expr], frame: _Frame) -> Predicate | None:
        if any(isinstance(argument, ast.Starred) for argument in arguments):
            return TRUE
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
        return TRUE

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


def _members(value: Any) -> list[Any] | None:
    if isinstance(value, tuple) and len(value) <= _MEMBERS_LIMIT:
        return list(value)
    return None


def _size(node: Predicate) -> int:
    if isinstance(node, And | Or):
        return 1 + sum(map(_size, node.items))
    return 1
