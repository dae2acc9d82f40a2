"""Does what its event says, to see what becomes of it in a test."""

import sys


class Odd(Exception):
    pass


def does(event, function):
    what = event.get(function)
    if what == "raise":
        raise Odd("as asked")
    if what == "exit":
        sys.exit(3)
    if what == "deep":
        return does(event, function)
    if what == "set":
        return {1, 2}
    if what == "bad-context":
        return {"x": {1, 2}}
    if what == "generator":
        return (step for step in [True])
    if what == "long":
        return "x" * 5000
    return what


def rule(event):
    return does(event, "rule")


def title(event):
    return does(event, "title")


def dedup(event):
    return does(event, "dedup")


def unique(event):
    return does(event, "unique")


def severity(event):
    return does(event, "severity")


def description(event):
    return does(event, "description")


def destinations(event):
    what = does(event, "destinations")
    # What an event holds is no list, and is refused.
    return event.get("destinations").copy() if event.get("copied") else what


def alert_context(event):
    return does(event, "alert_context")
