def rule(event):
    return event.deep_get("objectRef", "subresource") == "exec"


def title(event):
    return f"{event.deep_get('user', 'username')} opens a shell"
