"""Telling a repeat of a finding."""

from collections import OrderedDict

REQUESTS_REMEMBERED = 200_000
"""How many (rule, request) pairs are remembered."""


class Requests:
    """Remembers requests, so that one request is one finding of a rule.

    Kubernetes logs a request at several stages, CloudTrail delivers to several trails.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[int, None] = OrderedDict()

    def first(self, what: object, request: str) -> bool:
        """Whether `what` meets this request for the first time; true without a request."""
        if not request:
            return True
        # Python keys the hashes of texts anew in every process, so none can be aimed at.
        key = hash((what, request))
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REQUESTS_REMEMBERED:
            self._seen.popitem(last=False)
        return True
