"""Frozen core types: what every room speaks."""
