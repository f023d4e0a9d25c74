"""The file layouts that are understood: one module a family, each a function from a folder to a `RawLog`."""
