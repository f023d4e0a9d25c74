"""The dashboard: shows what lies in a workspace and asks `core` for the rest."""
