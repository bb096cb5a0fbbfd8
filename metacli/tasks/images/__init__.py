"""p(T) over classes of images."""
