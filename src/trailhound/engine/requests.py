"""Requests: what tells that two events speak of one and the same request."""

import hashlib

from trailhound.model.events import Event


def request_id(event: Event) -> str:
    """Return the id of the request that an event tells of, 32 hex digits; empty where none.

    Kubernetes logs a request at several stages, CloudTrail delivers to several trails; the
    sender's id of the request tells.
    """
    envelope = event.envelope
    if not envelope.request_uid:
        return ""
    # The id alone proves nothing: clients of Kubernetes may choose it (header `Audit-ID`), and
    # could make a hundred requests look like one. When it arrived, they cannot choose.
    arrived = next((d.get("requestReceivedTimestamp") for v in event.views.values() for d in v), "")
    told: tuple[object, ...] = (arrived,)
    if not (isinstance(arrived, str) and arrived):
        told = (
            envelope.actor_name,
            envelope.action,
            envelope.target_type,
            envelope.target_namespace,
            envelope.target_name,
        )
    digest = hashlib.blake2b(envelope.request_uid.encode(errors="surrogatepass"), digest_size=16)
    for text in told:
        # Texts come from attackers: a length before each keeps them apart.
        data = str(text).encode(errors="surrogatepass")
        digest.update(b"\0%d\0" % len(data))
        digest.update(data)
    return digest.hexdigest()
