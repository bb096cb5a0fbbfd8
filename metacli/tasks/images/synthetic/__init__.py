"""Drawn characters: a pen, and invented scripts."""
