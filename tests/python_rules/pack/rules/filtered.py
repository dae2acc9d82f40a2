def rule(event):
    return event.get("eventName") == "DeleteBucket"
