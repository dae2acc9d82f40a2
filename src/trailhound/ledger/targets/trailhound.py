"""Another Trailhound, which takes files of a ledger and never changes one: `PUT /ledger/…`."""

import hashlib
import http.client
import re
import ssl
from urllib.parse import urlsplit

from trailhound.ledger.forward import TargetError

_TIMEOUT_S = 60
_REASON_SHOWN = 300


class TrailhoundTarget:
    """Sends files to the `serve` of another machine, with a token that allows only that."""

    def __init__(self, url: str, token: str = "") -> None:
        """Make one; nothing is sent yet.

        Args:
            url: `https://host:9610`; with `http://` nobody's certificate is asked for.
            token: made there by `trailhound token … --role ledger`; empty: none is asked for.

        Raises:
            TargetError: This is no such URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise TargetError(f"no URL of a Trailhound: {url!r}") from None
        if parts.username or parts.password:
            raise TargetError("a token stands in a file of its own, not in the URL")
        if not parts.hostname or parts.query or parts.fragment:
            raise TargetError(f"no URL of a Trailhound: {url!r}; it is https://host:9610")
        if parts.scheme == "https":
            # Certificates are checked by what the system trusts, or SSL_CERT_FILE names.
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, port, timeout=_TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=_TIMEOUT_S)
        self._base = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/octet-stream"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self.name = f"trailhound-{hashlib.sha256(url.encode()).hexdigest()[:12]}"

    def put(self, path: str, data: bytes) -> None:
        """Create a file: `Target.put`."""
        try:
            try:
                status, reason = self._ask(path, data)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # It had been idle for so long that the other side closed it.
                self._connection.close()
                status, reason = self._ask(path, data)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TargetError(f"cannot reach {self._connection.host}: {error}") from None
        if status == 409:
            raise TargetError(
                f"{path} is there with other content: that place, or the ledger, was changed"
            )
        if status not in (200, 201):
            raise TargetError(f"{self._connection.host} answers {status} to {path}: {reason}")

    def finish(self) -> None:
        """Nothing: the other side answers when a file is durable."""

    def _ask(self, path: str, data: bytes) -> tuple[int, str]:
        self._connection.request("PUT", f"{self._base}/ledger/{path}", data, self._headers)
        answer = self._connection.getresponse()
        text = answer.read(65_536).decode("utf-8", "replace")
        if answer.will_close or answer.read(1):
            self._connection.close()
        return answer.status, re.sub(r"\s+", " ", text)[:_REASON_SHOWN].strip()
