"""User images: decoding, and the preparation that makes them look like the training images."""
