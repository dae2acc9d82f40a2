"""S3 with Object Lock in compliance mode, through credentials that may only write.

They need `s3:PutObject` and `s3:PutObjectRetention` on the prefix, nothing else: no listing, no
reading, no deleting, no bypass of retention. Nobody, the root of the account included, can
delete an object or shorten its retention before it ends.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from trailhound.ledger.forward import TargetError


class S3Target:
    """Puts objects under a retention that nobody can shorten."""

    def __init__(self, bucket: str, prefix: str, *, retain_days: int, client: Any = None) -> None:
        """Make one.

        Args:
            bucket: its name; Object Lock must be enabled on it.
            prefix: put before every path, with a slash between.
            retain_days: for how long nobody may delete an object.
            client: a boto3 client for S3; None: one from the usual AWS configuration.
        """
        if not bucket:
            raise TargetError("no bucket in the S3 address: it is s3://bucket/prefix")
        try:
            from botocore.exceptions import (  # noqa: PLC0415 - an extra
                BotoCoreError,
                ClientError,
            )

            if client is None:
                import boto3  # noqa: PLC0415

                client = boto3.client("s3")
        except ImportError:
            raise TargetError("forwarding to S3 needs `pip install 'trailhound[s3]'`") from None
        except Exception as error:  # boto3 raises many kinds for what its configuration lacks
            raise TargetError(f"cannot use S3: {error}") from None
        self._errors = (ClientError, BotoCoreError)
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._retain = timedelta(days=retain_days)
        digest = hashlib.sha256(f"{bucket}/{prefix}".encode()).hexdigest()[:12]
        self.name = f"s3-{digest}"

    def put(self, path: str, data: bytes) -> None:
        """Create an object: `Target.put`.

        What is there already cannot be compared, because these credentials cannot read. The
        audit of the bucket, by somebody who can, compares it.
        """
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}{path}",
                Body=data,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=datetime.now(UTC) + self._retain,
            )
        except self._errors as error:
            response = getattr(error, "response", {})
            if response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
                return
            raise TargetError(f"cannot put {path} to s3://{self._bucket}: {error}") from None

    def finish(self) -> None:
        """Nothing: S3 answers when an object is durable."""
