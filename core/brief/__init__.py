"""Briefs: what is known of one thing as one HTML file that needs no server and nothing from outside."""
