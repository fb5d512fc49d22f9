"""stillhouse_optimizer."""
