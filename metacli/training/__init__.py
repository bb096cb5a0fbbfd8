"""Training: the loop, the optimizer, progress messages, stopping and warm starts."""
