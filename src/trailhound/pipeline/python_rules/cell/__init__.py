"""What runs in the processes of rules: standard library only, and nothing else of Trailhound."""
