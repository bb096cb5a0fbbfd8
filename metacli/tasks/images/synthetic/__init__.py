"""Synthetic characters: invented scripts, and a pen that draws them."""
