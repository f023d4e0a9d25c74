"""Interaction logs: reading, drawing, splitting them, and the groups of head, mid and tail items."""
