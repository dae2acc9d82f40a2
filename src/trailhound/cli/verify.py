"""`trailhound verify`: proves, offline and with public keys alone, that nothing was changed."""

import argparse
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from trailhound.cli.console import EXIT_FINDINGS, EXIT_NOTHING_READ, Commands, complain
from trailhound.intake.files import find_inputs
from trailhound.model.errors import TrailhoundError
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import duration, plural

_KEY_HELP = "public key of the ledger, or a file that holds it"
_RAW = argparse.RawDescriptionHelpFormatter


def add_parser(commands: Commands) -> None:
    """Add the command and its subcommands to the command line."""
    command = commands.add_parser(
        "verify",
        help="prove that logs were not changed",
        description="Prove, offline and with public keys alone, that nothing was changed. "
        "Exits with 1 where something was.",
        allow_abbrev=False,
    )
    actions = command.add_subparsers(title="what to verify", metavar="WHAT", required=True)
    ledger = actions.add_parser(
        "ledger",
        help="a ledger, or what was forwarded of one",
        description="Check every entry, tile and signed head of a ledger or of a forwarded copy: "
        "that each\nhead extends the one before, and that no record was altered, deleted, "
        "inserted or moved.\nWith --against, also that logs are still what was sealed; the first "
        "record of each log\nthat is not is named.",
        epilog="examples:\n"
        "  trailhound verify ledger /mnt/worm/seals --key key.pub\n"
        "  trailhound verify ledger /mnt/worm/seals --key key.pub --against /var/log/audit\n",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    ledger.add_argument("ledger", metavar="LEDGER", help="folder of the ledger or of the copy")
    ledger.add_argument("--key", required=True, metavar="PUB", help=_KEY_HELP)
    ledger.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="PATH",
        help="logs to hold against what was sealed",
    )
    ledger.add_argument(
        "--partial",
        action="store_true",
        help="sealed logs that --against does not name are no difference",
    )
    ledger.add_argument(
        "--redaction-key-file",
        metavar="FILE",
        help="compare redacted values as well; without it all but those",
    )
    ledger.add_argument(
        "--from",
        dest="old",
        metavar="HEAD",
        help="file of an older head: prove that the ledger extends it",
    )
    ledger.add_argument(
        "--to", dest="new", metavar="HEAD", help="file of a newer head (the newest here)"
    )
    ledger.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="RECORD",
        help="prove that this is sealed: index, or LOG:LINE; may be repeated",
    )
    ledger.set_defaults(run=_ledger)
    head = actions.add_parser(
        "head",
        help="that heads still come",
        description="Check signature and age of the newest head of a ledger or of a forwarded "
        "copy, and nothing\nelse. `serve` signs one at least each minute, also where nothing "
        "comes: an old one says that\nit was stopped, cut off, or cannot forward.",
        epilog="examples:\n  trailhound verify head /mnt/worm/seals --key key.pub --max-age 5m\n",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    head.add_argument("ledger", metavar="LEDGER", help="folder of the ledger or of the copy")
    head.add_argument("--key", required=True, metavar="PUB", help=_KEY_HELP)
    head.add_argument(
        "--max-age",
        type=_age,
        default=300,
        metavar="AGE",
        help="how old it may be: 90s, 5m, 2h, 1d (5m)",
    )
    head.set_defaults(run=_head)
    proof = actions.add_parser(
        "proof",
        help="an inclusion proof, without the ledger",
        description="Check inclusion proofs (.tlog-proof) that `trailhound ledger prove` wrote.",
        allow_abbrev=False,
    )
    proof.add_argument("proofs", nargs="+", metavar="FILE", help="the proofs")
    proof.add_argument("--key", required=True, metavar="PUB", help=_KEY_HELP)
    proof.add_argument(
        "--record", metavar="FILE", help="file with the record as sealed: compare it as well"
    )
    proof.set_defaults(run=_proof)
    findings = actions.add_parser(
        "findings",
        help="findings of `serve`, by the proofs they carry",
        description="Check findings as `trailhound serve` writes them, without the ledger: that "
        "every record behind\nthem was sealed under a head that the key signed, and that the "
        "events they show are what\nthose records say. The judgement of the rule is not proven: "
        "run the rule again.",
        epilog="examples:\n  trailhound verify findings 2026-11-12.ndjson --key ledger.pub\n",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    findings.add_argument("files", nargs="+", metavar="FILE", help="findings, one a line")
    findings.add_argument("--key", required=True, metavar="PUB", help=_KEY_HELP)
    findings.add_argument(
        "--ledger",
        metavar="FOLDER",
        help="a ledger, or a copy of it: where records are that are too large to be carried",
    )
    findings.set_defaults(run=_findings)
    trail = actions.add_parser(
        "cloudtrail",
        help="CloudTrail's own digest files, on downloaded logs",
        description="Check the digest files of CloudTrail and the logs they name, below a folder "
        "to which the\nbucket was downloaded (`aws s3 sync`): names what is missing, altered, "
        "moved or in no\ndigest, and gaps in time.",
        epilog="examples:\n"
        "  aws cloudtrail list-public-keys --start-time 2026-11-01 > keys.json\n"
        "  trailhound verify cloudtrail bucket/ --public-keys keys.json\n",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    trail.add_argument("folder", metavar="FOLDER", help="where the bucket was downloaded to")
    trail.add_argument(
        "--public-keys",
        required=True,
        metavar="FILE",
        help="what `aws cloudtrail list-public-keys` printed, or PEM",
    )
    trail.set_defaults(run=_cloudtrail)
    for action in (ledger, head, proof, findings, trail):
        action.add_argument("--json", action="store_true", help="print JSON")


# The ledger loads a library of cryptography, which no other command should wait for: so each of
# these imports it itself.


def _ledger(options: argparse.Namespace) -> int:
    from trailhound.cli import seal_texts  # noqa: PLC0415
    from trailhound.ledger.audit import audit  # noqa: PLC0415
    from trailhound.ledger.keys import read_redactor, read_verifier  # noqa: PLC0415
    from trailhound.pipeline import proving  # noqa: PLC0415
    from trailhound.pipeline.sealing import compare_logs  # noqa: PLC0415

    folder = _folder(options.ledger)
    verifier = read_verifier(options.key)
    files = find_inputs(options.against) if options.against else []
    redactor = (
        read_redactor(Path(options.redaction_key_file)) if options.redaction_key_file else None
    )
    found = audit(folder, verifier)
    extra: dict[str, Any] = {}
    lines: list[str] = []
    failed = bool(found.problem_count)
    if options.old:
        old = proving.read_head(Path(options.old), verifier)
        new = proving.read_head(Path(options.new), verifier) if options.new else found.head
        if new is None:
            raise TrailhoundError(f"{folder} holds no head that {verifier.name} signed")
        path = proving.consistency(folder, found.size, old, new)
        extra["consistency"] = {
            "from": seal_texts.head_document(old),
            "to": seal_texts.head_document(new),
            "holds": path is not None,
            "proof": None if path is None else [one.hex() for one in path],
        }
        failed = failed or path is None
        verdict = "extends" if path is not None else "DOES NOT EXTEND"
        lines.append(f"the head over {plural(new.size, 'record')} {verdict} that over {old.size:,}")
    elif options.new:
        raise TrailhoundError("--to needs --from")
    if not found.problem_count:
        proven = [proving.prove(folder, verifier, record) for record in options.record]
        extra["records"] = [
            {"record": name, "index": one.index, "proof": one.text()}
            for name, one in zip(options.record, proven, strict=True)
        ]
        for name, one in zip(options.record, proven, strict=True):
            one.check(verifier)
            lines.append(f"{name} is sealed as entry {one.index:,}")
    compared = None
    if files and not found.problem_count:
        compared = compare_logs(folder, found.size, files, redactor, partial=options.partial)
        failed = failed or bool(compared.differences)
    print(seal_texts.audit_report(found, compared, extra, as_json=options.json))
    if not options.json:
        for line in lines:
            print(line)
        if files and compared is None:
            print("the logs were not compared: the ledger itself cannot be trusted")
        print("NOT VERIFIED" if failed else "verified")
    return EXIT_FINDINGS if failed else 0


def _head(options: argparse.Namespace) -> int:
    from trailhound.cli import seal_texts  # noqa: PLC0415
    from trailhound.ledger.audit import last_signed  # noqa: PLC0415
    from trailhound.ledger.keys import read_verifier  # noqa: PLC0415

    now_ns, limit_ns = time.time_ns(), options.max_age * 1_000_000_000
    # Either clock may be wrong by as much; a head of tomorrow proves nothing of today.
    head = last_signed(_folder(options.ledger), read_verifier(options.key), now_ns + limit_ns)
    age_ns = now_ns - (head.signed_ns or 0)
    fresh = abs(age_ns) <= limit_ns
    if options.json:
        document = {"head": seal_texts.head_document(head), "age_s": age_ns // 1_000_000_000}
        print(seal_texts.dumped({"verified": fresh, **document}))
    else:
        span = duration(abs(age_ns))
        when = f"{span} ago" if age_ns >= 0 else f"{span} from now, by the clock here"
        records = plural(head.size, "record")
        print(f"{visible(head.origin)}: {records}, signed {head.signed_at}, {when}")
        print("verified" if fresh else "NOT VERIFIED: no head of the time that was asked for")
    return 0 if fresh else EXIT_FINDINGS


def _proof(options: argparse.Namespace) -> int:
    from trailhound.cli import seal_texts  # noqa: PLC0415
    from trailhound.ledger.keys import read_verifier  # noqa: PLC0415
    from trailhound.pipeline import proving  # noqa: PLC0415

    verifier = read_verifier(options.key)
    record = proving.read_bytes(Path(options.record)) if options.record else None
    results = [proving.check_proof(Path(path), verifier, record) for path in options.proofs]
    if options.json:
        print(seal_texts.dumped({"proofs": results, "verified": all(r["holds"] for r in results)}))
    for one in results if not options.json else ():
        if one["holds"]:
            print(
                f"{visible(one['path'])}: {visible(one['source'])}:{one['place']} is sealed "
                f"as entry {one['index']:,} under a head over {one['size']:,} records"
            )
        else:
            print(f"{visible(one['path'])}: DOES NOT HOLD: {visible(one['reason'])}")
    return 0 if all(one["holds"] for one in results) else EXIT_FINDINGS


def _findings(options: argparse.Namespace) -> int:
    from trailhound.cli import seal_texts  # noqa: PLC0415
    from trailhound.ledger.audit import newest_head  # noqa: PLC0415
    from trailhound.ledger.keys import read_verifier  # noqa: PLC0415
    from trailhound.ledger.log import kept_record  # noqa: PLC0415
    from trailhound.pipeline.sealed_findings import check_findings  # noqa: PLC0415

    verifier = read_verifier(options.key)
    more = []
    if options.ledger:
        folder = _folder(options.ledger)
        head, _ = newest_head(folder, verifier)
        more = [partial(kept_record, folder, head.size)]
    results = [
        (path, one) for path in options.files for one in check_findings(Path(path), verifier, *more)
    ]
    if results and not any(one.uid for _, one in results):
        path = results[0][0]
        raise TrailhoundError(f"{path} holds no findings as `serve` writes them, one a line")
    if not results:
        complain("there is no finding to verify")
        return EXIT_NOTHING_READ
    print(seal_texts.findings_report(results, as_json=options.json))
    return EXIT_FINDINGS if any(one.reason for _, one in results) else 0


def _cloudtrail(options: argparse.Namespace) -> int:
    from trailhound.cli import seal_texts  # noqa: PLC0415
    from trailhound.ledger.cloudtrail_digests import (  # noqa: PLC0415
        read_public_keys,
        verify_digests,
    )

    keys = read_public_keys(Path(options.public_keys))
    report = verify_digests(_folder(options.folder), keys)
    print(seal_texts.digest_report(report, as_json=options.json))
    if not options.json:
        print("NOT VERIFIED" if report.problems else "verified")
    return EXIT_FINDINGS if report.problems else 0


def _age(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age, such as 90s, 5m, 2h, 1d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise TrailhoundError(f"no such folder: {path}")
    return folder
