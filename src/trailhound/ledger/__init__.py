"""The ledger: an append-only Merkle log of records, redaction before storage, and their audit."""
