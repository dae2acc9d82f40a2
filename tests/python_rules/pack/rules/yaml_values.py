def rule(event):
    return repr(event.to_dict()["value"]) == event.get("is")
