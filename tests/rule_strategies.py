"""Random predicates and documents that have a fair chance to meet."""

from typing import Any

from hypothesis import strategies as st

from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    IsNull,
    Keyword,
    Like,
    Not,
    Number,
    Or,
    Order,
    Predicate,
    Regex,
    SameAs,
    Some,
    Step,
    Text,
)

NAMES = ("a", "b", "c.d", "c.e", "f.g.h")
TEXTS = ("get", "Create", "x", "pods/exec", "", "403", "true")

steps = st.lists(
    st.sampled_from(
        (
            Step("lower"),
            Step("json"),
            Step("length"),
            Step("count"),
            Step("join", (",",)),
            Step("last"),
            Step("sum"),
            Step("basename"),
        )
    ),
    max_size=2,
).map(tuple)
plain_fields = st.sampled_from(NAMES).map(lambda name: Field(name, (tuple(name.split(".")),)))
fields = (
    plain_fields
    | st.just(Field("either", (("a",), ("c", "d"))))
    | st.builds(lambda field, via: Field(field.name, field.paths, via), plain_fields, steps)
    | st.builds(lambda via: Field("either", (("a",), ("c", "d")), via), steps)
)
texts = st.sampled_from(TEXTS)
scalars = texts | st.sampled_from((403, 1, 0, 1.5, True, False, None, 2**70))
parts = st.lists(
    st.sampled_from((AnyRun(), Any1())) | texts.filter(bool).map(Text), min_size=1, max_size=4
).map(tuple)
tests = st.one_of(
    st.builds(Equals, scalars.filter(lambda v: v is not None), st.booleans()),
    st.builds(Like, parts, st.booleans()),
    st.builds(Regex, st.sampled_from(("^g", "e$", "40[0-9]", "(?!x)e")), st.booleans()),
    st.builds(Number, st.sampled_from(("lt", "lte", "gt", "gte")), st.sampled_from((0, 1, 403))),
    st.builds(Order, st.sampled_from(("lt", "lte", "gt", "gte")), texts),
    st.just(IsNull()),
    st.builds(SameAs, fields),
)


def _deeper(inner: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    several = st.lists(inner, max_size=4).map(tuple)
    return st.one_of(
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(Not, inner),
        st.builds(AtLeast, st.integers(0, 3), several),
        st.builds(Some, fields, inner, st.booleans()),
    )


leaves = st.one_of(
    st.builds(Compare, fields, tests),
    st.builds(Compare, fields, tests),
    st.builds(Exists, fields),
    st.builds(Keyword, st.builds(Equals, texts)),
)
predicates: st.SearchStrategy[Predicate] = st.recursive(leaves, _deeper, max_leaves=8)

values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("d", "e", "g", "h", "g.h")), inner, max_size=3)
    ),
    max_leaves=5,
)
documents: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(("a", "b", "c", "f", "c.d", "f.g")), values, max_size=6
)
