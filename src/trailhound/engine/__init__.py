"""Plan, match, windows: events to findings, with no clock and no I/O."""
