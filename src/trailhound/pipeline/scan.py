"""The scan: files in, findings and totals out."""

import os
import pickle
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from trailhound.engine.matching import Hit, finding_of
from trailhound.engine.plan import Plan, SourceShape, make_plan
from trailhound.engine.windows.chances import chances_in
from trailhound.engine.windows.feeding import feeds_of
from trailhound.engine.windows.running import WindowState, finish, step
from trailhound.intake.blocks import Block
from trailhound.intake.files import STDIN, InputFile, read_blocks
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.model.records import Origin, RawRecord
from trailhound.model.totals import Totals
from trailhound.pipeline.asking import Asking
from trailhound.pipeline.ending import end_ns
from trailhound.pipeline.reading import UnitReader
from trailhound.pipeline.repeats import Requests
from trailhound.pipeline.rulebooks import LoadedRules
from trailhound.pipeline.shelf import passing_shelf
from trailhound.pipeline.spool import Fed, Spool
from trailhound.pipeline.tally import Tally
from trailhound.pipeline.temporary import room_needed
from trailhound.pipeline.totals import totals_of
from trailhound.pipeline.units import PART_BYTES, Unit, cut, parts_of
from trailhound.rules.ir import Rule
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

if TYPE_CHECKING:
    from concurrent.futures import Future

_EXPLAINED_PER_RULE = 3

_Item = Finding | Fed | Tally | Hit
"""What comes of a unit; a hit is yet to be asked of its program."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What to scan and with what."""

    files: Sequence[InputFile]
    rules: LoadedRules
    jobs: int = 1
    """Worker processes; 1: this one."""
    explain_all: bool = False
    """Explain every finding; else the first few of each rule, for outlets that show no more."""


def run_scan(
    scan: Scan,
    deliver: Callable[[Finding], None],
    progress: Callable[[int], None] = lambda _: None,
) -> Totals:
    """Scan files.

    Findings of single events come in the order they are read; those of windows follow, in
    event time. The result does not depend on `jobs`.

    Args:
        scan: what to do.
        deliver: takes each finding.
        progress: called with the number of bytes just read.
    """
    started = time.monotonic()
    plan = plan_for(scan.rules.ruleset.rules)
    tally = Tally()
    requests = Requests()

    def out(finding: Finding) -> None:
        tally.found(finding)
        deliver(finding)

    with (
        Spool(chances_in(plan)) as spool,
        passing_shelf() as shelf,
        Asking(plan, scan.rules.ruleset.programs, scan.jobs) as asking,
    ):
        units = cut(_apart(scan.files) if scan.jobs > 1 else scan.files)
        explain = _EXPLAINED_PER_RULE if not scan.explain_all else None
        if scan.jobs > 1 and len(units) > 1:
            results = _pooled(units, plan, scan.jobs, explain, progress)
        else:
            results = _here(units, plan, explain, progress)
        for found in _answered(plan, results, asking, explain):
            if isinstance(found, Tally):
                tally.add(found)
            elif isinstance(found, Fed):
                spool.add(found)
            elif requests.first(found.rule.uid, found.events[0].request):
                out(found)
            else:
                tally.repeats += 1
        state = WindowState(shelf=shelf)
        silent = {rule.info.uid for rule in plan.rules if rule.silent}
        for finding in chain(
            step(plan, state, spool.sorted(), spool.event), _finish(plan, state, scan, spool)
        ):
            if finding.rule.uid not in silent:
                out(finding)
        elapsed_s = time.monotonic() - started
        return totals_of(plan, scan.rules, tally, state.spilled, asking, elapsed_s)


def _answered(
    plan: Plan, results: Iterable[_Item], asking: Asking, explain: int | None
) -> Iterator[Finding | Fed | Tally]:
    """Ask programs about the hits that wait for them."""
    explained: dict[int, int] = {}
    found: Iterator[_Item] = asking.through(results)
    for item in found:
        if isinstance(item, Hit):
            yield from _outcomes(plan, item, explained, explain)
        else:
            yield item


def _finish(plan: Plan, state: WindowState, scan: Scan, spool: Spool) -> Iterator[Finding]:
    now_ns = end_ns(scan.files) if any(True for _ in state.groups.names()) else 0
    yield from finish(plan, state, spool.event, max(now_ns, spool.last_ns))


def plan_for(rules: Sequence[Rule]) -> Plan:
    """Make the plan of rules for all sources."""
    shapes = [
        SourceShape(
            name=source.name,
            routes=source.routes,
            discriminators=source.gate.discriminators if source.gate else (),
            dull=source.gate.dull if source.gate else (),
            gated_view=source.gate.view if source.gate else "",
        )
        for source in all_sources()
    ]
    return make_plan(rules, shapes)


def _here(
    units: Sequence[Unit], plan: Plan, explain: int | None, progress: Callable[[int], None]
) -> Iterator[_Item]:
    reader = UnitReader(plan, all_sources())
    for unit in units:
        yield from _read_unit(unit, reader, explain, progress)


def _read_unit(
    unit: Unit, reader: UnitReader, explain: int | None, progress: Callable[[int], None]
) -> Iterator[_Item]:
    plan = reader.plan
    reader.tally = Tally()
    explained: dict[int, int] = {}
    fed_only = {rule for rule in plan.feeds if plan.rules[rule].silent}
    for group in unit.groups:
        for hit in reader.read(group, progress):
            if hit.rule in plan.asked:
                yield hit
            elif hit.rule in fed_only:
                feeds = feeds_of(plan, hit.rule, hit.event, hit.document)
                yield Fed(hit.event, tuple(feeds))
            else:
                yield from _outcomes(plan, hit, explained, explain)
    yield reader.tally


def _outcomes(
    plan: Plan, hit: Hit, explained: dict[int, int], explain: int | None
) -> Iterator[Finding | Fed]:
    if hit.rule in plan.feeds:
        feeds = feeds_of(plan, hit.rule, hit.event, hit.document, hit.answered)
        yield Fed(hit.event, tuple(feeds))
    if not plan.rules[hit.rule].silent:
        so_far = explained.get(hit.rule, 0)
        explained[hit.rule] = so_far + 1
        yield finding_of(plan, hit, explained=explain is None or so_far < explain)


# --- workers -----------------------------------------------------------------------------

_reader: UnitReader | None = None


def _start_worker(reader: UnitReader) -> None:
    global _reader  # noqa: PLW0603 - a worker process has one reader, inherited
    # Ctrl-C reaches every process of the terminal; the first one sees to the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _reader = reader


def _work(unit: Unit, explain: int | None, folder: str) -> str:
    """Read a unit; return the file that holds what came of it, which may be a lot."""
    assert _reader is not None  # noqa: S101 - set by the initializer
    with room_needed(), tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        for item in _read_unit(unit, _reader, explain, lambda _: None):
            pickle.dump(item, file, protocol=pickle.HIGHEST_PROTOCOL)
    return file.name


def _fetched(path: str) -> Iterator[_Item]:
    with open(path, "rb") as file:
        os.unlink(path)
        while True:
            try:
                yield pickle.load(file)  # noqa: S301 - written by our own worker
            except EOFError:
                return


def _pooled(
    units: Sequence[Unit],
    plan: Plan,
    jobs: int,
    explain: int | None,
    progress: Callable[[int], None],
) -> Iterator[_Item]:
    # A scan of one process starts sooner without these.
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    # A forked worker has the plan and all modules at once; to import and to make them anew takes
    # longer than to read 100 MB. No thread of ours holds anything that a worker needs.
    pool = ProcessPoolExecutor(
        max_workers=min(jobs, len(units)),
        mp_context=get_context("fork"),
        initializer=_start_worker,
        initargs=(UnitReader(plan, all_sources()),),
    )
    with tempfile.TemporaryDirectory(prefix="trailhound-") as folder:
        try:
            # A few units ahead of the one being merged, so that results do not pile up.
            lines: Counter[str] = Counter()
            waiting: list[tuple[Unit, Future[str]]] = []
            rest = iter(units)
            ahead = jobs * 2
            while True:
                while len(waiting) < ahead and (unit := next(rest, None)) is not None:
                    waiting.append((unit, pool.submit(_work, unit, explain, folder)))
                if not waiting:
                    return
                unit, future = waiting.pop(0)
                yield from _placed(unit, _fetched(future.result()), lines)
                progress(sum(file.size_bytes for group in unit.groups for file in group))
        except BrokenProcessPool:
            raise TrailhoundError(
                "a worker process was ended, perhaps for want of memory; try --jobs 1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _apart(files: Sequence[InputFile]) -> list[InputFile]:
    """Cut up large files of which every line is a record by itself."""
    apart: list[InputFile] = []
    for file in files:
        cut_up = file.size_bytes >= 2 * PART_BYTES and _stands_by_line(file)
        apart.extend(parts_of(file) if cut_up else [file])
    return apart


def _stands_by_line(file: InputFile) -> bool:
    # Compressed files cannot be entered in the middle, and audit records that belong together
    # must stay together: only plain lines of a source with a gate may be parted.
    gated = {source.name for source in all_sources() if source.gate is not None}
    block = next(iter(read_blocks(file)), None)
    if not isinstance(block, Block) or file.path == STDIN:
        return False
    with open(file.path, "rb") as stream:
        if stream.read(len(block.data)) != block.data:
            return False
    decoder = Decoder(all_sources())
    items = [
        item
        for index in range(min(len(block.ends), 100))
        for item in decoder.decode(RawRecord(block.text(index), Origin(file.path, 1)))
    ]
    return bool(items) and all(isinstance(i, Event) and i.source in gated for i in items)


def _placed(unit: Unit, items: Iterable[_Item], lines: Counter[str]) -> Iterator[_Item]:
    """Give the items of a part of a file the line numbers they have in the whole."""
    file = unit.groups[0][0]
    offset = lines[file.path] if file.end else 0
    for item in items:
        if isinstance(item, Tally):
            if file.end:
                lines[file.path] += item.lines
            item.shift(offset)
        elif offset:
            for event in item.events if isinstance(item, Finding) else (item.event,):
                event.origins = tuple(origin.shifted(offset) for origin in event.origins)
        yield item
