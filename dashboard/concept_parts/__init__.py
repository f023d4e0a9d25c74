"""The parts of the page Concept: its head, what stands beside it, and its tabs."""
