"""Rules that come with Trailhound: one file each, with hits and misses beside it."""
