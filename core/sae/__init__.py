"""Sparse autoencoders: the inference model, how to train it, and how good it is."""
