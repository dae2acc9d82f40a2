def rule(event):
    return event["refused"] > 10 and event.udm("actor_user") is None


def title(event):
    return f"{event.deep_get('who', 'name')} was refused {event['refused']} times"
