from trail_helpers import owner_of


def policy(resource):
    # A policy is given the resource itself, which may be changed.
    if not isinstance(resource, dict) or not isinstance(resource["Tags"], dict):
        return False
    resource["Seen"] = True
    return resource["Versioning"]


def title(resource):
    return f"{resource['Name']} of {owner_of(resource['Name'])} keeps no versions"


def severity(resource):
    return resource["Severity"]
