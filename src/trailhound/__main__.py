"""The command `trailhound`, also as `python -m trailhound`."""

# `signal` imports `enum` and more: all that time, Ctrl-C would show a stack trace.
import _signal  # type: ignore[import-not-found]
import os


def run() -> None:
    """Run the command of this process, and end it.

    Ctrl-C while modules are still being imported ends it at once: an exception in the middle of
    that would be shown as a stack trace, or be taken for a module that is missing.
    """
    begun = _signal.getsignal(_signal.SIGINT)
    if begun is _signal.default_int_handler:  # else whoever started it wants it ignored
        _signal.signal(_signal.SIGINT, _end)
    from trailhound.cli.main import run as run_command  # noqa: PLC0415 - see above

    _signal.signal(_signal.SIGINT, begun)
    run_command()


def _end(_signal: int, _frame: object) -> None:
    os.write(2, b"trailhound: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    run()
