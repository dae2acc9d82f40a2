"""Made-up logs of realistic shape: one module per log format, all driven by one seed."""
