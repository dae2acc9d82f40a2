"""Outlets: one file each, a finding to bytes."""
