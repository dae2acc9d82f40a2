"""The certificates of a running service, which are renewed while it runs."""

import logging
import ssl
from pathlib import Path

from trailhound.intake.http.server import tls_context
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.settings import ForwardSettings, HttpSettings, SyslogSettings

_log = logging.getLogger(__name__)
_Settings = HttpSettings | ForwardSettings | SyslogSettings


class Certificates:
    """The TLS side of every listener."""

    def __init__(self) -> None:
        self._contexts: list[tuple[ssl.SSLContext, _Settings]] = []

    def context(self, settings: _Settings) -> ssl.SSLContext | None:
        """Return the TLS side of a listener; None where it speaks none.

        Raises:
            TrailhoundError: A file is missing, or is not what it should be.
        """
        if not settings.tls_certificate:
            return None
        context = _made(settings)
        self._contexts.append((context, settings))
        return context

    def renew(self) -> None:
        """Read certificates and keys anew, for connections from now on.

        What cannot be used is told, and the one before it stays. Who signs clients is read at
        the start only: a context forgets no CA that it knows.
        """
        for context, settings in self._contexts:
            try:
                _made(settings)  # to see that all of it can be used before any of it is
                context.load_cert_chain(settings.tls_certificate, settings.tls_key)
            except (TrailhoundError, OSError, ssl.SSLError) as error:
                _log.error("%s; the certificate before it stays", error)


def _made(settings: _Settings) -> ssl.SSLContext:
    client_ca = Path(settings.client_ca) if settings.client_ca else None
    return tls_context(Path(settings.tls_certificate), Path(settings.tls_key), client_ca)
