"""What the rules of this pack share."""

from fnmatch import fnmatch


def one_of(text, patterns):
    return any(fnmatch(str(text).lower(), pattern) for pattern in patterns)


def owner_of(event):
    """Ask a service that is not there; tests put something in its place."""
    raise ConnectionError("no network")
