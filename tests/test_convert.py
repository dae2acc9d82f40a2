"""Rules in other forms: SQL selects what the engine matches, files load again, nothing is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from trailhound.cli.main import main
from trailhound.engine.matching import Hit, match_event
from trailhound.intake.files import find_inputs
from trailhound.lake.lake import Lake, Times
from trailhound.lake.sql_shell import ask
from trailhound.lake.store import Writer
from trailhound.model.events import Event
from trailhound.pipeline.convert import Conversion, Target, convert, files_of, text_in
from trailhound.pipeline.ingest import ingest
from trailhound.pipeline.rulebooks import BUILTIN, load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.rules.book import link, load_books
from trailhound.rules.ir import Rule

DOCS = Path(__file__).parent.parent / "docs"
CORPORA = Path(__file__).parents[2] / "shared" / "corpora"
LOGS = sorted(
    str(path)
    for pattern in ("kubernetes/p*", "linux/a*", "aws/s*", "falco/*severe*")
    for path in BUILTIN.glob(f"{pattern}.hits.*")
)
FALCO = """
- macro: pods
  condition: ka.target.resource=pods
- rule: Pod made
  desc: >
    Somebody made a pod.
  condition: pods and ka.verb in (create, "up\\ndate") and not ka.user.name startswith "system:"
  output: pod by %ka.user.name
  priority: ERROR
  source: k8s_audit
  tags: [T1610, mitre_execution, k8s, "odd tag!"]
- rule: Image of docker
  desc: computed
  condition: pods
             and ka.req.pod.containers.image.repository in (docker.io/alpine)
  output: x
  priority: NOTICE
  source: k8s_audit
- rule: "Off\\n; DROP TABLE stored; --"
  desc: off
  condition: pods
  output: x
  enabled: false
  priority: NOTICE
  source: k8s_audit
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("lake")
    with Writer(folder) as writer:
        ingest(writer, find_inputs(LOGS))
    return Lake(folder)


def converted(paths: list[str], target: Target) -> tuple[Conversion, tuple[Rule, ...]]:
    loaded = load_rules(paths, builtin=False, placeholders={}, cache=None)
    return convert(loaded.ruleset.rules, target), loaded.ruleset.rules


def everything(lake: Lake) -> Iterator[Event]:
    for kept in lake.sources():
        yield from lake.select(kept.source, None, Times())


def test_sql_selects_what_the_engine_matches(lake: Lake) -> None:
    files = [f"{log.split('.hits.')[0]}.yml" for log in LOGS]
    loaded = load_rules(files, builtin=False, placeholders={}, cache=None)
    # What feeds windows is a rule as well: asked for by itself, it makes findings.
    rules = [msgspec.structs.replace(r, silent=False) for r in loaded.ruleset.rules if r.predicate]
    plan = plan_for(rules)
    matched: dict[str, set[str]] = {rule.info.uid: set() for rule in rules}
    for event in everything(lake):
        for verdict in match_event(plan, event):
            if isinstance(verdict, Hit):
                matched[plan.rules[verdict.rule].info.uid].add(event.uid)
    assert sum(map(bool, matched.values())) > 8
    conversion = convert(rules, "sql")
    assert not conversion.refused
    for one in conversion.converted:
        answer = ask(lake, one.sql)
        uids = {str(row[answer.names.index("uid")]).replace("-", "") for row in answer.rows}
        assert uids == {uid.replace("-", "") for uid in matched[one.rule.info.uid]}, one.sql


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_converted_sql_is_what_hunt_runs(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "falco.yaml").write_text(FALCO)
    out = tmp_path / "sql"
    code, text, err = run(
        capsys, "rules", "convert", str(tmp_path / "falco.yaml"), "--to", "sql", "-o", f"{out}/"
    )
    assert (code, text) == (1, "")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["falco-off-drop-table-stored.sql", "falco-pod-made.sql"]
    assert f"{tmp_path}/falco.yaml:15:18: " in err
    assert "2 of 3 rules converted; 1 not" in err
    for name in names:
        sql = (out / name).read_text()
        code, _, err = run(capsys, "hunt", "--lake", str(lake.folder), "--sql", sql)
        assert (code, err) == (0, "")


def test_converted_sigma_is_loaded_and_says_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "falco.yaml"
    rules.write_text(FALCO)
    code, text, err = run(capsys, "rules", "convert", str(rules), "--to", "sigma")
    assert code == 1
    assert "tags:\n- attack.t1610\n- attack.execution\n- falco.k8s\n- falco.odd-tag\n" in text
    assert "not converted: 'Image of docker': " in err
    assert ":15:18: ka.req.pod.containers.image.repository is computed" in err
    assert "'Off\\n; DROP TABLE stored; --'" in err
    assert "differs, in 1 rule: its own message (output) is not written to findings" in err
    target = tmp_path / "sigma.yml"
    code, text, _ = run(
        capsys, "rules", "convert", str(rules), "--to", "sigma", "-o", str(target), "--json"
    )
    report = json.loads(text)
    assert [one["title"] for one in report["converted"]] == ["Pod made"]
    assert report["converted"][0]["text"] == target.read_text()
    assert [(one["line"], one["column"]) for one in report["refused"]] == [(15, 18), (19, 3)]
    loaded = load_rules([str(target)], builtin=False, placeholders={}, cache=None)
    assert loaded.ruleset.errors == ()
    assert [rule.info.title for rule in loaded.ruleset.rules] == ["Pod made"]


def test_the_ir_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    window = str(BUILTIN / "kubernetes" / "many_secrets_read.yml")
    code, text, _ = run(capsys, "rules", "convert", window, "--to", "ir")
    assert code == 0
    loaded = load_rules([window], builtin=False, placeholders={}, cache=None)
    assert link(load_books(text.encode())).rules == loaded.ruleset.rules
    code, _, err = run(capsys, "rules", "convert", window, "--to", "sql")
    assert code == 1
    assert "it counts events over time" in err
    title = "secret read BY name"
    code, text, _ = run(capsys, "rules", "convert", title, "--to", "sql")
    assert code == 0
    assert text.startswith("-- Secret read by name\n")


def test_users_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "rules", "convert", "no such rule", "--to", "sigma")
    assert (code, "no rule file, title or id 'no such rule'" in err) == (2, True)
    code, _, err = run(capsys, "rules", "convert", "Priviledged container", "--to", "sigma")
    assert (code, "; there is 'Privileged container created'" in err) == (2, True)
    broken = tmp_path / "broken.yml"
    broken.write_text("title: x\nlogsource: {product: test}\ndetection: 1\n")
    code, _, err = run(capsys, "rules", "convert", str(broken), "--to", "sigma")
    assert (code, "detection, or one that is not a mapping" in err) == (1, True)
    built_in = str(BUILTIN / "kubernetes" / "pod_exec.yml")
    nowhere = str(tmp_path / "no" / "folder.yml")
    code, _, err = run(capsys, "rules", "convert", built_in, "--to", "sigma", "-o", nowhere)
    assert (code, "cannot write" in err) == (2, True)


def test_no_sql_drives_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = tmp_path / "rule.yml"
    rule.write_text(
        "title: t\nlogsource: {product: kubernetes, service: audit}\n"
        'detection: {s: {"\\e[31mverb": x}, condition: s}\n'
    )
    code, out, err = run(capsys, "rules", "convert", str(rule), "--to", "sql")
    assert (code, out) == (1, "")
    assert "a control character" in err
    assert "\x1b" not in err


def test_files_are_named_after_rule_files(tmp_path: Path) -> None:
    for name in ("a/x.yml", "b/x.yaml", "b/x.yml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FALCO.replace("Pod made", f"Pod made in {name}"))
    loaded = load_rules([str(tmp_path)], builtin=False, placeholders={}, cache=None)
    files = files_of(convert(loaded.ruleset.rules, "sigma"))
    assert sorted(files) == ["a/x.yml", "b/x-2.yml", "b/x.yml"]
    assert files_of(Conversion("sigma")) == {}


def test_every_built_in_rule_comes_through_sigma() -> None:
    conversion, rules = converted([str(BUILTIN)], "sigma")
    assert not conversion.refused
    assert not any(one.differs for one in conversion.converted)
    assert len(conversion.converted) == sum(not rule.silent for rule in rules)
    assert len(text_in("sigma", conversion.converted).split("\n---\n")) == len(rules)


@pytest.mark.corpora
@pytest.mark.parametrize("dialect", ["sigma", "falco", "elastalert"])
def test_the_numbers_of_the_documentation(dialect: str) -> None:
    if not CORPORA.is_dir():
        pytest.skip(f"{CORPORA} is not here")
    row = [dialect]
    for target in ("sigma", "sql", "ir"):
        conversion, _ = converted([str(CORPORA / dialect)], target)  # type: ignore[arg-type]
        done = len(conversion.converted)
        if target == "sigma":
            row.append(str(done + len(conversion.refused)))
        if target != "ir":
            differs = sum(bool(one.differs) for one in conversion.converted)
            row.extend((str(done), str(differs), str(len(conversion.refused))))
    line = "| " + " | ".join(row) + " |"
    assert line in (DOCS / "convert.md").read_text(), line
