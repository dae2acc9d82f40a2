"""`trailhound ledger retain` and `hold`: how long sealed records are kept."""

import argparse
import time
from pathlib import Path

from trailhound.cli.console import complain
from trailhound.cli.lake import add_times, times_of
from trailhound.cli.seal import add_key_file, add_ledger, key_path
from trailhound.model.errors import TrailhoundError
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import plural

_RETAIN = """\
Delete sealed records that are older than their source is kept, but for those held. Their entries
stay, and with them the tree, every proof, and every head; an entry of the ledger says what was let
go and by what rule, so that `trailhound verify` tells this from a deletion. Records go by the 256:
a file of them when all in it are due.
"""
_RETAIN_EPILOG = """\
examples:
  trailhound ledger retain /var/lib/seals --keep '*=400' --keep '/var/log/auth.log=90'
"""
_HOLD = """\
Place a legal hold: no record that it covers is deleted, however old. Works while another process
writes to the ledger.
"""
_HOLD_EPILOG = """\
examples:
  trailhound ledger hold case-17 /var/lib/seals --since 2026-11-12 --reason 'legal, ticket 17'
  trailhound ledger hold case-17 /var/lib/seals --release
"""
_RAW = argparse.RawDescriptionHelpFormatter
_PATTERN = "or what it begins with and *"


def add_parsers(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both to `trailhound ledger`."""
    retain = actions.add_parser(
        "retain",
        help="delete records that are older than they are kept",
        description=_RETAIN,
        epilog=_RETAIN_EPILOG,
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    add_ledger(retain)
    retain.add_argument(
        "--keep",
        action="append",
        required=True,
        metavar="SOURCE=DAYS",
        help=f"keep the records of a log for so many days: its name, {_PATTERN}; may be repeated",
    )
    add_key_file(retain)
    retain.set_defaults(run=_retain)
    hold = actions.add_parser(
        "hold",
        help="place a legal hold, or lift it",
        description=_HOLD,
        epilog=_HOLD_EPILOG,
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    hold.add_argument("name", metavar="NAME", help="name of the hold")
    add_ledger(hold)
    hold.add_argument(
        "--source", default="", metavar="SOURCE", help=f"only of this log: its name, {_PATTERN}"
    )
    hold.add_argument(
        "--reason", default="", metavar="TEXT", help="why, for whoever reads it later"
    )
    hold.add_argument("--release", action="store_true", help="lift the hold of that name")
    add_times(hold)
    hold.set_defaults(run=_hold)


def _retain(options: argparse.Namespace) -> int:
    from trailhound.ledger.keys import read_signer  # noqa: PLC0415 - as in `cli/ledger.py`
    from trailhound.ledger.log import Ledger, read_settings  # noqa: PLC0415
    from trailhound.ledger.retention import retain  # noqa: PLC0415

    keep_days: dict[str, int] = {}
    for text in options.keep:
        source, _, days = text.rpartition("=")
        if not source or not days.isdecimal() or not 0 < int(days) < 100_000:
            raise TrailhoundError(f"--keep {text!r}: write SOURCE=DAYS")
        keep_days[source] = int(days)
    folder = Path(options.ledger)
    if not read_settings(folder).keep_records:
        raise TrailhoundError(f"{folder} keeps no records")
    now_ns = time.time_ns()
    records = held = cursor = 0
    with Ledger(folder, read_signer(key_path(options.ledger, options.key_file, "key"))) as ledger:
        while True:
            done = retain(ledger, keep_days, now_ns, cursor=cursor)
            records, held, cursor = records + done.records, held + done.held, done.cursor
            if not cursor:
                break
    print(f"{plural(records, 'record')} let go, {held:,} that are due are held")
    return 0


def _hold(options: argparse.Namespace) -> int:
    from trailhound.ledger.log import read_settings  # noqa: PLC0415 - as in `cli/ledger.py`
    from trailhound.ledger.retention import Hold, lift_hold, place_hold, released  # noqa: PLC0415

    folder = Path(options.ledger)
    read_settings(folder)
    if options.release:
        lift_hold(folder, options.name)
        print(f"hold {visible(options.name)} is released")
        return 0
    times = times_of(options)
    until_ns = times.until_ns - 1 if times.until_ns is not None else None
    now_ns = time.time_ns()
    place_hold(
        folder,
        Hold(options.name, options.source, times.since_ns, until_ns, options.reason, now_ns),
    )
    print(f"hold {visible(options.name)} is in place")
    if released(folder).bundles:
        complain("records that were let go before do not come back: `trailhound verify ledger`")
    return 0
