"""Laws of matching: gates lose nothing, explanations agree, alternatives are just faster."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rule_strategies import documents, predicates, tests
from trailhound.engine.explain import explain
from trailhound.engine.gates import Candidate, gates_for
from trailhound.engine.match import matcher
from trailhound.engine.tests import any_of, check_of
from trailhound.engine.values import getter
from trailhound.model.findings import RuleInfo
from trailhound.model.levels import Level
from trailhound.rules.book import RuleBook, dump_books, load_books
from trailhound.rules.ir import Field, IsNull, Path, Predicate, Rule, SameAs

DISCRIMINATORS: tuple[Path, ...] = (("a",), ("c", "d"))


def alive(rules: list[Candidate], document: object, discriminators: tuple[Path, ...]) -> set[int]:
    gates = gates_for(rules, discriminators, lambda path: len(path) <= 2)
    found = {rule.index for rule in (*gates.free, *gates.by_text.alive(document))}
    for gate in gates.by_fields:
        read = (getter(Field(".".join(path), (path,))) for path in gate.paths)
        found.update(rule.index for rule in gate.alive(tuple(tuple(r(document)) for r in read)))
    return found


@settings(max_examples=1500)
@given(st.lists(predicates, min_size=1, max_size=5), documents, st.booleans())
def test_gates_hold_back_only_what_cannot_match(
    rules: list[Predicate], document: dict[str, object], joint: bool
) -> None:
    candidates = [Candidate(i, rule, matcher(rule)) for i, rule in enumerate(rules)]
    matching = {rule.index for rule in candidates if rule.matches(document)}
    assert matching <= alive(candidates, document, DISCRIMINATORS if joint else ())


@settings(max_examples=1000)
@given(predicates, documents)
def test_the_explanation_has_the_verdict_of_the_match(
    predicate: Predicate, document: dict[str, object]
) -> None:
    assert explain(predicate, document).matched == matcher(predicate)(document)


@given(st.lists(tests, min_size=1, max_size=5), documents)
def test_alternatives_together_are_alternatives_one_by_one(
    alternatives: list[object], document: dict[str, object]
) -> None:
    simple = [test for test in alternatives if not isinstance(test, IsNull | SameAs)]
    if not simple:
        return
    together = any_of(simple)  # type: ignore[arg-type]
    for value in document.values():
        assert together(value) == any(check_of(test)(value) for test in simple)  # type: ignore[arg-type]


@given(predicates)
def test_the_ir_survives_json(predicate: Predicate) -> None:
    info = RuleInfo(uid="u", title="t", level=Level.LOW, dialect="sigma", path="p", line=1)
    books = [RuleBook("p", (Rule(info=info, predicate=predicate),))]
    assert load_books(dump_books(books)) == books
