"""Watches the senders of logs: who falls silent, leaves things out, or tells the wrong time."""
