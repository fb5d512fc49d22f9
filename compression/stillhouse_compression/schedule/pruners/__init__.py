"""The pruners: each chooses which weights to keep."""
