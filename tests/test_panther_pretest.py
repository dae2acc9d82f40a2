"""The test before a rule in Python holds back nothing that the rule, run for real, matches."""

import ast
import textwrap
from collections.abc import Mapping
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.dialects.panther.logs import LOG_TYPES, SPELLED
from trailhound.dialects.panther.pretest import pretest
from trailhound.dialects.panther.syntax import Modules
from trailhound.engine.gates import anchors
from trailhound.engine.match import matcher
from trailhound.rules.ir import And, Predicate
from trailhound.rules.python import DataModel, ModelField
from trailhound.sources import all_sources

LOG = "AWS.CloudTrail"
HELPERS = """
    from functools import reduce
    from collections.abc import Mapping

    READERS = ("ListUsers", "GetUser")

    def deep_get(dictionary, *keys, default=None):
        out = reduce(
            lambda d, key: d.get(key, default) if isinstance(d, Mapping) else default,
            keys, dictionary,
        )
        return default if out is None else out

    def failed(event):
        return event.get("errorCode") is not None

    def reads(event):
        if failed(event):
            return False
        return event.get("eventName") in READERS
"""


class Event(dict):  # type: ignore[type-arg]
    def deep_get(self, *keys: str, default: Any = None) -> Any:
        out = reduce(
            lambda d, key: d.get(key, default) if isinstance(d, Mapping) else default, keys, self
        )
        return default if out is None else out

    def udm(self, name: str, default: Any = None) -> Any:
        node: Any = self
        for step in MAPPED[name].split("."):
            if not isinstance(node, dict) or step not in node:
                return default
            node = node[step]
        return node


MAPPED = {"who": "userIdentity.userName", "name": "eventName"}
MODEL = DataModel(
    model_id="M",
    path="m.yml",
    log_types=(LOG,),
    mappings=(
        ModelField("who", "$.userIdentity.userName"),
        ModelField("name", "eventName"),
        ModelField("kind", method="kind_of"),
    ),
)


def modules() -> Modules:
    found = Modules()
    found.add("helpers", ast.parse(textwrap.dedent(HELPERS)))
    found.add_model(MODEL)
    return found


def asked_before(source: str) -> Predicate:
    parts = pretest(ast.parse(textwrap.dedent(source)), modules(), LOG)
    return And(tuple(parts))


def run(source: str, event: dict[str, Any]) -> bool:
    helpers: dict[str, Any] = {}
    exec(textwrap.dedent(HELPERS), helpers)
    names: dict[str, Any] = {k: v for k, v in helpers.items() if not k.startswith("__")}
    body = "\n".join(
        line for line in textwrap.dedent(source).splitlines() if not line.startswith("from helpers")
    )
    try:
        exec(body, names)
        return bool(names["rule"](Event(event)))
    except Exception:
        return False


# --- a grammar of rules -------------------------------------------------------------------

NAMES = ("eventName", "errorCode", "awsRegion", "readOnly")
VALUES = ("", "a", "A", "ab", "GetUser", 0, 1, True, False, None, [], ["a"], {"a": 1}, 1.0)
texts = st.sampled_from(['"a"', '"A"', '"ab"', '"GetUser"', '""'])
constants = st.one_of(texts, st.sampled_from(["0", "1", "True", "False", "None"]))
lists = st.lists(constants, max_size=3).map(lambda items: f"({''.join(i + ', ' for i in items)})")
name = st.sampled_from(NAMES)
reads = st.one_of(
    name.map(lambda n: f'event.get("{n}")'),
    st.tuples(name, constants).map(lambda p: f'event.get("{p[0]}", {p[1]})'),
    st.just('event.deep_get("userIdentity", "type")'),
    st.tuples(constants).map(lambda p: f'event.deep_get("userIdentity", "type", default={p[0]})'),
    st.just('deep_get(event, "userIdentity", "userName", default="")'),
    st.just('event.get("userIdentity", {}).get("type")'),
    st.just('(event.get("userIdentity") or {}).get("type", "a")'),
    st.just('event["eventName"]'),
    st.sampled_from(['event.udm("who")', 'event.udm("name", default="a")', 'event.udm("kind")']),
    name.map(lambda n: f'event.get("{n}", "").lower()'),
    texts.map(lambda t: f'(event.get("eventName") or {t})'),
    st.sampled_from(["v", "w", "LIST", 'event.get("p_log_type")', 'event.get("eventname")']),
)
leaves = st.one_of(
    reads,
    st.tuples(reads, st.sampled_from(["==", "!="]), constants).map(" ".join),
    st.tuples(constants, st.sampled_from(["==", "!="]), reads).map(" ".join),
    st.tuples(reads, st.sampled_from(["in", "not in"]), lists).map(" ".join),
    st.tuples(reads, st.sampled_from(["in", "not in"]), st.just("LIST")).map(" ".join),
    st.tuples(texts, st.sampled_from(["in", "not in"]), reads).map(" ".join),
    st.tuples(reads, st.sampled_from(["<", ">", "<=", ">="]), st.sampled_from("01")).map(" ".join),
    st.tuples(reads, st.sampled_from(["is", "is not"]), st.just("None")).map(" ".join),
    st.tuples(reads, st.sampled_from(["startswith", "endswith"]), texts).map(
        lambda p: f"{p[0]}.{p[1]}({p[2]})"
    ),
    st.just('any(x in event.get("eventName", "") for x in LIST)'),
    st.just('any(event.get("eventName", "").startswith(x) for x in LIST)'),
    st.just('all([event.get("eventName") == "a", event.get("errorCode")])'),
    st.sampled_from(["reads(event)", "failed(event)", "mine(event)", 'mine(event.get("x"))']),
    st.just('(v := event.get("errorCode")) == "a"'),
    st.sampled_from(["True", "False", "unknown(event)", "len(v or '') > 1"]),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({' '.join(p)})"),
        inner.map(lambda one: f"not ({one})"),
        inner.map(lambda one: f"bool({one})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
    ),
    max_leaves=4,
)


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


statements = st.one_of(
    conditions.map(lambda c: [f"if {c}:", "    return False"]),
    conditions.map(lambda c: [f"if {c}:", "    return True"]),
    reads.map(lambda r: [f"v = {r}"]),
    st.tuples(conditions, reads).map(
        lambda p: [f"if {p[0]}:", f"    w = {p[1]}", "else:", '    w = "a"']
    ),
    st.tuples(conditions, conditions).map(
        lambda p: [
            "try:",
            f"    if {p[0]}:",
            f"        return {p[1]}",
            "except Exception:",
            '    v = "ab"',
        ]
    ),
    conditions.map(lambda c: ["for w in LIST:", f"    if {c}:", "        return True"]),
    conditions.map(lambda c: ["for w in LIST:", f"    if {c}:", "        v = w"]),
    conditions.map(
        lambda c: ["with contextlib.suppress(Exception):", f"    if {c}:", "        return False"]
    ),
)


@st.composite
def rules(draw: st.DrawFn) -> str:
    body = [line for part in draw(st.lists(statements, max_size=3)) for line in part]
    inner = draw(conditions)
    return "\n".join(
        [
            "import contextlib",
            "from helpers import deep_get, failed, reads",
            f"LIST = {draw(lists)}",
            "def mine(event):",
            f"    return {inner}" if "mine" not in inner else "    return True",
            "def rule(event):",
            *indented(body),
            f"    return {draw(conditions)}",
        ]
    )


values = st.sampled_from(VALUES)
documents = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(NAMES, values),
        "userIdentity": st.one_of(
            values,
            st.fixed_dictionaries({}, optional={"type": values, "userName": values}),
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(rules(), st.lists(documents, min_size=1, max_size=8))
def test_nothing_that_matches_is_held_back(source: str, events: list[dict[str, Any]]) -> None:
    passes = matcher(asked_before(source))
    for event in events:
        if run(source, event):
            assert passes(event), source


HELD_BACK = [
    ('return event.get("eventName") == "a"', {"eventName": "b"}),
    ('return event.get("eventName") == "a"', {}),
    ('if event["eventName"] != "a":\n        return False\n    return True', {"eventName": "b"}),
    ('n = event.get("eventName")\n    return n in {"a", "b"} and x(event)', {"eventName": "c"}),
    ('return not (event.get("eventName") != "a" or x())', {"eventName": "c"}),
    ('return reads(event)', {"eventName": "PutUser"}),
    ('return all([event.get("eventName") == "a", x()])', {"eventName": "b"}),
    ('return any(event["eventName"].startswith(p) for p in ("a", "b"))', {"eventName": "c"}),
    ('return event.get("eventName", "").lower() == "a"', {"eventName": "b"}),
    ('return event.deep_get("userIdentity", "type") == "Root"', {"userIdentity": {"type": "X"}}),
    ('return event["eventname"] == "a"', {"eventName": "b"}),
    ('return event.get("errorCode")', {"eventName": "b"}),
    ('return event.udm("name") in ("a", "b")', {"eventName": "c"}),
    ('return (event.udm("who") or "x") == "a"', {"userIdentity": {"userName": "b"}}),
    ('return "Get" in event.get("eventName", "")', {"eventName": "PutUser"}),
    ('return False', {"eventName": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "event"), HELD_BACK)
def test_what_is_seen_in_the_syntax_is_held_back(body: str, event: dict[str, Any]) -> None:
    source = f"from helpers import reads\n\ndef rule(event):\n    {body}\n"
    assert not matcher(asked_before(source))(event)


LET_THROUGH = [
    'return event.get("eventName", "a") == "a"',
    'return event.get("p_log_type") == "AWS.CloudTrail"',
    'return event.get("eventName") != "a"',
    'return event.udm("event_type") == "x"',
    'return event.udm("kind") == "x"',
    'return event.udm("name", default="x") == "x"',
    'return event.deep_get("requestParameters", "someName") == "x"',
    'with x():\n        if event["eventName"] != "a":\n            return False\n    return 1',
    'return event.get("userAgent", "").upper() == "X"',
    "return NAMES and event.get('eventName') in NAMES",
]  # fmt: skip


@pytest.mark.parametrize("body", LET_THROUGH)
def test_what_is_not_sure_is_let_through(body: str) -> None:
    source = f"NAMES = []\n\nNAMES.append('x')\n\ndef rule(event):\n    {body}\n"
    assert matcher(asked_before(source))({})


def test_a_test_that_would_be_long_is_none() -> None:
    branches = "\n".join(
        f"    if event.get('awsRegion') == '{n}':\n        v = {n}" for n in range(60)
    )
    assert asked_before(f"def rule(event):\n{branches}\n    return v == 3\n") == And(())
    nested = "not " * 5_000
    assert asked_before(f"def rule(event):\n    return {nested[:800]} event.get('awsRegion')\n")


def test_a_rule_is_gated_by_it() -> None:
    found = asked_before("def rule(event):\n    return event.get('eventName') in ('a', 'b')\n")
    assert [list(anchor) for anchor in anchors(found)] == [[("eventName",)]]


def test_the_spelling_of_fields_is_that_of_the_logs() -> None:
    for log_type, names in SPELLED.items():
        for logsource in LOG_TYPES[log_type]:
            known = {
                field.name.replace("[]", "")
                for source in all_sources()
                for route in source.routes
                if route.serves(logsource)
                for field in source.fields
                if field.view in ("", route.view)
            }
            assert set(names) <= known, log_type
            folded = [name.lower() for name in known]
            assert all(folded.count(name.lower()) == 1 for name in names), log_type


def test_every_log_type_is_served() -> None:
    for log_type, logsources in LOG_TYPES.items():
        for logsource in logsources:
            served = [s for s in all_sources() if any(r.serves(logsource) for r in s.routes)]
            assert served, log_type
