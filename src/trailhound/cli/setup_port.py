"""Ports in arguments of `trailhound setup`."""

import argparse


def port(text: str) -> int:
    """Return a port; an `argparse` type."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)
