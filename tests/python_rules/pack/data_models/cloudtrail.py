def who(event):
    identity = event.get("userIdentity", {})
    return identity.get("userName") or identity.get("arn", "").rpartition("/")[2]
