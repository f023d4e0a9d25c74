"""SteerLens: open a trained recommender, find the concepts it thinks in, and steer them."""
