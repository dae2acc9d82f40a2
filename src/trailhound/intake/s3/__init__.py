"""Objects in buckets, found by listing or by notices, each read once."""
