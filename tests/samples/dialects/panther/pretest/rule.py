NAMES = {"StopLogging", "DeleteTrail"}


def rule(event):
    if event.get("errorCode"):
        return False
    if event.get("eventName") not in NAMES:
        return False
    kind = event.deep_get("userIdentity", "type", default="")
    if kind == "Root":
        return True
    return kind == "IAMUser" and event.deep_get("userIdentity", "userName").lower().startswith("a")
