"""The rule IR and its passes: plain functions, no I/O."""
