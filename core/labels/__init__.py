"""Names for neurons."""
