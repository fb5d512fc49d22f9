"""stillhouse_service."""
