"""Run directories: files, lock, resuming, extending, learning curves, several seeds."""
