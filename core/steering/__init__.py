"""Edits of neurons and what they change."""
