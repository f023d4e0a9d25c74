"""What people write: lists, notes and labels, in a database beside what was computed."""

from core.store.store import Store, open_store
from core.store.values import Label, Note, Of, SavedList, author, basis_of

__all__ = ["Label", "Note", "Of", "SavedList", "Store", "author", "basis_of", "open_store"]
