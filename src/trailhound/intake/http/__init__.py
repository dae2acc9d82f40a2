"""What arrives over HTTP: one file for each way that senders speak."""
