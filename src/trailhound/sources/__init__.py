"""What bytes mean: raw record to event, one file per log format."""
