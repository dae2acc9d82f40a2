"""What runs inside the sandbox: standard library only, started by path, never imported outside."""
