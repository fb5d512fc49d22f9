"""stillhouse_compression."""
