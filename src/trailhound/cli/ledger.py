"""`trailhound ledger`: makes a ledger, shows its key, writes proofs, forwards it."""

import argparse
import re
from pathlib import Path

from trailhound.cli import ledger_retain
from trailhound.cli.console import EXIT_FINDINGS, Commands, complain
from trailhound.cli.seal import (
    add_forward_options,
    add_key_file,
    add_key_options,
    add_ledger,
    key_path,
    opened_targets,
)
from trailhound.model.errors import TrailhoundError
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import plural

_RAW = argparse.RawDescriptionHelpFormatter


def add_parser(commands: Commands) -> None:
    """Add the command and its subcommands to the command line."""
    command = commands.add_parser(
        "ledger",
        help="make a ledger, write proofs out of it, forward it",
        description="Make a ledger, show its public key, write proofs out of it, forward it.",
        allow_abbrev=False,
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    init = actions.add_parser(
        "init",
        help="make an empty ledger and its keys",
        description="Make an empty ledger, a private key that signs its heads, and a key for the "
        "hashes that\nstand in place of secrets. Prints the public key: keep it where you will "
        "verify.",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    add_ledger(init, "folder to make")
    init.add_argument(
        "--name", required=True, metavar="NAME", help="names the ledger: audit.example.com/host-1"
    )
    init.add_argument(
        "--no-records",
        action="store_true",
        help="keep only hashes: then the logs themselves must be kept elsewhere",
    )
    add_key_options(init)
    init.set_defaults(run=_init)
    key = actions.add_parser(
        "key",
        help="print the public key",
        description="Print the public key of a ledger, from its private key.",
        allow_abbrev=False,
    )
    add_ledger(key)
    add_key_file(key)
    key.set_defaults(run=_key)
    prove = actions.add_parser(
        "prove",
        help="write inclusion proofs",
        description="Write inclusion proofs that `trailhound verify proof` checks without the "
        "ledger: for records,\nor for every event of findings.",
        epilog="examples:\n"
        "  trailhound ledger prove seals --record /var/log/audit/audit.log:17 -o proofs\n"
        "  trailhound scan /var/log/audit --json > findings.json\n"
        "  trailhound ledger prove seals --findings findings.json -o proofs\n",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    add_ledger(prove, "the ledger, or a forwarded copy")
    prove.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="RECORD",
        help="index, or LOG:LINE as it was sealed; may be repeated",
    )
    prove.add_argument("--findings", metavar="FILE", help="what `scan --json` printed")
    prove.add_argument("-o", "--output", required=True, metavar="DIR", help="write proofs there")
    prove.add_argument("--key", metavar="PUB", help="public key (key.pub in the ledger)")
    prove.set_defaults(run=_prove)
    forward = actions.add_parser(
        "forward",
        help="send what is sealed to a place that intruders cannot change",
        description="Send what a place has not got yet: heads, tiles, entries, records. Nothing "
        "is ever\noverwritten there.",
        formatter_class=_RAW,
        allow_abbrev=False,
    )
    add_ledger(forward)
    forward.add_argument(
        "--to",
        action="append",
        required=True,
        metavar="PLACE",
        help="folder, s3://bucket/prefix, git:REMOTE or https://host:9610 of another Trailhound; "
        "may be repeated",
    )
    add_forward_options(forward)
    forward.set_defaults(run=_forward)
    ledger_retain.add_parsers(actions)


# As in `cli/verify.py`: cryptography is loaded only where it is needed.


def _init(options: argparse.Namespace) -> int:
    from trailhound.ledger.keys import new_redaction_key, write_secret  # noqa: PLC0415
    from trailhound.ledger.log import create  # noqa: PLC0415
    from trailhound.ledger.notes import Signer  # noqa: PLC0415

    private = key_path(options.ledger, options.key_file, "key")
    redaction = key_path(options.ledger, options.redaction_key_file, "redaction-key")
    for path in (private, redaction):
        if path.exists():
            raise TrailhoundError(f"{path} is there already; a key is never overwritten")
    signer = Signer.generate(options.name)
    create(Path(options.ledger), signer, keep_records=not options.no_records)
    write_secret(private, signer.secret_text())
    write_secret(redaction, new_redaction_key())
    print(signer.verifier)
    complain(f"private keys: {private} signs, {redaction} hides secrets; back both up offline")
    return 0


def _key(options: argparse.Namespace) -> int:
    from trailhound.ledger.keys import read_signer  # noqa: PLC0415

    print(read_signer(key_path(options.ledger, options.key_file, "key")).verifier)
    return 0


def _prove(options: argparse.Namespace) -> int:
    from trailhound.ledger.keys import read_verifier  # noqa: PLC0415
    from trailhound.ledger.log import PUBLIC_KEY  # noqa: PLC0415
    from trailhound.pipeline import proving  # noqa: PLC0415

    folder, output = Path(options.ledger), Path(options.output)
    verifier = read_verifier(options.key or str(folder / PUBLIC_KEY))
    named = [(_file_name(record), record) for record in options.record]
    proofs = [(name, proving.prove(folder, verifier, record)) for name, record in named]
    missing = 0
    if options.findings:
        events = proving.places_in_findings(Path(options.findings))
        places = {place for group in events.values() for place in group}
        found = dict(proving.prove_places(folder, verifier, places))
        for uid, group in events.items():
            for place in dict.fromkeys(group):
                if place in found:
                    proofs.append((f"{_file_name(uid)}/{_file_name(place)}", found[place]))
                else:
                    missing += 1
                    complain(f"{place} of finding {uid} is not sealed")
    elif not options.record:
        raise TrailhoundError("say what to prove: --record or --findings")
    try:
        for name, proof in proofs:
            path = output / f"{name}.tlog-proof"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(proof.text(), encoding="utf-8")
    except OSError as error:
        raise TrailhoundError(f"cannot write to {output}: {error.strerror}") from None
    print(f"{len(proofs):,} proofs in {visible(str(output))}")
    return EXIT_FINDINGS if missing else 0


def _forward(options: argparse.Namespace) -> int:
    from trailhound.ledger.forward import forward  # noqa: PLC0415

    targets = opened_targets(options.to, options)
    for place, target in zip(options.to, targets, strict=True):
        sent = forward(Path(options.ledger), target)
        print(f"forwarded {plural(sent, 'file')} to {visible(place)}")
    return 0


def _file_name(text: str) -> str:
    """A name that is safe on every file system, whatever the log is called."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("._")[-150:] or "record"
