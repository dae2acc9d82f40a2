"""Speed and memory of `trailhound scan`, measured beside its peers."""
