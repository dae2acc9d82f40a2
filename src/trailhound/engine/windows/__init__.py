"""Windows: rules over several events, on event time."""
