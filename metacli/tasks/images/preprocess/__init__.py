"""Decodes user images, and makes them resemble the training images."""
