"""Stored events: Parquet files, asked with DuckDB."""
