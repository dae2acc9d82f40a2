"""Lines as container runtimes and log shippers write them: stamps, tags, and pieces."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trailhound.model.records import Origin, ParseFailure, Payload

HELD_BYTES = 16 << 20
"""Pieces of unfinished lines that are held in memory, over all streams."""

_DOCKER_CHUNK_BYTES = 16 * 1024
"""Where Docker's json-file driver cuts a line."""

_DROPPED_KNOWN = 4096
"""Streams of which it is remembered that the rest of a line must be dropped too."""


def cri_line(text: str) -> tuple[Mapping[str, Any], bool, str] | None:
    """Split a line as container runtimes write it: context, whether it goes on, content.

    Kubernetes CRI logging format: an RFC 3339 stamp, the stream, tags joined by `:` of which
    the first is `P` (partial) or `F` (full), then the content, single spaces between.
    """
    if text[4:5] != "-":
        return None
    parts = text.split(" ", 3)
    if len(parts) < 3 or parts[1] not in ("stdout", "stderr") or not _is_stamp(parts[0]):
        return None
    tag = parts[2].partition(":")[0]
    if tag not in ("P", "F"):
        return None
    return {"time": parts[0], "stream": parts[1]}, tag == "P", parts[3] if parts[3:] else ""


def stamped_line(text: str) -> tuple[Mapping[str, Any], str] | None:
    """Split a line of a CloudWatch Logs export to S3: an RFC 3339 stamp, a space, the record."""
    stamp, _, rest = text.partition(" ")
    if not rest or not _is_stamp(stamp):
        return None
    return {"timestamp": stamp}, rest


def tagged_line(text: str) -> tuple[Mapping[str, Any], str] | None:
    """Split a line of a stamp, one word and a JSON object.

    So `aws logs tail` prints records (the word is the log stream), and so Fluentd's `out_file`
    writes them (the tag, between tabulators).
    """
    found = _TAGGED.match(text)
    if found is None:
        return None
    return {"timestamp": found[1], "tag": found[2]}, text[found.end() :]


_TAGGED = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?)"
    r"[ \t]+([^\s{}\"]{1,512})[ \t]+(?=\{)",
    re.ASCII,
)


def _is_stamp(text: str) -> bool:
    return (
        19 <= len(text) <= 40
        and text[10] == "T"
        and text[4] == text[7] == "-"
        and text[13] == text[16] == ":"
        and text[:4].isdecimal()
        and text[17:19].isdecimal()
    )


def is_piece(payload: Payload) -> bool:
    """Whether a shipper says that its text goes on in the next record of the same stream.

    CRI parsers of Fluent Bit and Fluentd keep the tag as `logtag` or `_p`; Fluentd's Docker
    driver marks `partial_message`; Docker's json-file leaves a full chunk without line end.
    """
    context, text = payload.context, payload.text or ""
    if context.get("logtag") == "P" or context.get("_p") == "P":
        return True
    if context.get("partial_message") in ("true", True):
        return context.get("partial_last") not in ("true", True)
    return (
        "time" in context
        and "stream" in context
        and len(text) >= _DOCKER_CHUNK_BYTES // 4
        and not text.endswith("\n")
        and len(text.encode(errors="replace")) >= _DOCKER_CHUNK_BYTES
    )


def stream_of(payload: Payload) -> tuple[str, ...]:
    """Return what tells one stream of lines from the next, among records that interleave."""
    context = payload.context
    kubernetes = context.get("kubernetes")
    pod = kubernetes if isinstance(kubernetes, Mapping) else {}
    names = (
        payload.origin.path,
        context.get("stream"),
        context.get("container_id", pod.get("docker_id")),
        pod.get("pod_id", pod.get("pod_name")),
        pod.get("container_name"),
    )
    return tuple(name[:256] if isinstance(name, str) else "" for name in names)


class Pieces:
    """Lines that runtimes cut: holds pieces until the last one comes, in bounded memory."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, ...], list[tuple[Origin, str]]] = {}
        self._dropped: set[tuple[str, ...]] = set()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._held or self._dropped)

    def hold(self, stream: tuple[str, ...], payload: Payload) -> Iterator[ParseFailure]:
        """Keep a piece; drop the line begun longest ago where all are too much together."""
        if stream in self._dropped:
            return
        text = payload.text or ""
        self._held.setdefault(stream, []).append((payload.origin, text))
        self._size += _cost(text)
        while self._size > HELD_BYTES:
            oldest = next(iter(self._held))
            yield self._give_up(oldest, f"its pieces take more than {HELD_BYTES >> 20} MiB")
            if len(self._dropped) < _DROPPED_KNOWN:
                self._dropped.add(oldest)

    def finish(
        self, stream: tuple[str, ...], payload: Payload
    ) -> tuple[Payload | None, list[Origin]]:
        """Join the last piece to those held: the whole line, and where the others stand.

        None where the line was dropped before.
        """
        if stream in self._dropped:
            self._dropped.discard(stream)
            return None, []
        held = self._held.pop(stream, None)
        if held is None:
            return payload, []
        self._size -= sum(_cost(text) for _, text in held)
        whole = Payload(
            origin=held[0][0],
            text="".join([*(text for _, text in held), payload.text or ""]),
            wrapping=payload.wrapping,
            context=payload.context,
        )
        return whole, [*(origin for origin, _ in held[1:]), payload.origin]

    def flush(self) -> Iterator[ParseFailure]:
        """Say what was never finished; the input has ended."""
        for stream in list(self._held):
            yield self._give_up(stream, "the input ends before its last piece")
        self._dropped.clear()

    def _give_up(self, stream: tuple[str, ...], why: str) -> ParseFailure:
        held = self._held.pop(stream)
        self._size -= sum(_cost(text) for _, text in held)
        detail = f"a line in {len(held)} pieces was not read: {why}"
        return ParseFailure(held[0][0], "partial line", detail)


def _cost(text: str) -> int:
    return len(text) + 100  # what Python adds to a short text
