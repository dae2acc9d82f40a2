"""Windows of Panther's rules: alerts by dedup string, and correlation rules over matches."""
