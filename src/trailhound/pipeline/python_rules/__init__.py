"""Runs rules that are Python of others, each in a process of its own that can only compute."""
