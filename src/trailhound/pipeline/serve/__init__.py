"""`trailhound serve`: everything that arrives, taken in for good, judged, and kept."""
