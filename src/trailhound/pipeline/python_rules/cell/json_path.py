"""JSON paths of data models, as jsonpath-ng reads them.

Read: an optional `$`; names after dots, in brackets or in quotes; `*`, `[*]`, `[2]`, `[-1]`,
`[1:3]`, `..name`; filters `[?(@.name == 'x' & @.size > 3)]` with `==`, `!=`, `<`, `<=`, `>`, `>=`
or a name alone, which must be there. As there, a value that is no list counts for indexes as
list of one, and a name finds nothing in a list. What else jsonpath-ng has (functions,
arithmetic, sorting, union, parent) raises ValueError with the path in it.
"""

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

Place = tuple[tuple[str, ...], Any]
"""The steps to a value, as written in a full path, and the value."""
Step = Callable[[Place], Iterator[Place]]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<descend>\.\.) | (?P<dot>\.) | (?P<root>\$) | (?P<star>\*)
    | (?P<filter>\[\s*\?) | (?P<open>\[) | (?P<close>\])
    | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<name>[A-Za-z_@][\w@-]*) | (?P<number>-?\d+) | (?P<colon>:)
    )""",
    re.VERBOSE,
)
_CONDITION = re.compile(
    r"""\s*(?:@\s*\.\s*)?(?P<name>[A-Za-z_][\w.-]*)\s*
    (?:(?P<operator>==|=|!=|<=|>=|<|>)\s*
       (?P<value>'[^']*'|"[^"]*"|-?\d+(?:\.\d+)?|true|false))?\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class JsonPath:
    """A path, read once.

    Raises:
        ValueError: The text is no path, or asks what is not read here.
    """

    def __init__(self, text: str):
        self.text = text
        self.steps = list(_Reader(text).steps())

    def find(self, document: Any) -> list[tuple[str, Any]]:
        """Return full path and value of every place that the path leads to."""
        places: list[Place] = [((), document)]
        for step in self.steps:
            places = [found for place in places for found in step(place)]
        return [(".".join(steps) or "$", value) for steps, value in places]


class _Reader:
    def __init__(self, text: str):
        self.text = text
        self.at = 0

    def steps(self) -> Iterator[Step]:
        kind, token = self._next()
        if kind == "root":
            kind, token = self._next()
        elif kind in ("name", "quoted", "star"):
            yield self._named(kind, token)
            kind, token = self._next()
        elif kind == "end":
            raise self._error()
        while kind != "end":
            if kind in ("dot", "descend"):
                if kind == "descend":
                    yield _descend
                kind, token = self._next()
                if kind in ("name", "quoted", "star"):
                    yield self._named(kind, token)
                    kind, token = self._next()
                    continue
            if kind == "open":
                yield self._bracket()
            elif kind == "filter":
                yield self._filter()
            else:
                raise self._error()
            kind, token = self._next()

    def _next(self) -> tuple[str, str]:
        if not self.text[self.at :].strip():
            return "end", ""
        match = _TOKEN.match(self.text, self.at)
        if match is None or match.lastgroup is None:
            raise self._error()
        self.at = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _named(self, kind: str, token: str) -> Step:
        if kind == "star":
            return _every_member
        name = re.sub(r"\\(.)", r"\1", token[1:-1]) if kind == "quoted" else token
        return lambda place: _member(place, name)

    def _bracket(self) -> Step:
        kind, token = self._next()
        step: Step
        if kind == "star":
            step = _every_item
        elif kind in ("name", "quoted"):
            step = self._named(kind, token)
        elif kind in ("number", "colon"):
            parts = [""]
            while kind in ("number", "colon"):
                if kind == "colon":
                    parts.append("")
                else:
                    parts[-1] += token
                before = self.at
                kind, token = self._next()
            self.at = before
            bounds = [int(part) if part else None for part in parts]
            if len(bounds) == 1:
                step = _item(bounds[0] or 0)
            elif len(bounds) <= 3 and bounds[2:] != [0]:
                step = _slice(slice(*bounds))
            else:
                raise self._error()
        else:
            raise self._error()
        if self._next()[0] != "close":
            raise self._error()
        return step

    def _filter(self) -> Step:
        end = re.compile(r"""(?:[^'"\]]|'[^']*'|"[^"]*")*\]""").match(self.text, self.at)
        if end is None:
            raise self._error()
        inside = self.text[self.at : end.end() - 1].strip()
        self.at = end.end()
        if inside.startswith("(") and inside.endswith(")"):
            inside = inside[1:-1]
        conditions = []
        position = 0
        while True:
            match = _CONDITION.match(inside, position)
            if match is None:
                raise self._error()
            conditions.append(_condition(match))
            position = match.end()
            if position == len(inside):
                return lambda place: _kept(place, conditions)
            if inside[position] != "&":
                raise self._error()
            position += 1

    def _error(self) -> ValueError:
        return ValueError(f"JSON path not understood: {self.text!r}, near character {self.at}")


def _member(place: Place, name: str) -> Iterator[Place]:
    steps, value = place
    if isinstance(value, dict) and name in value:
        yield (*steps, name), value[name]


def _every_member(place: Place) -> Iterator[Place]:
    steps, value = place
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*steps, name), member


def _items(value: Any) -> Any:
    return value if isinstance(value, list | str) else [value]


def _item(index: int) -> Step:
    def step(place: Place) -> Iterator[Place]:
        steps, value = place
        items = _items(value)
        if -len(items) <= index < len(items):
            yield (*steps, f"[{index}]"), items[index]

    return step


def _slice(wanted: slice) -> Step:
    def step(place: Place) -> Iterator[Place]:
        steps, value = place
        items = value if isinstance(value, list) else [value]
        for index in range(len(items))[wanted]:
            yield (*steps, f"[{index}]"), items[index]

    return step


_every_item = _slice(slice(None))


def _descend(place: Place) -> Iterator[Place]:
    waiting = [place]
    while waiting:
        steps, value = here = waiting.pop()
        yield here
        below: list[Place] = []
        if isinstance(value, dict):
            below = [((*steps, name), member) for name, member in value.items()]
        elif isinstance(value, list):
            below = [((*steps, f"[{index}]"), item) for index, item in enumerate(value)]
        waiting += reversed(below)


def _condition(match: re.Match[str]) -> Callable[[Any], bool]:
    path = match["name"].split(".")
    wanted: Any = match["value"]
    if wanted is not None:
        if wanted[0] in "'\"":
            wanted = wanted[1:-1]
        elif wanted.lower() in ("true", "false"):
            wanted = wanted.lower() == "true"
        else:
            wanted = float(wanted) if "." in wanted else int(wanted)
    compare = _COMPARE.get(match["operator"] or "")

    def holds(value: Any) -> bool:
        for name in path:
            if not isinstance(value, dict) or name not in value:
                return False
            value = value[name]
        if compare is None:
            return True
        try:
            return bool(compare(value, wanted))
        except TypeError:
            return False

    return holds


def _kept(place: Place, conditions: list[Callable[[Any], bool]]) -> Iterator[Place]:
    steps, value = place
    if isinstance(value, list):
        for index, item in enumerate(value):
            if all(holds(item) for holds in conditions):
                yield (*steps, f"[{index}]"), item
