"""The command as a user runs it: a process, its output, its exit code."""

import csv
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from trailhound.sources import SOURCES

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo"
AUTH = DEMO / "bastion" / "auth.log"
RULE = """title: {title}
id: 11111111-1111-4111-8111-111111111111
logsource: {{product: linux, service: sshd}}
detection:
    selection:
        event: ssh-login
        method: password
        user|expand: '{user}'
    condition: selection
level: {level}
"""


@pytest.fixture
def run(tmp_path: Path):
    def call(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "LC_ALL": "C.UTF-8",
            **more.pop("env", {}),  # type: ignore[dict-item]
        }
        done = subprocess.run(
            [sys.executable, "-m", "trailhound.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            timeout=120,
            check=False,
            **more,  # type: ignore[call-overload]
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    return call


def rule(folder: Path, title: str = "login", user: str = "deploy", level: str = "high") -> Path:
    path = folder / f"{title}.yml"
    path.write_text(RULE.format(title=title, user=user, level=level))
    return path


def test_findings_decide_the_exit_code_only_when_asked(run, tmp_path: Path) -> None:
    mine = ("--no-builtin", "--rules", rule(tmp_path), "--format", "ndjson")
    assert run("scan", AUTH, *mine).returncode == 0
    assert run("scan", AUTH, *mine, "--fail-on", "high").returncode == 1
    assert run("scan", AUTH, *mine, "--fail-on", "critical").returncode == 0
    # What is not shown still counts.
    hidden = run("scan", AUTH, *mine, "--fail-on", "high", "--level", "critical")
    assert (hidden.returncode, hidden.stdout) == (1, "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("scan",),
        ("scan", "/no/such/file"),
        ("scan", "/no/such/*.log"),
        ("scan", AUTH, "--format", "xml"),
        ("scan", AUTH, "--fail-on", "terrible"),
        ("scan", AUTH, "--level", ""),
        ("scan", AUTH, "--jobs", "many"),
        ("scan", AUTH, "--jobs", "257"),
        ("hunt", "--lake", ".", "x", "--limit", "-1"),
        ("hunt", "--lake", ".", "x", "--timeout", "²"),
        ("seal", AUTH, "--ledger", ".", "--retain-days", "0"),
        ("setup", "systemd", "--port", "99999"),
        ("setup", "fluent-bit", "--host", "x", "--port", "0"),
        ("scan", AUTH, "--rules", "/no/such/rule.yml"),
        ("scan", AUTH, "--no-builtin"),
        ("scan", AUTH, "--output", "/no/such/folder/out.json"),
        ("scan", AUTH, "--placeholders", "/no/such.yml"),
        ("scan", AUTH, "--form", "json"),
        ("rules",),
        ("rules", "explain"),
        ("rules", "explain", "no rule has this title"),
        ("rules", "explain", "Command run in a pod", "--against", "/no/such/log"),
        ("sources", "no_such_source"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments))[-40:] or "nothing",
)
def test_mistakes_are_told_in_a_sentence(run, arguments: tuple[object, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("trailhound")


def test_nothing_that_could_be_read_is_a_code_of_its_own(run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("call Bob\n")
    done = run("scan", tmp_path / "notes.txt", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["totals"]["records_lost"] == 1
    assert "not one event could be read" in done.stderr


def test_every_format_is_what_it_says(run, tmp_path: Path) -> None:
    mine = ("scan", AUTH, "--no-builtin", "--rules", rule(tmp_path), "--format")
    document = json.loads(run(*mine, "json").stdout)
    (finding,) = document["findings"]
    assert finding["rule"]["title"] == "login"
    assert finding["actor"] == "deploy"
    assert document["totals"]["events"]["linux_auth"] > 400
    (line,) = run(*mine, "ndjson").stdout.splitlines()
    assert json.loads(line) == finding
    (ocsf,) = run(*mine, "ocsf").stdout.splitlines()
    assert json.loads(ocsf)["class_uid"] == 2004
    header, row = csv.reader(io.StringIO(run(*mine, "csv").stdout))
    assert dict(zip(header, row, strict=True))["actor"] == "deploy"
    assert "login" in run(*mine, "markdown").stdout
    table = run(*mine, "table").stdout
    assert "deploy on bastion" in table
    assert "\x1b" not in table
    assert "\x1b[" in run(*mine, "table", "--colour", "always").stdout
    assert "\x1b" not in run(*mine, "table", env={"NO_COLOR": "1"}).stdout


def test_output_goes_to_a_file(run, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    done = run("scan", AUTH, "--no-builtin", "-r", rule(tmp_path), "-f", "ndjson", "-o", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(out.read_text())["rule"]["title"] == "login"


def test_standard_input_is_read(run, tmp_path: Path) -> None:
    mine = ("--no-builtin", "--rules", rule(tmp_path), "--format", "ndjson")
    done = run("scan", "-", *mine, input=AUTH.read_text())
    (finding,) = map(json.loads, done.stdout.splitlines())
    assert finding["events"][0]["origins"][0]["path"] == "-"


def test_a_named_pipe_is_read_to_its_end_and_waiting_for_it_is_told(run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(AUTH), str(pipe)]) as writer:
        try:
            done = run("scan", pipe, "--json")
        finally:
            writer.kill()
    assert done.returncode == 0
    assert json.loads(done.stdout)["totals"]["events"]["linux_auth"] > 1000
    assert done.stderr == (
        f"trailhound: {pipe} is a named pipe: reading until a writer has come and all have gone\n"
    )


def test_a_reader_that_goes_away_is_no_error(run, tmp_path: Path) -> None:
    command = f"{sys.executable} -m trailhound.cli.main rules list | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_any_locale_can_show_any_title_and_name(run, tmp_path: Path) -> None:
    path = rule(tmp_path, title="Anmeldung für Ägypten 日本")
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    for arguments in (
        ("rules", "list", tmp_path),
        ("rules", "list", "--json", tmp_path),
        ("rules", "lint", "--strict", tmp_path),
        ("rules", "explain", path, "--no-builtin"),
        ("rules", "convert", path, "--to", "ir"),
        ("lake", "ingest", path, "--lake", tmp_path / "ä"),
        ("scan", path),
    ):
        done = run(*arguments, env=ascii_only)
        assert done.returncode in (0, 3)
        assert "für Ägypten 日本" in done.stdout or arguments[1] == "lint"


def test_an_interrupt_while_modules_are_imported_shows_no_stack_trace() -> None:
    code = """
import os, signal, sys
from trailhound.__main__ import run

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "trailhound.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["trailhound", "rules", "list"]
run()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, b"trailhound: interrupted\n")


@pytest.mark.slow
def test_a_query_is_interrupted_without_a_stack_trace(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trailhound.cli.main"]
    lake = ("--lake", str(tmp_path / "lake"))
    subprocess.run([*command, "lake", "ingest", AUTH, *lake], check=True, capture_output=True)
    endless = (
        "SELECT count(*) FROM events a, events b, events c, events d "
        "WHERE a.raw < b.raw AND b.raw < c.raw AND c.raw < d.raw"
    )
    with subprocess.Popen(
        [*command, "hunt", *lake, "--sql", endless], stderr=subprocess.PIPE
    ) as hunt:
        try:
            time.sleep(3)  # the query has to have begun; before, the interrupt is Python's own
            hunt.send_signal(signal.SIGINT)
            _, told = hunt.communicate(timeout=60)
        finally:
            hunt.kill()
    assert (hunt.returncode, told) == (130, b"trailhound: interrupted\n")


def test_without_a_command_help_is_shown(run) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "trailhound scan /var/log" in done.stderr


def test_placeholders_come_from_a_file(run, tmp_path: Path) -> None:
    staff = tmp_path / "values.yml"
    staff.write_text("staff: [nobody, deploy]\n")
    path = rule(tmp_path, user="%staff%")
    mine = ("scan", AUTH, "--no-builtin", "--rules", path, "--format", "ndjson")
    assert len(run(*mine, "--placeholders", staff).stdout.splitlines()) == 1
    told = run(*mine[:-1], "json")
    assert "%staff% has no values" in told.stdout
    staff.write_text("- not a mapping\n")
    assert run(*mine, "--placeholders", staff).returncode == 2


def test_the_cache_helps_and_never_harms(run, tmp_path: Path) -> None:
    mine = ("scan", AUTH, "--no-builtin", "--rules", rule(tmp_path), "--format", "ndjson")
    first = run(*mine).stdout
    (cached,) = (tmp_path / "cache" / "trailhound").glob("rules-*.json")
    assert run(*mine).stdout == first
    cached.write_text("damaged")
    assert run(*mine).stdout == first
    assert cached.read_text() != "damaged"
    before = cached.read_bytes()
    rule(tmp_path, level="low")
    assert json.loads(run(*mine).stdout)["rule"]["level"] == "low"
    assert cached.read_bytes() == before
    assert run(*mine, env={"XDG_CACHE_HOME": "/proc/none"}).returncode == 0
    left = set((tmp_path / "cache" / "trailhound").iterdir())
    run(*mine, "--no-cache")
    assert set((tmp_path / "cache" / "trailhound").iterdir()) == left


def test_a_cache_that_does_not_fit_on_the_disk_leaves_nothing_behind(run, tmp_path: Path) -> None:
    # Python would leave halves of its own caches, which later runs read.
    uncached = {"PYTHONDONTWRITEBYTECODE": "1"}
    small = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1000, 1000))
    assert run("rules", "list", preexec_fn=small, env=uncached).returncode == 0
    assert list((tmp_path / "cache" / "trailhound").iterdir()) == []
    out = tmp_path / "out.json"
    full = run("scan", AUTH, "--json", "-o", out, preexec_fn=small, env=uncached)
    assert (full.returncode, full.stderr) == (2, f"trailhound: {out}: File too large\n")


def test_rules_can_be_listed_checked_and_explained(run, tmp_path: Path) -> None:
    listed = json.loads(run("rules", "list", "--json").stdout)
    assert len(listed) >= 45
    assert "Root user signed in to the console" in run("rules", "list").stdout
    assert run("rules", "lint").returncode == 0
    bad = tmp_path / "bad.yml"
    bad.write_text(RULE.format(title="bad", user="x", level="odd"))
    lint = run("rules", "lint", bad)
    assert lint.stdout == run("rules", "lint", "--no-builtin", "--rules", bad).stdout
    assert lint.returncode == 1
    assert f"error: {bad}:10:1: 'odd' is not" in lint.stdout
    assert json.loads(run("rules", "lint", "--no-builtin", "-r", bad, "--json").stdout)["errors"]
    mine = rule(tmp_path)
    text = run("rules", "explain", mine, "--no-builtin", "--against", AUTH).stdout
    assert "event is 'ssh-login'" in text
    assert "1 matched" in text
    (report,) = json.loads(
        run("rules", "explain", mine, "--no-builtin", "--against", AUTH, "--json").stdout
    )
    assert {view["matches"] for view in report["views"] if view["source"] == "linux_auth"} == {1}
    blind = tmp_path / "blind.yml"
    blind.write_text(mine.read_text().replace("event:", "nosuch:"))
    assert "can never be present" in run("rules", "explain", blind, "--no-builtin").stdout
    falco = tmp_path / "falco.yaml"
    falco.write_text(
        "- rule: x\n  desc: d\n  condition: ka.req.pod.containers.image.repository exists\n"
        "  output: by %ka.user.name\n  priority: NOTICE\n  source: k8s_audit\n"
    )
    text = run("rules", "explain", falco, "--no-builtin").stdout
    assert "  says: by %ka.user.name\n" in text
    assert "requestObject.spec.containers.image  through json, image-repository" in text


def test_rules_are_listed_without_loading_what_tests_and_explains_them() -> None:
    code = "import sys, trailhound.cli.rules; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert "trailhound.pipeline.rulebooks" in loaded.stdout.split()
    for heavy in ("trailhound.pipeline.python_rules", "trailhound.sources", "duckdb", "hyperscan"):
        assert heavy not in loaded.stdout.split()


def test_explain_begins_with_what_the_rule_says_of_itself(run) -> None:
    told = run("rules", "explain", "SSH login by password after guessing").stdout
    title, _, *said = told.partition("\nRun of refused SSH passwords  [")[0].splitlines()
    assert title == "SSH login by password after guessing  [critical]"
    assert "Check first" in " ".join(said)
    assert max(map(len, said)) < 100
    assert "  tags attack.credential-access, attack.initial-access" in told
    assert "  temporal_ordered over 1 h of rules\n" in told
    # What it counts is explained as well, down to the events.
    for below in ("Run of refused SSH passwords", "SSH password refused", "SSH login by password"):
        assert f"\n{below}  [informational]\n" in told


def test_standard_input_is_counted_for_every_rule(run) -> None:
    first, second, *more = json.loads(
        run("rules", "explain", "ssh", "--against", "-", "--json", input=AUTH.read_text()).stdout
    )
    assert more
    counts = [sum(view["documents"] for view in rule["views"]) for rule in (first, second, *more)]
    assert len([count for count in counts if count > 100]) > 3


def test_a_list_of_rules_says_that_some_are_missing_and_carries_no_escapes(
    run, tmp_path: Path
) -> None:
    (tmp_path / "bad.yml").write_text(RULE.format(title="bad", user="x", level="odd"))
    text = RULE.format(title="mine", user="x", level="low")
    hostile = tmp_path / "hostile.yml"
    hostile.write_text(
        text.replace("11111111-1111-4111-8111-111111111111", '"\\e[31mid"').replace(
            "service: sshd", 'service: "\\e]0;sshd\\a"'
        )
    )
    listed = run("rules", "list", tmp_path)
    assert listed.stderr == "trailhound: 1 error in rule files: see `trailhound rules lint`\n"
    assert "\\x1b[31mid" in listed.stdout
    for text in (listed.stdout, run("rules", "explain", hostile, "--no-builtin").stdout):
        assert "\\x1b]0;sshd\\x07" in text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_a_folder_of_rules_that_may_not_be_entered_is_told(tmp_path: Path) -> None:
    rule(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    as_others: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything")
        os.chown(closed, 65534, 65534)
        lost = "-dac_override,-dac_read_search"
        as_others = ("setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}")
    command = (sys.executable, "-m", "trailhound.cli.main", "rules", "lint", "--no-cache")
    done = subprocess.run(
        [*as_others, *command, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == (
        f"error: {closed}:1:1: cannot read {closed}: Permission denied\n1 rule, 1 error, 0 notes\n"
    ), done.stderr
    assert done.returncode == 1


def test_a_file_that_cannot_be_read_is_named_without_a_line(run, tmp_path: Path) -> None:
    gone = tmp_path / "gone.log"
    gone.symlink_to("nowhere")
    told = run("scan", tmp_path, env={"COLUMNS": "400"}).stdout
    assert "gone.log: No such file or directory" in told


def test_rule_files_that_are_no_files_are_told(run, tmp_path: Path) -> None:
    rule(tmp_path)
    gone, pipe = tmp_path / "gone.yml", tmp_path / "pipe.yml"
    gone.symlink_to("nowhere.yml")
    os.mkfifo(pipe)
    done = run("rules", "lint", tmp_path)
    assert done.stdout == (
        f"error: {gone}:1:1: a link that leads nowhere\n"
        f"error: {pipe}:1:1: no plain file\n1 rule, 2 errors, 0 notes\n"
    )
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [("scan", AUTH, "-q"), ("scan", AUTH, "-q", "-f", "ndjson"), ("rules", "list"), ("sources",)],
)
def test_output_that_cannot_be_written_is_told_in_one_line(
    arguments: tuple[object, ...], tmp_path: Path
) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "trailhound.cli.main", *map(str, arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            timeout=120,
            check=False,
        )
    assert done.stderr == b"trailhound: No space left on device\n"
    assert done.returncode == 2


def test_sources_and_help(run) -> None:
    names = {source["name"] for source in json.loads(run("sources", "--json").stdout)}
    assert names == {source.name for source in SOURCES}
    assert names >= {"k8s_audit", "cloudtrail", "okta_system", "auditd", "linux_auth", "falco"}
    assert "objectRef.resource" in run("sources", "k8s_audit").stdout
    top = run("--help").stdout
    assert "exit codes" in top
    assert all(f"  {code}  " in top for code in (0, 1, 2, 3))
    for command in ("scan", "rules", "sources"):
        assert f"  {command}" in top
        assert run(command, "--help").returncode == 0
    assert run("--version").stdout.startswith("trailhound ")
