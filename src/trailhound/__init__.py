"""Trailhound: reads audit logs, runs the field's rules, shows what happened."""

__version__ = "0.1.0"
