"""Elements of our own, one folder each."""
