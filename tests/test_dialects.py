"""Every sample rule: its IR, and what the engine says of its hits and misses.

A sample is `tests/samples/dialects/<dialect>/<story>/` with `rule.yml` (or `.yaml`), the IR it
lowers to (`rule.ir.json`), and documents it must and must not match (`hits.jsonl`,
`misses.jsonl`).
`python tests/test_dialects.py --accept` writes the IR of new stories, for review.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from trailhound.dialects import DIALECTS
from trailhound.dialects.contract import RuleFile
from trailhound.engine.explain import explain
from trailhound.engine.match import matcher
from trailhound.engine.plan import SourceShape, make_plan
from trailhound.model.logsource import LogSource, Route
from trailhound.rules.book import dump_books, link, load_books
from trailhound.rules.ir import Rule

SAMPLES = Path(__file__).parent / "samples" / "dialects"
STORIES = sorted(path.parent for path in SAMPLES.glob("*/*/rule.y*ml"))
PLACEHOLDERS = {"admins": ("root", "toor"), "hosts": ("a.b", "c.d")}


def read_rule(story: Path) -> Rule:
    dialect = next(d for d in DIALECTS if d.name == story.parent.name)
    (path,) = story.glob("rule.y*ml")
    file = RuleFile(path.name, path.read_bytes())
    found = {name: (story / name).read_bytes() for name in dialect.siblings(file)}
    file = replace(file, siblings=found)
    assert dialect.recognises(file)
    book = dialect.read(file, PLACEHOLDERS)
    assert book.errors == ()
    assert load_books(dump_books([book])) == [book]
    # The window that makes one alert of many matches is no part of a story.
    (rule,) = [rule for rule in link([book]).rules if rule.predicate is not None]
    return rule


def documents(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ir_of(rule: Rule) -> dict[str, object]:
    return {
        "predicate": json.loads(msgspec.json.encode(rule.predicate)),
        "notes": [note.text for note in rule.notes],
    }


@pytest.mark.parametrize("story", STORIES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_story(story: Path) -> None:
    rule = read_rule(story)
    assert ir_of(rule) == json.loads((story / "rule.ir.json").read_text())
    predicate = rule.predicate
    assert predicate is not None
    matches = matcher(predicate)
    shape = SourceShape("s", (Route(LogSource("test"), "v"), Route(rule.logsource, "v")))
    view = make_plan([rule], [shape]).views["s", "v"]
    hits, misses = documents(story / "hits.jsonl"), documents(story / "misses.jsonl")
    assert hits
    assert misses
    for expected, found in ((True, hits), (False, misses)):
        for document in found:
            assert matches(document) is expected, document
            assert explain(predicate, document).matched is expected, document
            if expected:
                assert view.candidates(document), f"the gate holds back {document}"


if __name__ == "__main__" and "--accept" in sys.argv:
    for story in STORIES:
        text = json.dumps(ir_of(read_rule(story)), indent=1, ensure_ascii=False)
        (story / "rule.ir.json").write_text(text + "\n")
