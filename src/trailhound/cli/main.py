"""The command line: `trailhound COMMAND …`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import trailhound
from trailhound.cli.console import EXIT_INTERRUPTED, EXIT_USAGE, complain
from trailhound.model.errors import TrailhoundError

_DESCRIPTION = """\
Reads audit logs, runs the rules the field already writes, and shows what happened.

  trailhound scan /var/log                      every log below a folder
  trailhound scan audit.log --rules my-rules/   with rules of your own
  trailhound rules explain my-rule.yml          where its fields come from
  trailhound seal /var/log --ledger seals       make later changes provable
"""
_EPILOG = """\
exit codes:
  0  done
  1  done, with findings at or above --fail-on; or verified, and something was changed
  2  the command was not understood, or something it names is missing
  3  done, but not one event could be read
"""
_COMMANDS = (
    *("scan", "serve", "rules", "sources", "setup", "token", "senders"),
    *("seal", "verify", "ledger", "lake", "hunt"),
)
"""Each is a module of this name beside this one."""
_DUCKDB_INTERRUPTED = "Query interrupted"
"""What a `RuntimeError` says in place of `KeyboardInterrupt` where DuckDB is at work."""


def parser(commands: Sequence[str] = _COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line; the reference is generated from it.

    Args:
        commands: those it knows. What others import (a server, a database) takes longer than
            a scan of a small log, so a run asks for its own alone.
    """
    root = argparse.ArgumentParser(
        prog="trailhound",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"trailhound {trailhound.__version__}")
    known = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        import_module(f"trailhound.cli.{command}").add_parser(known)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    named = [name for name in _COMMANDS if name in given[:1]]
    if hasattr(sys.stdout, "reconfigure"):
        # Titles, names of files and logs need not fit the locale, and JSON is UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    if not given:
        parser().print_help(sys.stderr)
        complain("name a command")
        return EXIT_USAGE
    try:
        options = parser(named or _COMMANDS).parse_args(given)
        code: int = options.run(options)
        sys.stdout.flush()
    except TrailhoundError as error:
        complain(str(error))
        return EXIT_USAGE
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except RuntimeError as error:
        if str(error) != _DUCKDB_INTERRUPTED:
            raise
        complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does: not an error. What is still
        # buffered must not be written when the interpreter ends.
        _forget_output()
        return 0
    except OSError as error:
        # A full disk, a folder that may not be entered: a stack trace explains none of them.
        _forget_output()
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        complain(f"{place}{error.strerror or error}")
        return EXIT_USAGE
    return code


def run() -> None:
    """Run the command of this process, and end it."""
    code = main()
    if sys.argv[1:2] == ["scan"]:
        # All files are closed and all workers gone by now. Taking the interpreter apart would
        # take as long as reading 10 MB of a log.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _forget_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run()
