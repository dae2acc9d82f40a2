"""What the documentation says, held against the code.

Consoles in documents are run; `make reference` writes their outputs, and `docs/reference`, anew.
"""

import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from sigma.modifiers import modifier_mapping

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import reference  # noqa: E402 - lies in tools, as do its pages
from handbook import consoles  # noqa: E402
from handbook.text import anchor  # noqa: E402

from trailhound.cli import console  # noqa: E402
from trailhound.cli.main import parser  # noqa: E402
from trailhound.dialects import sigma  # noqa: E402
from trailhound.dialects.contract import RuleFile  # noqa: E402
from trailhound.pipeline.serve.settings import load_settings  # noqa: E402

WRITTEN = reference.documents()
"""Documents that people write."""
ALL = [*WRITTEN, *sorted((ROOT / "docs" / "reference").glob("*.md")), ROOT / "CHANGELOG.md"]
OTHERS = [ROOT / "examples" / "demo" / "README.md", ROOT / "benchmarks" / "README.md"]
WITH_CONSOLES = [path for path in WRITTEN if "```console" in path.read_text(encoding="utf-8")]
PROGRAMS = ("trailhound", ".venv/bin/trailhound")
OPERATORS = re.compile(r"[|<>;&]+")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def without_code(document: str) -> str:
    return re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)


def headings(path: Path) -> set[str]:
    return {anchor(h) for h in re.findall(r"^#+ (.+)$", without_code(text(path)), re.MULTILINE)}


# --- the reference -----------------------------------------------------------------------


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_reference_fits_the_code(page: str) -> None:
    path = ROOT / "docs" / "reference" / page
    assert path.read_text(encoding="utf-8") == reference.PAGES[page](), "run `make reference`"


def test_every_page_of_the_reference_is_made_from_the_code() -> None:
    pages = {path.name for path in (ROOT / "docs" / "reference").iterdir()}
    assert pages == set(reference.PAGES)


# --- links -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*ALL, *OTHERS], ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text(path))):
        if re.match(r"[a-z]+://", target):
            continue
        file, _, fragment = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), f"{target} leads nowhere"
        assert place.is_relative_to(ROOT)
        if fragment:
            assert fragment in headings(place), f"{target}: no such heading"


@pytest.mark.parametrize("path", [*WRITTEN, *OTHERS], ids=name)
def test_files_that_are_named_are_there(path: Path) -> None:
    roots = (ROOT, ROOT / "src" / "trailhound", path.parent)
    # Places to come, and files that the reader is told to write.
    told = set(re.findall(r"(?:Save this as|--output|>) `?([\w./-]+\.\w+)", text(path)))
    for named in re.findall(r"`([\w.-]+/[\w./-]*\.(?:py|md|toml|yml|jsonl|log))`", text(path)):
        if named in told or "okta" in named:
            continue
        assert any((root / named).exists() for root in roots), f"no {named}"


# --- command lines -----------------------------------------------------------------------


def command_lines(document: str) -> Iterator[str]:
    """Every command line of ours: in blocks by line, in running text by span."""
    blocks = re.findall(r"^```(?:console|sh)?\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n *", "", block).splitlines()]
    for line in lines:
        # In front may stand a prompt, or another program in a pipe; `make` writes no prompt.
        yield from re.findall(r"(?:^|[|$;&] ?|then |do )((?:\S*/)?trailhound .*)", line.strip())
    yield from re.findall(r"`(trailhound [^`]+)`", without_code(document))
    for pipe in re.findall(r"`([^`]*\| trailhound [^`]+)`", without_code(document)):
        yield pipe.split("| ", 1)[1]


def words_of(line: str) -> list[str]:
    line = re.split(r" {3,}| #", line)[0]  # remarks
    words = []
    for word in shlex.split(line.replace("`", "")):
        if OPERATORS.fullmatch(word) or re.fullmatch(r"\d?>.*", word):
            break
        words.append(word)
    return words


def is_synopsis(line: str) -> bool:
    return "[" in line or "..." in line


def command_names(command: object, above: str = "") -> Iterator[str]:
    yield above
    for action in getattr(command, "_actions", ()):
        if isinstance(action.choices, dict):
            for word, below in action.choices.items():
                yield from command_names(below, f"{above} {word}".strip())


@pytest.mark.parametrize("path", [*ALL, *OTHERS, ROOT / "Makefile"], ids=name)
def test_command_lines_are_understood(path: Path) -> None:
    document = text(path)
    found = list(command_lines(document))
    if path.name == "Makefile":
        found = [
            line.replace("$(DEMO)", "build/demo").replace("$$", "$")
            for line in re.findall(r"\$\(BIN\)/(trailhound .*?)'?$", document, re.MULTILINE)
        ]
    for line in found:
        words = words_of(line)
        if is_synopsis(line) or " ".join(words[1:]) in {"--help", *command_names(parser())}:
            continue
        try:
            parser().parse_args(words[1:])
        except SystemExit as exit_:
            pytest.fail(f"{line!r} is not understood ({exit_.code})")


def test_there_are_command_lines_to_check() -> None:
    found = [line for path in WRITTEN for line in command_lines(text(path))]
    assert len(found) > 20


def options(command: object) -> Iterator[str]:
    for action in getattr(command, "_actions", ()):
        yield from action.option_strings
        for below in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from options(below)


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_options_that_are_named_exist(path: Path) -> None:
    known = set(options(parser()))
    for span in re.findall(r"`([^`\n]+)`", without_code(text(path))):
        first = span.split()[0]
        if not (first.startswith("-") or first in ("trailhound", "scan", "rules", "sources")):
            continue
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", span):
            assert option in known, f"`{span}`: no option {option}"


@pytest.mark.parametrize("path", WITH_CONSOLES, ids=name)
def test_consoles_show_what_commands_print(path: Path, tmp_path: Path) -> None:
    consoles.prepare(tmp_path)
    shown = text(path).split("```console\n")[1:]
    printed = consoles.refreshed(text(path), tmp_path).split("```console\n")[1:]
    for is_, says in zip(printed, shown, strict=True):
        assert is_.split("\n```")[0] == says.split("\n```")[0], "run `make reference`"


# --- what documents claim to be complete -------------------------------------------------


def first_cells(document: str) -> set[str]:
    """Texts in backticks in the first column of tables."""
    rows = re.findall(r"^\| *(`[^|]*?) *\|", document, re.MULTILINE)
    return {span for row in rows for span in re.findall(r"`([^`]+)`", row)}


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    asked = {
        re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0]
        for requirement in (*project["dependencies"], *(r for e in extras.values() for r in e))
    }
    assert first_cells(text(ROOT / "docs" / "dependencies.md")) == asked


def test_every_exit_code_is_explained() -> None:
    codes = {0} | {value for key, value in vars(console).items() if key.startswith("EXIT_")}
    rows = re.findall(r"^\| (\d+) \|", text(ROOT / "docs" / "exit-codes.md"), re.MULTILINE)
    assert {int(row) for row in rows} == codes


def reasons() -> set[str]:
    """Reasons of failures that the code writes out, or gives a name."""
    places = {"ParseFailure": 1, "NotSplit": 1, "JsonFailure": 0, "Aside": 0, "Anomaly": 0}
    found = set()
    for path in (ROOT / "src" / "trailhound").rglob("*.py"):
        tree = ast.parse(text(path))
        named = {
            ast.unparse(target): node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = places.get(node.func.id)
            if place is not None and len(node.args) > place:
                written = node.args[place]
                reason = named.get(ast.unparse(written), written)
                if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                    found.add(reason.value)
    return found - {""}


def test_every_reason_is_explained() -> None:
    document = text(ROOT / "docs" / "bad-input.md").split("## Rules")[0]
    explained = set(re.findall(r"\| `([^`]+)` \|", document))
    assert len(reasons()) > 10
    assert reasons() <= explained
    code = "".join(text(path) for path in (ROOT / "src" / "trailhound").rglob("*.py"))
    for reason in explained:
        assert f'"{reason}"' in code or f'"{re.sub(r" [0-9]+$", " ", reason)}' in code, reason


def test_every_modifier_is_explained() -> None:
    section = text(ROOT / "docs" / "sigma.md").split("## Modifiers")[1].split("\n## ")[0]
    explained = set(re.findall(r"`(\w+)`", section))
    long_names = {"ignorecase": "i", "multiline": "m", "dotall": "s"}
    assert {long_names.get(modifier, modifier) for modifier in modifier_mapping} <= explained


def test_every_room_is_in_the_architecture() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "trailhound").glob("*/__init__.py")}
    table = text(ROOT / "docs" / "architecture.md").split("## The rooms")[1].split("\n## ")[0]
    assert first_cells(table) == rooms


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_rules_in_documents_can_be_used(path: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```$", text(path), re.MULTILINE | re.DOTALL):
        content = next(iter(yaml.safe_load_all(block)))
        if "detection" not in content and "correlation" not in content and "filter" not in content:
            continue
        if "title" not in content:  # an excerpt
            logsource = "logsource: {product: kubernetes, service: audit}\n"
            whole = f"title: Excerpt\nlevel: low\n{logsource}{block}"
        else:
            whole = block
        book = sigma.DIALECT.read(RuleFile("rule.yml", whole.encode()), {"office": ("192.0.2.10",)})
        assert book.errors == ()


# --- settings of serve -------------------------------------------------------------------


def test_settings_in_documents_and_examples_are_understood(tmp_path: Path) -> None:
    shown = re.findall(
        r"^```toml\n(.*?)^```", text(ROOT / "docs/serve.md"), re.MULTILINE | re.DOTALL
    )
    examples = [text(path) for path in sorted((ROOT / "examples/serve").glob("*.toml"))]
    # What stands in a comment is there to be uncommented.
    optional = [
        re.sub(r"^# (?=\[|\"?[\w.]+\"? = )", "", example, flags=re.M) for example in examples
    ]
    assert shown
    assert examples
    for number, settings in enumerate((*shown, *examples, *optional)):
        path = tmp_path / f"{number}.toml"
        path.write_text(settings)
        load_settings(path)
