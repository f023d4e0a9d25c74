"""Recommenders behind one protocol."""
