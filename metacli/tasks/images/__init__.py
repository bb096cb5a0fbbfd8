"""Task distributions over classes of images."""
