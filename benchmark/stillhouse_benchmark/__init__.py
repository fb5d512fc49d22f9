"""stillhouse_benchmark."""
