"""Arguments to one call to an exit code."""
