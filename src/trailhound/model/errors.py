"""The base error."""


class TrailhoundError(Exception):
    """A user's mistake or a missing thing, told in one sentence without a stack trace.

    Everything that is wrong with *data* (a broken log line, a bad rule) is a value in the
    stream instead: `ParseFailure` or `RuleError`.
    """
