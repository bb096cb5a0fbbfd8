"""p(T): task distributions. Nothing here imports `metacli.models`."""
