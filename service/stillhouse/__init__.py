"""stillhouse."""
