"""Many SAEs on one recommender, side by side."""
